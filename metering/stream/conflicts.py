"""Same identity, other bytes: the first event is read back from the log and compared by content (spec 2.2)."""

from metering.dedup.window import place_of
from metering.stream.judge import Judged, refuse
from metering.stream.log import Log
from rating.events import NotJson, same_content, split_batch
from schemas.outcome import Outcome


async def settle(log: Log, partition: int, judged: Judged) -> Judged:
    """Tell `duplicate` from `duplicate_conflict` for the events that wait for it; rare, so one by one.

    A first event that the log no longer holds cannot be compared: other bytes then count as other content.
    """
    if len(judged.conflicts) == 0:
        return judged
    refused, outcomes = list(judged.refused), judged.outcomes.copy()
    arrived = judged.arrivals
    for row, position in zip(judged.conflicts.tolist(), judged.first.tolist(), strict=True):
        first = await _first_event(log, partition, position)
        if first is not None and same_content(first, arrived.raws[row]):
            outcomes[Outcome.DUPLICATE] += 1
        else:
            outcomes[Outcome.DUPLICATE_CONFLICT] += 1
            refused.append(refuse(arrived, row, Outcome.DUPLICATE_CONFLICT))
    return judged._replace(refused=refused, outcomes=outcomes)


async def _first_event(log: Log, partition: int, position: int) -> bytes | None:
    """The event at a position, or None if the log no longer holds it."""
    offset, index = place_of(position)
    for record in await log.read(partition, offset, offset):
        if record.offset == offset and record.payload is not None:
            try:
                return split_batch(record.payload)[index]
            except (NotJson, IndexError):
                return None
    return None
