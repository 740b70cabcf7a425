"""The archiver: a role that writes what the worker has committed to files, cut by cut, each event once.

A cut, in numbered steps (also in `metering/archive/README.md`):

1. read the log from where the archive ends, until the cut is full or nothing committed is left
2. record where the cut ends; if another archiver was first, let it be
3. write a file for each day of the events in it, aside, synced, renamed (names come from log, partition, offsets)
4. in one transaction list the files and move the end of the archive

Whoever finds a recorded cut that nobody finishes does steps 3 and 4 for the very same offsets: the same files.
"""

import asyncio
import time
from contextlib import aclosing
from typing import Any, Final

import pyarrow as pa
import structlog

from metering.archive.exact import Notes
from metering.archive.files import File, path_of, write_file
from metering.archive.merge import Merger
from metering.archive.place import Place
from metering.archive.rows import by_day, events_table
from metering.archive.source import mean_size, parts
from metering.archive.store import ArchiveStore, Progress
from metering.clock import Clock
from metering.errors import ArchiveUnavailable, LogUnavailable
from metering.observe import metrics
from metering.stream.log import Log

_logger = structlog.get_logger("metering.archive")

CUT_EVENTS: Final = 200_000
CUT_BYTES: Final = 64 << 20
"""A cut is full with so many events, or so much of their JSON: what the archiver holds in memory."""
CUTS_AT_ONCE: Final = 2
"""Of different partitions: while one waits for the log or the disk, the other computes."""
CUT_SECONDS: Final = 60.0
"""A cut that does not fill is made after so long (of real time)."""
TAKE_OVER_SECONDS: Final = 60.0
"""A cut of another archiver that has not been finished for so long is written by us."""
LOOK_SECONDS: Final = 0.5
RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Archiver:
    """Writes the cuts of all partitions; any number of archivers may run."""

    def __init__(self, log: Log, store: ArchiveStore, place: Place, clock: Clock, *, owner: str) -> None:
        """`owner` names this process in `archive_state`."""
        self._log = log
        self._store = store
        self._place = place
        self._clock = clock
        self._owner = owner
        self._notes = Notes({})
        self._merger = Merger(store, place)
        self._waiting: dict[int, float] = {}
        """Since when a partition has something to archive (monotonic)."""
        self._others: dict[tuple[int, int], float] = {}
        """Since when we see a cut (partition, end) of another archiver."""
        self._sizes: dict[int, int] = {}
        """Bytes of a partition's messages, as they were lately."""
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`. The archive's place may be away or full: then it is tried again, and the log keeps all."""
        failures = 0
        while not self._stopping:
            try:
                moved = await self.step()
                failures = 0
            except (ArchiveUnavailable, LogUnavailable) as error:
                metrics.ARCHIVE_FAILURES.inc()
                _logger.warning("archive_waits", reason=str(error))
                await self._pause(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
            else:
                if not moved:
                    await self._pause(LOOK_SECONDS)

    def stop(self) -> None:
        """End `run` after the cut at hand."""
        self._stopping = True

    async def step(self, *, all_now: bool = False) -> bool:
        """Make the cuts that are due, or all that can be made; whether anything was written or merged."""
        moved = False
        meters = await self._store.meters()
        if meters != self._notes.meters:
            self._notes = Notes(meters)
        begins, due = await self._log.begins(), list[Progress]()
        for progress in await self._store.progress():
            if self._stopping:
                break
            if progress.log_id != self._log.identity:
                continue  # Read from a log that was replaced: it cannot be read here.
            begin = begins.get(progress.partition, 0)
            if progress.archived is None:
                await self._store.begin(progress.log_id, progress.partition, begin)
                progress = progress._replace(archived=begin)
            self._measure(progress, begin)
            if self._lost(progress, begin):
                continue
            if self._due(progress, all_now=all_now):
                due.append(progress)
            elif await self._merger.merge_one(progress.log_id, progress.partition):
                moved = True
        for first in range(0, len(due), CUTS_AT_ONCE):
            cuts = [self._cut(one) for one in due[first : first + CUTS_AT_ONCE] if not self._stopping]
            for ended in await asyncio.gather(*cuts, return_exceptions=True):
                if isinstance(ended, BaseException):
                    raise ended
                moved |= ended
        return moved

    def _due(self, progress: Progress, *, all_now: bool) -> bool:
        """Whether it is time for a cut, and nobody else is at it."""
        archived = progress.archived or 0
        now = time.monotonic()
        if progress.cut is not None:
            seen = self._others.setdefault((progress.partition, progress.cut), now)
            mine = progress.cut_by == self._owner
            return all_now or mine or now - seen >= TAKE_OVER_SECONDS
        if archived >= progress.committed:
            self._waiting.pop(progress.partition, None)
            return False
        since = self._waiting.setdefault(progress.partition, now)
        return all_now or progress.committed - archived >= CUT_EVENTS or now - since >= CUT_SECONDS

    async def _cut(self, progress: Progress) -> bool:
        """Steps 1 to 4 for one partition; False if another archiver was first."""
        log_id, partition, first = progress.log_id, progress.partition, progress.archived or 0
        # 1 read
        table, cut = await self._read(partition, first, progress.cut or progress.committed, whole=bool(progress.cut))
        if (await self._log.begins()).get(partition, 0) > first:
            return False  # Dropped while it was read: the next step tells.
        # 2 record
        if progress.cut is None and not await self._store.record_cut(log_id, partition, first, cut, self._owner):
            return False
        # 3 write
        files = await asyncio.to_thread(self._write, log_id, partition, first, cut, table)
        # 4 list
        if not await self._store.finish_cut(log_id, partition, first, cut, files):
            return False
        self._waiting.pop(partition, None)
        self._others.pop((partition, cut), None)
        metrics.ARCHIVE_EVENTS.inc(len(table))
        metrics.ARCHIVE_LAG.labels(partition).set(max(0, progress.committed - cut))
        return True

    async def _read(self, partition: int, first: int, end: int, *, whole: bool) -> tuple[Any, int]:
        """Events from `first` on and the offset that follows them; `whole`: all before `end`, the cut is recorded."""
        tables: list[Any] = []
        events = size = 0
        cut = first
        async with aclosing(parts(self._log, partition, first, end, self._sizes.get(partition))) as reading:
            async for records, after in reading:
                tables.append(await asyncio.to_thread(events_table, partition, records, self._notes))
                cut = after
                events += len(tables[-1])
                size += sum(len(record.payload or b"") for record in records)
                if records:
                    self._sizes[partition] = mean_size(records)
                if not whole and (events >= CUT_EVENTS or size >= CUT_BYTES):
                    break
        return pa.concat_tables(tables), cut

    def _write(self, log_id: str, partition: int, first: int, cut: int, table: Any) -> list[File]:
        """Write the files of a cut."""
        files = []
        for day, rows in by_day(table):
            path = path_of(log_id, partition, day, first, cut)
            write_file(self._place, path, rows)
            files.append(File(log_id, partition, day, first, cut, path, len(rows)))
        return files

    def _lost(self, progress: Progress, begin: int) -> bool:
        """Whether the log has dropped what was to be archived next: an operator must know."""
        archived = progress.archived or 0
        lost = begin > archived and archived < progress.committed
        if lost:
            metrics.ARCHIVE_FAILURES.inc()
            _logger.error(
                "archive_lost",
                partition=progress.partition,
                reason=f"the log begins at {begin}, the archive ends at {archived};"
                " see docs/howto/operate.md, 'The log dropped events before they were archived'",
            )
        return lost

    def _measure(self, progress: Progress, begin: int) -> None:
        archived = progress.archived or 0
        metrics.ARCHIVE_LAG.labels(progress.partition).set(max(0, progress.committed - archived))
        metrics.ARCHIVE_MARGIN.labels(progress.partition).set(archived - begin)

    async def _pause(self, seconds: float) -> None:
        """Wait, but look now and then whether to stop."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            await self._clock.sleep(min(left, LOOK_SECONDS))
