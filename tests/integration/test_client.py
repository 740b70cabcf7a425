"""The asyncio client before the real gateway, with a log in memory: what it says is there once, whatever happens."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from metering.client import Fate, Metering, engine
from metering.clock import SettableClock, SystemClock
from metering.testing.service import Service
from schemas.instants import DAY, HOUR, Instant

SOON = 20.0
YESTERDAY = Instant(SystemClock().now() - DAY)


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service that listens; the client is quick to come back."""
    monkeypatch.setattr(engine, "PAUSE_FIRST", 0.02)
    monkeypatch.setattr(engine, "PAUSE_MAX", 0.1)
    made = Service()
    await made.start()
    yield made
    await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.01)


async def test_events_arrive_exactly_and_each_fate_is_told(service: Service) -> None:
    fates: list[Fate] = []
    async with Metering(service.url, "ingest", source="app", interval=0.05, on_outcome=fates.append) as metering:
        first = metering.count("llm.call", "acme", tokens=1500, cost=Decimal("0.10"), size="1.0")
        assert metering.send("llm.call", "globex", {"tokens": "2e3"}, id="order-7", time=YESTERDAY) == "order-7"
        await until(lambda: metering.counters.sent + metering.counters.refused == 2)
    stored = await service.events()
    assert stored[first]["data"] == {"tokens": 1500, "cost": "0.1", "size": "1.0"}
    assert stored["order-7"]["time"] == str(YESTERDAY)
    assert (stored[first]["subject"], stored[first]["source"]) == ("acme", "app")
    assert abs(Instant.parse(stored[first]["time"]) - SystemClock().now()) < 60_000_000
    assert {fate.id for fate in fates} == {first, "order-7"}
    assert metering.counters.waiting == 0


async def test_many_events_go_in_few_requests_and_in_order(service: Service) -> None:
    async with Metering(service.url, "ingest", interval=0.05, batch_events=500) as metering:
        ids = [metering.count("t", "acme", n=number) for number in range(5_000)]
        assert await metering.flush(SOON)
        assert metering.counters.sent == 5_000
    assert list(await service.events()) == ids
    assert service.requests <= 20


async def test_full_batch_does_not_wait_for_the_interval(service: Service) -> None:
    async with Metering(service.url, "ingest", interval=3_600, batch_events=10) as metering:
        for _ in range(10):
            metering.count("t", "acme")
        await until(lambda: metering.counters.sent == 10)
        metering.count("t", "acme")
    assert len(await service.events()) == 11


class Proxy:
    """Passes bytes on, and cuts connections at places of chance: in a request, before an answer, inside it."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._chance = random.Random(seed)
        self.cutting = True
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        budget = [self._chance.choice([300, 2_000, 9_000, 40_000]), self._chance.choice([0, 60, 400, 100_000])]
        ways = [self._pass(reader, there_writer, budget[0]), self._pass(there_reader, writer, budget[1])]
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.transport.abort()
        there_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int) -> None:
        while data := await reader.read(1_000):
            if self.cutting and len(data) > budget:
                self.cuts += 1
                return
            budget -= len(data)
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize("seed", [1, 2], ids=str)
async def test_connections_that_are_cut_lose_nothing(service: Service, tmp_path: Path, seed: int) -> None:
    proxy = Proxy(service.port, seed)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    fates: list[Fate] = []
    async with Metering(
        url, "ingest", interval=0.01, batch_events=20, spool=tmp_path, on_outcome=fates.append
    ) as metering:
        ids = set()
        async with asyncio.timeout(SOON):
            while proxy.cuts < 20:
                ids |= {metering.count("t", f"c{number}", n=number) for number in range(20)}
                await asyncio.sleep(0.01)
        proxy.cutting = False
        assert await metering.flush(SOON)
        assert metering.counters.sent == len(ids)
    server.close()
    assert set(await service.events()) == ids
    assert sorted(fate.id for fate in fates) == sorted(ids)
    assert not list(tmp_path.glob("*.jsonl"))


async def test_service_that_is_away_gets_everything_when_it_is_back(service: Service, tmp_path: Path) -> None:
    async with Metering(service.url, "ingest", interval=0.02, spool=tmp_path) as metering:
        ids = [metering.count("t", "acme")]
        assert await metering.flush(SOON)
        await service.stop()
        for _ in range(20):
            ids += [metering.count("t", "acme") for _ in range(10)]
            await asyncio.sleep(0.02)
        await until(lambda: metering.counters.spooled == 200)
        assert metering.counters.waiting == 200
        assert len(list(tmp_path.glob("*.jsonl"))) < 20
        await service.start()
        ids.append(metering.count("t", "acme"))
        assert await metering.flush(SOON)
        assert (metering.counters.sent, metering.counters.dropped) == (202, 0)
    assert list(await service.events()) == ids
    assert list(tmp_path.iterdir()) == []


async def test_close_has_a_deadline_and_the_next_client_sends_what_is_left(service: Service, tmp_path: Path) -> None:
    await service.stop()
    metering = Metering(service.url, "ingest", spool=tmp_path)
    await metering.start()
    ids = [metering.count("t", "acme") for _ in range(10)]
    started = time.monotonic()
    await metering.close(0.2)
    assert time.monotonic() - started < 5
    assert metering.counters.dropped == 0
    await service.start()
    async with Metering(service.url, "ingest", spool=tmp_path) as metering:
        await until(lambda: metering.counters.sent == 10)
    assert list(await service.events()) == ids


async def test_close_without_a_spool_tells_what_is_lost(service: Service) -> None:
    await service.stop()
    fates: list[Fate] = []
    metering = Metering(service.url, "ingest", on_outcome=fates.append)
    await metering.start()
    event_id = metering.count("t", "acme")
    await metering.close(0.1)
    metering.count("t", "acme", too="late")
    assert [fate.outcome for fate in fates] == ["dropped", "dropped"]
    assert fates[0].id == event_id
    assert metering.counters.dropped == 2


async def test_two_clients_share_a_spool(service: Service, tmp_path: Path) -> None:
    await service.stop()
    clients = [Metering(service.url, "ingest", interval=0.02, spool=tmp_path) for _ in range(2)]
    for metering in clients:
        await metering.start()
    ids = {metering.count("t", "acme") for metering in clients for _ in range(50)}
    await until(lambda: all(metering.counters.spooled == 50 for metering in clients))
    await service.start()
    for metering in clients:
        assert await metering.flush(SOON)
        await metering.close()
        assert metering.counters.sent == 50
    assert set(await service.events()) == ids


async def test_client_whose_clock_is_wrong_is_told_and_keeps_its_events(service: Service, tmp_path: Path) -> None:
    fates: list[Fate] = []
    clock = SettableClock(Instant(SystemClock().now() + 2 * HOUR))
    async with Metering(service.url, "ingest", spool=tmp_path, clock=clock, on_outcome=fates.append) as metering:
        fast = metering.count("t", "acme")
        right = metering.send("t", "acme", time=SystemClock().now())
        old = metering.send("t", "acme", time=Instant(SystemClock().now() - 36 * DAY))
        assert await metering.flush(SOON)
    outcomes = {fate.id: fate.outcome for fate in fates}
    assert outcomes == {fast: "time_in_future", right: "queued", old: "time_too_old"}
    assert (metering.counters.sent, metering.counters.refused) == (1, 2)
    kept = [json.loads(line)["id"] for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert kept == [fast, old]
    assert list(await service.events()) == [right]
