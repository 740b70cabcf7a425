"""Balances through the API: at once, exact, and with the events that the reader waits for."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from metering.testing.engine import Engine, run_engine
from schemas.instants import Instant

START = Instant.parse("2026-01-01T00:00:00Z")
TIERS = [{"up_to": "1000", "unit": "0.02"}, {"up_to": None, "unit": "0.01"}]
CATALOG: dict[str, Any] = {
    "meters": {"tokens": {"event_type": "call", "aggregation": "sum", "value": "data.n"}},
    "plans": {
        "pro": {
            "currency": "USD",
            "period": "month",
            "align": "calendar",
            "charges": {
                "tokens": {"meter": "tokens", "price": {"model": "graduated", "tiers": TIERS}},
                "desk": {"recurring": "31.00", "bill": "arrears"},
            },
        }
    },
    "customers": {"acme": {"currency": "USD"}},
}


@pytest.fixture
async def engine(pool: asyncpg.Pool) -> AsyncIterator[Engine]:
    async with run_engine(pool, START) as made:
        assert (await made.api.post("/v1/catalog", CATALOG)).status == 200
        body = {"id": "s1", "customer": "acme", "plan": "pro"}
        assert (await made.api.post("/v1/subscriptions", body)).status == 201
        yield made


def event(name: str, tokens: Any, **more: Any) -> dict[str, Any]:
    fields = {"id": name, "source": "t", "type": "call", "subject": "acme", "data": {"n": tokens}}
    return {"specversion": "1.0", **fields, **more}


async def balance(engine: Engine, query: str = "") -> Any:
    answer = await engine.api.get(f"/v1/customers/acme/balance{query}")
    assert answer.status == 200, answer
    return answer.tree


async def test_balance_shows_usage_price_and_next_bound(engine: Engine) -> None:
    await engine.send([event("e1", 900)])
    await engine.move("2026-01-01T00:00:01Z")
    (charge,) = (await balance(engine))["charges"]
    assert (charge["quantity"], charge["amount"], charge["price"], charge["next_bound"]) == (
        "900",
        "18",
        "0.02",
        "1000",
    )
    await engine.send([event("e2", "100.5")])
    (charge,) = (await balance(engine))["charges"]
    assert (charge["quantity"], charge["amount"], charge["price"]) == ("1000.5", "20.005", "0.01")
    assert "next_bound" not in charge or charge["next_bound"] is None


async def test_balance_counts_arrears_by_elapsed_time_and_credits(engine: Engine) -> None:
    await engine.api.post("/v1/customers/acme/grants", {"id": "g", "amount": "100.00"})
    await engine.move("2026-01-11T00:00:00Z")
    found = await balance(engine)
    assert (found["accrued"], found["credits"], found["available"]) == ("10", "100", "90")


async def test_event_that_is_waited_for_is_in_the_balance(engine: Engine) -> None:
    for number in range(1, 6):
        position = (await engine.api.post("/v1/events", [event(f"e{number}", 10)])).tree["position"]
        (charge,) = (await balance(engine, f"?after={position}"))["charges"]
        assert charge["quantity"] == str(10 * number)


async def test_wait_for_what_never_comes_ends_with_its_code(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.api.balance.AFTER_SECONDS", 0.05)
    answer = await engine.api.get("/v1/customers/acme/balance?after=0:999999")
    assert (answer.status, answer.tree["code"]) == (504, "not_yet")
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    "after", ["x", "1", "1:x", "-1:2", "1:2,"], ids=["text", "half", "no-number", "minus", "comma"]
)
async def test_position_that_we_never_gave_is_refused(engine: Engine, after: str) -> None:
    answer = await engine.api.get(f"/v1/customers/acme/balance?after={after}")
    assert (answer.status, answer.tree["code"]) == (400, "parameter_invalid")


async def test_as_of_never_runs_ahead_of_the_worker(pool: asyncpg.Pool) -> None:
    async with run_engine(pool, START, worker=False) as engine:
        await engine.api.post("/v1/catalog", CATALOG)
        scheduler = engine.scheduler
        await scheduler.step()
        assert (await balance(engine))["as_of"] == str(START)
        assert (await engine.api.post("/v1/events", [event("e1", 10)])).status == 202
        engine.clock.set(Instant.parse("2026-01-02T00:00:00Z"))
        await scheduler.step()
        await scheduler.step()
        assert (await balance(engine))["as_of"] == str(START)
        await engine.start_worker()
        await engine.committed()
        await scheduler.step()
        assert (await balance(engine))["as_of"] == "2026-01-02T00:00:00Z"


async def test_unknown_customer_has_no_balance(engine: Engine) -> None:
    answer = await engine.api.get("/v1/customers/nobody/balance")
    assert (answer.status, answer.tree["code"]) == (404, "unknown_customer")


async def test_events_before_the_customer_and_the_subscription_count(engine: Engine) -> None:
    early = {**event("e0", 7, time="2026-01-01T00:00:00Z"), "subject": "late-comer"}
    await engine.send([early])
    await engine.move("2026-01-05T00:00:00Z")
    await engine.api.put("/v1/customers/late-comer", {"currency": "USD", "timezone": "Asia/Kathmandu"})
    body = {"id": "s2", "customer": "late-comer", "plan": "pro", "start": "2026-01-01T00:00:00Z"}
    assert (await engine.api.post("/v1/subscriptions", body)).status == 201
    found = (await engine.api.get("/v1/customers/late-comer/balance")).tree
    assert [charge["quantity"] for charge in found["charges"]] == ["7"]


async def test_balance_is_the_same_whichever_process_reads_it(engine: Engine, pool: asyncpg.Pool) -> None:
    await engine.send([event("e1", 1234)])
    await engine.move("2026-02-01T01:00:00Z")
    await engine.send([event("e2", 1), event("e3", 5, time="2026-01-20T00:00:00Z")])
    first, again = await balance(engine), await balance(engine)
    engine.owed.forget()
    assert first == again == await balance(engine)
    assert (first["due"], first["accrued"]) == ("53.34", "0.116130952381")  # 31.00 x 1 h of 28 d, 0.02, 0.05


async def test_late_event_adds_to_a_period_that_the_worker_had_forgotten(engine: Engine) -> None:
    await engine.send([event("e1", 100)])
    await engine.move("2026-02-10T00:00:00Z")
    change = {"quantities": {"desk": 1}}
    assert (await engine.api.post("/v1/subscriptions/s1/change", change)).status == 200  # the worker forgets
    await engine.send([event("e2", 10)])
    await engine.send([event("e3", 7, time="2026-01-15T00:00:00Z")])
    await engine.move("2026-03-01T01:00:00Z")
    found = (await engine.api.get("/v1/invoices?customer=acme")).tree["items"]
    lines = [(line["kind"], line["quantity"], line["amount"]) for one in found for line in one["lines"]]
    assert [line for line in lines if line[0] in ("usage", "adjustment")] == [
        ("usage", "100", "2.00"),
        ("adjustment", "7", "0.14"),
        ("usage", "10", "0.20"),
    ]


async def test_backfill_of_a_final_period_is_an_adjustment_however_long_ago_it_was(engine: Engine) -> None:
    await engine.move("2026-06-10T00:00:00Z")
    headers = {"Metering-Late-Window": "1y"}
    answer = await engine.api.post("/v1/events", [event("e1", 50, time="2026-01-15T00:00:00Z")], headers=headers)
    assert answer.status == 202
    await engine.committed()
    before = await balance(engine)
    await engine.move("2026-07-01T01:00:00Z")
    (*_, july) = (await engine.api.get("/v1/invoices?customer=acme")).tree["items"]
    adjusted = [
        (line["quantity"], line["amount"], line["period"]["start"])
        for line in july["lines"]
        if line["kind"] == "adjustment"
    ]
    assert adjusted == [("50", "1.00", "2026-01-01T00:00:00Z")]
    assert before["accrued"] == "10.3"  # 31.00 x 9 of 30 days, and 50 x 0.02
