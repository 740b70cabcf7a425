"""Workers in a simulated world: whatever the seed does to them, what is committed follows from the log alone.

`SIMULATION_SEEDS=5000 SIMULATION_FIRST=100` tries more of them; a failure names its seed.
"""

import asyncio
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from metering.errors import Fenced, LogUnavailable, StoreUnavailable
from metering.postgres.pool import transaction
from metering.postgres.queries import queries
from metering.stream.checkpoint import Checkpoint
from metering.stream.lane import Lane
from metering.stream.log import Message
from metering.stream.worker import Worker
from metering.subscriptions.accounts import Accounts, Written, unfolded
from metering.testing.simulated import START, Broker, BrokerLog, Process, VirtualClock, VirtualLoop
from metering.testing.store import MemoryStore, Tables
from rating.catalog import Catalog
from schemas.codec import convert
from schemas.ids import identity, partition_of
from schemas.instants import DAY, HOUR, Instant
from schemas.meter import Meter
from schemas.plan import Plan

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "60"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
PARTITIONS = 3
METERS = {
    "calls": {"event_type": "call", "aggregation": "sum", "value": "data.n", "dimensions": {"model": "data.model"}},
    "all": {"event_type": "call", "aggregation": "count"},
}
GRADUATED = {"model": "graduated", "tiers": [{"up_to": "500", "unit": "2"}, {"up_to": None, "unit": "0.5"}]}
PLAN = {
    "currency": "USD",
    "period": {"unit": "day", "every": 7},
    "charges": {
        "api": {"kind": "usage", "meter": "calls", "price": GRADUATED},
        "models": {"kind": "usage", "meter": "calls", "by": ["model"], "price": {"model": "per_unit", "unit": "0.1"}},
    },
}
CUSTOMERS = [f"c{number}" for number in range(8)]
UNKNOWN = "c7"
SINCE = START - 21 * DAY + HOUR // 3
"""The subscriptions' start: inside an hour, so that buckets end where no hour does."""


class KnownAccounts(Accounts):
    """Accounts that do not change: read without a statement."""

    async def load_many(self, connection: Any, keys: Any) -> Any:
        await connection.pass_over("accounts")
        return {key: ACCOUNTS[key] for key in keys if key != UNKNOWN}


def _account(key: str) -> Any:
    catalog = Catalog({name: convert(meter, Meter) for name, meter in METERS.items()})
    catalog.add("pro", convert(PLAN, Plan), 0)
    act = {"act": "subscribe", "id": f"s-{key}", "customer": key, "plan": "pro@1"}
    return unfolded(catalog, Written(key, '{"currency": "USD"}', f"{SINCE} {json.dumps(act)}", 1))


ACCOUNTS = {key: _account(key) for key in CUSTOMERS if key != UNKNOWN}


class LoudWorker(Worker):
    """Nothing that happens here may stop a partition for good."""

    def __init__(self, world: "World", *arguments: Any) -> None:
        super().__init__(*arguments)
        self._world = world

    def _stopped(self, partition: int, error: Exception) -> None:
        self._world.errors.append(error)


