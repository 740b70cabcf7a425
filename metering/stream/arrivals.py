"""What a batch of records holds: events in columns, and what is no event (pure)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metering.dedup.window import INDEX_MAX, position_of
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
    microseconds, `batch` their columns. `unusable` are messages that hold no event.
    """

    first_offset: int
    next_offset: int
    raws: list[bytes]
    positions: Indices
    received: Indices
    late_window: Indices
    unusable: list[Refused]
    batch: Batch


def arrivals(records: Sequence[Record], extractor: Extractor, late_window: int) -> Arrivals:
    """Read consecutive records of one partition; nothing in them stops a partition, nothing is skipped in silence."""
    raws: list[bytes] = []
    positions: list[int] = []
    received: list[int] = []
    windows: list[int] = []
    unusable: list[Refused] = []
    for record in records:
        events = _events_of(record, unusable)
        raised = window_of(record, late_window)
        raws += events
        positions += range(position_of(record.offset, 0), position_of(record.offset, len(events)))
        received += [record.received] * len(events)
        windows += [raised] * len(events)
    at = np.array(received, dtype=np.int64)
    return Arrivals(
        first_offset=records[0].offset,
        next_offset=records[-1].offset + 1,
        raws=raws,
        positions=np.array(positions, dtype=np.int64),
        received=at,
        late_window=np.array(windows, dtype=np.int64),
        unusable=unusable,
        batch=extractor.read(raws, at),
    )


def _events_of(record: Record, unusable: list[Refused]) -> list[bytes]:
    """The raw events of a record; what is no message of events is listed."""
    if record.payload is None:
        reason = "a tombstone: the message has no value"
    else:
        try:
            events = split_batch(record.payload)
        except NotJson as error:
            reason = str(error)
        else:
            if len(events) <= INDEX_MAX:
                return events
            reason = f"the message holds {len(events)} events; {INDEX_MAX} are the most"
    unusable.append(
        Refused(
            record.offset,
            0,
            "",
            Outcome.EVENT_INVALID,
            reason,
            record.received,
            None,
            None,
            None,
            record.payload or b"",
        )
    )
    return []


def window_of(record: Record, late_window: int) -> int:
    """The late window of a record's events, in microseconds: a backfill may raise it (spec 2.4)."""
    for name, value in record.headers:
        if name == "late-window" and value.isdigit():
            return max(late_window, int(value))
    return late_window
