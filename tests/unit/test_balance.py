"""Balances: what is owed now, exact (spec 9)."""

from decimal import Decimal
from typing import Any

import pytest

from rating.simulate import simulate
from schemas.codec import to_tree
from schemas.documents import load_document
from schemas.scenario import read_scenario

HEAD = """
name: test
now: "{now}"
meters: {{calls: {{event_type: call, aggregation: sum, value: data.n, dimensions: {{team: data.team}}}}}}
plans:
  p:
    currency: USD
    period: month
    charges:
      fee: {{recurring: "30.00", bill: arrears}}
      whole: {{recurring: "7.00", bill: arrears, prorate: none}}
      api:
        meter: calls
        price: {{model: graduated, included: 10, tiers: [{{up_to: 100, unit: "1.5"}}, {{up_to: null, unit: "0.5"}}]}}
  team: {{currency: EUR, period: month, charges: {{api: {{meter: calls, by: [team], minimum: "31.00",
         price: {{model: per_unit, unit: "0.001", per: 3}}}}}}}}
customers: {{acme: {{currency: USD}}}}
timeline:
"""


def balance(*timeline: str, now: str = "2026-06-16T00:00:00Z") -> dict[str, Any]:
    text = HEAD.format(now=now) + "\n".join(f"  - {{{entry}}}" for entry in timeline)
    tree = to_tree(simulate(read_scenario(load_document(text, "test.yaml"))))
    assert tree["refused"] == ()
    found: dict[str, Any] = tree["balances"]["acme"]
    return found


SUBSCRIBED = 'at: "2026-06-01T00:00:00Z", subscribe: {id: s1, customer: acme, plan: p}'


def event(name: str, day: str, n: str, more: str = "") -> str:
    fields = f'id: {name}, type: call, subject: acme, time: "2026-06-{day}T00:00:00Z", data: {{n: "{n}"{more}}}'
    return f'at: "2026-06-{day}T00:00:00Z", events: [{{{fields}}}]'


def test_open_period_counts_as_if_it_ended_now() -> None:
    found = balance(SUBSCRIBED, event("e", "05", "12.25"))
    assert found["accrued"] == "25.375"  # 30 x 15 / 30 + 7 in full + (12.25 - 10) x 1.5
    assert found["available"] == "-25.375"
    assert found["charges"] == (
        {
            "subscription": "s1",
            "charge": "api",
            "quantity": "12.25",
            "amount": "3.375",
            "dimensions": {},
            "period": {"start": "2026-06-01T00:00:00Z", "end": "2026-07-01T00:00:00Z"},
            "price": "1.5",
            "next_bound": "110",
        },
    )


def test_charge_without_by_shows_at_nothing() -> None:
    (charge,) = balance(SUBSCRIBED, now="2026-06-01T00:00:00Z")["charges"]
    assert (charge["quantity"], charge["amount"]) == ("0", "0")


def test_other_currency_is_listed_apart_with_its_charges() -> None:
    found = balance(
        'at: "2026-06-01T00:00:00Z", subscribe: {id: s1, customer: acme, plan: team}',
        'at: "2026-06-01T00:00:00Z", grant: {customer: acme, id: g, amount: 5}',
        event("e1", "05", "1", ", team: b"),
        event("e2", "05", "2", ", team: a"),
    )
    assert (found["accrued"], found["credits"], found["charges"]) == ("0", "5", ())
    (euro,) = found["other"]
    assert (euro["currency"], euro["accrued"], euro["credits"]) == ("EUR", "15.5", "0")  # the minimum, by half
    assert [(each["dimensions"], each["amount"]) for each in euro["charges"]] == [
        ({"team": "a"}, "0.000666666667"),
        ({"team": "b"}, "0.000333333333"),
    ]


def test_draft_counts_until_it_is_final() -> None:
    use = event("e", "05", "12")
    before = balance(SUBSCRIBED, use, now="2026-07-01T00:30:00Z")
    after = balance(SUBSCRIBED, use, now="2026-07-01T01:00:00Z")
    assert (before["accrued"], before["due"]) == ("47.020161290323", "0.00")  # 3 + 30 + 7; 30 x 0.5 h / 744 h + 7
    assert (after["accrued"], after["due"]) == ("7.040322580645", "40.00")


def test_pending_one_off_and_change_count() -> None:
    change = 'at: "2026-06-11T00:00:00Z", change: {subscription: s1, quantities: {fee: 4}}'
    found = balance(SUBSCRIBED, change, 'at: "2026-06-12T00:00:00Z", one_off: {subscription: s1, id: o, amount: 1.5}')
    assert found["accrued"] == "38.5"  # 30 x 10 / 30 + 120 x 5 / 30 + 7 + 1.5


def test_late_usage_counts_as_its_correction_at_once() -> None:
    fields = 'id: e, type: call, subject: acme, time: "2026-06-20T00:00:00Z", data: {n: 14}'
    late = f'at: "2026-07-10T00:00:00Z", events: [{{{fields}}}]'
    without = balance(SUBSCRIBED, now="2026-07-11T00:00:00Z")
    having = balance(SUBSCRIBED, late, now="2026-07-11T00:00:00Z")
    assert Decimal(having["accrued"]) - Decimal(without["accrued"]) == 6  # (14 - 10) x 1.5


@pytest.mark.parametrize(
    ("expires", "left"),
    [("2026-06-15T23:59:59Z", "0"), ("2026-06-16T00:00:00Z", "5"), ("2026-06-17T00:00:00Z", "5")],
    ids=["expired", "at-this-instant", "later"],
)
def test_expired_grant_is_no_credit(expires: str, left: str) -> None:
    grant = f'at: "2026-06-01T00:00:00Z", grant: {{customer: acme, id: g, amount: 5, expires: "{expires}"}}'
    assert balance(grant)["credits"] == left