class World:
    """One seed's run."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.clock = VirtualClock()
        self.broker = Broker(PARTITIONS, self.draw)
        self.tables = Tables(METERS)
        self.events: list[tuple[str, bytes]] = []
        self.processes: dict[str, Process] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.stores: dict[str, MemoryStore] = {}
        self.calm = False
        self.errors: list[Exception] = []
        self.done: Counter[str] = Counter()

    async def run(self) -> None:
        """Trouble while events are sent, then calm until all is committed."""
        for name in ("a", "b"):
            self.start(name)
        trouble = asyncio.create_task(self.trouble())
        await self.produce()
        self.calm = True
        trouble.cancel()
        await asyncio.gather(trouble, return_exceptions=True)
        for process in self.processes.values():
            process.calm = True
            process.resume()
        async with asyncio.timeout(600):
            ends: list[int] = []
            while not self.caught_up() or ends != (ends := [len(records) for records in self.broker.records]):
                await self.broker.rebalance(polite=True)
                await self.clock.sleep(20)
        for name, task in self.tasks.items():
            self.processes[name].kill()
            self.stores[name].drop()
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        await self.clock.sleep(60)

    def caught_up(self) -> bool:
        states = self.tables.partition_state
        return all(
            partition in states and states[partition]["next_offset"] == len(records)
            for partition, records in enumerate(self.broker.records)
        )

    def start(self, name: str) -> None:
        """A process with a worker; one of that name before is dead."""
        process = self.processes[name] = Process(name, self.draw)
        process.calm = self.calm
        store = self.stores[name] = MemoryStore(self.tables, process)
        self.tasks[name] = asyncio.create_task(self.work(process, store))

    async def work(self, process: Process, store: MemoryStore) -> None:
        """A worker is made anew after what waiting may heal, as the engine's supervisor does."""
        log, accounts = BrokerLog(self.broker, process), KnownAccounts()

        def lane(partition: int) -> Lane:
            checkpoint = Checkpoint(
                partition, log, store, self.clock, accounts, owner=process.name, late_window=35 * DAY
            )
            return Lane(checkpoint, self.clock)

        while not process.dead:
            with suppress(Fenced, LogUnavailable, StoreUnavailable):
                await LoudWorker(self, log, lane, self.clock).run()
            await self.clock.sleep(0.5)

    async def trouble(self) -> None:
        """Kill, cancel, pause, rebalance, change the catalog, at any moment."""
        while True:
            await self.clock.sleep(self.draw.expovariate(2))
            what = self.draw.choice(("kill", "cancel", "pause", "rebalance", "rebalance", "catalog"))
            self.done[what] += 1
            name = self.draw.choice(("a", "b"))
            if what == "kill":
                self.processes[name].kill()
                self.stores[name].drop()
            if what in ("kill", "cancel"):
                self.tasks[name].cancel()
                await asyncio.wait([self.tasks[name]], timeout=5)
                self.start(name)
            elif what == "pause":
                self.processes[name].pause()
                await self.broker.rebalance(polite=False)
                asyncio.get_running_loop().call_later(self.draw.choice((0.1, 3, 20)), self.processes[name].resume)
            elif what == "rebalance":
                await self.broker.rebalance(polite=self.draw.random() < 0.5)
            else:
                await self.change_catalog()

    async def change_catalog(self) -> None:
        """What a change does: every partition's row, in order, in one transaction."""
        api = Process("api", self.draw)

        async def work(lent: Any) -> None:
            for partition in sorted(self.tables.partition_state):
                await lent.execute(queries().lock_partition, partition)

        with suppress(StoreUnavailable):
            await transaction(MemoryStore(self.tables, api), work)

    async def produce(self) -> None:
        """Events, copies, other contents, wrong partitions, no events; what was not acknowledged is sent again."""
        log, draw = BrokerLog(self.broker, Process("producer", self.draw)), self.draw
        for _ in range(draw.randint(5, 30)):
            messages = [self.message() for _ in range(draw.randint(1, 12))]
            while messages:
                try:
                    positions = await log.append(messages)
                except LogUnavailable:
                    continue
                messages = [one for one, position in zip(messages, positions, strict=True) if position is None]
            await self.clock.sleep(draw.expovariate(3))

    def message(self) -> Message:
        draw = self.draw
        if draw.random() < 0.05:
            payload = draw.choice([b"", b"{}", b"[]", b"\xff", b"[1]", b'{"id": "\\ud800"}', b"[" * 3_000])
            return Message(draw.randrange(PARTITIONS), b"", payload)
        events = [self.event() for _ in range(draw.choice((1, 1, 1, 5)))]
        customer = events[0][0]
        partition = partition_of(customer, PARTITIONS) if draw.random() < 0.8 else draw.randrange(PARTITIONS)
        raws = [raw for _, raw in events]
        return Message(partition, b"", raws[0] if len(raws) == 1 else b"[" + b",".join(raws) + b"]")

    def event(self) -> tuple[str, bytes]:
        draw = self.draw
        if self.events and draw.random() < 0.2:
            customer, raw = draw.choice(self.events)
            if draw.random() < 0.3:
                raw = json.dumps({**json.loads(raw), "data": {"n": draw.randrange(9)}}).encode()
            return customer, raw if draw.random() < 0.7 else raw.replace(b": ", b":  ")
        customer = draw.choice(CUSTOMERS)
        back = draw.choice((0, 0, HOUR, 7 * DAY, 20 * DAY, 36 * DAY, -2 * HOUR))
        body: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"e{len(self.events)}",
            "source": "app",
            "type": draw.choice(("call", "call", "call", "other")),
            "subject": customer,
            "data": {"n": draw.choice((1, 7, "0.25", 1000, None, "x")), "model": draw.choice("xy")},
        }
        if back:
            body["time"] = str(Instant(START - back + draw.randrange(HOUR)))
        self.events.append((customer, json.dumps(body).encode()))
        return self.events[-1]


