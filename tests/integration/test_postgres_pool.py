"""The pool and its transactions: exact values, limits on every wait, retries, a commit that is not torn."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from metering.embedded import EmbeddedPostgres
from metering.errors import StoreUnavailable
from metering.postgres import pool as module
from metering.postgres.pool import CommitUnknown, connection, create_pool, transaction
from metering.postgres.queries import queries
from schemas.numbers import Number

LINGERING = """
CREATE TABLE child (id int);
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_sleep(NEW.id / 10.0); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON child DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION linger();
"""  # The commit of a row n takes n tenths of a second.


@pytest.fixture
async def counters(pool: asyncpg.Pool) -> asyncpg.Pool:
    """The pool, with a table of ten counters at 0."""
    await pool.execute("CREATE TABLE counter (id int PRIMARY KEY, n numeric NOT NULL)")
    await pool.execute("INSERT INTO counter SELECT i, 0 FROM generate_series(1, 10) i")
    return pool


@pytest.fixture
async def own_server() -> AsyncIterator[EmbeddedPostgres]:
    """A server of this test's own, to be killed."""
    async with EmbeddedPostgres(durable=False) as server:
        yield server


async def value(pool: asyncpg.Pool, sql: str) -> object:
    """The single value that a statement returns."""
    async with connection(pool) as lent:
        return await lent.fetchval(sql)


async def test_connections_have_utc_and_their_limits(pool: asyncpg.Pool) -> None:
    names = ["timezone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name"]
    async with connection(pool) as lent:
        actual = [await lent.fetchval("SELECT current_setting($1)", name) for name in names]
    assert actual == ["UTC", "30s", "10s", "30s", "metering"]


async def test_numeric_and_instants_come_back_exactly(pool: asyncpg.Pool) -> None:
    amount, instant = Decimal("123456789012345678.000000000001"), datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)
    async with connection(pool) as lent:
        row = await lent.fetchrow("SELECT $1::numeric, $2::timestamptz", amount, instant)
    assert tuple(row) == (amount, instant)


@pytest.mark.parametrize("kind", ["jsonb", "json"], ids=["jsonb", "json"])
async def test_json_trees_keep_their_numbers(kind: str, pool: asyncpg.Pool) -> None:
    tree = {"a": [1, None, True, "é"], "b": {}}
    async with connection(pool) as lent:
        assert await lent.fetchval(f"SELECT $1::{kind}", tree) == tree
        found = await lent.fetchval(f"""SELECT '{{"x": 0.1, "y": 12345678901234567890.5}}'::{kind}""")
        assert found == {"x": Decimal("0.1"), "y": Decimal("12345678901234567890.5")}
        assert await lent.fetchval(f"SELECT $1::{kind} ->> 'price'", {"price": Number.parse("0.10")}) == "0.1"


async def test_work_is_committed_and_its_result_returned(counters: asyncpg.Pool) -> None:
    async def work(lent: asyncpg.Connection) -> int:
        await lent.execute("UPDATE counter SET n = 5 WHERE id = 1")
        return 42

    assert await transaction(counters, work) == 42
    assert await value(counters, "SELECT n FROM counter WHERE id = 1") == 5


async def test_failing_work_is_rolled_back_and_its_error_kept(counters: asyncpg.Pool) -> None:
    async def work(lent: asyncpg.Connection) -> None:
        await lent.execute("UPDATE counter SET n = 5")
        raise OSError("a disk of the caller's")

    with pytest.raises(OSError, match="a disk of the caller's"):
        await transaction(counters, work)
    assert await value(counters, "SELECT sum(n) FROM counter") == 0


async def test_opposite_lock_orders_all_end_committed(counters: asyncpg.Pool) -> None:
    met, runs = asyncio.Barrier(2), 0

    async def work(lent: asyncpg.Connection, order: list[int]) -> None:
        nonlocal runs
        runs += 1
        await lent.execute("SET LOCAL deadlock_timeout = '20ms'")
        await lent.execute("UPDATE counter SET n = n + 1 WHERE id = $1", order[0])
        if runs <= 2:
            await met.wait()
        await lent.execute("UPDATE counter SET n = n + 1 WHERE id = $1", order[1])

    upwards, downwards = [1, 2], [2, 1]
    await asyncio.gather(
        transaction(counters, lambda lent: work(lent, upwards)),
        transaction(counters, lambda lent: work(lent, downwards)),
    )
    assert runs >= 3  # The loser ran again; it may lose more than once before the winner wakes up.
    assert await value(counters, "SELECT array_agg(n) FROM counter WHERE id <= 2") == [2, 2]


async def test_statement_cached_before_a_table_changed_is_run_again(counters: asyncpg.Pool, database: str) -> None:
    runs = 0

    async def work(lent: asyncpg.Connection) -> object:
        nonlocal runs
        runs += 1
        return tuple(await lent.fetchrow("SELECT * FROM counter WHERE id = 1"))

    before = [await transaction(counters, work) for _ in range(2)]
    other = await asyncpg.connect(database)
    await other.execute("ALTER TABLE counter ADD COLUMN more int DEFAULT 9")
    await other.close()
    assert await transaction(counters, work) == (1, 0, 9)
    assert before == [(1, 0), (1, 0)]
    assert runs == 4


