"""The worker on a log in memory and a real Postgres: what is committed, and what a crash changes (nothing)."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from metering.clock import SettableClock
from metering.postgres.pool import transaction
from metering.rater.rederive import rederive
from metering.rater.source import AccrualUsage
from metering.stream.checkpoint import Checkpoint
from metering.stream.lane import Lane
from metering.stream.log import Message
from metering.stream.partition import lock, lock_all
from metering.stream.worker import Worker
from metering.subscriptions.accounts import Accounts
from metering.testing.broker import MemoryLog
from metering.usage.source import BucketUsage
from metering.usage.split import split
from rating.segments import segments_between
from schemas.ids import partition_of
from schemas.instants import DAY, Instant

NOW = Instant.parse("2026-01-10T10:30:00Z")
METER = {"event_type": "call", "aggregation": "sum", "value": "data.n", "dimensions": {"model": "data.model"}}
PLAN = {
    "currency": "USD",
    "period": {"unit": "month"},
    "align": "calendar",
    "charges": {
        "api": {
            "kind": "usage",
            "meter": "calls",
            "price": {"model": "graduated", "tiers": [{"up_to": "10", "unit": "2"}, {"up_to": None, "unit": "0.5"}]},
        }
    },
}
SUBSCRIBE = {"act": "subscribe", "id": "s1", "customer": "acme", "plan": "pro"}


def event(number: int, subject: str = "acme", **changes: Any) -> dict[str, Any]:
    """A usage event of `n` = 3."""
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "app",
        "type": "call",
        "subject": subject,
        "time": "2026-01-10T10:00:00Z",
        "data": {"n": 3, "model": "large"},
        **changes,
    }


class World:
    """A log, a worker that can be stopped and started, and the database."""

    def __init__(self, pool: asyncpg.Pool, partitions: int = 1) -> None:
        self.clock = SettableClock(NOW)
        self.pool = pool
        self.log = MemoryLog(self.clock, partitions)

    async def know(self, at: str = "2026-01-01T00:00:00Z") -> None:
        """A meter, a plan, a customer with a subscription."""
        moment = Instant.parse(at).moment()
        partition = partition_of("acme", self.log.partitions)
        await self.pool.execute("INSERT INTO meter VALUES ('calls', $1, $2)", METER, moment)
        await self.pool.execute("INSERT INTO plan VALUES ('pro', 1, $1, $2)", PLAN, moment)
        await self.pool.execute(
            "INSERT INTO customer VALUES ('acme', $1, $2, $3)", partition, {"currency": "USD"}, moment
        )
        await self.pool.execute(
            "INSERT INTO act (customer, at, kind, id, body) VALUES ('acme', $1, 'subscribe', 's1', $2)",
            moment,
            SUBSCRIBE,
        )

    async def send(self, events: Sequence[Mapping[str, Any]], partition: int | None = None) -> None:
        """One message for each event."""
        await self.send_raw([json.dumps(one).encode() for one in events], [one["subject"] for one in events], partition)

    async def send_raw(self, payloads: Sequence[bytes], subjects: Sequence[str], partition: int | None = None) -> None:
        messages = [
            Message(partition_of(subject, self.log.partitions) if partition is None else partition, b"", payload)
            for payload, subject in zip(payloads, subjects, strict=True)
        ]
        await self.log.append(messages)

    def lane(self, partition: int) -> Lane:
        checkpoint = Checkpoint(
            partition, self.log, self.pool, self.clock, Accounts(), owner="test", late_window=35 * DAY
        )
        return Lane(checkpoint, self.clock)

    @asynccontextmanager
    async def working(self):
        worker = Worker(self.log, self.lane, self.clock)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await task

    async def caught_up(self) -> None:
        """Wait until everything in the log is committed."""
        async with asyncio.timeout(20):
            while True:
                ends = {partition: end for partition, end in (await self.log.ends()).items() if end}
                rows = await self.pool.fetch("SELECT partition, next_offset FROM partition_state")
                if all(dict(map(tuple, rows)).get(partition) == end for partition, end in ends.items()):
                    return
                await self.clock.sleep(0.01)

    async def outcomes(self) -> dict[str, int]:
        rows = await self.pool.fetch("SELECT code, sum(events)::bigint AS events FROM outcome GROUP BY code")
        return {row["code"]: row["events"] for row in rows}

    async def totals(self) -> list[tuple[Decimal, Decimal]]:
        """(quantity, amount) of every accrual."""
        rows = await self.pool.fetch("SELECT quantity, numerator / divisor AS amount FROM accrual ORDER BY 1")
        return [(row["quantity"], row["amount"]) for row in rows]


@pytest.fixture
def world(pool: asyncpg.Pool) -> World:
    return World(pool)


async def test_events_become_usage_and_a_rated_total(world: World) -> None:
    await world.know()
    await world.send([event(n) for n in range(5)])
    async with world.working():
        await world.caught_up()
    assert await world.totals() == [(Decimal(15), Decimal("22.5"))]  # 10 x 2 + 5 x 0.5
    usage = await world.pool.fetch("SELECT customer, meter, bucket, dimensions, named, quantity, events FROM usage")
    assert [tuple(row) for row in usage] == [
        ("acme", "calls", Instant.parse("2026-01-10T10:00:00Z").moment(), '["large"]', "", Decimal(15), 5)
    ]
    assert await world.outcomes() == {"accepted": 5}


async def test_duplicates_within_and_between_batches_and_after_a_restart_count_once(world: World) -> None:
    await world.know()
    await world.send([event(1), event(1), event(2)])
    async with world.working():
        await world.caught_up()
        await world.send([event(2)])
        await world.caught_up()
    await world.send([event(1), event(2), event(3)])
    async with world.working():
        await world.caught_up()
    assert await world.totals() == [(Decimal(9), Decimal(18))]
    assert await world.outcomes() == {"accepted": 3, "duplicate": 4}


async def test_same_identity_with_other_content_is_a_conflict_and_with_other_spelling_a_duplicate(world: World) -> None:
    await world.know()
    other_spelling = event(1, time="2026-01-10T11:00:00+01:00", data={"model": "large", "n": 3.0})
    await world.send([event(1), event(1, data={"n": 7, "model": "large"}), other_spelling])
    async with world.working():
        await world.caught_up()
    assert await world.totals() == [(Decimal(3), Decimal(6))]
    assert await world.outcomes() == {"accepted": 1, "duplicate": 1, "duplicate_conflict": 1}
    assert await world.pool.fetchval("SELECT code FROM rejected") == "duplicate_conflict"


async def test_what_cannot_count_is_listed_with_its_place_and_stops_nothing(world: World) -> None:
    await world.know()
    await world.send_raw(
        [
            json.dumps([event(1), event(2, data={"n": "abc", "model": "x"})]).encode(),
            b"{broken",
            json.dumps(event(3, time="2025-01-01T00:00:00Z")).encode(),
            json.dumps(event(4, time="2026-01-10T11:30:01Z")).encode(),
            json.dumps(event(5, subject=" acme")).encode(),
            json.dumps(event(6, type="other")).encode(),
            json.dumps(event(7)).encode(),
        ],
        ["acme"] * 7,
    )
    async with world.working():
        await world.caught_up()
    assert await world.totals() == [(Decimal(6), Decimal(12))]
    rows = await world.pool.fetch("SELECT log_offset, index, meter, code FROM rejected ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [
        (0, 1, "calls", "value_not_numeric"),
        (1, 0, "", "event_invalid"),
        (2, 0, "", "time_too_old"),
        (3, 0, "", "time_in_future"),
        (4, 0, "", "event_invalid"),
    ]
    assert await world.outcomes() == {
        "accepted": 4,
        "event_invalid": 2,
        "time_in_future": 1,
        "time_too_old": 1,
        "unmatched": 1,
        "value_not_numeric": 1,
    }


async def test_a_customer_not_yet_known_is_metered_under_its_key(world: World) -> None:
    await world.pool.execute("INSERT INTO meter VALUES ('calls', $1, now())", METER)
    await world.send([event(1, subject="kärcher 🚀")])
    async with world.working():
        await world.caught_up()
    assert await world.totals() == []
    assert await world.pool.fetchval("SELECT quantity FROM usage WHERE customer = 'kärcher 🚀'") == 3


async def test_an_event_on_another_partition_is_forwarded_and_counts_once(pool: asyncpg.Pool) -> None:
    world = World(pool, partitions=4)
    await world.know()
    wrong = (partition_of("acme", 4) + 1) % 4
    await world.send([event(1)], partition=wrong)
    await world.send([event(1)])
    async with world.working():
        await world.caught_up()
    assert await world.totals() == [(Decimal(3), Decimal(6))]
    assert await world.outcomes() == {"accepted": 1, "duplicate": 1}


async def test_a_worker_cancelled_anywhere_and_started_again_changes_nothing(world: World) -> None:
    await world.know()
    for start in range(0, 400, 20):
        await world.send([event(n) for n in range(start, start + 20)] + [event(start)])
        worker = Worker(world.log, world.lane, world.clock)
        task = asyncio.create_task(worker.run())
        for _ in range(start // 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with world.working():
        await world.caught_up()
    assert await world.totals() == [(Decimal(1200), Decimal(20 + 595))]
    assert await world.outcomes() == {"accepted": 400, "duplicate": 20}


async def test_a_partition_taken_by_another_fences_the_first_owner(world: World) -> None:
    await world.know()
    first, second = world.lane(0), world.lane(0)
    await first.take()
    await second.take()
    await world.send([event(1)])
    records = await world.log.read(0, 0, 0)
    for lane in (first, second):
        lane.offer(records)
    with pytest.raises(Exception, match="epoch"):
        await first.run()
    task = asyncio.create_task(second.run())
    await world.caught_up()
    second.finish()
    await task
    assert await world.totals() == [(Decimal(3), Decimal(6))]


@pytest.mark.parametrize("fail_at", ["add_usage", "put_totals", "advance_partition"], ids=str)
async def test_a_transaction_that_fails_in_a_step_is_done_again_whole(
    world: World, monkeypatch: pytest.MonkeyPatch, fail_at: str
) -> None:
    await world.know()
    await world.send([event(n) for n in range(3)])
    fails = _fail_once(monkeypatch, fail_at)
    async with world.working():
        await world.caught_up()
    assert fails() == 1
    assert await world.totals() == [(Decimal(9), Decimal(18))]


def _fail_once(monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[], int]:
    """Let Postgres end the connection instead of running the statement `name`, the first time."""
    count = 0
    execute = asyncpg.Connection.execute

    async def failing(self: asyncpg.Connection, query: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        if f"name: {name}" in query and not count:
            count += 1
            return await execute(self, "SELECT pg_terminate_backend(pg_backend_pid())")
        return await execute(self, query, *args, **kwargs)

    monkeypatch.setattr(asyncpg.Connection, "execute", failing)
    return lambda: count


async def _act(world: World, at: str, body: dict[str, Any]) -> None:
    """What an act does: under the partition's lock, split the buckets at its boundaries, derive the totals anew."""
    instant = Instant.parse(at)
    partition = partition_of("acme", world.log.partitions)

    async def work(connection: asyncpg.Connection) -> None:
        await lock(connection, partition)
        await connection.execute(
            "INSERT INTO act (customer, at, kind, id, body) VALUES ('acme', $1, $2, $3, $4)",
            instant.moment(),
            body["act"],
            body.get("id"),
            body,
        )
        account = (await Accounts().load_many(connection, ["acme"]))["acme"]
        await split(connection, world.log, "acme", [instant])
        await rederive(connection, account, world.clock.now())

    await transaction(world.pool, work)


