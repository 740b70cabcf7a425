"""The decorator and the middlewares: which calls are events, and that metering never breaks one."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metering.client import Fate, Metering
from metering.client.transport import fate
from metering.client.web import ASGIMiddleware, aiohttp_middleware


class Sink:
    """A transport that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def start(self) -> None:
        """Nothing to do."""

    async def send(self, events: Sequence[bytes]) -> list[Fate]:
        """Keep them."""
        self.events += map(json.loads, events)
        return [fate(event, "queued") for event in events]

    async def stop(self) -> None:
        """Nothing to do."""


def half_a_second(*_: Any) -> Any:
    """Data that no type checker sees: a float."""
    return {"seconds": 0.5}


class Metered:
    """A client, and what it sent."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.metering = Metering(self.sink)

    async def sent(self) -> list[tuple[str, str, Any]]:
        """Type, customer and data of everything."""
        await self.metering.start()
        await self.metering.close()
        return [(event["type"], event["subject"], event.get("data")) for event in self.sink.events]


@pytest.fixture
def metered() -> Metered:
    """A client that has not begun."""
    return Metered()


async def test_call_that_returns_is_an_event(metered: Metered) -> None:
    @metered.metering.metered("report.made", subject="account", data=lambda report, *_, **__: {"pages": len(report)})
    def make_report(account: str, month: str = "may") -> str:
        """Its docstring."""
        return account + month

    @metered.metering.metered("report.read", subject=lambda account, **_: account.upper(), data="options")
    async def read_report(account: str, *, options: dict[str, int]) -> int:
        return len(account)

    assert make_report("acme") == "acmemay"
    assert make_report(month="x", account="globex") == "globexx"
    assert await read_report("acme", options={"page": 3}) == 4
    assert make_report.__doc__ == "Its docstring."
    assert await metered.sent() == [
        ("report.made", "acme", {"pages": 7}),
        ("report.made", "globex", {"pages": 7}),
        ("report.read", "ACME", {"page": 3}),
    ]


async def test_call_that_raises_is_no_event(metered: Metered) -> None:
    @metered.metering.metered("t", subject="account")
    def fail(account: str) -> None:
        raise ZeroDivisionError(account)

    @metered.metering.metered("t", subject="account")
    async def fail_later(account: str) -> None:
        raise ZeroDivisionError(account)

    with pytest.raises(ZeroDivisionError):
        fail("acme")
    with pytest.raises(ZeroDivisionError):
        await fail_later("acme")
    assert await metered.sent() == []
    assert metered.metering.counters.dropped == 0


async def test_call_that_cannot_be_metered_is_counted_and_not_broken(
    metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    @metered.metering.metered("t", subject="account", data=half_a_second)
    def work(account: str) -> str:
        return account

    assert work("acme") == "acme"
    assert metered.metering.counters.dropped == 1
    assert "data.seconds is the float" in caplog.text
    assert await metered.sent() == []


def test_decorator_on_what_cannot_be_metered_is_an_error_at_once(metered: Metered) -> None:
    with pytest.raises(ValueError, match="no argument 'account'"):

        @metered.metering.metered("t", subject="account")
        def work(customer: str) -> None: ...

    with pytest.raises(TypeError, match="generator"):

        @metered.metering.metered("t", subject="account")
        def stream(account: str) -> Iterator[str]:
            yield account


async def test_aiohttp_requests_are_metered_by_their_answers(metered: Metered) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/away":
            raise web.HTTPNotFound
        if request.path == "/broken":
            raise ZeroDivisionError
        return web.Response(status=201)

    meter = aiohttp_middleware(
        metered.metering,
        "http.request",
        lambda request: request.headers.get("Account"),
        lambda request, status: {"path": request.path, "class": status // 100},
    )
    app = web.Application(middlewares=[meter])
    app.router.add_route("*", "/{path}", handle)
    async with TestClient(TestServer(app)) as client:
        for path in ("fine", "away", "broken"):
            async with client.post(f"/{path}", headers={"Account": "acme"}):
                pass
        async with client.get("/fine") as nobody:
            assert nobody.status == 201
        async with client.get("/fine", headers={"Account": "x" * 300}) as unmetered:
            assert unmetered.status == 201
    assert metered.metering.counters.dropped == 1
    assert await metered.sent() == [
        ("http.request", "acme", {"method": "POST", "status": status, "ok": ok, "path": path, "class": status // 100})
        for status, ok, path in ((201, True, "/fine"), (404, False, "/away"), (500, False, "/broken"))
    ]


async def test_asgi_requests_are_metered_by_their_answers(metered: Metered) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        scope["account"] = None if scope["path"] == "/health" else "acme"
        if scope["path"] == "/broken":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    wrapped = ASGIMiddleware(app, metered.metering, "http.request", lambda scope: scope["account"])
    for path in ("/fine", "/health"):
        await wrapped({"type": "http", "method": "GET", "path": path}, receive, send)
    with pytest.raises(ZeroDivisionError):
        await wrapped({"type": "http", "method": "PUT", "path": "/broken"}, receive, send)
    await wrapped({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"] * 2
    assert await metered.sent() == [
        ("http.request", "acme", {"method": "GET", "status": 200, "ok": True}),
        ("http.request", "acme", {"method": "PUT", "status": 500, "ok": False}),
    ]
