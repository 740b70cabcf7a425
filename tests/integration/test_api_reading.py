"""What can be looked up: usage, what was refused, the arithmetic of lines, keys, the clock."""

from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import asyncpg
import pytest

from metering.testing.engine import Engine, run_engine
from schemas.instants import Instant

START = Instant.parse("2026-01-01T00:00:00Z")
TIERS = [{"up_to": "1000", "unit": "0.02"}, {"up_to": None, "unit": "0.01"}]
CATALOG: dict[str, Any] = {
    "meters": {
        "tokens": {
            "event_type": "call",
            "aggregation": "sum",
            "value": "data.n",
            "dimensions": {"model": "data.model", "place": "data.place"},
        }
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "period": "month",
            "align": "calendar",
            "charges": {"tokens": {"meter": "tokens", "price": {"model": "graduated", "tiers": TIERS}}},
        }
    },
    "customers": {"acme": {"currency": "USD", "taxes": [{"name": "VAT", "rate": "21"}]}},
}


@pytest.fixture
async def engine(pool: asyncpg.Pool) -> AsyncIterator[Engine]:
    async with run_engine(pool, START) as made:
        assert (await made.api.post("/v1/catalog", CATALOG)).status == 200
        body = {"id": "s1", "customer": "acme", "plan": "pro"}
        assert (await made.api.post("/v1/subscriptions", body)).status == 201
        yield made


def event(name: str, tokens: Any, **data: Any) -> dict[str, Any]:
    fields = {"id": name, "source": "t", "type": "call", "subject": "acme", "data": {"n": tokens, **data}}
    return {"specversion": "1.0", **fields}


async def test_usage_is_grouped_by_dimensions(engine: Engine) -> None:
    await engine.send([event("e1", "0.1", model="a", place="x"), event("e2", 2, model="a"), event("e3", 4, model="b")])
    span = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
    whole = await engine.api.get(f"/v1/customers/acme/usage?meter=tokens&{span}")
    assert whole.tree["items"] == [{"dimensions": {}, "quantity": "6.1", "events": 3}]
    by_model = (await engine.api.get(f"/v1/customers/acme/usage?meter=tokens&{span}&group_by=model")).tree["items"]
    assert [(item["dimensions"], item["quantity"]) for item in by_model] == [
        ({"model": "a"}, "2.1"),
        ({"model": "b"}, "4"),
    ]
    nobody = (await engine.api.get(f"/v1/customers/nobody/usage?meter=tokens&{span}&group_by=model,place")).tree
    assert nobody["items"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("meter=nope&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", "not_found"),
        ("meter=tokens&from=2026-01-01T00:00:00Z", "parameter_invalid"),
        ("meter=tokens&from=2026-01-01T00:30:00Z&to=2026-01-02T00:00:00Z", "parameter_invalid"),
        ("meter=tokens&from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "parameter_invalid"),
        ("meter=tokens&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&group_by=modl", "parameter_invalid"),
    ],
    ids=["meter", "no-end", "half-hour", "empty", "dimension"],
)
async def test_usage_that_cannot_be_is_refused(engine: Engine, query: str, code: str) -> None:
    assert (await engine.api.get(f"/v1/customers/acme/usage?{query}")).tree["code"] == code


async def test_what_was_refused_is_listed_in_pages(engine: Engine) -> None:
    bad = [event("e1", "many"), event("e2", None), event("e3", "1e30"), event("e4", 5)]
    await engine.send(bad)
    found: list[Any] = []
    path = "/v1/rejected?limit=2"
    while path:
        tree = (await engine.api.get(path)).tree
        found += tree["items"]
        path = f"/v1/rejected?limit=2&cursor={tree['next']}" if tree["next"] else ""
    assert [(item["id"], item["code"], item["meter"]) for item in found] == [
        ("e1", "value_not_numeric", "tokens"),
        ("e2", "value_missing", "tokens"),
        ("e3", "value_out_of_range", "tokens"),
    ]
    assert '"many"' in found[0]["payload"]
    only = (await engine.api.get("/v1/rejected?code=value_missing&customer=acme")).tree["items"]
    assert [item["id"] for item in only] == ["e2"]
    assert (await engine.api.get("/v1/rejected?customer=nobody")).tree["items"] == []


