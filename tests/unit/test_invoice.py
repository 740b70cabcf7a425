"""Invoices put together: discounts, plan minimum, taxes, credits, corrections, consolidation (spec 8)."""

from typing import Any

import pytest

from rating.simulate import simulate
from schemas.codec import to_tree
from schemas.documents import load_document
from schemas.scenario import read_scenario

HEAD = """
name: {name}
now: "{now}"
settings: {{grace: 1h}}
meters:
  calls: {{event_type: call, aggregation: sum, value: data.n, dimensions: {{team: data.team}}}}
plans:
  fee: {{currency: USD, period: month, charges: {{base: {{recurring: "30.00"}}}}}}
  use: {{currency: USD, period: month, charges: {{api: {{meter: calls, price: {{model: per_unit, unit: "1"}}}}}}}}
  both: {{currency: USD, period: month, minimum: "100.00", charges: {{base: {{recurring: "30.00"}},
         api: {{meter: calls, price: {{model: per_unit, unit: "1"}}, minimum: "10.00"}}}}}}
  euro: {{currency: EUR, period: month, charges: {{base: {{recurring: "30.00"}}}}}}
customers:
  acme: {{currency: USD{customer}}}
timeline:
"""


def run(*timeline: str, now: str = "2026-04-02T00:00:00Z", customer: str = "") -> dict[str, Any]:
    text = HEAD.format(name="test", now=now, customer=customer) + "\n".join(f"  - {{{entry}}}" for entry in timeline)
    tree: dict[str, Any] = to_tree(simulate(read_scenario(load_document(text, "test.yaml"))))
    assert tree["refused"] == ()
    return tree


def subscribe(plan: str, name: str = "s1", day: str = "2026-02-01") -> str:
    return f'at: "{day}T00:00:00Z", subscribe: {{id: {name}, customer: acme, plan: {plan}}}'


def event(name: str, received: str, time: str, n: str, more: str = "") -> str:
    fields = f'id: {name}, type: call, subject: acme, time: "{time}", data: {{n: "{n}"{more}}}'
    return f'at: "{received}", events: [{{{fields}}}]'


