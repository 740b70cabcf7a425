"""The table `seen`: a row of identities per checkpoint, read back when a partition is taken."""

from typing import NamedTuple

import asyncpg
import numpy as np

from metering.dedup.window import ENTRY, Window, Words, day_of
from metering.postgres.queries import queries
from rating.fixed import Indices
from schemas.instants import Instant

SMALL = 500
"""Identities up to which a checkpoint is small: a quiet stream makes very many of them."""
RUN_MAX = 1_000
"""Rows of small checkpoints, one after the other, that are merged into one."""


class Run(NamedTuple):
    """Small checkpoints in a row, each one row of `seen`: how many, where they begin, and the day of their expiry."""

    rows: int = 0
    first_offset: int = 0
    day: int = 0


async def insert(
    connection: asyncpg.Connection,
    partition: int,
    first_offset: int,
    entries: Words,
    expires: Indices,
    run: Run,
) -> Run:
    """Keep the identities of a checkpoint (uint64[m, 4]); a row for each late window among them.

    `expires` int64[m]: until when each is remembered, in microseconds; a row lasts as long as its last identity. `run`
    is what the checkpoint before answered: where it is long, its rows and this one become one row.
    """
    groups = by_window(expires)
    for rows, until in groups:
        mine = np.ascontiguousarray(entries[rows])
        await connection.execute(
            queries().insert_seen,
            partition,
            first_offset,
            Instant(until).moment(),
            len(mine),
            mine[np.argsort(mine[:, 0], kind="stable")].astype("<u8").tobytes(),
        )
    if not groups:
        return run
    day = day_of(groups[0][1])
    if len(groups) > 1 or len(entries) > SMALL:
        return Run()
    if run.rows == 0 or run.day != day:
        return Run(1, first_offset, day)
    if run.rows + 1 < RUN_MAX:
        return run._replace(rows=run.rows + 1)
    await connection.execute(queries().merge_seen, partition, run.first_offset)
    return Run()


def by_window(expires: Indices) -> list[tuple[Indices, int]]:
    """Rows of a checkpoint that may be forgotten together, and when: a day apart at most."""
    if len(expires) == 0:
        return []
    order = np.argsort(expires, kind="stable")
    apart = np.flatnonzero(np.diff(expires[order]) > _TOGETHER) + 1
    return [(rows, int(expires[rows].max())) for rows in np.split(order, apart)]


_TOGETHER = 86_400_000_000
"""Identities whose expiries lie within a day of each other share a row (microseconds)."""


ROWS_AT_ONCE = 10
"""Rows fetched together: other partitions go on in between, and memory holds only these twice."""


async def load(connection: asyncpg.Connection, partition: int, now: Instant) -> Window:
    """All that the partition remembers; what is over is deleted first."""
    window = Window()
    await connection.execute(queries().expire_seen, partition, now.moment())
    async with connection.transaction():
        rows = connection.cursor(queries().load_seen, partition, now.moment(), prefetch=ROWS_AT_ONCE)
        async for row in rows:
            entries = np.frombuffer(row["keys"], dtype="<u8").reshape(-1, ENTRY // 8)
            window.add(entries, Instant.of(row["expires_at"]))
    return window
