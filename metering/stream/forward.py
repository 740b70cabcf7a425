"""Events on a partition that is not their customer's are appended to the right one (design 3)."""

import numpy as np

from metering.observe import metrics
from metering.stream.judge import Judged
from metering.stream.log import Log, Message
from schemas.ids import partition_of


async def forward(log: Log, judged: Judged) -> Judged:
    """Append what belongs elsewhere; the answer has the rows that were not acknowledged, to be appended once more.

    If this process dies before its offset moves, the events are forwarded again: their identities drop the copies.
    """
    positions = await log.append([_message(log, judged, row) for row in judged.forward.tolist()])
    left = np.array([position is None for position in positions], dtype=np.bool_)
    metrics.STREAM_FORWARDED.inc(len(left) - int(left.sum()))
    return judged._replace(forward=judged.forward[left])


def _message(log: Log, judged: Judged, row: int) -> Message:
    """One event for its customer's partition, with the instant at which it was received and its late window."""
    arrived = judged.arrivals
    subject = arrived.batch.subjects[row]
    headers = (
        ("received", str(int(arrived.received[row])).encode()),
        ("late-window", str(int(arrived.late_window[row])).encode()),
    )
    return Message(partition_of(subject, log.partitions), subject.encode(), arrived.raws[row], headers)