class Truth:
    """What follows from a log, worked out event by event."""

    def __init__(self, broker: Broker) -> None:
        self.outcomes: Counter[str] = Counter()
        self.rejected: set[tuple[int, int, int, str, str]] = set()
        self.counted: list[tuple[dict[str, Any], int]] = []
        self.first: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.misplaced: set[str] = set()
        self.placed: set[str] = set()
        for partition, records in enumerate(broker.records):
            for record in records:
                for index, event in enumerate(_events(record.payload or b"")):
                    place = (partition, record.offset, index)
                    self.judge(place, event, record.received)

    def judge(self, place: tuple[int, int, int], event: Any, received: int) -> None:
        if not isinstance(event, dict) or "subject" not in event:
            self.refuse(place, "event_invalid")
        elif partition_of(event["subject"], PARTITIONS) != place[0]:
            self.misplaced.add(str(event))
        else:
            self.placed.add(str(event))
            key = (event["subject"], event["source"], event["id"])
            time = Instant.parse(event["time"]) if "time" in event else received
            if key in self.first:
                same = {**event, "time": None} == {**self.first[key], "time": None}
                if same:
                    self.outcomes["duplicate"] += 1
                else:
                    self.refuse(place, "duplicate_conflict")
            elif time > received + HOUR:
                self.refuse(place, "time_in_future")
            elif time < received - 35 * DAY:
                self.refuse(place, "time_too_old")
            else:
                self.first[key] = event
                self.count(place, event, time)

    def count(self, place: tuple[int, int, int], event: dict[str, Any], time: int) -> None:
        self.outcomes["accepted"] += 1
        if event["type"] == "other":
            self.outcomes["unmatched"] += 1
            return
        if event["data"].get("n") in (None, "x"):
            self.refuse(place, "value_missing" if event["data"].get("n") is None else "value_not_numeric", "calls")
        self.counted.append((event, time))

    def refuse(self, place: tuple[int, int, int], code: str, meter: str = "") -> None:
        self.outcomes[code] += 1
        self.rejected.add((*place, meter, code))

    def usage(self) -> dict[tuple[Any, ...], tuple[Decimal, int]]:
        sums: dict[tuple[Any, ...], tuple[Decimal, int]] = {}
        for event, time in self.counted:
            customer, n = event["subject"], event["data"].get("n")
            bucket = time // HOUR * HOUR
            if customer != UNKNOWN and bucket < SINCE <= time:
                bucket = SINCE
            added = [("all", "[]", Decimal(1))]
            if n not in (None, "x"):
                added.append(("calls", json.dumps([event["data"].get("model", "")]), Decimal(n)))
            for meter, dimensions, quantity in added:
                key = (customer, meter, Instant(bucket).moment(), dimensions, "")
                had, events = sums.get(key, (Decimal(0), 0))
                sums[key] = (had + quantity, events + 1)
        return sums

    def accruals(self) -> dict[tuple[Any, ...], tuple[int, Decimal, Fraction]]:
        sums: dict[tuple[Any, ...], tuple[int, Decimal]] = {}
        for event, time in self.counted:
            customer, n = event["subject"], event["data"].get("n")
            if customer == UNKNOWN or time < SINCE or n in (None, "x"):
                continue
            for charge, dimensions in (("api", "[]"), ("models", json.dumps([event["data"].get("model", "")]))):
                key = (customer, f"s-{customer}", charge, _period(time), dimensions)
                events, had = sums.get(key, (0, Decimal(0)))
                sums[key] = (events + 1, had + Decimal(n))
        return {key: (events, total, _amount(key[2], Fraction(total))) for key, (events, total) in sums.items()}


def _events(payload: bytes) -> list[Any]:
    """The events of a payload; what is no JSON is one that is invalid."""
    try:
        tree = json.loads(payload, parse_float=Decimal)
    except (ValueError, RecursionError):
        return [None]
    return tree if isinstance(tree, list) else [tree]


def _period(time: int) -> Any:
    """Where the week begins that holds an instant: the first at the start itself, the others at midnights."""
    midnight = SINCE // DAY * DAY
    weeks = (time - midnight) // (7 * DAY)
    return Instant(SINCE if weeks == 0 else midnight + weeks * 7 * DAY).moment()


def _amount(charge: str, quantity: Fraction) -> Fraction:
    if charge == "models":
        return quantity / 10
    return 2 * min(quantity, Fraction(500)) + max(quantity - 500, Fraction(0)) / 2


def _run(seed: int) -> World:
    """Let one seed's world run to its end."""
    loop = VirtualLoop()

    async def main() -> World:
        made = World(seed)
        await made.run()
        return made

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(end())
        loop.close()


def _check(world: World) -> None:
    """Compare what is committed with what follows from the log."""
    if world.errors:
        raise ExceptionGroup("partitions stopped", world.errors)
    tables, truth = world.tables, Truth(world.broker)
    assert truth.misplaced <= truth.placed
    assert +tables.outcomes == truth.outcomes
    assert {(*key, str(row[0].value)) for key, row in tables.rejected.items()} == truth.rejected
    assert tables.usage == truth.usage()
    found = {key: (row[1], row[2], Fraction(row[3]) / Fraction(row[4])) for key, row in tables.accrual.items()}
    assert found == truth.accruals()
    keys = np.frombuffer(b"".join(row[3] for row in tables.seen), dtype="<u8").reshape(-1, 4)
    assert sorted(key[:2].tobytes() for key in keys) == sorted(identity(*key) for key in truth.first)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What workers say of all that happens to them is not wanted here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(3600)
def test_workers_in_a_hostile_world_commit_what_follows_from_the_log() -> None:
    done: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            world = _run(seed)
            _check(world)
        except BaseException as error:
            error.add_note(f"seed {seed}: repeat with SIMULATION_FIRST={seed} SIMULATION_SEEDS=1")
            raise
        done += world.done
        done["events"] += len(Truth(world.broker).counted)
    assert done.keys() == {"kill", "cancel", "pause", "rebalance", "catalog", "events"}


def test_one_seed_is_one_world() -> None:
    first, second = _run(FIRST), _run(FIRST)
    assert first.broker.records == second.broker.records
    assert first.done == second.done
