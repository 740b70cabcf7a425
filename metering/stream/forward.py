"""Events on a partition that is not their customer's are appended to the right one (design 3)."""

from metering.errors import LogUnavailable
from metering.observe import metrics
from metering.stream.judge import Judged
from metering.stream.log import Log, Message
from schemas.ids import partition_of


async def forward(log: Log, judged: Judged) -> None:
    """Append what belongs elsewhere, with the instant at which it was received, and wait for the acknowledgement.

    If this process dies before its offset moves, the events are forwarded again: their identities drop the copies.
    """
    arrived = judged.arrivals
    messages = []
    for row in judged.forward.tolist():
        subject = arrived.batch.subjects[row]
        headers = (
            ("received", str(int(arrived.received[row])).encode()),
            ("late-window", str(int(arrived.late_window[row])).encode()),
        )
        partition = partition_of(subject, log.partitions)
        messages.append(Message(partition, subject.encode(), arrived.raws[row], headers))
    if not messages:
        return
    if None in await log.append(messages):
        raise LogUnavailable(f"{len(messages)} events of other partitions were not acknowledged; they are sent again")
    metrics.STREAM_FORWARDED.inc(len(messages))
