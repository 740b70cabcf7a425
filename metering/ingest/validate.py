"""Each event of a request to its outcome (spec 2). Pure: bytes, an instant and a window in, outcomes out.

An event is valid and on time, or refused with its code: counted, not listed, for it has not arrived. Values that a
meter cannot take are not looked at here: such an event is stored, and the worker lists it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

from metering.ingest.body import Sent
from rating.events import LONG, checked_event, lateness, unsound
from schemas.event import TEXT_MAX, Event, Name
from schemas.instants import HOUR, SECOND, Instant, instant_text
from schemas.outcome import Outcome

EVENT_BYTES_MAX: Final = 262_144
"""Of one event. A message of the log has room for it, with what is around it."""

DETAIL_LENGTH_MAX: Final = 500


class EventOutcome(msgspec.Struct, omit_defaults=True, gc=False):
    """How one event of a request ended."""

    index: int
    """Its place in the request, from 0."""
    outcome: Outcome
    id: str | None = None
    source: str | None = None
    detail: str | None = None


Valid = tuple[int, str, bytes]
"""An event that goes to the log: its place in the request, its customer, its bytes as they came."""


class Judged(NamedTuple):
    """A request's events: an outcome for each (`queued` until the log has answered), and those that go to the log."""

    outcomes: list[EventOutcome]
    valid: list[Valid]


class _Object(msgspec.Struct):
    """Any JSON object."""


class _Envelope(msgspec.Struct, gc=False):
    """The attributes of an event; its data only as far as it is an object."""

    id: Name
    source: Name
    type: Name
    subject: Name
    specversion: Literal["1.0"]
    time: str | None = None
    subscription: Name | None = None
    data: _Object | None = None


class _Named(msgspec.Struct):
    """What names an invalid event in its answer."""

    id: str | None = None
    source: str | None = None


_FINER: Final = re.compile(r"(?:(?:\.[0-9]+)?Z,)*+(?:\.[0-9]+)?Z")
_ENVELOPES: Final = msgspec.json.Decoder(list[_Envelope])
_NAMED: Final = msgspec.json.Decoder(_Named)


def judge(sent: Sent, received: int, late_window: int) -> Judged:
    """Judge every event of a body; `received` (the present) and `late_window` in microseconds (spec 2.3, 2.4)."""
    events = _at_once(sent)
    if events is None:
        return _one_by_one([_one(raw) for raw in sent.raws], sent.raws, received, late_window)
    seconds = _seconds([event.time for event in events if event.time is not None])
    if seconds is None:
        return _one_by_one([_one(raw) for raw in sent.raws], sent.raws, received, late_window)
    if seconds and not received - late_window <= min(seconds) <= max(seconds) < received + HOUR - SECOND:
        return _one_by_one(events, sent.raws, received, late_window)
    queued = Outcome.QUEUED
    outcomes = [EventOutcome(index, queued, event.id, event.source) for index, event in enumerate(events)]
    subjects = [event.subject for event in events]
    return Judged(outcomes, list(zip(range(len(events)), subjects, sent.raws, strict=True)))


def _one_by_one(
    events: Sequence[_Envelope | Event | str], raws: Sequence[bytes], received: int, late_window: int
) -> Judged:
    """Judge events of which some may be refused; a text is why there is no event."""
    outcomes: list[EventOutcome] = []
    valid: list[Valid] = []
    for index, (event, raw) in enumerate(zip(events, raws, strict=True)):
        if isinstance(event, str):
            outcomes.append(_invalid(index, raw, event))
            continue
        late = None if event.time is None else lateness(Instant.parse(event.time), received, late_window)
        if late is None:
            outcomes.append(EventOutcome(index, Outcome.QUEUED, event.id, event.source))
            valid.append((index, event.subject, raw))
        else:
            outcomes.append(EventOutcome(index, late, event.id, event.source, _why(late, received, late_window)))
    return Judged(outcomes, valid)


def _at_once(sent: Sent) -> list[_Envelope] | None:
    """All events in one reading, if every one is valid beyond doubt, but for its time; else None."""
    if sent.whole is None or b"\\u0000" in sent.whole:
        return None
    long = [raw for raw in sent.raws if len(raw) > LONG]
    if any(len(raw) > EVENT_BYTES_MAX or unsound(raw) for raw in long):
        return None
    try:
        events = _ENVELOPES.decode(sent.whole)
    except (ValueError, RecursionError):
        return None
    names = "".join([name for e in events for name in (e.id, e.source, e.type, e.subject, e.subscription or "")])
    return events if names.isprintable() and " " not in names else None


def _seconds(texts: list[str]) -> list[int] | None:
    """The whole seconds in which these times lie, in microseconds; None if one is not UTC in the usual form.

    Where none of them is near an edge of what is on time, nobody needs to know more.
    """
    finer = ",".join([text[19:] for text in texts])
    if texts and not (_FINER.fullmatch(finer) and finer.count(",") == len(texts) - 1):
        return None
    try:
        return [_second(text) for text in {text[:19] for text in texts}]
    except ValueError:
        return None


@lru_cache(maxsize=10_000)
def _second(text: str) -> int:
    return int(Instant.parse(text + "Z"))


def _one(raw: bytes) -> Event | str:
    """An event, or why it is none."""
    if len(raw) > EVENT_BYTES_MAX:
        return f"the event has {len(raw):,} bytes; {EVENT_BYTES_MAX:,} are the most that is taken"
    try:
        return checked_event(raw)
    except ValueError as error:
        return str(error)


def _why(refusal: Outcome, received: int, late_window: int) -> str:
    if refusal is Outcome.TIME_IN_FUTURE:
        return f"time is more than an hour after {instant_text(received)}, when it was received"
    return f"time is before {instant_text(received - late_window)}, where the late window begins"


def _invalid(index: int, raw: bytes, reason: str) -> EventOutcome:
    """The outcome of an invalid event, with as much of its name as can be read."""
    try:
        named = _NAMED.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        named = _Named()
    event_id, source = (name if name and len(name) <= TEXT_MAX else None for name in (named.id, named.source))
    return EventOutcome(index, Outcome.EVENT_INVALID, event_id, source, reason[:DETAIL_LENGTH_MAX])
