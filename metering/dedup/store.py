"""The table `seen`: a row of identities per checkpoint, read back when a partition is taken."""

import asyncpg
import numpy as np

from metering.dedup.window import ENTRY, Window, Words
from metering.postgres.queries import queries
from rating.fixed import Indices
from schemas.instants import Instant


async def insert(
    connection: asyncpg.Connection, partition: int, first_offset: int, entries: Words, expires: Indices
) -> None:
    """Keep the identities of a checkpoint (uint64[m, 4]); a row for each late window among them.

    `expires` int64[m]: until when each is remembered, in microseconds; a row lasts as long as its last identity.
    """
    for rows, until in by_window(expires):
        mine = np.ascontiguousarray(entries[rows])
        await connection.execute(
            queries().insert_seen,
            partition,
            first_offset,
            Instant(until).moment(),
            len(mine),
            mine[np.argsort(mine[:, 0], kind="stable")].astype("<u8").tobytes(),
        )


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
