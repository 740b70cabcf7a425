"""The client in a thread, in processes of its own: ends of programs, kills, forks, many threads."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metering.client import Metering, PlainMetering
from metering.testing.service import Service

SOON = 20.0


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service that listens."""
    made = Service()
    await made.start()
    yield made
    await made.stop()


async def run(script: str, *arguments: str, timeout: float = 30) -> list[str]:
    """The lines that a program prints; it has to end well."""
    command = [sys.executable, "-c", script, *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


async def test_with_block_sends_before_it_ends(service: Service) -> None:
    def work() -> list[str]:
        with PlainMetering(service.url, "ingest") as metering:
            ids = [metering.count("t", "acme"), metering.send("t", "acme", {"n": 1})]
            assert metering.flush(SOON)
            assert metering.counters.sent == 2
            ids.append(metering.count("t", "acme"))
        return ids

    ids = await asyncio.to_thread(work)
    assert list(await service.events()) == ids


async def test_program_that_just_ends_has_sent_everything(service: Service) -> None:
    script = """
import sys
from metering.client import PlainMetering
metering = PlainMetering(sys.argv[1], "ingest", interval=60)
print(*[metering.count("t", "acme") for _ in range(3)])
"""
    # A name and not an address: at the end of a program names have to be looked up, too.
    ids = await run(script, f"http://localhost:{service.port}")
    assert list(await service.events()) == ids


async def test_program_that_ends_while_the_service_is_away_leaves_its_events(service: Service, tmp_path: Path) -> None:
    await service.stop()
    script = """
import sys
from metering.client import PlainMetering
metering = PlainMetering(sys.argv[1], "ingest", spool=sys.argv[2])
print(*[metering.count("t", "acme") for _ in range(3)], flush=True)
metering.close(timeout=0.2)
"""
    ids = await run(script, service.url, str(tmp_path))
    await service.start()
    async with Metering(service.url, "ingest", spool=tmp_path) as metering:
        assert await metering.flush(SOON)
        assert metering.counters.sent == 3
    assert list(await service.events()) == ids


KILLED = """
import sys, time
from metering.client import PlainMetering, engine
engine.PATIENCE_SECONDS = 60  # So that none is both spooled and sent before the service goes.
url, spool = sys.argv[1:]
metering = PlainMetering(url, "ingest", interval=0.01, batch_events=50, spool=spool)
n = 0
while True:
    ids = [metering.count("t", f"c{n % 7}", n=(n := n + 1)) for _ in range(20)]
    if not metering.flush(0):
        while metering.counters.spooled + metering.counters.sent < n:
            time.sleep(0.002)
    print(*ids, flush=True)  # On disk, or acknowledged: from here on they must not be lost.
"""


@pytest.mark.parametrize("seconds", [0.5, 0.8, 1.1], ids=str)
async def test_killed_process_loses_nothing_that_was_spooled_or_acknowledged(
    service: Service, tmp_path: Path, seconds: float
) -> None:
    out = tmp_path / "out"
    spool = tmp_path / "spool"
    with out.open("wb") as file:
        child = subprocess.Popen([sys.executable, "-c", KILLED, service.url, str(spool)], stdout=file)
    try:
        async with asyncio.timeout(SOON):
            while service.requests < 5:
                await asyncio.sleep(0.01)
            await service.stop()
            size = out.stat().st_size
            while out.stat().st_size == size or not list(spool.glob("*.jsonl")):
                await asyncio.sleep(0.01)
        await asyncio.sleep(seconds / 10)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    printed = out.read_text()
    promised = printed[: printed.rfind("\n") + 1].split()
    await service.start()
    async with Metering(service.url, "ingest", spool=spool) as metering:
        assert await metering.flush(SOON)
        assert metering.counters.sent > 0
    stored = await service.events()
    assert len(promised) > 100
    assert set(promised) <= set(stored)
    numbers = [event["data"]["n"] for event in stored.values()]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert not list(spool.glob("*.jsonl"))


async def test_fork_counts_what_parent_and_child_say_once(service: Service, tmp_path: Path) -> None:
    script = """
import os, sys
from metering.client import PlainMetering
metering = PlainMetering(sys.argv[1], "ingest", interval=60, spool=sys.argv[2])
ids = [metering.count("t", "acme", who="parent") for _ in range(3)]
if (child := os.fork()) == 0:
    print(*[metering.count("t", "acme", who="child") for _ in range(2)], flush=True)
    metering.close()
    os._exit(0)
os.waitpid(child, 0)
print(*ids, flush=True)
"""
    ids = await run(script, service.url, str(tmp_path))
    stored = await service.events()
    assert set(ids) == set(stored)
    assert sum(event["data"]["who"] == "child" for event in stored.values()) == 2
    assert not list(tmp_path.iterdir())


async def test_many_threads_are_all_counted(service: Service) -> None:
    metering = PlainMetering(service.url, "ingest", interval=0.01)
    ids: list[str] = []

    def work(number: int) -> None:
        ids.extend(metering.count("t", f"c{number}", n=n) for n in range(500))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await asyncio.to_thread(metering.flush, SOON)
    await asyncio.to_thread(metering.close)
    assert metering.counters.sent == 2_000
    assert set(await service.events()) == set(ids)


async def test_spool_that_cannot_be_used_stops_start_but_no_request(service: Service, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    metering = PlainMetering(service.url, "ingest", spool=tmp_path / "file" / "spool")
    metering.count("t", "acme")
    metering.count("t", "acme")
    with pytest.raises(OSError):
        await asyncio.to_thread(metering.start)
    os.remove(tmp_path / "file")
    await asyncio.to_thread(metering.start)
    assert await asyncio.to_thread(metering.flush, SOON)
    await asyncio.to_thread(metering.close)
    assert len(await service.events()) == 2