async def test_every_line_explains_itself(engine: Engine) -> None:
    await engine.send([event("e1", 1500)])
    await engine.move("2026-02-01T00:30:00Z")
    for _ in range(2):  # once as a draft, once final
        (invoice,) = (await engine.api.get("/v1/invoices")).tree["items"]
        texts = []
        for position, line in enumerate(invoice["lines"], 1):
            answer = (await engine.api.get(f"/v1/invoices/{invoice['id']}/lines/{position}/explain")).tree
            assert answer["line"] == line
            texts.append(answer["text"])
        assert texts == ["1,000 x 0.02 + 500 x 0.01 = 25.00", "25.00 x 21 / 100 = 5.25"]
        left = [eval_text(text.partition("=")[0]) for text in texts]
        assert left == [Fraction(line["amount"]) for line in invoice["lines"]]
        await engine.move("2026-02-01T01:00:00Z")
    for wrong in ("0", "3", "x"):
        answer = await engine.api.get(f"/v1/invoices/{invoice['id']}/lines/{wrong}/explain")
        assert (answer.status, answer.tree["code"]) == (404, "not_found")


def eval_text(formula: str) -> Fraction:
    """Sums of products and quotients, exact."""
    total = Fraction(0)
    for term in formula.replace(",", "").split("+"):
        product = Fraction(1)
        for index, factor in enumerate(term.replace("/", "x /").split("x")):
            number = factor.strip()
            product *= 1 / Fraction(number[1:].strip()) if number.startswith("/") and index else Fraction(number)
        total += product
    return total


async def test_line_whose_tax_is_gone_says_that_it_cannot_be_explained(engine: Engine) -> None:
    await engine.send([event("e1", 1500)])
    await engine.move("2026-02-01T01:00:00Z")
    (invoice,) = (await engine.api.get("/v1/invoices")).tree["items"]
    await engine.api.put("/v1/customers/acme", {"currency": "USD"})
    answer = await engine.api.get(f"/v1/invoices/{invoice['id']}/lines/2/explain")
    assert (answer.status, answer.tree["code"]) == (409, "not_explainable")
    assert (await engine.api.get(f"/v1/invoices/{invoice['id']}")).tree == invoice


async def test_key_opens_what_it_may_until_it_is_revoked(engine: Engine) -> None:
    made = await engine.api.post("/v1/keys", {"scopes": ["read"], "note": "a dashboard"})
    assert made.status == 201
    token, name = made.tree["token"], made.tree["id"]
    assert (await engine.api.get("/v1/plans", key=token)).status == 200
    assert (await engine.api.post("/v1/keys", {"scopes": ["admin"]}, key=token)).status == 403
    assert (await engine.api.get("/v1/keys", key=token)).status == 403
    listed = {item["id"]: item for item in (await engine.api.get("/v1/keys")).tree["items"]}
    assert (listed[name]["note"], listed[name]["revoked"]) == ("a dashboard", None)
    assert "token" not in listed[name]
    for _ in range(2):
        assert (await engine.api.call("DELETE", f"/v1/keys/{name}")).tree["revoked"] == str(START)
    assert (await engine.api.get("/v1/plans", key=token)).status == 401
    assert (await engine.api.call("DELETE", "/v1/keys/none")).tree["code"] == "not_found"
    assert (await engine.api.post("/v1/keys", {"scopes": ["root"]})).tree["code"] == "field_invalid"


async def test_clock_goes_forward_only(engine: Engine) -> None:
    assert (await engine.api.get("/v1/clock")).tree == {"now": str(START)}
    back = await engine.api.post("/v1/clock", {"now": "2025-12-31T00:00:00Z"})
    assert (back.status, back.tree["code"]) == (409, "clock_backward")
    reader = (await engine.api.post("/v1/keys", {"scopes": ["write"]})).tree["token"]
    assert (await engine.api.post("/v1/clock", {"now": "2026-02-01T00:00:00Z"}, key=reader)).status == 403
