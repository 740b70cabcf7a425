"""How many events a second go from the log into committed balances, in one worker process?

    python benchmarks/canonical.py [--kafka] [--events 400000] [--batch 1]

Events lie in a topic of 4 partitions (the embedded broker, or with `--kafka` Apache Kafka, which needs java and mvn);
one worker reads them, drops duplicates (5 %), meters, rates and commits; the totals are checked to the unit. Control,
from the same run: the same process only polls and decodes the same records, before the worker and after it (the faster
of both counts), with the same patience of the garbage collector. Prints one JSON line; `share` is the worker's rate
over that of the control.
"""

import argparse
import asyncio
import gc
import json
import platform
import random
import subprocess
import time
import uuid
from typing import Any

import asyncpg
import uvloop

from metering.clock import SystemClock
from metering.embedded import EmbeddedBroker, EmbeddedPostgres
from metering.observe import metrics
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.stream.arrivals import arrivals
from metering.stream.checkpoint import Checkpoint
from metering.stream.kafka_log import KafkaLog
from metering.stream.lane import Lane
from metering.stream.log import Message, Record
from metering.stream.worker import GARBAGE_AFTER, Worker
from metering.subscriptions.accounts import Accounts
from metering.testing.kafka import ApacheKafka
from metering.usage.meters import Meters
from schemas.codec import convert, to_tree
from schemas.ids import partition_of
from schemas.instants import DAY
from schemas.meter import Meter

SEED = 20261125
PARTITIONS = 4
CUSTOMERS = 1_000
METER = {
    "event_type": "llm.call",
    "aggregation": "sum",
    "value": "data.tokens",
    "dimensions": {"model": "data.model"},
}
PLAN = {
    "currency": "USD",
    "period": {"unit": "month"},
    "align": "calendar",
    "charges": {
        "tokens": {
            "kind": "usage",
            "meter": "tokens",
            "by": ["model"],
            "price": {
                "model": "graduated",
                "per": "1000000",
                "tiers": [{"up_to": "1000000", "unit": "3"}, {"up_to": None, "unit": "2"}],
            },
        }
    },
}


def traffic(events: int) -> list[tuple[str, bytes]]:
    """Events as (customer, JSON) of about 240 bytes; one in twenty is sent again."""
    draw = random.Random(SEED)
    made: list[tuple[str, bytes]] = []
    for number in range(events):
        if made and draw.random() < 0.05:
            made.append(made[draw.randrange(max(0, number - 5_000), number)])
            continue
        customer = f"customer-{min(int(draw.paretovariate(1.1)), CUSTOMERS)}"
        event = {
            "specversion": "1.0",
            "id": str(uuid.UUID(int=draw.getrandbits(128))),
            "source": f"api-{draw.randrange(8)}",
            "type": "llm.call",
            "subject": customer,
            "data": {"tokens": draw.randrange(20_000), "model": draw.choice(("small", "large")), "status": 200},
        }
        made.append((customer, json.dumps(event, separators=(",", ":")).encode()))
    return made


async def fill(log: KafkaLog, made: list[tuple[str, bytes]], batch: int) -> None:
    """Append the events, `batch` of a partition to a message."""
    waiting: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}
    messages: list[Message] = []
    for customer, raw in made:
        mine = waiting[partition_of(customer, PARTITIONS)]
        mine.append(raw)
        if len(mine) == batch:
            messages.append(message(partition_of(customer, PARTITIONS), mine))
            mine.clear()
    messages += [message(partition, rest) for partition, rest in waiting.items() if rest]
    for start in range(0, len(messages), 5_000):
        await log.append(messages[start : start + 5_000])


def message(partition: int, raws: list[bytes]) -> Message:
    """One event as it is, several as an array."""
    return Message(partition, b"", raws[0] if len(raws) == 1 else b"[" + b",".join(raws) + b"]")


