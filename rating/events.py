"""Events (spec 2): valid or not, on time or not, the same content or not. Pure functions of bytes and instants."""

import json
import re
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from rating.fixed import Indices, Mask
from schemas.event import Event
from schemas.instants import HOUR, Instant
from schemas.numbers import scientific
from schemas.outcome import Outcome

DEPTH_MAX: Final = 128
"""Maps and lists that an event may nest: a limit of ours, so that no event's fate hangs on the depth of a stack."""

LONG: Final = 2 * DEPTH_MAX + len('{"id":"","source":"","type":"","subject":"","specversion":""}')
"""Bytes below which no event can nest too deep."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_DECODER: Final = msgspec.json.Decoder(Event)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ONE: Final = msgspec.json.Decoder(msgspec.Raw)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NotJson(ValueError):
    """A payload that is no JSON: it is refused whole."""


def split_batch(payload: bytes) -> list[bytes]:
    """The events of a payload, one JSON object or an array of them, each as its own bytes.

    Whether each is valid is asked later, so a bad event never costs the others. `NotJson` if the payload is no JSON
    (a bare NaN included) or nests too deep to be read.
    """
    many = payload.lstrip(b" \t\r\n").startswith(b"[")
    try:
        return [bytes(raw) for raw in _LIST.decode(payload)] if many else [bytes(_ONE.decode(payload))]
    except RecursionError:
        raise NotJson("the payload nests too deep to be read") from None
    except _UNREADABLE as error:
        raise NotJson(f"the payload is no JSON: {error}") from None


def read_event(raw: bytes) -> Event | Literal[Outcome.EVENT_INVALID]:
    """The event in these bytes, or `event_invalid` (spec 2.3). Of a key that occurs twice the last one counts."""
    try:
        return checked_event(raw)
    except ValueError:
        return Outcome.EVENT_INVALID


def why_invalid(raw: bytes) -> str | None:
    """What is wrong with an event that is no valid CloudEvent of our form, for people to read; None if it is valid."""
    try:
        checked_event(raw)
    except ValueError as error:
        return str(error)
    return None


def checked_event(raw: bytes) -> Event:
    """The event in these bytes; `ValueError` says why they are none (spec 2.1, 2.3)."""
    if (fault := unsound(raw)) is not None:
        raise ValueError(fault)
    try:
        event = _DECODER.decode(raw)
    except _UNREADABLE as error:
        raise ValueError(str(error)) from None
    for attribute in ("id", "source", "type", "subject", "subscription"):
        text = getattr(event, attribute)
        if text is not None and not clean(text):
            raise ValueError(f"{attribute} {text!r} has a control character, or a blank at an edge")
    if event.time is not None:
        Instant.parse(event.time)
    data = bytes(event.data)
    if data == b"null":
        return msgspec.structs.replace(event, data=msgspec.Raw(b"{}"))
    if not data.startswith(b"{"):
        raise ValueError(f"data is {data[:20].decode()}, not a JSON object")
    return event


def clean(text: str) -> bool:
    """Whether a name has no control characters and no blanks at its edges (spec 2.3)."""
    if text.isprintable():  # among printable characters only the space is a blank
        return text[:1] != " " and text[-1:] != " "
    return text.strip() == text and _CONTROL.search(text) is None


def unsound(raw: bytes) -> str | None:
    """What no event may have anywhere, whoever reads it: text that is no UTF-8, a NUL, too deep a nesting; else None.

    Neither Postgres text nor a decoder that skips what it does not need would find these in time.
    """
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            return f"the event is no UTF-8 text: {error}"
    if b"\\u0000" in raw and _NUL.search(raw):
        return "the event holds a NUL character"
    if len(raw) > LONG and raw.count(b"{") + raw.count(b"[") > DEPTH_MAX and _depth(raw) > DEPTH_MAX:
        return f"the event nests more than {DEPTH_MAX} maps and lists"
    return None


def _depth(raw: bytes) -> int:
    """How deep maps and lists nest."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def in_future(time: Indices, received: Indices) -> Mask:
    """Which events lie more than an hour after their receipt (spec 2.3); microseconds."""
    return time > received + HOUR


def too_old(time: Indices, received: Indices, late_window: int) -> Mask:
    """Which events lie more than the late window before their receipt (spec 2.4); microseconds."""
    return time < received - late_window


def lateness(time: int, received: int, late_window: int) -> Outcome | None:
    """`time_in_future`, `time_too_old` or None for one event (spec 2.3, 2.4); all in microseconds."""
    if time > received + HOUR:
        return Outcome.TIME_IN_FUTURE
    if time < received - late_window:
        return Outcome.TIME_TOO_OLD
    return None


def same_content(left: bytes, right: bytes) -> bool:
    """Whether two valid events of one identity say the same (spec 2.2)."""
    return left == right or content_key(left) == content_key(right)


def content_key(raw: bytes) -> bytes:
    """16 bytes that stand for the content of a valid event (spec 2.2): type, time as sent, subscription and data.

    Numbers count by value, the time as an instant, the order of keys not at all; an absent time is absent, absent data
    is empty. `ValueError` for bytes that are no valid event.
    """
    event = checked_event(raw)
    time = None if event.time is None else int(Instant.parse(event.time))
    tree = json.loads(bytes(event.data), parse_int=Written, parse_float=Written)
    content = [event.type, time, event.subscription, _canonical(tree)]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).digest()


class Written(str):
    """A number of a JSON document as its literal text: never a binary float on the way in (spec 1.1)."""

    __slots__ = ()


def _canonical(tree: Any) -> Any:
    """A JSON tree in which equal values are equal text: numbers by value and apart from strings."""
    match tree:
        case dict():
            return {key: _canonical(value) for key, value in tree.items()}
        case list():
            return [_canonical(value) for value in tree]
        case Written():
            number = scientific(tree)
            return f"n{tree}" if number is None else f"n{number.sign}{number.digits}e{number.exponent}"
        case str():
            return f"s{tree}"
    return tree
