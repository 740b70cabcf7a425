"""How many events a second does one gateway process take, and the log acknowledge, at 100 events a request?

    python benchmarks/bench_gateway.py [--log memory|postgres|embedded|kafka] [--seconds 10] [--events 100]

The gateway is this process, with keys, scopes and metrics as in production; a second process sends prepared requests
over `--connections` kept-alive connections and waits for each answer. Control: the same with a log in memory, which is
what the HTTP side alone can do. Prints one JSON line per log. All share the machine: broker, sender and gateway.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import subprocess
import time
from contextlib import AsyncExitStack
from typing import Any, cast

from aiohttp import web

from metering.api.app import make_app
from metering.api.keys import Key, Keys
from metering.cli.loop import run
from metering.clock import SystemClock
from metering.embedded import EmbeddedBroker, EmbeddedPostgres
from metering.ingest.http import Gateway, routes
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Log
from metering.stream.postgres_log import PostgresLog
from metering.testing.broker import MemoryLog
from metering.testing.kafka import ApacheKafka
from schemas.instants import instant_text

PARTITIONS = 8
SEED = 20_260_105
BODIES = 64


class OneKey:
    """Every key may send events."""

    async def find(self, token: str) -> Key | None:
        """The key of a token."""
        return Key("bench", frozenset({"ingest"}))


def requests(events: int, now: int) -> list[bytes]:
    """Whole HTTP requests of about 230 bytes an event, of 1,000 customers."""
    chance = random.Random(SEED)
    made = []
    for body_number in range(BODIES):
        body = json.dumps(
            [
                {
                    "specversion": "1.0",
                    "id": f"evt-{body_number:04}-{number:08}",
                    "source": "api-gateway/eu-1",
                    "type": "llm.call",
                    "subject": f"customer-{chance.randrange(1_000):06}",
                    "time": instant_text(now + number * 1_000),
                    "data": {"input_tokens": chance.randrange(5_000), "output_tokens": 17, "model": "large"},
                }
                for number in range(events)
            ],
            separators=(",", ":"),
        ).encode()
        head = (
            f"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n"
        )
        made.append(head.encode() + b"Content-Type: application/cloudevents-batch+json\r\n\r\n" + body)
    return made


class Sending(asyncio.Protocol):
    """One connection: sends, waits for the answer, sends the next, until the time is over."""

    def __init__(self, prepared: list[bytes], until: float, latencies: list[float]) -> None:
        self._prepared = prepared
        self._until = until
        self._latencies = latencies
        self._number = 0
        self._left = 0
        self._began = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        if self._began >= self._until:
            self._transport.close()
            self.done.set_result(None)
            return
        self._number += 1
        self._transport.write(self._prepared[self._number % len(self._prepared)])

    def data_received(self, data: bytes) -> None:
        """Count the answer's bytes; the next request after the last of them."""
        if not self._left:
            head, _, _ = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202"), data[:500]
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self._left = len(head) + 4 + int(length.partition(b":")[2])
        self._left -= len(data)
        if not self._left:
            self._latencies.append(time.perf_counter() - self._began)
            self._send()


def send_all(port: int, connections: int, events: int, seconds: float, now: int, answers: Any) -> None:
    """The sender's process."""

    async def work() -> None:
        latencies: list[float] = []
        prepared = requests(events, now)
        until = time.perf_counter() + seconds
        loop = asyncio.get_running_loop()
        sendings = [
            (await loop.create_connection(lambda: Sending(prepared, until, latencies), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(sending.done for sending in sendings))
        latencies.sort()
        answers.put((len(latencies), latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]))

    run(work())


async def open_log(kind: str, stack: AsyncExitStack) -> Log:
    """A log of that kind, on servers of its own."""
    clock = SystemClock()
    if kind == "memory":
        return MemoryLog(clock, PARTITIONS)
    if kind == "postgres":
        database = EmbeddedPostgres(durable=True)
        await stack.enter_async_context(database)
        await migrate(database.dsn_of("postgres"))
        pool = await create_pool(database.dsn_of("postgres"))
        stack.push_async_callback(pool.close)
        return PostgresLog(pool, clock=clock, partitions=PARTITIONS)
    server: EmbeddedBroker | ApacheKafka = EmbeddedBroker() if kind == "embedded" else ApacheKafka()
    await stack.enter_async_context(server)
    embedded = kind == "embedded"
    return KafkaLog(server.bootstrap, "usage.events", clock=clock, partitions=PARTITIONS, embedded=embedded)


async def measure(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One log's numbers."""
    async with AsyncExitStack() as stack:
        log = await open_log(kind, stack)
        await log.start()
        stack.push_async_callback(log.stop)
        gateway = Gateway(log, SystemClock())
        runner = web.AppRunner(make_app(cast(Keys, OneKey()), routes(gateway)), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        now = SystemClock().now()
        given = (port, arguments.connections, arguments.events, arguments.seconds, now, answers)
        sender = context.Process(target=send_all, args=given)
        used = time.process_time()
        sender.start()
        requests_done, p50, p99 = await asyncio.to_thread(answers.get)
        used = time.process_time() - used
        await asyncio.to_thread(sender.join)
        await gateway.close()
        messages = sum((await log.ends()).values())
    events = requests_done * arguments.events
    return {
        "benchmark": "gateway",
        "log": kind,
        "events_per_second": round(events / arguments.seconds),
        "requests_per_second": round(requests_done / arguments.seconds),
        "events_per_message": round(events / max(1, messages)),
        "gateway_cpu_us_per_event": round(used / events * 1e6, 2),
        "p50_ms": round(p50 * 1e3, 1),
        "p99_ms": round(p99 * 1e3, 1),
        "events_per_request": arguments.events,
        "connections": arguments.connections,
        "partitions": PARTITIONS,
        "seed": SEED,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit(),
    }


def commit() -> str:
    """The commit that is measured."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", action="append", choices=["memory", "postgres", "embedded", "kafka"])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    for kind in arguments.log or ["memory", "embedded"]:
        print(json.dumps(run(measure(kind, arguments))), flush=True)


if __name__ == "__main__":
    main()
