"""Reading events: from the archive's files, and what is not yet in them from the log.

Nothing that was acknowledged is ever missing: the list of files and the end of the archive are read at one instant, and
the log is read from there on. A file that was merged away in between is looked for in the list again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.archive.files import File, read_file, read_identity
from metering.archive.place import Place
from metering.archive.rows import INSTANT, SCHEMA, by_day, events_table, positions_of
from metering.archive.source import parts
from metering.archive.store import archived, files_of
from metering.errors import ArchiveUnavailable
from metering.postgres.pool import connection
from metering.stream.log import Log
from schemas.ids import identity, partition_of
from schemas.instants import Instant

TRIES: Final = 3
T = TypeVar("T")


class Wanted(NamedTuple):
    """Which events: of one customer, of a type (None: any), of a time in [start, end), microseconds."""

    customer: str
    type: str | None
    start: int
    end: int


class EventReader:
    """Events of an installation."""

    def __init__(self, pool: asyncpg.Pool, log: Log, place: Place) -> None:
        self._pool = pool
        self._log = log
        self._place = place

    async def find(self, subject: str, source: str, event_id: str) -> Any:
        """Every arrival of an identity (a table of `rows.SCHEMA`), first those in the archive; none: empty."""
        partition, key = partition_of(subject, self._log.partitions), identity(subject, source, event_id)

        async def look() -> Any:
            files, end = await self._listed(partition)
            found = await asyncio.to_thread(_each, files, lambda file: read_identity(self._place, file.path, key))
            if len(found):
                return found
            async for table in self.tail(partition, end):
                found = pa.concat_tables(
                    [found, table.filter(pc.equal(table["identity"], pa.scalar(key, pa.binary(16))))]
                )
            return found

        return await self._patiently(look)

    async def search(self, wanted: Wanted) -> AsyncIterator[Any]:
        """Tables of the wanted events, a day each, oldest first; within a day by time and position."""
        partition = partition_of(wanted.customer, self._log.partitions)
        first, last = _day(wanted.start), _day(wanted.end - 1)

        async def days() -> dict[date, Any]:
            """The tail by day; read first, so that a day is whole whatever is archived meanwhile."""
            _, end = await self._listed(partition)
            tables = [table.filter(_filter(wanted)) async for table in self.tail(partition, end)]
            return {part.day: part.table for part in by_day(pa.concat_tables(tables))} if tables else {}

        tail = await days()
        listed = {file.day for file in (await self._listed(partition, first, last))[0]}
        for day in sorted(listed | tail.keys()):
            yield await self._patiently(partial(self._day, partition, day, wanted, tail.get(day)))

    async def _day(self, partition: int, day: date, wanted: Wanted, tail: Any) -> Any:
        files, _ = await self._listed(partition, day, day)
        found = await asyncio.to_thread(
            _each, files, lambda file: read_file(self._place, file.path, filters=_filter(wanted))
        )
        if tail is not None:
            found = _distinct(pa.concat_tables([found, tail]))
        return found.sort_by([(name, "ascending") for name in ("time", "offset", "index")])

    async def tail(self, partition: int, end: int) -> AsyncIterator[Any]:
        """The events of the log from where the archive ends, in parts."""
        ends = await self._log.ends()
        async for records, _ in parts(self._log, partition, end, ends.get(partition, 0)):
            yield await asyncio.to_thread(events_table, partition, records)

    async def _listed(
        self, partition: int, first: date | None = None, last: date | None = None
    ) -> tuple[list[File], int]:
        """The files of a partition, and the offset at which its archive ends, at one instant."""
        async with connection(self._pool) as lent, lent.transaction(isolation="repeatable_read", readonly=True):
            files = await files_of(lent, partition, first, last)
            ends = {one.partition: one.next_offset for one in await archived(lent) if one.log_id == self._log.identity}
        begins = await self._log.begins() if partition not in ends else {}
        return files, ends.get(partition, begins.get(partition, 0))

    async def _patiently(self, look: Callable[[], Any]) -> Any:
        """Try again where a file was merged away after it was listed."""
        for _ in range(TRIES):
            try:
                return await look()
            except FileNotFoundError as error:
                gone = error
        raise ArchiveUnavailable(f"a file of the archive is not where it is listed: {gone}") from gone


def _each(files: list[File], read: Callable[[File], Any]) -> Any:
    """What is read of each file, in one table."""
    return pa.concat_tables([SCHEMA.empty_table(), *(read(file) for file in files)])


def _filter(wanted: Wanted) -> Any:
    """The wanted events as an expression: what statistics rule out is not decoded."""
    found = (
        (pc.field("customer") == wanted.customer)
        & (pc.field("time") >= pa.scalar(wanted.start, INSTANT))
        & (pc.field("time") < pa.scalar(wanted.end, INSTANT))
    )
    return found if wanted.type is None else found & (pc.field("type") == wanted.type)


def _distinct(table: Any) -> Any:
    """Rows of distinct positions: what was archived since the tail was read is in both."""
    return table.take(np.sort(np.unique(positions_of(table), return_index=True)[1]))


def _day(time: int) -> date:
    return Instant(time).moment().date()
