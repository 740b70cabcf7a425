"""`POST /v1/events` over a real socket, with a log in memory: statuses, bodies, limits, and clients that misbehave."""

import asyncio
import gzip
import importlib
import io
import json
import sys
import zlib
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metering.api.app import make_app
from metering.api.keys import Key, Keys
from metering.clock import SettableClock
from metering.ingest import http
from metering.ingest.http import Gateway, routes
from metering.observe.metrics import INGEST_EVENTS
from metering.testing.broker import MemoryLog
from schemas.instants import DAY, Instant

NOW = Instant.parse("2026-01-05T10:00:00Z")
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
PLAIN = {"Content-Type": "application/json"}
BUDGET = 64 << 20


class KnownKeys:
    """Keys that are called like their scopes: `ingest+write`."""

    async def find(self, token: str) -> Key | None:
        """The key of a token."""
        return Key(token, frozenset(token.split("+"))) if token else None


class Served:
    """A gateway that listens, and its log."""

    def __init__(self, log: MemoryLog, client: "TestClient[web.Request, web.Application]") -> None:
        self.log = log
        self.client = client

    async def post(
        self, body: Any, headers: dict[str, str] = PLAIN, key: str = "ingest", path: str = "/v1/events"
    ) -> tuple[int, Any]:
        """Status and answer; anything but bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = headers | ({"Authorization": f"Bearer {key}"} if key else {})
        async with self.client.post(path, data=io.BytesIO(data), headers=sent) as response:
            assert response.headers.get("X-Request-Id")
            answer = msgspec.json.decode(await response.read())
            if response.status >= 400:
                assert response.content_type == "application/problem+json"
                assert answer["status"] == response.status
            return response.status, answer

    async def stored(self) -> list[Any]:
        """Every event in the log."""
        events = []
        for partition, end in (await self.log.ends()).items():
            for record in await self.log.read(partition, 0, end):
                assert record.payload is not None
                payload = msgspec.json.decode(record.payload)
                events += payload if isinstance(payload, list) else [payload]
        return events


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A gateway before a log in memory, under a settable clock."""
    clock = SettableClock(NOW)
    log = MemoryLog(clock)
    gateway = Gateway(log, clock, 35 * DAY, BUDGET)
    app = make_app(cast(Keys, KnownKeys()), routes(gateway))
    async with TestClient(TestServer(app)) as client:
        yield Served(log, client)
        await gateway.close()


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A valid event of one of five customers."""
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "app",
        "type": "llm.call",
        "subject": f"customer-{number % 5}",
        "time": "2026-01-05T09:59:00Z",
        "data": {"tokens": number},
    } | changes


async def test_batch_is_acknowledged_with_an_outcome_for_each_event(served: Served) -> None:
    before = INGEST_EVENTS.labels("queued")._value.get()
    events = [event(1), event(2, time="yesterday"), event(3, time="2026-01-05T11:00:01Z"), event(4), 5]
    status, answer = await served.post(events, BATCH)
    assert status == 202
    assert [outcome["outcome"] for outcome in answer["outcomes"]] == [
        "queued",
        "event_invalid",
        "time_in_future",
        "queued",
        "event_invalid",
    ]
    assert answer["outcomes"][0] == {"index": 0, "outcome": "queued", "id": "e1", "source": "app"}
    assert "yesterday" in answer["outcomes"][1]["detail"]
    assert answer["position"]
    assert sorted(stored["id"] for stored in await served.stored()) == ["e1", "e4"]
    assert INGEST_EVENTS.labels("queued")._value.get() == before + 2


async def test_ten_thousand_events_in_one_request_are_all_queued(served: Served) -> None:
    events = [event(number, subject=f"customer-{number % 100}-🦊") for number in range(10_000)]
    status, answer = await served.post(events, BATCH)
    assert status == 202
    assert {outcome["outcome"] for outcome in answer["outcomes"]} == {"queued"}
    assert len(answer["outcomes"]) == 10_000
    assert sorted(int(stored["id"][1:]) for stored in await served.stored()) == list(range(10_000))


async def test_lone_event_that_is_refused_is_422_and_in_a_list_202(served: Served) -> None:
    status, answer = await served.post(event(1, id=""))
    assert (status, answer["code"]) == (422, "event_invalid")
    assert answer["outcomes"][0]["outcome"] == "event_invalid"
    status, answer = await served.post([event(1, id="")])
    assert (status, answer["outcomes"][0]["outcome"]) == (202, "event_invalid")
    assert answer["position"] == ""
    assert await served.stored() == []


async def test_lone_event_lines_and_binary_mode_are_taken(served: Served) -> None:
    one = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
    assert (await served.post(event(1), one))[0] == 202
    lines = b"\n".join(json.dumps(event(number)).encode() for number in (2, 3)) + b"\n{\n"
    status, answer = await served.post(lines, {"Content-Type": "application/x-ndjson"})
    assert status == 202
    assert [outcome["outcome"] for outcome in answer["outcomes"]] == ["queued", "queued", "event_invalid"]
    attributes = {
        f"ce-{name}": str(value).replace("customer", "%63ustomer")
        for name, value in event(4).items()
        if name not in ("data",)
    }
    assert (await served.post({"tokens": 4}, PLAIN | attributes))[0] == 202
    assert sorted(stored["id"] for stored in await served.stored()) == ["e1", "e2", "e3", "e4"]
    assert event(4) in await served.stored()


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"q": ', PLAIN, 400, "body_invalid"),
        (b'[{"id": "caf\xe9"}]', PLAIN, 400, "body_invalid"),
        (b'[{"v": NaN}]', PLAIN, 400, "body_invalid"),
        (b"", PLAIN, 400, "body_invalid"),
        (b"[" * 1_000_000, PLAIN, 400, "body_invalid"),
        (b"{}", {"Content-Type": "application/json; charset=nope"}, 415, "media_type_unsupported"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "media_type_unsupported"),
        (b"{}", PLAIN | {"Content-Encoding": "gzip, gzip"}, 415, "media_type_unsupported"),
        (b"not gzip at all", PLAIN | {"Content-Encoding": "gzip"}, 400, "body_invalid"),
        (b"x" * (40 << 20), PLAIN, 413, "body_too_large"),
        (gzip.compress(b" " * (50 << 20), mtime=0), PLAIN | {"Content-Encoding": "gzip"}, 413, "body_too_large"),
        (zlib.compress(b" " * (50 << 20)), PLAIN | {"Content-Encoding": "deflate"}, 413, "body_too_large"),
        (b"[" + b"1," * 20_000 + b"1]", PLAIN, 413, "too_many_events"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, bytes) else None,
)
async def test_bad_body_is_refused_whole_and_nothing_counts(
    served: Served, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    got, answer = await served.post(body, headers)
    assert (got, answer["code"]) == (status, code)
    assert await served.stored() == []
    assert (await served.post(event(1)))[0] == 202


async def test_encoding_that_the_server_does_not_know_is_the_clients_fault(served: Served) -> None:
    headers = PLAIN | {"Content-Encoding": "br", "Authorization": "Bearer ingest"}
    async with served.client.post("/v1/events", data=b"{}", headers=headers) as response:
        assert response.status == 400  # The HTTP library's own answer, in its own words.
    assert (await served.post(event(1)))[0] == 202


async def test_compressed_bodies_are_inflated(served: Served) -> None:
    zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    raw = json.dumps([event(1), event(2)]).encode()
    for encoding, body in (("gzip", gzip.compress(raw)), ("deflate", zlib.compress(raw)), ("zstd", zstd.compress(raw))):
        status, answer = await served.post(body, PLAIN | {"Content-Encoding": encoding})
        assert (status, len(answer["outcomes"])) == (202, 2)
    bomb = zstd.compress(b" " * (50 << 20))
    assert (await served.post(bomb, PLAIN | {"Content-Encoding": "zstd"}))[0] == 413


@pytest.mark.parametrize(
    ("key", "headers", "path", "status", "code"),
    [
        ("", {}, "/v1/events", 401, "unauthenticated"),
        ("read", {}, "/v1/events", 403, "forbidden"),
        ("write", {}, "/v1/events", 403, "forbidden"),
        ("ingest", {"Metering-Late-Window": "4y"}, "/v1/events", 403, "forbidden"),
        ("ingest+write", {"Metering-Late-Window": "4 years"}, "/v1/events", 400, "parameter_invalid"),
        ("admin", {"Metering-Late-Window": "1d"}, "/v1/events", 400, "parameter_invalid"),
        ("ingest", {}, "/v1/events?wiat=1", 400, "parameter_invalid"),
    ],
    ids=["no key", "read", "write", "window without scope", "no duration", "shorter", "unknown parameter"],
)
async def test_request_that_may_not_is_refused(
    served: Served, key: str, headers: dict[str, str], path: str, status: int, code: str
) -> None:
    got, answer = await served.post([event(1)], PLAIN | headers, key, path)
    assert (got, answer["code"]) == (status, code)
    assert await served.stored() == []


async def test_backfill_brings_old_events_and_says_so_to_the_worker(served: Served) -> None:
    old = event(1, time="2023-11-16T18:17:03.979960Z")
    assert (await served.post(old))[1]["code"] == "time_too_old"
    assert (await served.post(old, PLAIN | {"Metering-Late-Window": "4y"}, "ingest+write"))[0] == 202
    ends = {partition: end for partition, end in (await served.log.ends()).items() if end}
    (partition,) = ends
    (record,) = await served.log.read(partition, 0, 0)
    assert dict(record.headers) == {"received": b"%d" % NOW, "late-window": b"%d" % (4 * 365 * DAY)}


async def test_log_away_is_503_with_every_event_unknown_and_recovers(served: Served) -> None:
    served.log.away = True
    status, answer = await served.post([event(1), event(2, id=""), event(3)])
    assert (status, answer["code"]) == (503, "log_unavailable")
    assert [outcome["outcome"] for outcome in answer["outcomes"]] == ["unknown", "event_invalid", "unknown"]
    served.log.away = False
    assert (await served.post([event(1), event(3)]))[0] == 202
    assert len(await served.stored()) == 2


async def test_partition_without_an_answer_leaves_only_its_events_unknown(served: Served) -> None:
    _, answer = await served.post([event(1)])
    partition = int(answer["position"].split(":")[0])
    served.log.lost_answers = frozenset({partition})
    status, answer = await served.post([event(number) for number in range(5)])
    assert status == 503
    outcomes = {outcome["id"]: outcome["outcome"] for outcome in answer["outcomes"]}
    assert outcomes["e1"] == "unknown"
    assert "queued" in outcomes.values()


async def test_more_than_the_budget_is_told_to_come_again(served: Served) -> None:
    gateway = Gateway(served.log, SettableClock(NOW), 35 * DAY, budget_bytes=1_000)
    app = make_app(cast(Keys, KnownKeys()), routes(gateway))
    async with TestClient(TestServer(app)) as client:
        small = Served(served.log, client)
        status, answer = await small.post([event(number) for number in range(20)])
        assert (status, answer["code"]) == (429, "overloaded")
        assert (await small.post(event(1)))[0] == 202
    assert gateway._budget.taken == 0


async def test_half_a_body_times_out_and_harms_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.1)
    reader, writer = await raw_request(served, b'[{"id"', content_length=1_000)
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
    assert (await served.post(event(1)))[0] == 202


async def test_client_that_hangs_up_in_the_middle_harms_nobody(served: Served) -> None:
    for _ in range(20):
        _, writer = await raw_request(served, b'[{"id"', content_length=1_000)
        writer.transport.abort()
    _, writer = await raw_request(served, json.dumps([event(7)]).encode())
    writer.transport.abort()
    status, _ = await served.post(event(1))
    assert status == 202
    assert {stored["id"] for stored in await served.stored()} <= {"e1", "e7"}


async def raw_request(
    served: Served, body: bytes, content_length: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.client.port)
    length = content_length or len(body)
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest\r\nContent-Length: {length}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    await writer.drain()
    return reader, writer
