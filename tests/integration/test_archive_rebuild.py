"""Usage and totals computed again from archive and log: equal to what is kept, and what is not is found and named."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import asyncpg
import pyarrow.parquet as pq
import pytest

from metering.archive.checker import Checker
from metering.archive.compare import Difference
from metering.archive.explain import EXACTLY, GONE, NOT_KEPT
from metering.archive.files import write_file
from metering.archive.rebuild import Asked, Rebuilder, Report
from metering.errors import ArchiveDamaged
from metering.observe import metrics
from metering.postgres.queries import queries
from metering.stream.partition import lock
from metering.testing.archived import LATE_WINDOW, ArchivedWorld, usage_event
from schemas.instants import Instant


class World(ArchivedWorld):
    """With what rebuilds it."""

    def rebuilder(self) -> Rebuilder:
        return Rebuilder(self.pool, self.log, self.place, self.clock, LATE_WINDOW)

    async def check(self, asked: Asked | None = None) -> Report:
        report = await self.rebuilder().check(0, asked or Asked())
        assert report is not None
        return report

    async def kept(self) -> list[tuple[object, ...]]:
        """Usage and totals as they are kept."""
        usage = await self.pool.fetch("SELECT * FROM usage ORDER BY customer, meter, bucket, dimensions, named")
        totals = await self.pool.fetch("SELECT * FROM accrual ORDER BY customer, charge, segment_start, dimensions")
        return [tuple(row) for row in (*usage, *totals)]


@pytest.fixture
async def world(pool: asyncpg.Pool, tmp_path: Path) -> World:
    made = World(pool, tmp_path)
    await made.know()
    return made


async def filled(world: World) -> None:
    """Twelve events, a duplicate, a late one and one for nobody: half archived, some committed only, one not at all."""
    first = [usage_event(number) for number in range(6)]
    again, other = usage_event(1), usage_event(2, data={"n": 9})
    await world.send(*first, again, other, usage_event(50, time="2020-01-01T00:00:00Z"))
    await world.commit()
    await world.archive()
    world.log.trim(0, 9)
    later = [usage_event(number, data={"n": 5, "model": "small"}) for number in range(6, 12)]
    await world.send(*later, usage_event(6), usage_event(60, "nobody"))
    await world.commit()
    await world.send(usage_event(70))


async def test_what_is_kept_equals_what_is_computed_anywhere_on_the_way(world: World) -> None:
    await filled(world)
    report = await world.check()
    assert report.found == []
    assert (report.next_offset, report.events, report.unchecked) == (17, 13, 0)
    await world.commit()
    await world.archive()
    report = await world.check()
    assert report.found == []
    assert (report.next_offset, report.events) == (18, 14)


async def test_wrong_bucket_is_found_with_its_events(world: World) -> None:
    await filled(world)
    where = "customer = 'acme' AND bucket = '2026-01-09T10:00Z' AND dimensions = '[\"large\"]'"
    await world.pool.execute(f"UPDATE usage SET quantity = quantity + 1 WHERE {where}")  # noqa: S608 - our own text
    (one,) = (await world.check()).found
    assert one.place is not None
    assert (one.place.customer, one.place.combination) == ("acme", ("large",))
    assert (one.kept.quantity, one.computed.quantity) == (Fraction(10), Fraction(9))
    assert [event.id for event in one.events] == ["e1", "e3", "e5"]


async def test_wrong_total_over_right_usage_is_found(world: World) -> None:
    await filled(world)
    await world.pool.execute("UPDATE accrual SET numerator = numerator + 1")
    (one,) = (await world.check()).found
    assert one.key is not None
    assert (one.key.customer, one.key.charge) == ("acme", "api")
    assert one.kept.amount == one.computed.amount + 1


async def test_event_missing_in_usage_is_named(world: World) -> None:
    await filled(world)
    await world.pool.execute(
        "UPDATE usage SET quantity = quantity - 3, events = events - 1"
        " WHERE customer = 'acme' AND dimensions = '[\"large\"]' AND bucket = '2026-01-08T10:00Z'"
    )
    usage = [one for one in (await world.check()).found if one.place]
    assert len(usage) == 1
    assert usage[0].events[0].why == EXACTLY
    assert usage[0].events[0].id == "e0"


async def test_event_that_was_never_committed_is_named(world: World) -> None:
    await filled(world)
    before = await world.kept()
    await world.pool.execute("DELETE FROM usage WHERE events = 1 AND customer = 'nobody'")
    await world.pool.execute("DELETE FROM seen WHERE first_offset = 9")
    assert len(await world.kept()) == len(before) - 1
    (one,) = [found for found in (await world.check()).found if found.place]
    assert [(event.id, event.why) for event in one.events] == [("e60", NOT_KEPT)]


async def test_event_missing_in_the_archive_is_named_by_its_place(world: World) -> None:
    await filled(world)
    row = await world.pool.fetchrow("SELECT path FROM archive_file WHERE day = '2026-01-09' LIMIT 1")
    path = world.folder / row["path"]
    table = pq.ParquetFile(path).read()
    gone = table.to_pylist()[-1]
    write_file(world.place, row["path"], table.slice(0, len(table) - 1))
    usage = [one for one in (await world.check()).found if one.place]
    assert [one.kept.events - one.computed.events for one in usage] == [1]
    assert [(event.offset, event.number, event.why) for event in usage[0].events] == [(gone["offset"], 0, GONE)]


async def test_file_cut_short_is_told_not_taken_for_less_usage(world: World) -> None:
    await filled(world)
    path = world.folder / await world.pool.fetchval("SELECT path FROM archive_file LIMIT 1")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArchiveDamaged, match=path.name):
        await world.check()


async def test_replacing_gives_back_what_was_kept(world: World) -> None:
    await filled(world)
    before = await world.kept()
    await world.pool.execute("UPDATE usage SET quantity = 77")
    await world.pool.execute("DELETE FROM accrual")
    assert await world.rebuilder().replace(0, Asked()) == 2
    assert await world.kept() == before
    assert (await world.check()).found == []


async def test_replacing_takes_up_what_is_committed_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(world)
    rebuilder = world.rebuilder()
    computed = rebuilder._computed

    async def slow(*arguments: object) -> object:
        found = await computed(*arguments)
        await world.commit()  # One more event, and a duplicate of another.
        return found

    await world.send(usage_event(3))
    monkeypatch.setattr(rebuilder, "_computed", slow)
    await rebuilder.replace(0, Asked())
    assert (await world.check()).found == []
    assert await world.pool.fetchval("SELECT sum(events) FROM usage") == 14


async def test_one_customer_and_some_hours_are_replaced_alone(world: World) -> None:
    await filled(world)
    await world.pool.execute("UPDATE usage SET quantity = 77")
    day = Instant.parse("2026-01-09T00:00:00Z")
    asked = Asked("acme", int(day), int(Instant.parse("2026-01-10T00:00:00Z")))
    assert len((await world.check(asked)).found) == 2
    assert await world.rebuilder().replace(0, asked) == 1
    rows = await world.pool.fetch("SELECT customer, bucket, quantity FROM usage")
    right = {(row["customer"], row["bucket"].day) for row in rows if row["quantity"] != 77}
    assert right == {("acme", 9)}


async def test_meter_counts_from_when_it_was_made_and_from_the_beginning_once_backdated(world: World) -> None:
    await filled(world)
    meter = {"event_type": "call", "aggregation": "count"}
    moment = world.clock.now().moment()
    async with world.pool.acquire() as lent, lent.transaction():
        await lock(lent, 0)
        await lent.execute(queries().put_meter, "all", meter, moment)
    await world.commit()
    sums = "SELECT sum(quantity) FROM usage WHERE meter = 'all'"
    assert await world.pool.fetchval(sums) == Decimal(1)
    assert (await world.check()).found == []
    await world.pool.execute(queries().backdate_meter, "all")
    found = (await world.check()).found
    assert {type(one) for one in found} == {Difference}
    await world.rebuilder().replace(0, Asked())
    assert await world.pool.fetchval(sums) == Decimal(14)
    assert (await world.check()).found == []


async def test_changed_meter_counts_the_past_as_it_was(world: World) -> None:
    await filled(world)
    async with world.pool.acquire() as lent, lent.transaction():
        await lock(lent, 0)
        old = await lent.fetchval("SELECT definition FROM meter WHERE key = 'calls'")
        await lent.execute("INSERT INTO meter_since VALUES ('calls', 0, 0, $1)", old)
        await lent.execute(queries().put_meter, "calls", {**old, "value": "data.m"}, world.clock.now().moment())
    await world.send(usage_event(80, data={"m": 100, "model": "large"}))
    await world.commit()
    assert (await world.check()).found == []


async def test_usage_older_than_the_archive_is_left_alone(world: World) -> None:
    await world.send(usage_event(1), usage_event(2))
    await world.commit()
    world.log.trim(0, 2)
    await world.send(usage_event(4))
    await world.commit()
    await world.archive()
    report = await world.check()
    assert (report.found, report.unchecked) == ([], 2)
    before = await world.kept()
    await world.rebuilder().replace(0, Asked())
    assert await world.kept() == before


async def test_nightly_check_counts_drift_and_recovers(world: World) -> None:
    await filled(world)
    checker = Checker(world.rebuilder(), 2, world.clock)
    await checker.check()
    drift = metrics.ARCHIVE_DRIFT.labels(0)._value
    assert drift.get() == 0
    await world.pool.execute("UPDATE accrual SET numerator = numerator + 1")
    await checker.check()
    assert drift.get() == 1
    await world.rebuilder().replace(0, Asked())
    await checker.check()
    assert drift.get() == 0
