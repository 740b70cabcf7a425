"""The gateway on a real port, with a log in memory: what clients are tried against."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from metering.api.app import make_app
from metering.api.keys import Key, Keys
from metering.clock import SystemClock
from metering.ingest.http import Gateway, routes
from metering.testing.broker import MemoryLog


class _KnownKeys:
    """Keys that are called like their scopes: `ingest`, `read`."""

    async def find(self, token: str) -> Key | None:
        return Key(token, frozenset({token})) if token in ("ingest", "read") else None


class Service:
    """A gateway that can be away, and its log. `await start()`, `await stop()`, as often as wanted."""

    def __init__(self) -> None:
        self.log = MemoryLog(SystemClock())
        self.port = 0
        self.requests = 0
        self.before: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
        """Answers a request in the gateway's place, or None to let it through."""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        app = make_app(cast(Keys, _KnownKeys()), routes(Gateway(self.log, SystemClock())))
        app.middlewares.insert(0, self._intercept)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    @web.middleware
    async def _intercept(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        answer = await self.before(request) if self.before is not None else None
        return answer if answer is not None else await handler(request)

    async def stop(self) -> None:
        """Be away: connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def events(self) -> dict[str, Any]:
        """Every event in the log by id, in its order; `AssertionError` if a copy differs from the first by a byte."""
        found: dict[str, bytes] = {}
        for partition, end in (await self.log.ends()).items():
            for record in await self.log.read(partition, 0, end):
                payload = record.payload or b""
                many = msgspec.json.decode(payload, type=list[msgspec.Raw]) if payload[:1] == b"[" else [payload]
                for raw in map(bytes, many):
                    event_id = msgspec.json.decode(raw)["id"]
                    assert found.setdefault(event_id, raw) == raw, f"a copy of {event_id} differs"
        return {event_id: msgspec.json.decode(raw) for event_id, raw in found.items()}