async def test_a_subscription_that_starts_inside_a_filled_hour_bills_only_what_follows(world: World) -> None:
    await world.know()
    await world.pool.execute("DELETE FROM act")
    times = ["10:00:00", "10:19:59.999999", "10:20:00", "10:29:00"]
    await world.send([event(n, time=f"2026-01-10T{time}Z") for n, time in enumerate(times)])
    await world.send([event(0, time="2026-01-10T10:25:00Z"), event(9, subject="globex", time="2026-01-10T10:25:00Z")])
    async with world.working():
        await world.caught_up()
        assert await world.totals() == []
        await _act(world, "2026-01-10T10:20:00Z", SUBSCRIBE)
        assert await world.totals() == [(Decimal(6), Decimal(12))]
        await world.send([event(20, time="2026-01-10T10:19:00Z"), event(21, time="2026-01-10T10:21:00Z")])
        await world.caught_up()
    assert await world.totals() == [(Decimal(9), Decimal(18))]
    starts = await world.pool.fetch("SELECT bucket, quantity FROM usage WHERE customer = 'acme' ORDER BY bucket")
    assert [(Instant.of(row["bucket"]), row["quantity"]) for row in starts] == [
        (Instant.parse("2026-01-10T10:00:00Z"), Decimal(9)),
        (Instant.parse("2026-01-10T10:20:00Z"), Decimal(9)),
    ]


