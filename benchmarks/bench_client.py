"""What does `send` cost the one who calls it, and how many events a second does one client get acknowledged?

    python benchmarks/bench_client.py [--events 100000] [--client asyncio|plain]

The gateway, with a log in memory, is a second process. `send` is timed call by call while the client is sending, with
the service there and with the service away (then everything goes to the spool). Control: the same number of ready-made
bodies of 1,000 events, posted one after the other with aiohttp, which is what the wire and the gateway allow.
Prints one JSON line per case.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from metering.client import Metering, PlainMetering
from metering.client.event import Data, event_bytes
from metering.testing.service import Service

BATCH = 1_000
DATA: Data = {"input_tokens": 1500, "output_tokens": 17, "model": "large"}


def serve(ports: Any) -> None:
    """The gateway's process."""

    async def work() -> None:
        service = Service()
        await service.start()
        ports.put(service.port)
        await asyncio.Event().wait()

    asyncio.run(work())


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """A gateway in a process of its own; its address."""
    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    process = context.Process(target=serve, args=(ports,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{await asyncio.to_thread(ports.get)}"
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


def said(metering: Metering | PlainMetering, events: int) -> list[float]:
    """Say that many things at once; the seconds of each call, sorted."""
    times = []
    for number in range(events):
        began = time.perf_counter()
        metering.send("llm.call", f"customer-{number % 1_000:06}", DATA)
        times.append(time.perf_counter() - began)
    return sorted(times)


async def paced(metering: Metering, events: int) -> list[float]:
    """The same in an event loop that has other things to do, too."""
    times: list[float] = []
    while len(times) < events:
        times += said(metering, min(100, events - len(times)))
        await asyncio.sleep(0)
    return sorted(times)


async def until_done(metering: Metering | PlainMetering, case: str, events: int) -> None:
    """Wait until the service, or the disk, has everything."""
    while (metering.counters.spooled if case == "away" else metering.counters.sent) < events:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def measure(case: str, kind: str, url: str, events: int, spool: Path) -> dict[str, Any]:
    """One case: the cost of `send`, and what was acknowledged, or spooled, by the end."""
    settings: dict[str, Any] = {"spool": spool, "memory_bytes": 1 << 30, "spool_bytes": 1 << 30}
    began = time.perf_counter()
    if kind == "asyncio":
        async with Metering(url, "ingest", **settings) as metering:
            times = await paced(metering, events)
            await until_done(metering, case, events)
            seconds, counters = time.perf_counter() - began, metering.counters
            await metering.close(0)
    else:
        plain = PlainMetering(url, "ingest", **settings)
        times = await asyncio.to_thread(said, plain, events)
        await until_done(plain, case, events)
        seconds, counters = time.perf_counter() - began, plain.counters
        await asyncio.to_thread(plain.close, 0)
    done = counters.spooled if case == "away" else counters.sent
    assert (done, counters.dropped) == (events, 0), counters
    return {
        "case": f"{kind}, service {case}",
        "events_per_second": round(events / seconds),
        "send_us_p50": round(times[len(times) // 2] * 1e6, 1),
        "send_us_p99": round(times[len(times) * 99 // 100] * 1e6, 1),
        "send_us_max": round(times[-1] * 1e6),
    }


async def control(url: str, events: int) -> dict[str, Any]:
    """Ready-made bodies, one after the other."""
    one = event_bytes("e", "bench", "llm.call", "customer-000001", "2026-01-05T10:00:00.123456Z", DATA)
    body = b"[" + b",".join([one.replace(b'"e"', b'"%032d"' % number) for number in range(BATCH)]) + b"]"
    body = body.replace(
        b"2026-01-05T10:00:00.123456Z", time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()).encode()
    )
    headers = {"Authorization": "Bearer ingest", "Content-Type": "application/cloudevents-batch+json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        began = time.perf_counter()
        for _ in range(events // BATCH):
            async with session.post(f"{url}/v1/events", data=aiohttp.BytesPayload(body)) as response:
                assert response.status == 202, await response.text()
                await response.read()
        seconds = time.perf_counter() - began
    return {"case": "control: ready-made bodies", "events_per_second": round(events / seconds)}


async def work(arguments: argparse.Namespace) -> None:
    """All cases."""
    about = {
        "benchmark": "client",
        "events": arguments.events,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    async with gateway() as url:
        print(json.dumps(about | await control(url, arguments.events)), flush=True)
        for kind in arguments.client or ["asyncio", "plain"]:
            for case in ("there", "away"):
                with tempfile.TemporaryDirectory() as folder:
                    address = url if case == "there" else "http://127.0.0.1:1"
                    result = await measure(case, kind, address, arguments.events, Path(folder))
                    print(json.dumps(about | result), flush=True)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--client", action="append", choices=["asyncio", "plain"])
    asyncio.run(work(parser.parse_args()))


if __name__ == "__main__":
    main()
