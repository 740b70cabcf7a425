"""The application around the routes: keys, scopes, problems, limits, pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metering.api.probes import make_probes
from metering.clock import SettableClock
from metering.errors import StoreUnavailable
from metering.testing.api import Api, serve_api
from metering.testing.broker import MemoryLog
from schemas.http import Scope
from schemas.instants import Instant

NOW = Instant.parse("2026-01-10T12:00:00Z")


async def broken(_request: web.Request) -> web.Response:
    raise RuntimeError("a fault of ours")


async def away(_request: web.Request) -> web.Response:
    raise StoreUnavailable("Postgres does not answer")


@asynccontextmanager
async def api_of(pool: asyncpg.Pool) -> AsyncIterator[Api]:
    clock = SettableClock(NOW)
    more = [web.get("/v1/broken", broken), web.get("/v1/away", away)]
    async with serve_api(pool, clock, MemoryLog(clock), more) as api:
        yield api


@pytest.fixture
async def api(pool: asyncpg.Pool) -> AsyncIterator[Api]:
    async with api_of(pool) as made:
        yield made


def problem_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
    tree = answer.tree
    assert tree["status"] == answer.status
    assert tree["title"]
    return answer.status, tree["code"]


async def test_no_key_is_unauthenticated(api: Api) -> None:
    answer = await api.get("/v1/customers", key=None)
    assert problem_of(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "key", ["", "x", "mk_" + "a" * 43, "a" * 600, "é"], ids=["empty", "short", "guess", "long", "é"]
)
async def test_unknown_key_is_unauthenticated(api: Api, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    assert problem_of(await api.get("/v1/customers", key=None, headers=headers)) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("scope", "may_read", "may_write"),
    [(Scope.INGEST, False, False), (Scope.READ, True, False), (Scope.WRITE, True, True), (Scope.ADMIN, True, True)],
    ids=["ingest", "read", "write", "admin"],
)
async def test_key_may_do_what_its_scope_says(api: Api, scope: Scope, may_read: bool, may_write: bool) -> None:
    key = await api.keys.make([scope])
    read = await api.get("/v1/customers", key=key)
    write = await api.put("/v1/customers/c1", {"currency": "USD"}, key=key)
    assert (read.status == 200, write.status == 201) == (may_read, may_write)
    for answer in (read, write):
        assert answer.status < 300 or problem_of(answer) == (403, "forbidden")


async def test_key_in_the_database_is_a_hash(api: Api, pool: asyncpg.Pool) -> None:
    token = await api.keys.make([Scope.READ])
    rows = await pool.fetch("SELECT * FROM api_key")
    assert all(token.encode() not in row["hash"] and token not in str(dict(row)) for row in rows)


async def test_bootstrap_makes_one_admin_key(pool: asyncpg.Pool) -> None:
    from metering.api.keys import Keys

    keys = Keys(pool, SettableClock(NOW))
    token = await keys.bootstrap(None)
    assert token is not None
    assert (found := await keys.find(token)) is not None
    assert found.scopes == {"admin"}
    assert await keys.bootstrap(None) is None
    assert await keys.bootstrap("chosen-by-the-operator") is None
    assert await keys.find("chosen-by-the-operator") is not None


async def test_unknown_address_is_a_problem(api: Api) -> None:
    assert problem_of(await api.get("/v1/nowhere")) == (404, "not_found")


async def test_wrong_method_is_a_problem_that_allows(api: Api) -> None:
    answer = await api.call("DELETE", "/v1/customers/c1")
    assert problem_of(answer) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "PUT"}


async def test_fault_of_ours_is_a_problem_without_details(api: Api) -> None:
    answer = await api.get("/v1/broken")
    assert problem_of(answer) == (500, "internal")
    assert b"a fault of ours" not in answer.content
    assert answer.headers["X-Request-Id"] in answer.tree["detail"]


async def test_store_away_is_503_with_retry_after(api: Api) -> None:
    answer = await api.get("/v1/away")
    assert problem_of(answer) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


async def test_request_id_is_kept_if_harmless(api: Api) -> None:
    kept = await api.get("/v1/plans", headers={"X-Request-Id": "abc-123"})
    made = await api.get("/v1/plans", headers={"X-Request-Id": "a b{c}"})
    assert kept.headers["X-Request-Id"] == "abc-123"
    assert made.headers["X-Request-Id"] != "a b{c}"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"q": ', "application/json", (400, "body_invalid")),
        (b'{"currency": "\xe9"}', "application/json", (400, "body_invalid")),
        (b"", "application/json", (400, "body_invalid")),
        (b'{"currency": NaN}', "application/json", (400, "body_invalid")),
        (b'{"currency": "USD", "name": "a\\u0000b"}', "application/json", (400, "body_invalid")),
        (b'{"currency": "USD", "name": "\\ud800"}', "application/json", (400, "body_invalid")),
        (b"[" * 50_000, "application/json", (400, "body_invalid")),
        (b"{}", "application/json; charset=nope", (415, "media_type_unsupported")),
        (b"{}", "text/plain", (415, "media_type_unsupported")),
        (b"[]", "application/json", (422, "field_invalid")),
        (b'{"currency": "USD", "nmae": "x"}', "application/json", (422, "field_invalid")),
        (b'{"currency": "USD", "currency": "EUR"}', "application/json", (422, "field_invalid")),
        (b'{"currency": "ABC"}', "application/json", (422, "field_invalid")),
        (b'{"currency": "USD", "timezone": "Mars/Base"}', "application/json", (422, "field_invalid")),
        (b'{"currency": "USD", "taxes": [{"name": "VAT", "rate": true}]}', "application/json", (422, "field_invalid")),
        (b'"' + b"a" * (1 << 20) + b'"', "application/json", (413, "body_too_large")),
    ],
    ids=[
        "cut",
        "latin-1",
        "empty",
        "nan",
        "nul",
        "surrogate",
        "deep",
        "charset",
        "type",
        "list",
        "unknown",
        "twice",
        "currency",
        "zone",
        "bool",
        "large",
    ],
)
async def test_bad_body_is_refused_with_its_code(
    api: Api, body: bytes, content_type: str, expected: tuple[int, str]
) -> None:
    answer = await api.put("/v1/customers/c1", body, headers={"Content-Type": content_type})
    assert problem_of(answer) == expected, answer
    assert (await api.get("/v1/customers/c1")).status == 404


async def test_unknown_field_names_the_nearest(api: Api) -> None:
    answer = await api.put("/v1/customers/c1", {"currency": "USD", "timezon": "UTC"})
    assert "timezone" in answer.tree["faults"][0]["fix"]
    assert answer.tree["faults"][0]["path"] == "timezon"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "cursor=x", "cursor=WzFd", "limt=1", "limit=1&limit=2"]
)
async def test_bad_parameter_is_refused(api: Api, query: str) -> None:
    assert problem_of(await api.get(f"/v1/customers?{query}")) == (400, "parameter_invalid")


async def test_list_is_paged_to_its_end(api: Api) -> None:
    keys = [f"c{number}" for number in range(5)]
    for key in keys:
        await api.put(f"/v1/customers/{key}", {"currency": "USD"})
    seen: list[str] = []
    path = "/v1/customers?limit=2"
    while True:
        tree = (await api.get(path)).tree
        seen += [item["key"] for item in tree["items"]]
        if tree["next"] is None:
            break
        path = f"/v1/customers?limit=2&cursor={tree['next']}"
    assert seen == keys


async def test_probes_say_what_is_not_ready() -> None:
    states: dict[str, bool] = {"postgres": True}

    async def check() -> None:
        if not states["postgres"]:
            raise StoreUnavailable("no connection")

    async with TestClient(TestServer(make_probes({"postgres": check}))) as client:
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/readyz")).status == 200
        states["postgres"] = False
        ready = await client.get("/readyz")
        assert ready.status == 503
        assert (await ready.json())["failing"] == {"postgres": "no connection"}
        metrics = await client.get("/metrics")
        assert "metering_api_requests" in await metrics.text()
