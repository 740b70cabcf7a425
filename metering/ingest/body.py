"""From the bytes of a request to the bytes of its events, by content type. Pure.

One event (structured mode), a JSON array of events (`application/cloudevents-batch+json`, or plain JSON), one a line
(`application/x-ndjson`), or one event whose attributes are `ce-` headers and whose data is the body (binary mode). A
body that is no JSON is refused whole, of lines only the bad one is; a bad event costs nobody else anything.
"""

import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

ONE_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"
LINES_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
JSON_TYPES: Final = ("application/json", ONE_TYPE, BATCH_TYPE)

EVENTS_MAX: Final = 20_000
"""Events of a body."""

COMMAS_MAX: Final = 500_000
"""Up to so many commas an array is split at once; beyond, its elements are counted before they are held."""

_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ONE: Final = msgspec.json.Decoder(msgspec.Raw)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


class BodyUnreadable(ValueError):
    """The body as a whole is refused: it is no JSON, or not what its content type says."""


TOO_DEEP: Final = BodyUnreadable("the body nests too deep to be read")


class TooManyEvents(ValueError):
    """The body has more events than are taken at once."""

    def __init__(self) -> None:
        super().__init__(f"at most {EVENTS_MAX:,} events are taken at once")


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
        return Sent(_bounded(line for line in map(bytes.strip, io.BytesIO(body)) if line), None)
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
    if body.count(b",") > COMMAS_MAX:
        _bounded(_elements(body))  # Counts without holding more than one.
    try:
        return Sent(_bounded(map(bytes, _RAWS.decode(body))), body)
    except RecursionError:
        raise TOO_DEEP from None
    except msgspec.DecodeError:
        # Half a surrogate pair is JSON, but no text: its event is invalid, the others are not.
        return Sent(_bounded(_elements(body)), None)


def _bounded(events: Iterable[bytes]) -> list[bytes]:
    taken = list(itertools.islice(events, EVENTS_MAX + 1))
    if len(taken) > EVENTS_MAX:
        raise TooManyEvents
    return taken


def _checked(body: bytes) -> bytes:
    """One JSON value; half a surrogate pair in it is the event's fault, not the body's."""
    try:
        return bytes(_ONE.decode(body))
    except RecursionError:
        raise TOO_DEEP from None
    except msgspec.DecodeError as error:
        elements = list(itertools.islice(_elements(b"[" + body + b"]"), 2))
        if len(elements) != 1:
            raise BodyUnreadable(f"the body is no JSON: {error}") from None
        return elements[0]


def _elements(body: bytes) -> Iterator[bytes]:
    """The elements of an array one after the other, read by a more lenient parser; `BodyUnreadable` if it is none."""
    try:
        text = body.decode()
        place = _after_blanks(text, 0) + 1
        if text[_after_blanks(text, place)] == "]":
            place = _after_blanks(text, place) + 1
        else:
            while True:
                begin = _after_blanks(text, place)
                _, end = _SCANNER.raw_decode(text, begin)
                yield text[begin:end].encode()
                place = _after_blanks(text, end) + 1
                if text[place - 1] == "]":
                    break
                if text[place - 1] != ",":
                    raise ValueError(f"neither a comma nor an end at character {place}")
        if _after_blanks(text, place) != len(text):
            raise ValueError(f"something follows the end at character {place}")
    except RecursionError:
        raise TOO_DEEP from None
    except IndexError:
        raise BodyUnreadable("the body is no JSON: it ends too early") from None
    except ValueError as error:
        raise BodyUnreadable(f"the body is no JSON: {error}") from None


def _after_blanks(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    return match.end() if match else place


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# What it makes of a number is thrown away: nothing is smaller than a boolean.
_SCANNER: Final = json.JSONDecoder(parse_int=bool, parse_float=bool, parse_constant=_refuse_constant)


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
