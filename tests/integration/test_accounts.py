"""Catalog, customers and acts through the API: what is stored, what is refused, what may be sent again."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from metering.testing.engine import Engine, run_engine
from schemas.instants import Instant

START = Instant.parse("2026-01-01T00:00:00Z")
CATALOG: dict[str, Any] = {
    "meters": {
        "tokens": {
            "event_type": "call",
            "aggregation": "sum",
            "value": "data.n",
            "dimensions": {"model": "data.model"},
        },
        "calls": {"event_type": "call", "aggregation": "count"},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "period": "month",
            "align": "calendar",
            "charges": {
                "base": {"recurring": "30.00"},
                "seats": {"recurring": "5.00"},
                "tokens": {"meter": "tokens", "price": {"model": "per_unit", "unit": "0.01"}},
            },
        },
        "euro": {"currency": "EUR", "period": "month", "charges": {"calls": {"meter": "calls", "price": "1"}}},
        "small": {"currency": "USD", "period": "month", "align": "calendar", "charges": {"base": {"recurring": "10"}}},
    },
}


@pytest.fixture
async def engine(pool: asyncpg.Pool) -> AsyncIterator[Engine]:
    async with run_engine(pool, START) as made:
        assert (await made.api.post("/v1/catalog", CATALOG)).status == 200
        assert (await made.api.put("/v1/customers/acme", {"currency": "USD"})).status == 201
        yield made


async def subscribe(engine: Engine, **fields: Any) -> Any:
    return await engine.api.post("/v1/subscriptions", {"id": "s1", "customer": "acme", "plan": "pro", **fields})


async def test_catalog_applied_again_changes_nothing(engine: Engine) -> None:
    again = (await engine.api.post("/v1/catalog", CATALOG)).tree
    assert again["plans"]["unchanged"] == {"pro": 1, "euro": 1, "small": 1}
    assert again["meters"] == {"added": [], "changed": [], "unchanged": ["tokens", "calls"]}


async def test_dry_run_shows_the_difference_and_does_nothing(engine: Engine) -> None:
    plan = {**CATALOG["plans"]["pro"], "minimum": "50"}
    body = {"plans": {"pro": plan}, "meters": {"new": {"event_type": "x", "aggregation": "count"}}}
    shown = (await engine.api.post("/v1/catalog?dry_run=1", body)).tree
    assert (shown["plans"]["changed"], shown["meters"]["added"]) == ({"pro": 2}, ["new"])
    assert (await engine.api.get("/v1/plans/pro")).tree["version"] == 1
    assert (await engine.api.get("/v1/meters/new")).status == 404


async def test_yaml_catalog_keeps_the_order_and_digits_of_charges(engine: Engine) -> None:
    text = b"plans: {p: {currency: USD, period: month, charges: {z: {recurring: 0.10}, a: {recurring: 1e1}}}}"
    answer = await engine.api.post("/v1/catalog", text, headers={"Content-Type": "application/yaml"})
    assert answer.status == 200, answer
    plan = (await engine.api.get("/v1/plans/p")).tree
    assert [(key, charge["recurring"]["unit"]) for key, charge in plan["charges"].items()] == [
        ("z", "0.1"),
        ("a", "10"),
    ]


async def test_plan_read_and_put_again_makes_no_version(engine: Engine) -> None:
    plan = (await engine.api.get("/v1/plans/pro")).tree
    for name in ("key", "version", "since"):
        plan.pop(name)
    assert (await engine.api.put("/v1/plans/pro", plan)).status == 200
    plan["charges"]["base"]["recurring"]["unit"] = "31"
    changed = await engine.api.put("/v1/plans/pro", plan)
    assert (changed.status, changed.tree["version"]) == (201, 2)
    for named, price in (("pro@1", "30"), ("pro%402", "31"), ("pro", "31")):
        assert (await engine.api.get(f"/v1/plans/{named}")).tree["charges"]["base"]["recurring"]["unit"] == price
    for unknown in ("pro@3", "pro@", "pro@x", "prro", "prro@1"):
        assert (await engine.api.get(f"/v1/plans/{unknown}")).status == 404


async def test_faulty_catalog_names_all_faults_with_places(engine: Engine) -> None:
    text = (
        b'{"plans": {"p": {"currency": "USD", "period": "month",\n "charges": {"a": {"meter": "nope", "price": "x"}}}}}'
    )
    answer = await engine.api.post("/v1/catalog", text)
    assert (answer.status, answer.tree["code"]) == (422, "catalog_invalid")
    assert {fault["path"] for fault in answer.tree["faults"]} == {"plans.p.charges.a.meter", "plans.p.charges.a.price"}
    assert {fault["line"] for fault in answer.tree["faults"]} == {2}


@pytest.mark.parametrize("aggregation", ["max", "min", "latest", "unique"])
async def test_aggregation_that_is_not_live_is_refused_with_the_sentence(engine: Engine, aggregation: str) -> None:
    body = {"event_type": "call", "aggregation": aggregation, "value": "data.n"}
    answer = await engine.api.put("/v1/meters/top", body)
    assert (answer.status, answer.tree["code"]) == (422, "aggregation_not_live")
    assert f"not {aggregation}" in answer.tree["detail"]


async def test_meter_keeps_its_dimensions(engine: Engine) -> None:
    answer = await engine.api.put("/v1/meters/tokens", {"event_type": "call", "aggregation": "sum", "value": "data.n"})
    assert (answer.status, answer.tree["code"]) == (409, "meter_fixed")


async def test_customer_with_an_emoji_is_one_like_any_other(engine: Engine) -> None:
    key = quote("café 🚀/1", safe="")
    assert (await engine.api.put(f"/v1/customers/{key}", {"currency": "USD"})).status == 201
    assert (await engine.api.get(f"/v1/customers/{key}")).tree["key"] == "café 🚀/1"
    body = {"id": "s-🚀", "customer": "café 🚀/1", "plan": "pro"}
    assert (await engine.api.post("/v1/subscriptions", body)).status == 201
    assert (await engine.api.get(f"/v1/customers/{key}/balance")).status == 200


@pytest.mark.parametrize("path", ["a%00b", "%20a", "a%0A", "a" * 256], ids=["nul", "blank", "newline", "long"])
async def test_key_that_cannot_be_is_refused(engine: Engine, path: str) -> None:
    for answer in (
        await engine.api.put(f"/v1/customers/{path}", {"currency": "USD"}),
        await engine.api.get(f"/v1/customers/{path}/balance"),
    ):
        assert (answer.status, answer.tree["code"]) == (400, "parameter_invalid")


async def test_currency_and_zone_are_fixed_by_the_first_subscription(engine: Engine) -> None:
    assert (await engine.api.put("/v1/customers/acme", {"currency": "USD", "timezone": "Asia/Tokyo"})).status == 200
    await subscribe(engine)
    answer = await engine.api.put("/v1/customers/acme", {"currency": "USD"})
    assert (answer.status, answer.tree["code"]) == (409, "customer_fixed")
    named = await engine.api.put("/v1/customers/acme", {"currency": "USD", "timezone": "Asia/Tokyo", "name": "Acme"})
    assert (named.status, named.tree["name"]) == (200, "Acme")


async def test_subscription_sent_again_is_the_same_one(engine: Engine, pool: asyncpg.Pool) -> None:
    first, again = await subscribe(engine), await subscribe(engine)
    assert (first.status, again.status) == (201, 200)
    assert first.tree == again.tree
    assert await pool.fetchval("SELECT count(*) FROM act") == 1
    other = await subscribe(engine, quantities={"seats": 2})
    assert (other.status, other.tree["code"]) == (409, "subscription_exists")


async def test_subscription_stays_on_its_version(engine: Engine) -> None:
    await subscribe(engine)
    plan = {**CATALOG["plans"]["pro"], "minimum": "50"}
    assert (await engine.api.put("/v1/plans/pro", plan)).tree["version"] == 2
    assert (await subscribe(engine)).status == 200
    assert (await engine.api.get("/v1/subscriptions/s1")).tree["plan"] == "pro@1"
    assert (await engine.api.post("/v1/subscriptions/s1/change", {"plan": "pro"})).tree["plan"] == "pro@2"


async def test_refusals_have_their_codes(engine: Engine) -> None:
    api = engine.api
    await subscribe(engine)
    await api.put("/v1/customers/other", {"currency": "USD"})
    cases = [
        (await subscribe(engine, id="s2", customer="nobody"), 404, "unknown_customer"),
        (await subscribe(engine, id="s2", plan="gold"), 422, "unknown_plan"),
        (await subscribe(engine, id="s2"), 409, "usage_billed_twice"),
        (await subscribe(engine, customer="other"), 409, "subscription_exists"),
        (await api.post("/v1/subscriptions/none/change", {"plan": "pro"}), 404, "unknown_subscription"),
        (await api.post("/v1/subscriptions/none/charges", {"id": "x", "amount": "1"}), 404, "unknown_subscription"),
        (await api.post("/v1/customers/nobody/grants", {"id": "g", "amount": "1"}), 404, "unknown_customer"),
        (await api.post("/v1/subscriptions/s1/change", {"plan": "euro"}), 422, "currency_mismatch"),
        (await api.post("/v1/subscriptions/s1/change", {}), 422, "field_invalid"),
        (await api.post("/v1/subscriptions/s1/cancel", {"when": "later"}), 422, "field_invalid"),
        (
            await api.post("/v1/customers/acme/grants", {"id": "g", "amount": "1", "customer": "x"}),
            422,
            "field_invalid",
        ),
        (await api.post("/v1/customers/acme/coupons", {"id": "c"}), 422, "field_invalid"),
    ]
    await api.post("/v1/subscriptions/s1/cancel", {})
    cases.append((await api.post("/v1/subscriptions/s1/cancel", {}), 409, "subscription_ended"))
    assert [(answer.status, answer.tree["code"]) for answer, _, _ in cases] == [
        (status, code) for _, status, code in cases
    ]


async def test_cancel_with_an_id_can_be_sent_again(engine: Engine) -> None:
    await subscribe(engine)
    await engine.move("2026-01-11T00:00:00Z")
    first = await engine.api.post("/v1/subscriptions/s1/cancel", {"id": "bye"})
    again = await engine.api.post("/v1/subscriptions/s1/cancel", {"id": "bye"})
    assert (first.status, again.status) == (200, 200)
    assert again.tree["end"] == "2026-01-11T00:00:00Z"
    other = await engine.api.post("/v1/subscriptions/s1/cancel", {"id": "bye", "when": "at_period_end"})
    assert other.tree["code"] == "content_differs"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/customers/acme/grants",
            {"id": "g1", "amount": "20.00", "priority": 1, "expires": "2026-03-01T00:00:00Z"},
        ),
        ("/v1/customers/acme/coupons", {"id": "c1", "percent": 10, "charges": ["base"], "periods": 1}),
        ("/v1/customers/acme/charges", {"id": "o1", "amount": "-5.00"}),
        ("/v1/subscriptions/s1/charges", {"id": "o1", "amount": "5.00", "quantity": 2}),
    ],
    ids=["grant", "coupon", "charge", "subscription-charge"],
)
async def test_what_is_given_twice_is_given_once(engine: Engine, pool: asyncpg.Pool, path: str, body: Any) -> None:
    await subscribe(engine)
    first, again = await engine.api.post(path, body), await engine.api.post(path, body)
    assert (first.status, again.status) == (201, 200), first
    assert first.tree == again.tree
    assert await pool.fetchval("SELECT count(*) FROM act WHERE kind <> 'subscribe'") == 1
    other = await engine.api.post(path, {**body, ("amount" if "amount" in body else "percent"): "7"})
    assert (other.status, other.tree["code"]) == (409, "content_differs")


async def test_subscriptions_are_listed_by_customer(engine: Engine) -> None:
    await engine.api.put("/v1/customers/b", {"currency": "USD"})
    await subscribe(engine)
    await subscribe(engine, id="s0", customer="b")
    await subscribe(engine, id="s2", plan="small")
    everyone = (await engine.api.get("/v1/subscriptions?limit=2")).tree
    rest = (await engine.api.get(f"/v1/subscriptions?limit=2&cursor={everyone['next']}")).tree
    assert [item["id"] for item in (*everyone["items"], *rest["items"])] == ["s1", "s2", "s0"]
    assert [item["id"] for item in (await engine.api.get("/v1/subscriptions?customer=b")).tree["items"]] == ["s0"]