async def test_plans_that_change_while_events_stream_put_each_event_into_its_segment(world: World) -> None:
    await world.know()
    cheap = {
        **PLAN,
        "charges": {"api": {"kind": "usage", "meter": "calls", "price": {"model": "per_unit", "unit": "1"}}},
    }
    await world.pool.execute("INSERT INTO plan VALUES ('cheap', 1, $1, now())", cheap)
    async with world.working():
        for minute in range(30):
            await world.send([event(minute, time=f"2026-01-10T10:{minute:02}:00Z")])
            if minute == 20:
                await _act(world, "2026-01-10T10:10:30Z", {"act": "change", "subscription": "s1", "plan": "cheap"})
        await world.caught_up()
    # minutes 0 to 10 at 10 x 2 + 23 x 0.5, minutes 11 to 29 at 1
    assert await world.totals() == [(Decimal(33), Decimal("31.5")), (Decimal(57), Decimal(57))]


async def test_a_new_meter_counts_events_received_after_it(world: World) -> None:
    await world.know()
    async with world.working():
        await world.send([event(1, type="later")])
        await world.caught_up()
        async with world.pool.acquire() as connection, connection.transaction():
            await lock_all(connection, 1)
            meter = {"event_type": "later", "aggregation": "count"}
            await connection.execute("INSERT INTO meter VALUES ('later', $1, now())", meter)
        await world.send([event(2, type="later")])
        await world.caught_up()
        await _act(world, "2026-01-10T10:00:30Z", {**SUBSCRIBE, "id": "s2"})
    usage = await world.pool.fetch("SELECT quantity, events FROM usage WHERE meter = 'later'")
    assert [tuple(row) for row in usage] == [(Decimal(1), 1)]


async def test_totals_read_as_usage_equal_the_buckets_read_as_usage(world: World) -> None:
    await world.know()
    named = event(7, subscription="s1")
    other = event(8, subscription="s9")
    await world.send([*(event(n, time=f"2026-01-{n + 1:02}T23:59:59Z") for n in range(9)), named, other])
    async with world.working():
        await world.caught_up()
    async with world.pool.acquire() as connection:
        account = (await Accounts().load_many(connection, ["acme"]))["acme"]
        since, until = Instant.parse("2026-01-01T00:00:00Z"), Instant.parse("2026-02-01T00:00:00Z")
        requests = [segment.request() for segment in segments_between(account, since, until)]
        totals = await AccrualUsage.load(connection, [account], since, until)
        buckets = await BucketUsage.load(connection, ["acme"], since, until)
    assert totals.quantities(requests) == buckets.quantities(requests)
    assert totals.quantities(requests)[0][()].value == 27
