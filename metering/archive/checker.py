"""The nightly self-check: a role that compares what is kept with what the archive gives, and says what differs."""

import time
from typing import Final

import structlog

from metering.archive.rebuild import Asked, Rebuilder
from metering.clock import Clock
from metering.errors import ArchiveDamaged
from metering.observe import metrics

_logger = structlog.get_logger("metering.archive")

EVERY_SECONDS: Final = 86_400.0
"""Between two checks, of real time; the first is made so long after the start."""
LOOK_SECONDS: Final = 0.5
LOGGED_MAX: Final = 10


class Checker:
    """Checks all partitions once a day, one after the other."""

    def __init__(self, rebuilder: Rebuilder, partitions: int, clock: Clock) -> None:
        self._rebuilder = rebuilder
        self._partitions = partitions
        self._clock = clock
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`."""
        last = time.monotonic()
        while not self._stopping:
            if time.monotonic() - last >= EVERY_SECONDS:
                await self.check()
                last = time.monotonic()
            await self._clock.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """End `run` after the partition at hand."""
        self._stopping = True

    async def check(self) -> None:
        """Check now; the metric has what the last check of each partition found."""
        for partition in range(self._partitions):
            if self._stopping:
                return
            try:
                report = await self._rebuilder.check(partition, Asked())
            except ArchiveDamaged as error:
                metrics.ARCHIVE_FAILURES.inc()
                _logger.error("archive_damaged", partition=partition, reason=str(error))
                continue
            if report is None:
                continue
            metrics.ARCHIVE_DRIFT.labels(partition).set(len(report.found))
            for one in report.found[:LOGGED_MAX]:
                events = [f"{event.offset}.{event.number}: {event.why}" for event in one.events]
                _logger.error("archive_drift", partition=partition, where=one.place or one.key, events=events)
