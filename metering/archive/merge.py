"""Small files of one day become one: fewer files to open, better statistics.

The merged file is written before it is listed; one transaction lists it and takes the small ones off the list; only
then they are removed. Killed in between, there are files that nobody lists; no event is lost or listed twice.
"""

import asyncio
from collections import defaultdict
from datetime import date
from typing import Any, Final

import pyarrow as pa
import structlog

from metering.archive.files import File, path_of, read_file, size_of, write_file
from metering.archive.identities import index_path
from metering.archive.place import Place
from metering.archive.rows import in_order
from metering.archive.store import ArchiveStore
from metering.errors import ArchiveDamaged
from metering.observe import metrics

_logger = structlog.get_logger("metering.archive")

FILES_MIN: Final = 8
"""So many small files of one day in one partition are left alone."""
EVENTS_MAX: Final = 500_000
"""A merged file has about so many events at most,"""
BYTES_MAX: Final = 256 << 20
"""and so many bytes before they are packed: what a merge holds in memory, about twice."""


class Merger:
    """Merges the files of a partition, a day at a time."""

    def __init__(self, store: ArchiveStore, place: Place) -> None:
        self._store = store
        self._place = place
        self._left: defaultdict[int, set[date]] = defaultdict(set)
        """Days of a partition that stay as they are: their files are too large to be merged, or damaged."""

    async def merge_one(self, log_id: str, partition: int) -> bool:
        """Merge the small files of one day, if some day has too many; whether that was so."""
        left = self._left[partition]
        day = await self._store.small(log_id, partition, FILES_MIN, EVENTS_MAX // FILES_MIN, left)
        if day is None:
            return False
        files = [file for file in await self._store.files(partition, day) if file.log_id == log_id]
        try:
            merged = await self._merge(files)
        except ArchiveDamaged as error:
            metrics.ARCHIVE_FAILURES.inc()
            _logger.error("archive_damaged", partition=partition, reason=str(error))
            merged = False
        except FileNotFoundError:
            return False  # Another archiver has merged it.
        if not merged:
            left.add(day)
        return merged

    async def _merge(self, files: list[File]) -> bool:
        """Merge some of the files of one day; False if no two of them fit together."""
        some = first_run(files, await asyncio.to_thread(self._sizes, files))
        if len(some) < 2:
            return False
        table = await asyncio.to_thread(self._read, some)
        first, end = some[0].first_offset, some[-1].next_offset
        path = path_of(some[0].log_id, some[0].partition, some[0].day, first, end)
        await asyncio.to_thread(write_file, self._place, path, table)
        if not await self._store.replace(some, some[0]._replace(next_offset=end, path=path, events=len(table))):
            return False
        for file in some:
            self._place.remove(file.path)
            self._place.remove(index_path(file.path))
        metrics.ARCHIVE_MERGED.inc(len(some))
        return True

    def _sizes(self, files: list[File]) -> list[int]:
        return [size_of(self._place, file.path) for file in files]

    def _read(self, files: list[File]) -> Any:
        return in_order(pa.concat_tables([read_file(self._place, file.path) for file in files]))


def first_run(files: list[File], sizes: list[int]) -> list[File]:
    """Files in a row, the first small one among them, that make one of a good size; `sizes` in bytes, unpacked."""
    run: list[File] = []
    events = size = 0
    for file, its_size in zip(files, sizes, strict=True):
        small = file.events < EVENTS_MAX // FILES_MIN and its_size <= BYTES_MAX
        if small and events + file.events <= EVENTS_MAX and size + its_size <= BYTES_MAX:
            run.append(file)
            events, size = events + file.events, size + its_size
        elif len(run) > 1:
            break
        else:
            run, events, size = ([file], file.events, its_size) if small else ([], 0, 0)
    return run