async def test_work_that_always_deadlocks_ends_with_the_error(pool: asyncpg.Pool) -> None:
    runs = 0

    async def work(lent: asyncpg.Connection) -> None:
        nonlocal runs
        runs += 1
        await lent.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")

    with pytest.raises(asyncpg.DeadlockDetectedError):
        await transaction(pool, work)
    assert runs == module.ATTEMPTS


async def test_constraint_checked_at_commit_is_the_servers_error_not_unknown(counters: asyncpg.Pool) -> None:
    await counters.execute("CREATE TABLE child (id int REFERENCES counter DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await transaction(counters, lambda lent: lent.execute("INSERT INTO child VALUES (99)"))
    assert await value(counters, "SELECT count(*) FROM child") == 0


async def test_cancellation_during_the_commit_waits_for_it(
    counters: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, commit = asyncio.Event(), module._commit

    async def slow(lent: asyncpg.Connection, begun: object) -> None:
        committing.set()
        await commit(lent, begun)

    await counters.execute(LINGERING)
    monkeypatch.setattr(module, "_commit", slow)
    task = asyncio.create_task(transaction(counters, lambda lent: lent.execute("INSERT INTO child VALUES (1)")))
    await committing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await value(counters, "SELECT count(*) FROM child") == 1


async def test_cancelled_work_leaves_no_lock_behind(counters: asyncpg.Pool) -> None:
    holding = asyncio.Event()

    async def work(lent: asyncpg.Connection) -> None:
        await lent.execute("SELECT n FROM counter WHERE id = 1 FOR UPDATE")
        holding.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(transaction(counters, work))
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with connection(counters) as lent:
        assert await lent.fetchval("SELECT n FROM counter WHERE id = 1 FOR UPDATE NOWAIT") == 0


async def test_no_free_connection_in_time_is_store_unavailable(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACQUIRE_SECONDS", 0.05)
    pool = await create_pool(database, size=1)
    async with connection(pool):
        with pytest.raises(StoreUnavailable, match=r"no connection to Postgres within 0\.05 s"):
            await value(pool, "SELECT 1")
    assert await value(pool, "SELECT 1") == 1
    await pool.close()


@pytest.mark.parametrize(
    ("setting", "sql"),
    [
        ("statement_timeout", "SELECT pg_sleep(60)"),
        ("lock_timeout", "UPDATE counter SET n = 1 WHERE id = 1"),
    ],
    ids=["slow-statement", "held-lock"],
)
async def test_too_slow_is_store_unavailable(setting: str, sql: str, counters: asyncpg.Pool) -> None:
    async def hold(lent: asyncpg.Connection) -> None:
        await lent.execute("UPDATE counter SET n = 2 WHERE id = 1")
        with pytest.raises(StoreUnavailable, match="too slow"):
            await transaction(counters, slow)

    async def slow(lent: asyncpg.Connection) -> None:
        await lent.execute(f"SET LOCAL {setting} = '50ms'")
        await lent.execute(sql)

    await transaction(counters, hold)
    assert await value(counters, "SELECT n FROM counter WHERE id = 1") == 2


async def test_server_that_dies_is_store_unavailable_and_the_pool_recovers(own_server: EmbeddedPostgres) -> None:
    pool = await create_pool(own_server.dsn, size=2)

    async def die(lent: asyncpg.Connection) -> None:
        await lent.execute("SELECT 1")
        await asyncio.to_thread(own_server.kill)
        await lent.execute("SELECT 1")

    with pytest.raises(StoreUnavailable):
        await transaction(pool, die)
    with pytest.raises(StoreUnavailable, match="no connection"):
        await value(pool, "SELECT 1")
    await own_server.start()
    assert await value(pool, "SELECT 1") == 1
    await pool.close()


async def test_server_that_dies_at_the_commit_leaves_it_unknown(own_server: EmbeddedPostgres) -> None:
    pool = await create_pool(own_server.dsn, size=2)
    await pool.execute(LINGERING)

    async def kill_at_the_commit() -> None:
        watching = await asyncpg.connect(own_server.dsn)
        while not await watching.fetchval(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT;' AND state = 'active'"
        ):
            pass
        watching.terminate()
        await asyncio.to_thread(own_server.kill)

    killing = asyncio.create_task(kill_at_the_commit())
    with pytest.raises(CommitUnknown):
        await transaction(pool, lambda lent: lent.execute("INSERT INTO child VALUES (300)"))
    await killing
    await own_server.start()
    assert await value(pool, "SELECT count(*) FROM child") == 0
    await pool.close()


async def test_server_that_dies_before_the_commit_has_changed_nothing(own_server: EmbeddedPostgres) -> None:
    pool = await create_pool(own_server.dsn, size=2)

    async def work(lent: asyncpg.Connection) -> None:
        await lent.execute("CREATE TABLE kept (n int)")
        await asyncio.to_thread(own_server.kill)

    with pytest.raises(StoreUnavailable, match="nothing was changed") as caught:
        await transaction(pool, work)
    assert not isinstance(caught.value, CommitUnknown)
    await own_server.start()
    assert await value(pool, "SELECT to_regclass('kept')") is None
    await pool.close()


async def test_pool_without_a_server_is_store_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await create_pool(f"postgresql://metering@/metering?host={tmp_path}")


async def test_every_named_query_is_accepted_by_the_migrated_database(pool: asyncpg.Pool) -> None:
    async with connection(pool) as lent:
        for name in queries():
            await lent.prepare(getattr(queries(), name))
