"""The API on a free port over a log in memory and a settable clock: what tests of routes talk to."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import asyncpg
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from metering.api.app import make_app
from metering.api.keys import Keys
from metering.catalog.http import routes as catalog_routes
from metering.catalog.store import CatalogStore
from metering.clock import SettableClock
from metering.stream.log import Log
from metering.subscriptions.accounts import Accounts
from metering.subscriptions.customers import CustomerStore
from metering.subscriptions.http import routes as account_routes
from metering.subscriptions.store import Acts
from schemas.http import Scope

ADMIN = "test-admin-key-0123456789"


class Answer:
    """What a request was answered with; `tree` is its JSON."""

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def tree(self) -> Any:
        """The JSON of the answer."""
        return msgspec.json.decode(self.content)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.content[:500]!r})"


class Api:
    """Requests as an admin, or with another `key`."""

    def __init__(self, client: "TestClient[web.Request, web.Application]", keys: Keys) -> None:
        self._client = client
        self.keys = keys

    @property
    def port(self) -> int:
        """Where it listens, on the loopback."""
        port = self._client.port
        assert port is not None
        return port

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = ADMIN,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; a body that is no bytes is sent as JSON. The path is sent as it is written."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key}")
        content = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        address = URL(str(self._client.make_url("/"))[:-1] + path, encoded=True)
        async with self._client.session.request(
            method, address, data=None if content is None else BytesIO(content), headers=sent
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.call("PUT", path, body, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.call("POST", path, body, **options)


@asynccontextmanager
async def serve_api(
    pool: asyncpg.Pool,
    clock: SettableClock,
    log: Log,
    *more: Iterable[web.AbstractRouteDef],
    accounts: Accounts | None = None,
) -> AsyncIterator[Api]:
    """The routes of catalog and accounts, and `more`, on a free port of the loopback."""
    keys = Keys(pool, clock)
    await keys.make([Scope.ADMIN], "tests", ADMIN)
    customers = CustomerStore(pool, clock, log.partitions)
    app = make_app(
        keys,
        catalog_routes(CatalogStore(pool, clock, log.partitions), customers),
        account_routes(customers, Acts(pool, clock, log, accounts or Accounts()), clock),
        *more,
    )
    async with TestClient(TestServer(app)) as client:
        yield Api(client, keys)
