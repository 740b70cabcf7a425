"""The client and what a service, or something in front of it, may answer: nothing but an outcome settles an event."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from metering.client import Fate, Metering, engine
from metering.client.http import ANSWER_SECONDS
from metering.testing.service import Service

SOON = 20.0


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


def answering(service: Service, *answers: web.Response | Exception) -> None:
    """Let the next requests be answered so, and those after them by the gateway."""
    left = list(answers)

    async def answer(_: web.Request) -> web.Response | None:
        if not left:
            return None
        if isinstance(answer := left.pop(0), Exception):
            raise answer
        return answer

    service.before = answer


@pytest.mark.parametrize(
    "answers",
    [
        [web.Response(status=status) for status in (500, 502, 503, 504, 429, 408, 425)],
        [web.Response(status=status) for status in (400, 401, 403, 404, 405, 415, 422)],
        [web.Response(status=301, headers={"Location": "/elsewhere"})],
        [web.Response(status=200, text="<html>Sign in to the wireless network</html>")],
        [web.Response(status=202, text="<html>")],
        [web.json_response({"outcomes": [], "position": ""}, status=202)],
        [web.json_response({"outcomes": [{"outcome": "unknown"}] * 3, "position": ""}, status=202)],
        [ConnectionResetError("the handler died")],
    ],
    ids=["later", "mistaken", "redirect", "portal", "no-json", "too-few", "unknown", "fault"],
)
async def test_answer_that_is_no_outcome_is_no_acknowledgement(
    service: Service, answers: list[web.Response | Exception]
) -> None:
    answering(service, *answers)
    async with Metering(service.url, "ingest", interval=0.01) as metering:
        ids = [metering.count("t", "acme", n=number) for number in range(3)]
        assert await metering.flush(SOON)
        assert metering.counters.sent == 3
        assert metering.counters.retries == len(answers)
    assert list(await service.events()) == ids


async def test_retry_after_is_respected_and_a_flush_does_not_wait_for_it(service: Service) -> None:
    answering(service, web.Response(status=429, headers={"Retry-After": "1"}))
    async with Metering(service.url, "ingest", interval=0.01) as metering:
        metering.count("t", "acme")
        started = time.monotonic()
        await until(lambda: metering.counters.sent == 1)
        assert time.monotonic() - started >= 0.9
        answering(service, web.Response(status=429, headers={"Retry-After": "300"}))
        metering.count("t", "acme")
        await until(lambda: metering.counters.retries == 2)
        assert await metering.flush(SOON)


async def test_log_that_is_away_is_waited_for(service: Service) -> None:
    service.log.away = True
    async with Metering(service.url, "ingest", interval=0.01) as metering:
        event_id = metering.count("t", "acme")
        await until(lambda: metering.counters.retries >= 2)
        service.log.away = False
        assert await metering.flush(SOON)
    assert list(await service.events()) == [event_id]


async def test_events_of_a_wrong_key_wait_for_the_right_one(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = []
    for key in ("nobody", "read"):
        async with Metering(service.url, key, interval=0.01, spool=tmp_path) as metering:
            ids.append(metering.count("t", "acme"))
            await until(lambda: metering.counters.retries > 0)
            await metering.close(0.1)
            assert metering.counters.dropped == metering.counters.refused == 0
    assert "unauthenticated" in caplog.text
    assert "forbidden" in caplog.text
    async with Metering(service.url, "ingest", spool=tmp_path) as metering:
        await until(lambda: metering.counters.sent == 2)
    assert list(await service.events()) == ids


async def test_body_that_is_too_large_goes_in_parts(service: Service, tmp_path: Path) -> None:
    async def small(request: web.Request) -> web.Response | None:
        return web.Response(status=413) if (request.content_length or 0) > 2_000 else None

    service.before = small
    fates: list[Fate] = []
    async with Metering(service.url, "ingest", interval=0.01, spool=tmp_path, on_outcome=fates.append) as metering:
        ids = [metering.count("t", "acme", n=number) for number in range(100)]
        large = metering.count("t", "acme", text="x" * 3_000)
        assert await metering.flush(SOON)
        assert (metering.counters.sent, metering.counters.refused) == (100, 1)
    assert list(await service.events()) == ids
    assert [(fate.id, fate.outcome) for fate in fates if not fate.queued] == [(large, "body_too_large")]
    assert large in (tmp_path / "refused.jsonl").read_text()


async def test_service_that_hangs_gets_its_events_spooled_meanwhile(service: Service, tmp_path: Path) -> None:
    goes_on = asyncio.Event()

    async def hang(_: web.Request) -> None:
        await goes_on.wait()

    service.before = hang
    async with Metering(service.url, "ingest", interval=0.02, spool=tmp_path) as metering:
        ids = [metering.count("t", "acme")]
        async with asyncio.timeout(ANSWER_SECONDS * 0.8):  # Long before the request itself is given up.
            await until(lambda: metering.counters.spooled == 1)
        ids.append(metering.count("t", "acme"))
        await until(lambda: metering.counters.spooled == 2)
        assert metering.counters.sent == 0
        goes_on.set()
        assert await metering.flush(SOON)
    assert list(await service.events()) == ids
    assert list(tmp_path.iterdir()) == []


async def test_memory_that_is_full_drops_and_tells_and_never_waits(service: Service) -> None:
    await service.stop()
    fates: list[Fate] = []
    async with Metering(service.url, "ingest", memory_bytes=1 << 20, on_outcome=fates.append) as metering:
        slowest = 0.0
        ids = []
        for number in range(4_000):
            started = time.perf_counter()
            ids.append(metering.count("t", "acme", number=number, text="x" * 500))
            slowest = max(slowest, time.perf_counter() - started)
        counters = metering.counters
        assert counters.dropped + counters.waiting == 4_000
        assert counters.dropped == len(fates) > 1_000
        assert {fate.outcome for fate in fates} == {"dropped"}
        assert slowest < 0.2
        await service.start()
        assert await metering.flush(SOON)
    assert set(await service.events()) == set(ids) - {fate.id for fate in fates if not fate.queued}


async def test_spool_that_is_full_keeps_the_first_and_drops_the_last(service: Service, tmp_path: Path) -> None:
    await service.stop()
    bound = 1 << 20
    async with Metering(
        service.url, "ingest", interval=0.01, batch_events=20, memory_bytes=bound, spool=tmp_path, spool_bytes=bound
    ) as metering:
        ids = []
        async with asyncio.timeout(SOON):
            while not metering.counters.dropped:
                ids.append(metering.count("t", "acme", text="x" * 5_000))
                await asyncio.sleep(0.002)
        assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= bound
        assert len(ids) * 5_000 > 1.5 * bound
        await service.start()
        assert await metering.flush(SOON)
        assert metering.counters.sent == len(ids) - metering.counters.dropped
    stored = list(await service.events())
    assert stored == ids[: len(stored)]


async def test_folder_that_cannot_be_written_to_leaves_events_in_memory(service: Service, tmp_path: Path) -> None:
    await service.stop()
    async with Metering(service.url, "ingest", interval=0.01, spool=tmp_path / "spool") as metering:
        (tmp_path / "spool").rename(tmp_path / "moved")
        event_id = metering.count("t", "acme")
        await until(lambda: metering.counters.retries > 1)
        assert metering.counters.spooled == 0
        await service.start()
        assert await metering.flush(SOON)
    assert list(await service.events()) == [event_id]


@pytest.mark.parametrize(
    ("url", "key", "settings"),
    [
        ("metering.example", "k", {}),
        ("https://metering.example", "", {}),
        ("https://metering.example", "a\nb", {}),
        ("https://metering.example", "k", {"interval": 0}),
        ("https://metering.example", "k", {"batch_events": 0}),
        ("https://metering.example", "k", {"memory_bytes": 1}),
        ("https://metering.example", "k", {"source": " "}),
    ],
    ids=["scheme", "no-key", "key", "interval", "batch", "memory", "source"],
)
def test_setting_that_cannot_be_right_is_an_error_at_once(url: str, key: str, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Metering(url, key, **settings)  # type: ignore[arg-type]


async def test_outcome_callback_that_fails_costs_nothing(service: Service) -> None:
    def fail(_: Fate) -> None:
        raise ZeroDivisionError

    async with Metering(service.url, "ingest", on_outcome=fail) as metering:
        ids = [metering.count("t", "acme") for _ in range(2)]
        assert await metering.flush(SOON)
    assert list(await service.events()) == ids
