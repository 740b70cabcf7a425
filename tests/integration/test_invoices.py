"""Invoices live: drafted once, final only behind the stream, numbered without gaps, shown to programs and people."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from metering.postgres.queries import queries
from metering.testing.engine import Engine, run_engine
from schemas.instants import Instant

START = Instant.parse("2026-01-01T00:00:00Z")
PLAN: dict[str, Any] = {
    "currency": "USD",
    "period": "month",
    "align": "calendar",
    "charges": {
        "base": {"recurring": "31.00", "bill": "arrears"},
        "tokens": {"meter": "tokens", "by": ["model"], "price": {"model": "per_unit", "unit": "0.001"}},
    },
}
METER: dict[str, Any] = {
    "event_type": "call",
    "aggregation": "sum",
    "value": "data.n",
    "dimensions": {"model": "data.model"},
}


@pytest.fixture
async def engine(pool: asyncpg.Pool) -> AsyncIterator[Engine]:
    async with run_engine(pool, START) as made:
        await set_up(made, "acme")
        yield made


async def set_up(engine: Engine, *customers: str) -> None:
    catalog = {"meters": {"tokens": METER}, "plans": {"pro": PLAN}}
    catalog["customers"] = {customer: {"currency": "USD"} for customer in customers}
    assert (await engine.api.post("/v1/catalog", catalog)).status == 200
    for customer in customers:
        body = {"id": f"s-{customer}", "customer": customer, "plan": "pro"}
        assert (await engine.api.post("/v1/subscriptions", body)).status == 201


def event(name: str, customer: str, tokens: int, **more: Any) -> dict[str, Any]:
    data = {"n": tokens, "model": more.pop("model", "large")}
    return {"specversion": "1.0", "id": name, "source": "t", "type": "call", "subject": customer, "data": data, **more}


async def invoices(engine: Engine, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await engine.api.get(f"/v1/invoices{query}")).tree["items"]
    return found


def amounts(invoice: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["charge"], line["amount"]) for line in invoice["lines"]]


async def test_period_closes_into_a_draft_then_a_final_invoice(engine: Engine) -> None:
    await engine.send([event("e1", "acme", 1500), event("e2", "acme", 500, model="small")])
    assert await invoices(engine) == []
    await engine.move("2026-02-01T00:00:00Z")
    (draft,) = await invoices(engine)
    assert (draft["status"], draft["number"], draft["total"]) == ("draft", None, "33.00")
    await engine.send([event("e3", "acme", 250, time="2026-01-31T23:59:59.999999Z")])
    await engine.move("2026-02-01T01:00:00Z")
    (final,) = await invoices(engine, "?customer=acme")
    assert (final["status"], final["number"], final["id"]) == ("final", 1, draft["id"])
    assert amounts(final) == [("base", "31.00"), ("tokens", "1.75"), ("tokens", "0.50")]
    assert final["period"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    assert (await engine.api.get(f"/v1/invoices/{final['id']}")).tree == final
    assert await invoices(engine, "?status=draft") == []


async def test_late_usage_goes_on_the_next_invoice_and_the_final_one_stays(engine: Engine) -> None:
    await engine.send([event("e1", "acme", 1000)])
    await engine.move("2026-02-01T01:00:00Z")
    (before,) = await invoices(engine)
    await engine.send([event("e2", "acme", 2000, time="2026-01-15T00:00:00Z")])
    balance = (await engine.api.get("/v1/customers/acme/balance")).tree
    await engine.move("2026-03-01T01:00:00Z")
    january, february = await invoices(engine)
    assert january == before
    assert [(line["kind"], line["amount"]) for line in february["lines"] if line["charge"] == "tokens"] == [
        ("adjustment", "2.00")
    ]
    assert (balance["due"], balance["credits"]) == ("32.00", "0")


async def test_missed_periods_are_caught_up_one_by_one(engine: Engine) -> None:
    await engine.send([event("e1", "acme", 1000)])
    await engine.move("2026-04-15T00:00:00Z")
    found = await invoices(engine)
    assert [(one["issued"], one["number"], one["total"]) for one in found] == [
        ("2026-02-01T00:00:00Z", 1, "32.00"),
        ("2026-03-01T00:00:00Z", 2, "31.00"),
        ("2026-04-01T00:00:00Z", 3, "31.00"),
    ]


async def test_many_schedulers_at_once_make_each_invoice_once_without_gaps(pool: asyncpg.Pool) -> None:
    customers = [f"c{number:02}" for number in range(40)]
    async with run_engine(pool, START) as engine:
        await set_up(engine, *customers)
        await engine.send([event(f"e-{customer}", customer, 1000) for customer in customers])
        engine.clock.set(Instant.parse("2026-03-01T01:00:00Z"))
        schedulers = [engine.new_scheduler() for _ in range(4)]
        settled = await asyncio.gather(*(scheduler.settle(20) for scheduler in schedulers))
        assert all(settled)
        found = await invoices(engine, "?limit=500")
    assert sorted(one["number"] for one in found) == list(range(1, 81))
    assert sorted((one["customer"], one["issued"][:7]) for one in found) == [
        (customer, month) for customer in customers for month in ("2026-02", "2026-03")
    ]
    assert {one["total"] for one in found} == {"32.00", "31.00"}


async def test_numbers_follow_the_instant_then_the_subscription(pool: asyncpg.Pool) -> None:
    async with run_engine(pool, START) as engine:
        await set_up(engine, "b", "a", "c")
        await engine.move("2026-03-01T01:00:00Z")
        found = await invoices(engine)
    in_order = sorted(found, key=lambda one: one["number"])
    assert [(one["issued"][:7], one["subscription"]) for one in in_order] == [
        (month, name) for month in ("2026-02", "2026-03") for name in ("s-a", "s-b", "s-c")
    ]


async def test_crash_while_finalising_leaves_no_gap(engine: Engine, pool: asyncpg.Pool) -> None:
    await engine.send([event("e1", "acme", 1000)])
    engine.clock.set(Instant.parse("2026-02-01T01:00:00Z"))
    scheduler = engine.new_scheduler()
    await scheduler.draft()
    await scheduler.watermarks.refresh()
    await pool.execute("ALTER TABLE invoice ADD CONSTRAINT broken CHECK (status = 'draft')")
    with pytest.raises(asyncpg.CheckViolationError):
        await scheduler.finalize()
    assert await pool.fetchval("SELECT last_number FROM seller") == 0
    assert await pool.fetchval("SELECT count(*) FROM invoice_line") == 0
    await pool.execute("ALTER TABLE invoice DROP CONSTRAINT broken")
    assert await engine.new_scheduler().settle(20)
    assert [(one["number"], one["total"]) for one in await invoices(engine)] == [(1, "32.00")]


async def test_draft_waits_while_the_stream_lags(pool: asyncpg.Pool) -> None:
    async with run_engine(pool, START, worker=False) as engine:
        await set_up(engine, "acme")
        answer = await engine.api.post("/v1/events", [event("e1", "acme", 1000)])
        assert answer.status == 202
        engine.clock.set(Instant.parse("2026-02-02T00:00:00Z"))
        scheduler = engine.new_scheduler()
        assert await scheduler.step() == 2  # the issue at the start, without lines, waits too
        assert await scheduler.step() == 2
        (draft,) = await invoices(engine)
        assert draft["status"] == "draft"
        await engine.start_worker()
        assert await scheduler.settle(20)
        (final,) = await invoices(engine)
    assert (final["status"], final["total"]) == ("final", "32.00")


async def test_act_while_events_stream_agrees_with_the_worker(engine: Engine) -> None:
    async def stream() -> None:
        for number in range(40):
            events = [event(f"e{number}-{index}", "acme", 10, model=f"m{index % 3}") for index in range(25)]
            assert (await engine.api.post("/v1/events", events)).status == 202

    async def act() -> None:
        for number in range(15):
            body = {"quantities": {"base": number + 1}}
            assert (await engine.api.post("/v1/subscriptions/s-acme/change", body)).status == 200

    await asyncio.gather(stream(), act())
    await engine.committed()
    balance = (await engine.api.get("/v1/customers/acme/balance")).tree
    assert sum(int(charge["quantity"]) for charge in balance["charges"]) == 10_000
    await engine.move("2026-02-01T01:00:00Z")
    (final,) = await invoices(engine)
    tokens = [line for line in final["lines"] if line["charge"] == "tokens"]
    assert sum(int(line["quantity"]) for line in tokens) == 10_000


async def test_change_inside_a_filled_hour_splits_it(engine: Engine) -> None:
    await engine.move("2026-01-10T10:15:00Z")
    early, late = "2026-01-10T10:10:00Z", "2026-01-10T10:20:00Z"
    await engine.send([event("e1", "acme", 1000, time=early), event("e2", "acme", 4000, time=late)])
    plan = {**PLAN, "charges": {"tokens": {**PLAN["charges"]["tokens"], "price": {"model": "per_unit", "unit": "1"}}}}
    assert (await engine.api.put("/v1/plans/dear", plan)).status == 201
    assert (await engine.api.post("/v1/subscriptions/s-acme/change", {"plan": "dear"})).status == 200
    await engine.move("2026-01-10T10:30:00Z")
    balance = (await engine.api.get("/v1/customers/acme/balance")).tree
    assert [(one["quantity"], one["amount"], one["price"]) for one in balance["charges"]] == [
        ("1000", "1", "0.001"),
        ("4000", "4000", "1"),
    ]


async def test_final_invoice_cannot_be_changed_in_the_database(engine: Engine, pool: asyncpg.Pool) -> None:
    await engine.move("2026-02-01T01:00:00Z")
    for statement in (
        "UPDATE invoice SET total = 0",
        "DELETE FROM invoice_line",
        "UPDATE invoice_line SET amount = 0",
    ):
        with pytest.raises(asyncpg.RaiseError):
            await pool.execute(statement)
    sums = (
        "SELECT i.subtotal + i.tax = sum(l.amount) FROM invoice i JOIN invoice_line l ON l.invoice = i.id GROUP BY i.id"
    )
    assert [row[0] for row in await pool.fetch(sums)] == [True]


async def test_subscription_without_anything_to_bill_makes_no_invoice(pool: asyncpg.Pool) -> None:
    async with run_engine(pool, START) as engine:
        plan = {**PLAN, "charges": {"tokens": PLAN["charges"]["tokens"]}}
        await engine.api.post("/v1/catalog", {"meters": {"tokens": METER}, "plans": {"pay": plan}})
        await engine.api.put("/v1/customers/quiet", {"currency": "USD"})
        await engine.api.post("/v1/subscriptions", {"id": "q", "customer": "quiet", "plan": "pay"})
        await engine.move("2026-03-02T00:00:00Z")
        assert await invoices(engine) == []
        assert await pool.fetchval("SELECT count(*) FROM invoice") == 0
        assert (await pool.fetch(queries().take_due, engine.clock.now().moment(), 5)) == []


async def test_invoice_as_a_page_shows_lines_and_escapes(engine: Engine) -> None:
    await engine.api.put("/v1/customers/acme", {"currency": "USD", "taxes": [{"name": "VAT <b>", "rate": "21"}]})
    await engine.send([event("e1", "acme", 1_234_567, model="<script>")])
    await engine.move("2026-02-01T01:00:00Z")
    (final,) = await invoices(engine)
    by_suffix = await engine.api.get(f"/v1/invoices/{final['id']}.html")
    by_accept = await engine.api.get(f"/v1/invoices/{final['id']}", headers={"Accept": "text/html,*/*"})
    assert by_suffix.content == by_accept.content
    assert by_suffix.headers["Content-Type"] == "text/html; charset=utf-8"
    text = by_suffix.content.decode()
    assert "Invoice 1" in text
    assert "1\u202f234.57" in text  # the usage: 1,234,567 at 0.001
    assert "1\u202f234\u202f567" in text
    assert "1\u202f531.34" in text  # due: 1,265.57 and 21 %
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "VAT &lt;b&gt;" in text
    assert "http" not in text


async def test_page_shows_the_days_of_the_customers_zone_the_last_one_included(engine: Engine) -> None:
    await engine.api.put("/v1/customers/dam", {"currency": "USD", "timezone": "Europe/Amsterdam"})
    await engine.api.post("/v1/subscriptions", {"id": "s-dam", "customer": "dam", "plan": "pro"})
    await engine.move("2026-02-28T23:00:00Z")
    *_, february = await invoices(engine, "?customer=dam")
    text = (await engine.api.get(f"/v1/invoices/{february['id']}.html")).content.decode()
    assert february["period"] == {"start": "2026-01-31T23:00:00Z", "end": "2026-02-28T23:00:00Z"}
    assert "<dd>2026-03-01</dd>" in text
    assert "<dd>2026-02-01 \N{EN DASH} 2026-02-28</dd>" in text
    assert "Europe/Amsterdam" in text


async def test_page_of_a_stub_shows_its_first_time_and_its_last_day(engine: Engine) -> None:
    await engine.api.put("/v1/customers/york", {"currency": "USD", "timezone": "America/New_York"})
    await engine.move("2026-01-01T06:30:00Z")
    await engine.api.post("/v1/subscriptions", {"id": "s-york", "customer": "york", "plan": "pro"})
    await engine.move("2026-02-01T05:00:00Z")
    *_, january = await invoices(engine, "?customer=york")
    text = (await engine.api.get(f"/v1/invoices/{january['id']}.html")).content.decode()
    assert january["period"] == {"start": "2026-01-01T06:30:00Z", "end": "2026-02-01T05:00:00Z"}
    assert "<dd>2026-01-01 01:30:00 \N{EN DASH} 2026-01-31</dd>" in text


async def test_draft_page_says_that_it_is_one(engine: Engine) -> None:
    await engine.move("2026-02-01T00:30:00Z")
    (draft,) = await invoices(engine)
    text = (await engine.api.get(f"/v1/invoices/{draft['id']}.html")).content.decode()
    assert "Draft invoice" in text


@pytest.mark.parametrize("name", ["inv_none", "inv_none.html", "%00"], ids=["json", "html", "nul"])
async def test_unknown_invoice_is_a_problem(engine: Engine, name: str) -> None:
    answer = await engine.api.get(f"/v1/invoices/{name}")
    assert answer.tree["code"] in ("not_found", "parameter_invalid")
    assert answer.status in (400, 404)
