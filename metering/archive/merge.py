"""Small files of one day become one: fewer files to open, better statistics.

The merged file is written before it is listed; one transaction lists it and takes the small ones off the list; only
then they are removed. Killed in between, there are files that nobody lists; no event is lost or listed twice.
"""

import asyncio
from typing import Any, Final

import pyarrow as pa

from metering.archive.files import File, path_of, read_file, write_file
from metering.archive.identities import index_path
from metering.archive.place import Place
from metering.archive.rows import in_order
from metering.archive.store import ArchiveStore
from metering.observe import metrics

FILES_MIN: Final = 8
"""So many small files of one day in one partition are left alone."""
EVENTS_MAX: Final = 500_000
"""A merged file has about so many events at most (150 MB in memory while it is made)."""


class Merger:
    """Merges the files of a partition, a day at a time."""

    def __init__(self, store: ArchiveStore, place: Place) -> None:
        self._store = store
        self._place = place

    async def merge_one(self, log_id: str, partition: int) -> bool:
        """Merge the small files of one day, if some day has too many; whether that was so."""
        day = await self._store.small(log_id, partition, FILES_MIN, EVENTS_MAX // FILES_MIN)
        if day is None:
            return False
        files = [file for file in await self._store.files(partition, day) if file.log_id == log_id]
        some = first_run(files)
        if len(some) < 2:
            return False
        table = await asyncio.to_thread(self._read, some)
        first, end = some[0].first_offset, some[-1].next_offset
        path = path_of(log_id, partition, day, first, end)
        await asyncio.to_thread(write_file, self._place, path, table)
        merged = File(log_id, partition, day, first, end, path, len(table))
        if not await self._store.replace(some, merged):
            return False
        for file in some:
            self._place.remove(file.path)
            self._place.remove(index_path(file.path))
        metrics.ARCHIVE_MERGED.inc(len(some))
        return True

    def _read(self, files: list[File]) -> Any:
        return in_order(pa.concat_tables([read_file(self._place, file.path) for file in files]))


def first_run(files: list[File]) -> list[File]:
    """Files in a row, the first small one among them, that make one of a good size."""
    small = EVENTS_MAX // FILES_MIN
    run: list[File] = []
    for file in files:
        if file.events < small and sum(one.events for one in run) + file.events <= EVENTS_MAX:
            run.append(file)
        elif len(run) > 1:
            break
        else:
            run = [file] if file.events < small else []
    return run
