"""The tables `archive_state` and `archive_file`: how far the archive is, and which files it has."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import asyncpg

from metering.archive.files import File
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from schemas.codec import convert
from schemas.meter import Meter


class Progress(NamedTuple):
    """A partition: committed up to `committed`, archived up to `archived` (None: not at all), cut up to `cut`."""

    partition: int
    log_id: str
    committed: int
    archived: int | None
    cut: int | None
    cut_by: str


class Archived(NamedTuple):
    """What of a partition of a log is archived: offsets `first_offset` to before `next_offset`."""

    log_id: str
    partition: int
    first_offset: int
    next_offset: int


class ArchiveStore:
    """The tables; any number of archivers may use them at once."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def progress(self) -> list[Progress]:
        """Every partition that a worker has read from."""
        async with connection(self._pool) as lent:
            return [Progress(*row) for row in await lent.fetch(queries().archive_progress)]

    async def begin(self, log_id: str, partition: int, first_offset: int) -> None:
        """Let the archive of a partition begin, if it has not."""
        async with connection(self._pool) as lent:
            await lent.execute(queries().begin_archive, log_id, partition, first_offset)

    async def record_cut(self, log_id: str, partition: int, first: int, cut: int, owner: str) -> bool:
        """Record where the next cut ends, before anything is written; False if another archiver was first."""
        async with connection(self._pool) as lent:
            found = await lent.fetchval(queries().record_cut, log_id, partition, first, cut, owner)
        return found is not None

    async def finish_cut(self, log_id: str, partition: int, first: int, cut: int, files: Sequence[File]) -> bool:
        """List the files of a cut and go on behind it; False if another archiver has done so."""

        async def steps(lent: asyncpg.Connection) -> bool:
            if await lent.fetchval(queries().finish_cut, log_id, partition, first, cut) is None:
                return False
            await lent.executemany(queries().insert_archive_file, [_row(file) for file in files])
            return True

        return await transaction(self._pool, steps)

    async def meters(self) -> dict[str, Meter]:
        """The meters in force."""
        async with connection(self._pool) as lent:
            rows = await lent.fetch(queries().load_meters)
        return {row["key"]: convert(row["definition"], Meter) for row in rows}

    async def files(self, partition: int, day: date) -> list[File]:
        """The files of one day of a partition, by offset."""
        async with connection(self._pool) as lent:
            return await files_of(lent, partition, day, day)

    async def small(
        self, log_id: str, partition: int, files_min: int, events_max: int, but: Iterable[date]
    ) -> date | None:
        """A day, but none of `but`, that has more than `files_min` files of fewer than `events_max` events."""
        async with connection(self._pool) as lent:
            row = await lent.fetchrow(
                queries().small_archive_files, log_id, partition, files_min, events_max, list(but)
            )
        return None if row is None else row["day"]

    async def replace(self, old: Sequence[File], new: File) -> bool:
        """List a merged file in the place of those that are in it; False if one of these is no longer listed."""

        async def steps(lent: asyncpg.Connection) -> bool:
            gone = await lent.fetch(queries().drop_archive_files, [file.path for file in old])
            if len(gone) != len(old):
                raise _ListedNoMore
            await lent.execute(queries().insert_archive_file, *_row(new))
            return True

        try:
            return await transaction(self._pool, steps)
        except _ListedNoMore:
            return False


class _ListedNoMore(Exception):
    """Rolls a merge back: another archiver has merged these files."""


async def files_of(
    lent: asyncpg.Connection, partition: int | None = None, first: date | None = None, last: date | None = None
) -> list[File]:
    """The files of a partition (None: of all) of events of the days `first` to `last`, by day and offset."""
    return [File(*row) for row in await lent.fetch(queries().archive_files, partition, first, last)]


async def archived(lent: asyncpg.Connection) -> list[Archived]:
    """How far every partition is archived."""
    return [Archived(*row) for row in await lent.fetch(queries().archive_states)]


def _row(file: File) -> Iterable[object]:
    return tuple(file)
