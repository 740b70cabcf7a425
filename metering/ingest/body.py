"""From the bytes of a request to the bytes of its events, by content type. Pure.

One event (structured mode), a JSON array of events (`application/cloudevents-batch+json`, or plain JSON), one a line
(`application/x-ndjson`), or one event whose attributes are `ce-` headers and whose data is the body (binary mode). A
body that is no JSON is refused whole, of lines only the bad one is; a bad event costs nobody else anything.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

ONE_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"
LINES_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
JSON_TYPES: Final = ("application/json", ONE_TYPE, BATCH_TYPE)

_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ONE: Final = msgspec.json.Decoder(msgspec.Raw)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


class BodyUnreadable(ValueError):
    """The body as a whole is refused: it is no JSON, or not what its content type says."""


TOO_DEEP: Final = BodyUnreadable("the body nests too deep to be read")


class TypeUnknown(ValueError):
    """No form of events has this content type."""


class Sent(NamedTuple):
    """The events of a body."""

    raws: list[bytes]
    """Each event's own bytes, as sent."""
    whole: bytes | None
    """The array that they came in, readable at once; None if they have to be read one by one."""
    alone: bool = False
    """One event that came by itself, not as a list of one: it has the request's status for itself."""


def split_body(body: bytes, content_type: str, headers: Iterable[tuple[str, str]]) -> Sent:
    """The events of a body; `content_type` without parameters in lower case, `headers` with names as sent.

    Raises `BodyUnreadable` or `TypeUnknown`.
    """
    if content_type in LINES_TYPES:
        lines = (line.strip(b" \t\r") for line in body.split(b"\n"))
        return Sent([line for line in lines if line], None)
    if content_type not in (ONE_TYPE, BATCH_TYPE) and (attributes := _attributes(headers)):
        return Sent([_structured(attributes, body, content_type)], None, alone=True)
    if content_type not in JSON_TYPES:
        raise TypeUnknown(
            f"{content_type[:80]!r}: send one event as {ONE_TYPE}, several as {BATCH_TYPE} or application/json, one a"
            f" line as {LINES_TYPES[0]}, or its attributes in ce- headers"
        )
    many = body.lstrip(b" \t\r\n").startswith(b"[")
    if content_type == BATCH_TYPE and not many:
        raise BodyUnreadable(f"a body of {BATCH_TYPE} is a JSON array")
    if not many:
        return Sent([_checked(body)], None, alone=True)
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BodyUnreadable(f"the body is no UTF-8: {error.reason} at byte {error.start}") from None
    try:
        return Sent(list(map(bytes, _RAWS.decode(body))), body)
    except RecursionError:
        raise TOO_DEEP from None
    except msgspec.DecodeError as error:
        return Sent(_rescued(body, error), None)


def _checked(body: bytes) -> bytes:
    """One JSON value; half a surrogate pair in it is the event's fault, not the body's."""
    try:
        return bytes(_ONE.decode(body))
    except RecursionError:
        raise TOO_DEEP from None
    except msgspec.DecodeError as error:
        elements = _rescued(b"[" + body + b"]", error)
        if len(elements) != 1:
            raise BodyUnreadable(f"the body is no JSON: {error}") from None
        return elements[0]


def _rescued(body: bytes, error: msgspec.DecodeError) -> list[bytes]:
    """The elements of an array that msgspec does not read, because a text in it holds half a surrogate pair.

    That is JSON, but no text: the event is invalid, the others are not. `BodyUnreadable` if anything else is wrong.
    """
    elements = []
    try:
        text = body.decode()
        place = _after_blanks(text, 0) + 1
        while True:
            begin = _after_blanks(text, place)
            _, end = _SCANNER.raw_decode(text, begin)
            elements.append(text[begin:end].encode())
            place = _after_blanks(text, end) + 1
            if text[place - 1] == "]":
                break
            if text[place - 1] != ",":
                raise ValueError("neither a comma nor the end")
        if _after_blanks(text, place) != len(text):
            raise ValueError("something follows the end")
    except RecursionError:
        raise TOO_DEEP from None
    except (ValueError, IndexError):
        raise BodyUnreadable(f"the body is no JSON: {error}") from None
    return elements


def _after_blanks(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    return match.end() if match else place


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_SCANNER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def _attributes(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The attributes of binary mode, decoded as the HTTP binding of CloudEvents says."""
    attributes: dict[str, str] = {}
    for name, value in headers:
        attribute = name.lower().removeprefix("ce-")
        if attribute == name.lower():
            continue
        if attribute in attributes:
            raise BodyUnreadable(f"the header ce-{attribute} is given twice")
        if not _ATTRIBUTE.fullmatch(attribute) or attribute == "data":
            raise BodyUnreadable(f"{name[:40]!r} names no attribute: letters and digits, at most 20")
        attributes[attribute] = _percent_decoded(value)
    return attributes


def _percent_decoded(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), raw).decode()
    except UnicodeDecodeError:
        raise BodyUnreadable(f"the header value {value[:40]!r} is no UTF-8") from None


def _structured(attributes: Mapping[str, str], body: bytes, content_type: str) -> bytes:
    """The structured form of an event that came in binary mode."""
    head = msgspec.json.encode(attributes)
    if not body.strip(b" \t\r\n"):
        return head
    if not (content_type == "application/json" or content_type.endswith("+json")):
        raise TypeUnknown(f"{content_type[:80]!r}: the data of an event is a JSON object, send it as application/json")
    return head[:-1] + b',"data":' + _checked(body) + b"}"
