"""Workers, Postgres and Apache Kafka die again and again while events flow: what is committed is exact all the same.

`SOAK_SECONDS=600` makes the traffic last so long; the default fits into a run of all tests.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import confluent_kafka
import numpy as np
import pytest

from metering.clock import SystemClock
from metering.embedded import EmbeddedPostgres
from metering.errors import LogUnavailable
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Message
from metering.testing.kafka import ApacheKafka
from schemas.ids import identity, partition_of
from schemas.instants import DAY, HOUR, Instant

SECONDS = int(os.environ.get("SOAK_SECONDS", "15"))
SEED = int(os.environ.get("SOAK_SEED", "5"))
PARTITIONS = 4
CUSTOMERS = 60
KNOWN = 50
"""Customers with a subscription; the others are metered under their keys."""
METER = {"event_type": "call", "aggregation": "sum", "value": "data.n", "dimensions": {"model": "data.model"}}
BOUND = 5_000
PLAN = {
    "currency": "USD",
    "period": {"unit": "month"},
    "align": "calendar",
    "charges": {
        "api": {
            "kind": "usage",
            "meter": "calls",
            "by": ["model"],
            "price": {
                "model": "graduated",
                "tiers": [{"up_to": str(BOUND), "unit": "0.03"}, {"up_to": None, "unit": "0.02", "flat": "1"}],
            },
        }
    },
}
WORKER = Path(__file__).with_name("stream_worker.py")
NOW = SystemClock().now()


class Sent(NamedTuple):
    """An event that must count once."""

    customer: str
    model: str
    time: int
    amount: Decimal


class Traffic:
    """Known events, and what must come of them."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.events: dict[tuple[str, str, str], Sent] = {}
        self.raws: list[tuple[str, bytes]] = []
        self.conflicts: set[bytes] = set()
        self.poison: set[bytes] = set()

    def make(self, source: str) -> tuple[str, bytes]:
        """A new event, or in one case of twenty one that was sent before."""
        draw = self.draw
        if self.raws and draw.random() < 0.05:
            return draw.choice(self.raws)
        customer, model = f"c{draw.randrange(CUSTOMERS)}", draw.choice(("small", "large"))
        time_us = NOW - draw.randrange(30 * DAY)
        sent = Sent(customer, model, time_us, Decimal(draw.randrange(1, 1_000)) / 10)
        key = (customer, source, f"e{len(self.events)}")
        self.events[key] = sent
        body = {"specversion": "1.0", "id": key[2], "source": source, "type": "call", "subject": customer}
        data = {"n": str(sent.amount), "model": model}
        raw = json.dumps({**body, "time": str(Instant(time_us)), "data": data}).encode()
        self.raws.append((customer, raw))
        return customer, raw

    def other_content(self, raw: bytes) -> bytes:
        """The same identity with another amount: it must not count."""
        changed = json.dumps({**json.loads(raw), "data": {"n": "999999", "model": "large"}}).encode()
        self.conflicts.add(changed)
        return changed

    def no_event(self) -> bytes:
        """What is no event, and must be listed."""
        number = len(self.poison)
        raw = self.draw.choice([b"\xff no text %d", b'{"no": "event", "n": %d}', b'"a text %d"', b"{%d"]) % number
        self.poison.add(raw)
        return raw

    def usage(self) -> dict[tuple[str, str, int], tuple[Decimal, int]]:
        """Quantity and events by customer, model and hour."""
        return _summed(self.events.values(), lambda sent: (sent.customer, sent.model, sent.time // HOUR * HOUR))

    def accruals(self) -> dict[tuple[str, str, int], tuple[Decimal, int, Fraction]]:
        """Quantity, events and amount by customer, model and month, of those who have a subscription."""
        known = [sent for sent in self.events.values() if int(sent.customer[1:]) < KNOWN]
        sums = _summed(known, lambda sent: (sent.customer, sent.model, _month(sent.time)))
        return {key: (quantity, events, _price(Fraction(quantity))) for key, (quantity, events) in sums.items()}


def _summed(events: Any, key: Any) -> dict[Any, tuple[Decimal, int]]:
    sums: dict[Any, tuple[Decimal, int]] = defaultdict(lambda: (Decimal(0), 0))
    for sent in events:
        quantity, count = sums[key(sent)]
        sums[key(sent)] = (quantity + sent.amount, count + 1)
    return dict(sums)


def _month(time_us: int) -> int:
    moment = Instant(time_us).moment().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(Instant.of(moment))


def _price(quantity: Fraction) -> Fraction:
    if quantity <= BOUND:
        return quantity * Fraction(3, 100)
    return BOUND * Fraction(3, 100) + 1 + (quantity - BOUND) * Fraction(2, 100)


class Wire:
    """Between the workers and Postgres: a socket whose connections can be cut at any moment."""

    def __init__(self, server: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wire-"))
        self._server = str(server / ".s.PGSQL.5432")
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def dsn(self) -> str:
        return f"postgresql://metering@/metering?host={self.folder}"

    async def start(self) -> None:
        self._listening = await asyncio.start_unix_server(self._connected, self.folder / ".s.PGSQL.5432")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self._server)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._open -= {writer, back}

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(1 << 16):
                target.write(piece)
                await target.drain()
        except OSError:
            pass
        target.transport.abort()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def stop(self) -> None:
        self._listening.close()
        self.cut()
        shutil.rmtree(self.folder)


class Workers:
    """Processes that are started again whenever they end."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._kept: list[asyncio.Task[None]] = []
        self._wanted = True

    def start(self, *members: str) -> None:
        self._kept = [asyncio.create_task(self._keep(member)) for member in members]

    async def _keep(self, member: str) -> None:
        while self._wanted:
            process = await asyncio.create_subprocess_exec(sys.executable, str(WORKER), *self._arguments, member)
            self._running[member] = process
            await process.wait()

    def kill(self, draw: random.Random) -> None:
        process = self._running[draw.choice(sorted(self._running))]
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)

    async def stop(self) -> None:
        self._wanted = False
        for process in self._running.values():
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*self._kept)


async def _send(log: KafkaLog, messages: list[Message]) -> None:
    """Append until everything is acknowledged, as the gateway's clients do."""
    while messages:
        try:
            positions = await log.append(messages)
        except LogUnavailable:
            await SystemClock().sleep(0.2)
            continue
        messages = [message for message, position in zip(messages, positions, strict=True) if position is None]


async def _from_gateway(log: KafkaLog, traffic: Traffic, until: float) -> None:
    """Events on their customers' partitions, alone or as arrays; also what conflicts, and what is no event."""
    while time.monotonic() < until:
        messages: list[Message] = []
        batches: dict[int, list[bytes]] = defaultdict(list)
        for _ in range(400):
            customer, raw = traffic.make("gateway")
            batches[partition_of(customer, PARTITIONS)].append(raw)
        for partition, raws in batches.items():
            messages += [Message(partition, b"", raw) for raw in raws[:20]]
            messages.append(Message(partition, b"", b"[" + b",".join(raws[20:]) + b"]"))
        messages.append(Message(traffic.draw.randrange(PARTITIONS), b"", traffic.no_event()))
        await _send(log, messages)
        customer, raw = next((c, r) for c, r in reversed(traffic.raws) if b'"gateway"' in r)
        await _send(log, [Message(partition_of(customer, PARTITIONS), b"", traffic.other_content(raw))])
        await SystemClock().sleep(0.05)


async def _from_others(bootstrap: str, topic: str, traffic: Traffic, until: float) -> None:
    """Events of producers that choose the partition by another hash, or at random, with every codec."""
    settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
    producers = [
        confluent_kafka.Producer({**settings, "compression.type": codec}) for codec in ("gzip", "snappy", "lz4", "zstd")
    ]
    while time.monotonic() < until:
        for producer in producers:
            for _ in range(50):
                customer, raw = traffic.make("other")
                producer.produce(topic, raw, key=customer if traffic.draw.random() < 0.8 else None)
            producer.poll(0)
        await SystemClock().sleep(0.05)
    for producer in producers:
        assert await asyncio.to_thread(producer.flush, 60) == 0


async def _set_up(pool: asyncpg.Pool) -> None:
    """A meter, a plan, customers with a subscription since two months."""
    since = Instant(NOW - 70 * DAY).moment()
    await pool.execute("INSERT INTO meter VALUES ('calls', $1, $2)", METER, since)
    await pool.execute("INSERT INTO plan VALUES ('pro', 1, $1, $2)", PLAN, since)
    for number in range(KNOWN):
        key = f"c{number}"
        act = {"act": "subscribe", "id": f"s-{key}", "customer": key, "plan": "pro@1"}
        partition = partition_of(key, PARTITIONS)
        await pool.execute("INSERT INTO customer VALUES ($1, $2, $3, $4)", key, partition, {"currency": "USD"}, since)
        await pool.execute(
            "INSERT INTO act (customer, at, kind, id, body) VALUES ($1, $2, 'subscribe', $3, $4)",
            key,
            since,
            act["id"],
            act,
        )


async def _caught_up(pool: asyncpg.Pool, log: KafkaLog) -> None:
    """Wait until everything in the log is committed, what was forwarded included."""
    async with asyncio.timeout(120):
        while True:
            ends = await log.ends()
            rows = await pool.fetch("SELECT partition, next_offset FROM partition_state")
            if {row["partition"]: row["next_offset"] for row in rows} == ends == await log.ends():
                return
            await SystemClock().sleep(0.1)


async def _committed(pool: asyncpg.Pool) -> tuple[dict[Any, Any], dict[Any, Any], list[bytes]]:
    """Usage, accruals and identities as the database has them."""
    usage = {
        (row["customer"], json.loads(row["dimensions"])[0], int(Instant.of(row["bucket"]))): (
            row["quantity"],
            row["events"],
        )
        for row in await pool.fetch("SELECT * FROM usage")
    }
    accruals = {
        (row["customer"], json.loads(row["dimensions"])[0], int(Instant.of(row["segment_start"]))): (
            row["quantity"],
            row["events"],
            Fraction(row["numerator"]) / Fraction(row["divisor"]),
        )
        for row in await pool.fetch("SELECT * FROM accrual")
    }
    keys = b"".join(row["keys"] for row in await pool.fetch("SELECT keys FROM seen"))
    entries = np.frombuffer(keys, dtype="<u8").reshape(-1, 4)
    return usage, accruals, [entry[:2].tobytes() for entry in entries]


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of this test's own: it is killed."""
    with EmbeddedPostgres(durable=False) as server:
        yield server


@pytest.fixture
def victim(kafka: ApacheKafka) -> Iterator[ApacheKafka]:
    """An Apache Kafka of this test's own: it is killed."""
    with ApacheKafka(heap_mb=384) as server:
        yield server


class Chaos(NamedTuple):
    """Who can be killed."""

    workers: Workers
    wire: Wire
    postgres: EmbeddedPostgres
    kafka: ApacheKafka

    async def run(self, draw: random.Random, until: float) -> Counter[str]:
        """Kill workers and connections at random; every 20 s also the servers, one after the other."""
        done: Counter[str] = Counter()
        begun = time.monotonic()
        while time.monotonic() < until:
            await SystemClock().sleep(draw.uniform(0.1, 2.0))
            done["worker" if draw.random() < 0.7 else "wire"] += 1
            if draw.random() < 0.7:
                self.workers.kill(draw)
            else:
                self.wire.cut()
            passed = time.monotonic() - begun
            if passed > 20 * done["postgres"] + 5:
                done["postgres"] += 1
                await asyncio.to_thread(self.postgres.kill)
                await self.postgres.start()
            elif passed > 20 * done["kafka"] + 10:
                done["kafka"] += 1
                await asyncio.to_thread(self.kafka.kill)
                await self.kafka.start()
        return done


@pytest.mark.timeout(SECONDS + 280)
async def test_workers_postgres_and_kafka_killed_while_events_flow_leave_everything_exact(
    victim: ApacheKafka, postgres: EmbeddedPostgres
) -> None:
    draw = random.Random(SEED)
    topic, traffic, clock = "usage.events", Traffic(draw), SystemClock()
    await migrate(postgres.dsn)
    pool = await create_pool(postgres.dsn)
    await _set_up(pool)
    log = KafkaLog(victim.bootstrap, topic, clock=clock, partitions=PARTITIONS, group=None)
    await log.start()
    assert postgres.folder is not None
    wire = Wire(postgres.folder / "run")
    await wire.start()
    workers = Workers(victim.bootstrap, topic, wire.dsn)
    workers.start("first", "second")
    until = time.monotonic() + SECONDS
    chaos = Chaos(workers, wire, postgres, victim)
    done, *_ = await asyncio.gather(
        chaos.run(random.Random(SEED + 1), until),
        _from_gateway(log, traffic, until),
        _from_others(victim.bootstrap, topic, traffic, until),
    )
    await pool.close()
    pool = await create_pool(postgres.dsn)
    sent_at = time.monotonic()
    await _caught_up(pool, log)
    caught_up_s = time.monotonic() - sent_at
    await workers.stop()
    usage, accruals, identities = await _committed(pool)
    outcomes = dict(await pool.fetch("SELECT code, sum(events)::bigint FROM outcome GROUP BY code"))
    rejected = {
        code: {bytes(row["payload"]) for row in await pool.fetch("SELECT payload FROM rejected WHERE code = $1", code)}
        for code in ("event_invalid", "duplicate_conflict")
    }
    await pool.close()
    await log.stop()
    await wire.stop()
    print(f"seed {SEED}: {outcomes}, killed {dict(done)}, caught up {caught_up_s:.1f} s after the last was sent")
    assert usage == traffic.usage()
    assert accruals == traffic.accruals()
    assert sorted(identities) == sorted(identity(*key) for key in traffic.events)
    assert outcomes["accepted"] == len(traffic.events)
    assert rejected == {"event_invalid": traffic.poison, "duplicate_conflict": traffic.conflicts}
