"""Rows of `seen`: those of many small checkpoints become one, and nothing is forgotten by it."""

import asyncpg
import numpy as np
import pytest

from metering.dedup import store
from metering.dedup.store import Run, insert, load
from metering.postgres.queries import queries
from schemas.instants import DAY, Instant

NOW = Instant.parse("2026-01-10T10:30:00Z")
UNTIL = NOW + 36 * DAY


async def keep(pool: asyncpg.Pool, run: Run, offset: int, count: int = 1, until: int = UNTIL) -> Run:
    """One checkpoint of `count` identities; hash and position of each are its offset."""
    entries = np.full((count, 4), offset, dtype=np.uint64)
    entries[:, 1] = np.arange(count)
    async with pool.acquire() as connection, connection.transaction():
        return await insert(connection, 0, offset, entries, np.full(count, until, dtype=np.int64), run)


async def rows(pool: asyncpg.Pool) -> list[tuple[int, int]]:
    """First offset and count of every row."""
    found = await pool.fetch("SELECT first_offset, count FROM seen ORDER BY first_offset")
    return [(row["first_offset"], row["count"]) for row in found]


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RUN_MAX", 5)
    monkeypatch.setattr(store, "SMALL", 10)


async def test_small_checkpoints_become_one_row_that_remembers_all_of_them(pool: asyncpg.Pool) -> None:
    run = Run()
    for offset in range(12):
        run = await keep(pool, run, offset)
    assert await rows(pool) == [(0, 5), (5, 5), (10, 1), (11, 1)]
    async with pool.acquire() as connection:
        window = await load(connection, 0, NOW)
        assert len(window) == 12
        between = await connection.fetch(queries().seen_between, 0, 7, 10)
    hashes = np.arange(13, dtype=np.uint64)
    hashes = np.column_stack([hashes, np.zeros(13, dtype=np.uint64)])
    found = window.sort_out(hashes, hashes[:, 0].copy(), np.arange(100, 113), np.ones(13, dtype=np.bool_))
    assert found.first.tolist() == [*range(12), -1]
    positions = np.frombuffer(b"".join(row["keys"] for row in between), dtype="<u8").reshape(-1, 4)[:, 3]
    assert sorted(positions.tolist()) == [5, 6, 7, 8, 9, 10]


async def test_large_checkpoint_or_another_day_of_expiry_ends_a_run(pool: asyncpg.Pool) -> None:
    run = Run()
    for offset in range(4):
        run = await keep(pool, run, offset)
    run = await keep(pool, run, 4, count=11)
    for offset in range(5, 9):
        run = await keep(pool, run, offset)
    run = await keep(pool, run, 9, until=UNTIL + DAY)
    assert run == Run(1, 9, run.day)
    assert [first for first, _ in await rows(pool)] == list(range(10))


async def test_merged_row_lasts_as_long_as_its_last_identity(pool: asyncpg.Pool) -> None:
    run = Run()
    for offset in range(5):
        run = await keep(pool, run, offset, until=UNTIL + offset)
    assert await pool.fetchval("SELECT expires_at FROM seen") == Instant(UNTIL + 4).moment()
