"""How many balances a second does one process answer over HTTP, and how fast?

    python benchmarks/bench_balance.py [--customers 500] [--seconds 8] [--connections 8] [--months 2]

Each customer has a subscription with a graduated charge by model (3 models) and a fee, `--months` final invoices, and
usage in the open period. The API is this process, Postgres another, the load a third; all share the machine. Control:
the same reader called without HTTP, one balance after the other. Prints one JSON line.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import time
from multiprocessing.connection import Connection
from typing import Any

import asyncpg

from metering.api.balance import Balances
from metering.cli.loop import run
from metering.embedded import EmbeddedPostgres
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.testing.api import ADMIN
from metering.testing.engine import Engine, run_engine
from schemas.instants import Instant

START = Instant.parse("2026-01-01T00:00:00Z")
MODELS = ("small", "medium", "large")
TIERS = [{"up_to": "1000", "unit": "0.02"}, {"up_to": "10000", "unit": "0.015"}, {"up_to": None, "unit": "0.01"}]
PLAN: dict[str, Any] = {
    "currency": "USD",
    "period": "month",
    "align": "calendar",
    "charges": {
        "tokens": {"meter": "tokens", "by": ["model"], "price": {"model": "graduated", "tiers": TIERS}},
        "desk": {"recurring": "31.00"},
    },
}
METER = {
    "event_type": "call",
    "aggregation": "sum",
    "value": "data.n",
    "dimensions": {"model": "data.model"},
}


async def fill(engine: Engine, customers: list[str], months: int) -> None:
    """Customers, subscriptions, closed months and an open one."""
    known = {key: {"currency": "USD"} for key in customers}
    answer = await engine.api.post(
        "/v1/catalog", {"meters": {"tokens": METER}, "plans": {"pro": PLAN}, "customers": known}
    )
    assert answer.status == 200, answer
    for key in customers:
        assert (
            await engine.api.post("/v1/subscriptions", {"id": f"s-{key}", "customer": key, "plan": "pro"})
        ).status == 201
    for month in range(months + 1):
        events = [
            {
                "specversion": "1.0",
                "id": f"{month}-{key}-{model}",
                "source": "bench",
                "type": "call",
                "subject": key,
                "data": {"n": 700 * place + 350, "model": model},
            }
            for key in customers
            for place, model in enumerate(MODELS)
        ]
        for first in range(0, len(events), 2_000):
            await engine.send(events[first : first + 2_000])
        if month < months:
            await engine.move(f"2026-{month + 2:02}-01T02:00:00Z")


def load(port: int, customers: list[str], connections: int, seconds: float, results: Connection) -> None:
    """Ask for balances over kept-alive connections; sends the seconds of each answer."""

    async def ask(mine: list[str], times: list[float], until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = 0
        while time.perf_counter() < until:
            path = f"/v1/customers/{mine[place % len(mine)]}/balance"
            started = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {ADMIN}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert head.startswith("http/1.1 200"), head
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            times.append(time.perf_counter() - started)
            place += 1
        writer.close()

    async def all_of_them() -> list[float]:
        times: list[float] = []
        until = time.perf_counter() + seconds
        await asyncio.gather(*(ask(customers[number::connections], times, until) for number in range(connections)))
        return times

    results.send(asyncio.run(all_of_them()))


async def measure(dsn: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill, warm up, read without HTTP, read with it."""
    await migrate(dsn)
    pool: asyncpg.Pool = await create_pool(dsn, size=16)
    customers = [f"c{number:05}" for number in range(arguments.customers)]
    async with run_engine(pool, START) as engine:
        await fill(engine, customers, arguments.months)
        balances = Balances(pool, engine.clock, engine.owed, engine.scheduler.watermarks)
        for key in customers:
            await balances.read(key)
        started = time.perf_counter()
        for key in customers:
            await balances.read(key)
        direct = len(customers) / (time.perf_counter() - started)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        options = (engine.api.port, customers, arguments.connections, arguments.seconds, theirs)
        sender = multiprocessing.get_context("spawn").Process(target=load, args=options)
        sender.start()
        used = time.process_time()
        times = sorted(await asyncio.to_thread(ours.recv))
        used = time.process_time() - used
        sender.join()
    await pool.close()
    return {
        "benchmark": "balance",
        "machine": f"{platform.machine()} {os.cpu_count()} cores, Python {platform.python_version()}",
        "customers": arguments.customers,
        "months": arguments.months,
        "connections": arguments.connections,
        "reads_per_second": round(len(times) / arguments.seconds),
        "p50_ms": round(times[len(times) // 2] * 1000, 2),
        "p99_ms": round(times[len(times) * 99 // 100] * 1000, 2),
        "cpu_us_per_read": round(used / len(times) * 1e6),
        "direct_reads_per_second": round(direct),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--months", type=int, default=2)
    arguments = parser.parse_args()
    with EmbeddedPostgres(durable=False) as server:
        print(json.dumps(run(measure(server.dsn, arguments))), flush=True)


if __name__ == "__main__":
    main()