def lines(invoice: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    return [(line["charge"], line["kind"], line["amount"]) for line in invoice["lines"]]


def coupon(text: str, day: str = "2026-01-01") -> str:
    return f'at: "{day}T00:00:00Z", coupon: {{customer: acme, {text}}}'


def test_coupons_apply_in_the_order_given_each_to_what_is_left() -> None:
    tree = run(coupon("id: a, percent: 10"), coupon("id: b, amount: 7.00"), coupon("id: c, percent: 50"),
               subscribe("fee", day="2026-03-20"))  # fmt: skip
    assert [amount for _, kind, amount in lines(tree["invoices"][0]) if kind == "discount"] == [
        "-3.00",
        "-7.00",
        "-10.00",
    ]


def test_coupon_is_used_up_by_an_invoice_even_if_an_earlier_one_left_nothing() -> None:
    tree = run(coupon("id: a, percent: 100, periods: 1"), coupon("id: b, percent: 50, periods: 1"), subscribe("fee"))
    assert [invoice["total"] for invoice in tree["invoices"]] == ["0.00", "30.00", "30.00"]


def test_coupon_for_other_charges_is_not_used_up() -> None:
    tree = run(coupon("id: a, percent: 50, charges: [api], periods: 1"), subscribe("both"),
               event("e", "2026-03-05T00:00:00Z", "2026-03-05T00:00:00Z", "200"))  # fmt: skip
    first, second, third = (lines(invoice) for invoice in tree["invoices"])
    assert not [line for line in first if line[1] == "discount"]
    assert (None, "discount", "-5.00") in second  # half of the charge's minimum
    assert not [line for line in third if line[1] == "discount"]


def test_amount_off_is_money_of_the_customers_currency() -> None:
    tree = run(coupon("id: a, amount: 10.00"), subscribe("euro", day="2026-03-20"))
    assert tree["invoices"][0]["total"] == "30.00"


def test_plan_minimum_counts_lines_less_their_discounts() -> None:
    tree = run(coupon("id: a, percent: 50, periods: 2"), subscribe("both"),
               event("e", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00Z", "40"))  # fmt: skip
    # 100 - (30 - 15 of the invoice before, 40 - 20 of this one) = 65; its own fee for March is of the next period
    assert lines(tree["invoices"][1]) == [
        ("base", "recurring", "30.00"),
        ("api", "usage", "40.00"),
        (None, "discount", "-35.00"),
        (None, "minimum", "65.00"),
    ]


def test_plan_minimum_alone_makes_an_invoice() -> None:
    tree = run(subscribe("both"), 'at: "2026-02-01T00:00:00Z", cancel: {subscription: s1, when: at_period_end}')
    assert lines(tree["invoices"][1]) == [("api", "minimum", "10.00"), (None, "minimum", "60.00")]


def test_taxes_are_lines_of_their_own_on_what_is_left() -> None:
    taxes = ', taxes: [{name: VAT, rate: "21"}, {name: city, rate: "0.01"}]'
    tree = run(coupon("id: a, percent: 50"), subscribe("fee", day="2026-03-20"), customer=taxes)
    assert lines(tree["invoices"][0])[2:] == [(None, "tax", "3.15")]  # 0.01 percent of 15.00 rounds to nothing
    assert tree["invoices"][0]["tax"] == "3.15"


def test_negative_total_becomes_a_grant_for_later_invoices() -> None:
    cancel = 'at: "2026-02-15T00:00:00Z", cancel: {subscription: s1}'
    tree = run(subscribe("fee"), cancel, subscribe("fee", "s2", "2026-03-20"))
    assert [(i["total"], i["credits"], i["due"]) for i in tree["invoices"]] == [
        ("30.00", "0.00", "30.00"),
        ("-15.00", "0.00", "0.00"),
        ("30.00", "15.00", "15.00"),
    ]
    assert tree["balances"]["acme"]["credits"] == "0"


@pytest.mark.parametrize(
    ("expires", "used"),
    [("2026-02-28T23:59:59Z", "0.00"), ("2026-03-01T00:00:00Z", "5.00")],
    ids=["before-the-issue", "at-the-issue"],
)
def test_grant_counts_up_to_its_expiry(expires: str, used: str) -> None:
    grant = f'at: "2026-02-01T00:00:00Z", grant: {{customer: acme, id: g, amount: 5, expires: "{expires}"}}'
    use = event("e", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00Z", "8")
    assert run(subscribe("use"), grant, use)["invoices"][0]["credits"] == used


def test_late_usage_goes_on_the_open_draft() -> None:
    tree = run(
        subscribe("use"),
        event("e1", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00Z", "8"),
        event("e2", "2026-04-01T00:30:00Z", "2026-02-28T00:00:00Z", "2"),
        now="2026-04-01T00:45:00Z",
    )
    assert [(i["status"], lines(i)) for i in tree["invoices"]] == [
        ("final", [("api", "usage", "8.00")]),
        ("draft", [("api", "adjustment", "2.00")]),
    ]
    assert tree["balances"]["acme"]["accrued"] == "2"


def test_voided_event_of_a_final_period_is_taken_back() -> None:
    tree = run(
        subscribe("both"),
        event("e1", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00Z", "40"),
        'at: "2026-03-10T00:00:00Z", void: {id: e1}',
    )
    # 40 of usage less; the charge's own minimum of 10 more; the plan's minimum is not computed anew
    assert lines(tree["invoices"][2])[1:3] == [("api", "adjustment", "-40.00"), ("api", "adjustment", "10.00")]


def test_late_usage_after_the_end_is_an_invoice_of_its_own_that_collects() -> None:
    tree = run(
        subscribe("use"),
        'at: "2026-02-20T00:00:00Z", cancel: {subscription: s1}',
        event("e1", "2026-02-21T00:00:00Z", "2026-02-10T00:00:00Z", "3"),
        event("e2", "2026-02-21T00:59:00Z", "2026-02-11T00:00:00Z", "4"),
        event("e3", "2026-02-21T01:00:00Z", "2026-02-12T00:00:00Z", "5"),
    )
    assert [(i["issued"], i["period"]["start"], i["total"]) for i in tree["invoices"]] == [
        ("2026-02-21T00:00:00Z", "2026-02-21T00:00:00Z", "7.00"),
        ("2026-02-21T01:00:00Z", "2026-02-21T01:00:00Z", "5.00"),
    ]


def test_consolidated_invoice_carries_the_first_subscription_with_lines() -> None:
    tree = run(
        subscribe("use", "a"),
        subscribe("fee", "b"),
        subscribe("euro", "c"),
        'at: "2026-02-05T00:00:00Z", one_off: {customer: acme, id: m, amount: 5}',
        customer=", consolidate: true",
        now="2026-03-01T02:00:00Z",
    )
    found = [(i["subscription"], i["currency"], i["issued"][:10], i["total"]) for i in tree["invoices"]]
    assert found == [
        ("b", "USD", "2026-02-01", "30.00"),
        ("c", "EUR", "2026-02-01", "30.00"),
        (None, "USD", "2026-02-05", "5.00"),
        ("b", "USD", "2026-03-01", "30.00"),
        ("c", "EUR", "2026-03-01", "30.00"),
    ]


def test_back_dated_subscription_has_one_invoice_for_all_that_was_due() -> None:
    made = 'at: "2026-03-10T00:00:00Z", subscribe: {id: s1, customer: acme, plan: fee, start: "2026-01-15T00:00:00Z"}'
    (first,) = run(made, now="2026-03-10T02:00:00Z")["invoices"]
    assert (first["period"]["start"], first["period"]["end"]) == ("2026-01-15T00:00:00Z", "2026-03-10T00:00:00Z")
    assert [line["period"]["start"][:10] for line in first["lines"]] == ["2026-01-15", "2026-02-15"]
    assert first["total"] == "60.00"


def test_one_off_of_a_trial_waits_for_its_end() -> None:
    text = """
name: trial
now: "2026-02-01T00:00:00Z"
plans: {t: {currency: USD, period: month, trial_days: 10, charges: {base: {recurring: "30.00"}}}}
customers: {acme: {currency: USD}}
timeline:
  - {at: "2026-01-01T00:00:00Z", subscribe: {id: s1, customer: acme, plan: t}}
  - {at: "2026-01-02T00:00:00Z", one_off: {subscription: s1, id: setup, amount: "5.00"}}
  - {at: "2026-01-01T00:00:00Z", subscribe: {id: s2, customer: acme, plan: t}}
  - {at: "2026-01-03T00:00:00Z", one_off: {subscription: s2, id: setup, amount: "7.00"}}
  - {at: "2026-01-05T00:00:00Z", cancel: {subscription: s2}}
"""
    tree = to_tree(simulate(read_scenario(load_document(text, "trial.yaml"))))
    assert [(i["subscription"], i["issued"][:10], i["total"]) for i in tree["invoices"]] == [
        ("s2", "2026-01-05", "7.00"),
        ("s1", "2026-01-11", "35.00"),
    ]


def test_subscription_that_ends_as_it_starts_has_no_lines() -> None:
    tree = run(subscribe("fee"), 'at: "2026-02-01T00:00:00Z", cancel: {subscription: s1}')
    assert tree["invoices"] == ()


def test_numbers_have_no_gap_and_drafts_have_none() -> None:
    tree = run(
        *(subscribe("fee", f"s{place}", f"2026-03-0{place}") for place in range(1, 5)), now="2026-04-03T00:30:00Z"
    )
    assert [invoice["number"] for invoice in tree["invoices"]] == [1, 2, 3, 4, 5, 6, None]
