"""What a batch of records holds: events in columns, and what is no event (pure)."""

from collections.abc import Callable, Sequence
from itertools import chain
from operator import methodcaller
from typing import NamedTuple

import numpy as np

from metering.dedup.window import INDEX_BITS, INDEX_MAX
from metering.stream.log import Record
from rating.events import NotJson, split_batch
from rating.extract import Batch, Extractor
from rating.fixed import Indices
from schemas.outcome import Outcome


class Refused(NamedTuple):
    """Something that arrived and does not count (for one meter, or at all): `place` is its index in the message."""

    offset: int
    place: int
    meter: str
    code: Outcome
    reason: str
    received: int
    customer: str | None
    source: str | None
    event_id: str | None
    payload: bytes


class Arrivals(NamedTuple):
    """A batch of one partition's records, `first_offset` to before `next_offset`.

    n events: `raws` their bytes, `positions` (`window.position_of`), `received` and `late_window` int64[n] in
    microseconds, `batch` their columns as `extractor` read them. `unusable` are messages that hold no event.
    """

    first_offset: int
    next_offset: int
    raws: list[bytes]
    positions: Indices
    received: Indices
    late_window: Indices
    unusable: list[Refused]
    batch: Batch
    extractor: Extractor


def arrivals(records: Sequence[Record], extractor: Extractor, late_window: int) -> Arrivals:
    """Read consecutive records of one partition; nothing in them stops a partition, nothing is skipped in silence."""
    unusable: list[Refused] = []
    offset, at, payloads, headers = zip(*records, strict=True)
    raws: list[bytes] = list(payloads)
    counts = None
    if None in payloads or not all(map(_is_one, raws)):
        found = [_events_of(record, unusable) for record in records]
        raws = list(chain.from_iterable(found))
        counts = np.array([len(events) for events in found], dtype=np.int64)
    windows = np.full(len(records), late_window, dtype=np.int64)
    if any(headers):
        windows[:] = [window_of(record, late_window) for record in records]
    received = _spread(np.array(at, dtype=np.int64), counts)
    offsets = np.array(offset, dtype=np.int64) << INDEX_BITS
    return Arrivals(
        first_offset=records[0].offset,
        next_offset=records[-1].offset + 1,
        raws=raws,
        positions=_spread(offsets, counts) + _indices(counts, len(raws)),
        received=received,
        late_window=_spread(windows, counts),
        unusable=unusable,
        batch=extractor.read(raws, received),
        extractor=extractor,
    )


_is_one: Callable[[bytes], bool] = methodcaller("startswith", b"{")
"""Whether a payload is one event, or at least no array of them: what is wrong with it the extractor will say."""


def _spread(values: Indices, counts: Indices | None) -> Indices:
    """A value of each record for each of its events."""
    return values if counts is None else np.repeat(values, counts)


def _indices(counts: Indices | None, total: int) -> Indices:
    """The index of each event in its message."""
    if counts is None:
        return np.zeros(total, dtype=np.int64)
    return np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)


def _events_of(record: Record, unusable: list[Refused]) -> list[bytes]:
    """The raw events of a record; what is no message of events is listed."""
    payload = record.payload
    if payload is None:
        reason = "a tombstone: the message has no value"
    else:
        try:
            events = [payload] if _is_one(payload) else split_batch(payload)
        except NotJson as error:
            reason = str(error)
        else:
            if len(events) <= INDEX_MAX:
                return events
            reason = f"the message holds {len(events)} events; {INDEX_MAX} are the most"
    code, received = Outcome.EVENT_INVALID, record.received
    unusable.append(Refused(record.offset, 0, "", code, reason, received, None, None, None, payload or b""))
    return []


def window_of(record: Record, late_window: int) -> int:
    """The late window of a record's events, in microseconds: a backfill may raise it (spec 2.4)."""
    for name, value in record.headers:
        if name == "late-window" and value.isdigit():
            return max(late_window, int(value))
    return late_window
