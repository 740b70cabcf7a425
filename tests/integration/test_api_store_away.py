"""Postgres goes away and comes back: the API says so, and all goes on by itself."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.api import keys
from metering.embedded import EmbeddedPostgres
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.testing.engine import run_engine
from schemas.instants import Instant

START = Instant.parse("2026-01-01T00:00:00Z")
AWAY_SECONDS_MAX = 15.0
CATALOG: dict[str, Any] = {
    "meters": {"calls": {"event_type": "call", "aggregation": "count"}},
    "plans": {"pay": {"currency": "USD", "period": "month", "charges": {"c": {"meter": "calls", "price": "1"}}}},
    "customers": {"acme": {"currency": "USD"}},
}


def event(name: str) -> dict[str, Any]:
    return {"specversion": "1.0", "id": name, "source": "t", "type": "call", "subject": "acme"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below a path that the server's account can pass through."""
    with tempfile.TemporaryDirectory(prefix="m-") as made:
        Path(made).chmod(0o711)
        yield Path(made) / "data"


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(folder, durable=False)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_balance_answers_503_while_postgres_is_away_and_goes_on_by_itself(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "CACHE_SECONDS", 0.0)  # The gateway goes on for longer than it trusts what it knows.
    await migrate(server.dsn)
    pool = await create_pool(server.dsn, size=6)
    async with run_engine(pool, START) as engine:
        api = engine.api
        assert (await api.post("/v1/catalog", CATALOG)).status == 200
        assert (await api.post("/v1/subscriptions", {"id": "s", "customer": "acme", "plan": "pay"})).status == 201
        await engine.send([event("e1")])
        await server.stop()
        for method, path, body in (
            ("GET", "/v1/customers/acme/balance", None),
            ("GET", "/v1/invoices", None),
            ("POST", "/v1/customers/acme/grants", {"id": "g", "amount": "1"}),
        ):
            started = time.monotonic()
            answer = await api.call(method, path, body)
            assert (answer.status, answer.tree["code"]) == (503, "store_unavailable"), answer
            assert "Retry-After" in answer.headers
            assert time.monotonic() - started < AWAY_SECONDS_MAX
        assert (await api.post("/v1/events", [event("e2")])).status == 202
        await server.start()
        async with asyncio.timeout(30):
            while (answer := await api.get("/v1/customers/acme/balance")).status != 200 or quantity(answer) != "2":
                await engine.clock.sleep(0.05)
        assert (await api.post("/v1/customers/acme/grants", {"id": "g", "amount": "1"})).status == 201
    await pool.close()


def quantity(answer: Any) -> str:
    found: str = answer.tree["charges"][0]["quantity"]
    return found
