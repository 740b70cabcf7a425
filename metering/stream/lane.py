"""A lane: the work on one partition, in order, with one checkpoint at a time while the next batch is decoded."""

import asyncio
from collections.abc import Sequence

import numpy as np
import structlog

from metering.clock import Clock
from metering.errors import LogUnavailable, StoreUnavailable
from metering.observe import metrics
from metering.stream.arrivals import Arrivals
from metering.stream.checkpoint import Checkpoint
from metering.stream.log import Record

_logger = structlog.get_logger("metering.stream")

BATCH_MAX = 20_000
"""Records of one checkpoint."""
BATCH_BYTES = 8_000_000
"""Bytes of one checkpoint, unless its first record has more: some 30,000 events."""
QUEUE_MAX = 2 * BATCH_MAX
"""Records that wait before the partition is paused."""
QUEUE_BYTES = 2 * BATCH_BYTES
"""The same in bytes; what a fetch brings comes on top."""
RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits between tries while Postgres is away; the last goes on for ever."""


class Lane:
    """Takes the records of one partition and commits them, batch by batch."""

    def __init__(self, checkpoint: Checkpoint, clock: Clock) -> None:
        self._checkpoint = checkpoint
        self._clock = clock
        self._queue: list[Record] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._wake = asyncio.Event()
        self._finishing = False
        self._reported = -1

    @property
    def full(self) -> bool:
        """Whether the partition should be paused."""
        return len(self._queue) >= QUEUE_MAX or self._bytes >= QUEUE_BYTES

    @property
    def next_offset(self) -> int:
        """The offset up to which everything is committed."""
        return self._checkpoint.next_offset

    def offer(self, records: Sequence[Record]) -> None:
        """Add records that follow those offered before."""
        sizes = [len(record.payload or b"") for record in records]
        self._queue += records
        self._sizes += sizes
        self._bytes += sum(sizes)
        self._wake.set()

    def finish(self) -> None:
        """End `run` after the checkpoint at hand; what waits is left to the next owner."""
        self._finishing = True
        self._wake.set()

    def unreported(self) -> int | None:
        """The committed offset, if it moved since this was asked."""
        offset = self.next_offset
        if offset == self._reported:
            return None
        self._reported = offset
        return offset

    async def take(self) -> int:
        """Own the partition and learn what it remembers; the offset to read from."""
        return await self._checkpoint.take()

    async def run(self) -> None:
        """Work until `finish`; raises `Fenced` when another owner went on, and whatever stops the partition."""
        committing: asyncio.Task[None] | None = None
        try:
            while True:
                records = await self._next(committing)
                if not records:
                    break
                arrived = self._checkpoint.decode(records)
                if committing is not None:
                    await committing
                committing = asyncio.create_task(self._commit(arrived))
        finally:
            if committing is not None:
                await committing

    async def _next(self, committing: "asyncio.Task[None] | None") -> list[Record]:
        """The next records; none when it is time to finish. An error of the commit at hand is raised here too."""
        while not self._queue and not self._finishing:
            self._wake.clear()
            waiting = asyncio.create_task(self._wake.wait())
            others = {committing} if committing is not None and not committing.done() else set()
            try:
                await asyncio.wait({waiting, *others}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if committing is not None and committing.done():
                committing.result()
        if self._finishing:
            return []
        return self._batch()

    def _batch(self) -> list[Record]:
        """The first records that wait, as many as one checkpoint takes."""
        ends = np.cumsum(self._sizes[:BATCH_MAX])
        count = max(1, int(np.searchsorted(ends, BATCH_BYTES, side="right")))
        self._bytes -= int(ends[count - 1])
        records, self._queue, self._sizes = self._queue[:count], self._queue[count:], self._sizes[count:]
        return records

    async def _commit(self, arrived: Arrivals) -> None:
        """Commit one batch, however long Postgres is away; after any doubt the partition's row says what is in."""
        tries = 0
        judged, committed = None, False
        while True:
            try:
                if judged is None:
                    judged = await self._checkpoint.judge(arrived)
                while len(judged.forward):
                    judged = await self._checkpoint.forward(judged)
                if committed and await self._checkpoint.landed(judged):
                    metrics.STREAM_CHECKPOINTS.labels("looked_up").inc()
                    return
                committed = True
                await self._checkpoint.commit(judged)
            except (StoreUnavailable, LogUnavailable) as error:
                _logger.warning("checkpoint_retried", partition=self._checkpoint.partition, reason=str(error))
                metrics.STREAM_CHECKPOINTS.labels("retried").inc()
                await self._clock.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
            else:
                return
