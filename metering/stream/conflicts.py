"""Same identity, other bytes: the first event is read back from the log and compared by content (spec 2.2)."""

from collections.abc import Iterator, Sequence
from typing import Final

from metering.dedup.window import place_of
from metering.stream.judge import Judged, refuse
from metering.stream.log import Log, Record
from rating.events import NotJson, same_content, split_batch
from schemas.outcome import Outcome

GAP_MAX: Final = 200
"""Records between two wanted ones that are rather read than left out."""
SPAN_MAX: Final = 2_000
"""Records read at once: what is held in memory."""


async def settle(log: Log, partition: int, judged: Judged) -> Judged:
    """Tell `duplicate` from `duplicate_conflict` for the events that wait for it.

    A first event that the log no longer holds cannot be compared: other bytes then count as other content.
    """
    if len(judged.conflicts) == 0:
        return judged
    refused, outcomes = list(judged.refused), judged.outcomes.copy()
    arrived = judged.arrivals
    rows: dict[int, list[tuple[int, int]]] = {}
    for row, position in zip(judged.conflicts.tolist(), judged.first.tolist(), strict=True):
        offset, index = place_of(position)
        rows.setdefault(offset, []).append((row, index))
    for first, last in _spans(sorted(rows)):
        records = {record.offset: record for record in await log.read(partition, first, last)}
        for offset in range(first, last + 1):
            events = _events(records.get(offset)) if offset in rows else ()
            for row, index in rows.get(offset, ()):
                if index < len(events) and same_content(events[index], arrived.raws[row]):
                    outcomes[Outcome.DUPLICATE] += 1
                else:
                    outcomes[Outcome.DUPLICATE_CONFLICT] += 1
                    refused.append(refuse(arrived, row, Outcome.DUPLICATE_CONFLICT))
    return judged._replace(refused=refused, outcomes=outcomes)


def _spans(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges that hold all these offsets (rising), so that near ones are read at once."""
    first = last = offsets[0]
    for offset in offsets[1:]:
        if offset - last > GAP_MAX or offset - first >= SPAN_MAX:
            yield first, last
            first = offset
        last = offset
    yield first, last


def _events(record: Record | None) -> Sequence[bytes]:
    """The events of a record; none if the log no longer holds it."""
    if record is None or record.payload is None:
        return ()
    try:
        return split_batch(record.payload)
    except NotJson:
        return ()
