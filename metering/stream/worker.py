"""The worker: a member of the log's readers that runs a lane for each partition it owns."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress

import structlog

from metering.clock import Clock
from metering.errors import Fenced, LogReplaced, LogUnavailable, OffsetLost
from metering.observe import metrics
from metering.stream.lane import Lane
from metering.stream.log import Log, Record

_logger = structlog.get_logger("metering.stream")

RECORDS_MAX = 20_000
"""Records asked of the log at once."""
POLL_S = 0.1
"""How long a poll waits for records; also how soon a paused partition is looked at again."""
GARBAGE_AFTER = 200_000
"""New objects before cycles are looked for: a batch makes so many at once, none in a cycle (a tenth of the time)."""
MEASURE_S = 1.0
"""How often the lag is measured."""


class Worker:
    """Reads, and hands each partition's records to its lane; partitions come and go with the group's rebalances."""

    def __init__(self, log: Log, lane: Callable[[int], Lane], clock: Clock) -> None:
        """`lane` makes the lane of a partition."""
        self._log = log
        self._reader = log.reader()
        self._make_lane = lane
        self._clock = clock
        self._lanes: dict[int, Lane] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._paused: set[int] = set()
        self._stopping = asyncio.Event()
        self._fenced: Fenced | None = None

    async def run(self) -> None:
        """Work until `stop`. What waiting may heal is raised (the log or Postgres is away, another owner went on): run
        a new worker then. What it may not heal stops the partition that has it, and the others go on.
        """
        thresholds = gc.get_threshold()
        gc.set_threshold(GARBAGE_AFTER, *thresholds[1:])
        try:
            await self._reader.start(self._assigned, self._revoked)
            await self._read()
        finally:
            gc.set_threshold(*thresholds)

    async def _read(self) -> None:
        measuring = asyncio.create_task(self._measure())
        try:
            while not self._stopping.is_set():
                if self._fenced is not None:
                    raise self._fenced
                for partition, records in (await self._polled()).items():
                    if lane := self._lanes.get(partition):
                        lane.offer(records)
                self._balance_queues()
                await self._report()
        finally:
            measuring.cancel()
            await self._reader.stop()
            await self._revoked(frozenset(self._lanes))

    async def _polled(self) -> dict[int, list[Record]]:
        """The next records; a partition whose next record is lost stops, the others go on."""
        try:
            return await self._reader.poll(RECORDS_MAX, POLL_S)
        except OffsetLost as error:
            if error.partition is None:
                raise
            await self._revoked(frozenset({error.partition}))
            self._stopped(error.partition, error)
            return {}

    def stop(self) -> None:
        """End `run` once what is being committed is committed."""
        self._stopping.set()

    async def _assigned(self, partitions: frozenset[int]) -> dict[int, int]:
        offsets = {}
        for partition in sorted(partitions):
            lane = self._make_lane(partition)
            try:
                offsets[partition] = await lane.take()
            except (LogReplaced, OffsetLost) as error:
                self._stopped(partition, error)
                continue
            self._lanes[partition] = lane
            self._tasks[partition] = asyncio.create_task(self._run(partition, lane), name=f"lane-{partition}")
            metrics.STREAM_REBALANCES.labels("gained").inc()
        return offsets

    async def _revoked(self, partitions: frozenset[int]) -> None:
        lanes = [(self._lanes.pop(one), self._tasks.pop(one)) for one in sorted(partitions) if one in self._lanes]
        self._paused -= partitions
        for lane, _ in lanes:
            lane.finish()
        for _, task in lanes:
            with suppress(asyncio.CancelledError):
                await task
            metrics.STREAM_REBALANCES.labels("lost").inc()

    async def _run(self, partition: int, lane: Lane) -> None:
        try:
            await lane.run()
        except Fenced as error:
            _logger.warning("fenced", partition=partition, reason=str(error))
            metrics.STREAM_CHECKPOINTS.labels("fenced").inc()
            self._fenced = error
        except Exception as error:
            self._stopped(partition, error)

    def _stopped(self, partition: int, error: Exception) -> None:
        metrics.STREAM_STOPPED.labels(partition).set(1)
        _logger.error("partition_stopped", partition=partition, reason=str(error), exc_info=error)

    def _balance_queues(self) -> None:
        """Pause partitions whose queue is full, read those again whose queue has emptied."""
        full = {partition for partition, lane in self._lanes.items() if lane.full}
        if new := frozenset(full - self._paused):
            self._reader.pause(new)
        if done := frozenset(self._paused - full):
            self._reader.resume(done)
        self._paused = full

    async def _report(self) -> None:
        offsets = {
            partition: offset for partition, lane in self._lanes.items() if (offset := lane.unreported()) is not None
        }
        if offsets:
            await self._reader.report(offsets)

    async def _measure(self) -> None:
        """Keep the lag of each partition up to date."""
        while True:
            with suppress(LogUnavailable):
                ends = await self._log.ends()
                for partition, lane in self._lanes.items():
                    metrics.STREAM_LAG.labels(partition).set(max(0, ends.get(partition, 0) - lane.next_offset))
            await self._clock.sleep(MEASURE_S)