async def only_read(log: KafkaLog, ends: dict[int, int]) -> float:
    """Poll and decode everything, nothing else; seconds."""
    extractor = Meters({"tokens": convert(METER, Meter)}).extractor
    at = dict.fromkeys(ends, 0)

    async def assigned(partitions: frozenset[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    async def revoked(partitions: frozenset[int]) -> None:
        pass

    reader = log.reader()
    await reader.start(assigned, revoked)
    begun = time.perf_counter()
    while any(at[partition] < end for partition, end in ends.items()):
        polled: dict[int, list[Record]] = await reader.poll(20_000, 0.1)
        for partition, records in polled.items():
            arrivals(records, extractor, 35 * DAY)
            at[partition] = records[-1].offset + 1
    seconds = time.perf_counter() - begun
    await reader.stop()
    return seconds


async def whole(log: KafkaLog, pool: asyncpg.Pool, ends: dict[int, int]) -> float:
    """Run the worker until everything is committed; seconds."""
    clock, accounts = SystemClock(), Accounts()

    def lane(partition: int) -> Lane:
        return Lane(Checkpoint(partition, log, pool, clock, accounts, owner="canonical", late_window=35 * DAY), clock)

    worker = Worker(log, lane, clock)
    begun = time.perf_counter()
    task = asyncio.create_task(worker.run())
    while True:
        rows = await pool.fetch("SELECT partition, next_offset FROM partition_state")
        done = {row["partition"]: row["next_offset"] for row in rows}
        if all(done.get(partition, 0) >= end for partition, end in ends.items()):
            break
        await clock.sleep(0.02)
    seconds = time.perf_counter() - begun
    worker.stop()
    await task
    return seconds


async def set_up(pool: asyncpg.Pool) -> None:
    """A meter, a plan, and a subscription for every customer."""
    now = SystemClock().now().moment()
    await pool.execute("INSERT INTO meter VALUES ('tokens', $1, $2)", METER, now)
    await pool.execute("INSERT INTO plan VALUES ('pro', 1, $1, $2)", PLAN, now)
    keys = [f"customer-{number}" for number in range(1, CUSTOMERS + 1)]
    await pool.executemany(
        "INSERT INTO customer VALUES ($1, $2, $3, $4)",
        [(key, partition_of(key, PARTITIONS), {"currency": "USD"}, now) for key in keys],
    )
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    acts = [
        (key, start, f"s-{key}", to_tree({"act": "subscribe", "id": f"s-{key}", "customer": key, "plan": "pro@1"}))
        for key in keys
    ]
    await pool.executemany("INSERT INTO act (customer, at, kind, id, body) VALUES ($1, $2, 'subscribe', $3, $4)", acts)


async def check(pool: asyncpg.Pool, made: list[tuple[str, bytes]]) -> None:
    """Fail unless the totals are those of the distinct events, to the unit."""
    distinct = {json.loads(raw)["id"]: json.loads(raw)["data"]["tokens"] for _, raw in made}
    wanted = (len(distinct), sum(distinct.values()))
    found = await pool.fetchrow("SELECT sum(events)::bigint, sum(quantity)::bigint FROM accrual")
    assert wanted == tuple(found), f"{wanted} distinct events and tokens were sent, {tuple(found)} are committed"


async def measure(bootstrap: str, kafka: bool, events: int, batch: int) -> dict[str, Any]:
    """One run."""
    made = traffic(events)
    gc.freeze()  # The events to be sent are no part of a worker.
    gc.set_threshold(GARBAGE_AFTER)
    with EmbeddedPostgres(durable=False) as postgres:
        await migrate(postgres.dsn)
        pool = await create_pool(postgres.dsn)
        await set_up(pool)
        log = KafkaLog(
            bootstrap, f"canonical-{batch}", clock=SystemClock(), partitions=PARTITIONS, group=None, embedded=not kafka
        )
        await log.start()
        await fill(log, made, batch)
        ends = await log.ends()
        reading = [await only_read(log, ends)]
        committing = await whole(log, pool, ends)
        reading.append(await only_read(log, ends))
        await check(pool, made)
        await log.stop()
        await pool.close()
    stages = {
        sample.labels["stage"]: round(sample.value / events * 1e9)
        for family in metrics.STREAM_STAGE_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_sum")
    }
    return {
        "benchmark": "canonical",
        "log": "Apache Kafka" if kafka else "embedded broker",
        "machine": f"{platform.machine()} 2 cores, shared with broker and Postgres",
        "seed": SEED,
        "events": events,
        "events_per_message": batch,
        "events_per_second": round(events / committing),
        "poll_and_decode_per_second": round(events / min(reading)),
        "share": round(min(reading) / committing, 2),
        "stage_ns_per_event": stages,
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka instead of the embedded broker")
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=1, help="events in a message")
    asked = parser.parse_args()
    with ApacheKafka() if asked.kafka else EmbeddedBroker() as server:
        result = uvloop.run(measure(server.bootstrap, asked.kafka, asked.events, asked.batch))
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(json.dumps({**result, "commit": git.stdout.strip()}))


if __name__ == "__main__":
    main()
