"""The oracle against scenarios worked out by hand, for the rules that are easily misread."""

from typing import Any

import pytest
from oracle import document, scenario

HEAD = """
meters: {calls: {event_type: call, aggregation: sum, value: data.n, dimensions: {team: data.team}}}
customers:
  acme: {currency: USD}
  twin: {currency: USD, consolidate: true}
  lon: {currency: USD, timezone: Europe/London}
"""


def run(text: str) -> dict[str, Any]:
    return scenario.run(document.loads(HEAD + text))


def short(result: dict[str, Any]) -> list[tuple[str, list[str], str]]:
    """Per invoice: day of issue, its lines as `charge kind amount`, total."""
    return [
        (
            invoice["issued"][5:10],
            [f"{line['charge'] or line.get('note')} {line['kind']} {line['amount']}" for line in invoice["lines"]],
            invoice["total"],
        )
        for invoice in result["invoices"]
    ]


def usage(included: int = 0) -> str:
    return f'{{meter: calls, price: {{model: per_unit, unit: "1", included: {included}}}}}'


def event(key: str, at: str, time: str, n: int) -> str:
    return f'{{at: "{at}", events: [{{id: {key}, type: call, subject: acme, time: "{time}", data: {{n: {n}}}}}]}}'


def test_pending_change_stays_over_a_new_cycle_and_happens_at_its_first_boundary() -> None:
    result = run("""
now: "2026-02-20T00:00:00Z"
plans:
  m: {currency: USD, period: month, charges: {base: {recurring: "31"}}}
  w: {currency: USD, period: week, charges: {base: {recurring: "7"}}}
  v: {currency: USD, period: {every: 7, unit: day}, charges: {base: {recurring: "14"}}}
timeline:
  - {at: "2026-02-01T00:00:00Z", subscribe: {id: s, customer: acme, plan: m}}
  - {at: "2026-02-02T00:00:00Z", change: {subscription: s, plan: v, when: at_period_end}}
  - {at: "2026-02-08T00:00:00Z", change: {subscription: s, plan: w}}
""")
    assert short(result) == [
        ("02-01", ["base recurring 31.00"], "31.00"),
        ("02-08", ["base proration -23.25", "base recurring 7.00"], "-16.25"),  # 31 * 21 / 28
        ("02-15", ["base recurring 14.00"], "14.00"),
    ]
    assert [invoice["credits"] for invoice in result["invoices"]] == ["0.00", "0.00", "14.00"]


def test_fee_that_is_never_split_is_charged_once_in_a_period() -> None:
    result = run("""
now: "2026-02-02T00:00:00Z"
plans:
  a: {currency: USD, period: month, align: calendar, charges: {base: {recurring: "30", prorate: none}}}
  b:
    currency: USD
    period: month
    align: calendar
    charges: {base: {recurring: "50", prorate: none}, extra: {recurring: "9", prorate: none}}
timeline:
  - {at: "2026-01-11T00:00:00Z", subscribe: {id: s, customer: acme, plan: a}}
  - {at: "2026-01-15T00:00:00Z", change: {subscription: s, plan: b}}
  - {at: "2026-01-16T00:00:00Z", change: {subscription: s, plan: a}}
  - {at: "2026-01-17T00:00:00Z", change: {subscription: s, plan: b}}
""")
    assert short(result) == [
        ("01-11", ["base recurring 30.00"], "30.00"),
        ("02-01", ["base recurring 50.00", "extra proration 9.00", "extra recurring 9.00"], "68.00"),
    ]


def test_late_events_and_voids_after_the_end_collect_on_an_invoice_of_their_own() -> None:
    result = run(f"""
now: "2026-01-20T00:00:00Z"
plans: {{p: {{currency: USD, period: month, charges: {{api: {usage(included=5)}}}}}}}
timeline:
  - {{at: "2026-01-01T00:00:00Z", subscribe: {{id: s, customer: acme, plan: p}}}}
  - {event("e1", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", 4)}
  - {{at: "2026-01-10T00:00:00Z", cancel: {{subscription: s}}}}
  - {event("e2", "2026-01-11T00:00:00Z", "2026-01-03T00:00:00Z", 1)}
  - {event("e3", "2026-01-12T00:00:00Z", "2026-01-03T00:00:00Z", 2)}
  - {event("e4", "2026-01-12T00:59:59Z", "2026-01-03T00:00:00Z", 3)}
  - {event("e5", "2026-01-12T01:00:00Z", "2026-01-03T00:00:00Z", 10)}
  - {{at: "2026-01-14T00:00:00Z", void: {{id: e5}}}}
""")
    assert short(result) == [
        ("01-10", ["api usage 0.00"], "0.00"),
        ("01-12", ["api adjustment 5.00"], "5.00"),  # 4 + 1 + 2 + 3 = 10, less the 5 free ones
        ("01-12", ["api adjustment 10.00"], "10.00"),
        ("01-14", ["api adjustment -10.00"], "-10.00"),
    ]
    assert [line["quantity"] for i in result["invoices"] for line in i["lines"]] == ["4", "6", "10", "-10"]
    assert result["balances"]["acme"]["credits"] == "10"


def test_consolidated_invoice_uses_a_coupon_once_and_lists_its_subscriptions_in_turn() -> None:
    result = run("""
now: "2026-01-02T00:00:00Z"
plans: {p: {currency: USD, period: month, charges: {base: {recurring: "0.05"}}}}
timeline:
  - {at: "2026-01-01T00:00:00Z", coupon: {customer: twin, id: c, percent: "10", periods: 1}}
  - {at: "2026-01-01T00:00:00Z", subscribe: {id: s2, customer: twin, plan: p, quantities: {base: 3}}}
  - {at: "2026-01-01T00:00:00Z", subscribe: {id: s1, customer: twin, plan: p}}
""")
    assert short(result) == [("01-01", ["base recurring 0.05", "base recurring 0.15", "c discount -0.02"], "0.18")]
    assert result["invoices"][0]["subscription"] == "s1"


def test_plan_minimum_counts_the_advance_fee_net_of_its_discount() -> None:
    result = run(f"""
now: "2026-02-02T00:00:00Z"
plans:
  p:
    currency: USD
    period: month
    align: calendar
    minimum: "100"
    charges: {{base: {{recurring: "31"}}, api: {usage()}}}
timeline:
  - {{at: "2026-01-17T00:00:00Z", coupon: {{customer: acme, id: c, percent: "20", periods: 1}}}}
  - {{at: "2026-01-17T00:00:00Z", subscribe: {{id: s, customer: acme, plan: p}}}}
  - {event("e1", "2026-01-20T00:00:00Z", "2026-01-20T00:00:00Z", 10)}
""")
    # January: 15 of 31 days, so 48.39; the fee 15.00 less 3.00, and 10.00 of usage: 26.39 are missing.
    assert short(result) == [
        ("01-17", ["base recurring 15.00", "c discount -3.00"], "12.00"),
        ("02-01", ["base recurring 31.00", "api usage 10.00", "None minimum 26.39"], "67.39"),
    ]


@pytest.mark.parametrize(
    ("start", "fee"), [("2026-03-20T12:00:00Z", "12.00"), ("2026-03-20T00:00:00Z", "12.00")], ids=["noon", "midnight"]
)
def test_fee_by_days_in_a_month_with_a_clock_change_counts_dates(start: str, fee: str) -> None:
    result = run(f"""
now: "2026-03-31T00:00:00Z"
plans: {{p: {{currency: USD, period: month, align: calendar, charges: {{base: {{recurring: "31", prorate: day}}}}}}}}
timeline:
  - {{at: "{start}", subscribe: {{id: s, customer: lon, plan: p}}}}
""")
    assert short(result) == [("03-20", [f"base recurring {fee}"], fee)]


def test_back_dated_subscription_closes_all_its_periods_on_one_invoice() -> None:
    result = run(f"""
now: "2026-03-20T00:00:00Z"
plans: {{p: {{currency: USD, period: month, charges: {{base: {{recurring: "10"}}, api: {usage(included=2)}}}}}}}
timeline:
  - {event("e1", "2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", 5)}
  - {event("e2", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00Z", 4)}
  - {{at: "2026-03-10T00:00:00Z", subscribe: {{id: s, customer: acme, plan: p, start: "2026-01-01T00:00:00Z"}}}}
""")
    lines = ["base recurring 10.00"] * 3 + ["api usage 3.00", "api usage 2.00"]
    assert short(result) == [("03-10", lines, "35.00")]
    assert result["invoices"][0]["period"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-03-10T00:00:00Z"}


def test_overlap_with_a_back_dated_start_and_an_ended_subscription_is_refused() -> None:
    result = run("""
now: "2026-02-02T00:00:00Z"
plans:
  p: {currency: USD, period: month, charges: {api: {meter: calls, price: {model: per_unit, unit: "1"}}}}
  q: {currency: USD, period: month, charges: {base: {recurring: "1"}}}
timeline:
  - {at: "2026-01-01T00:00:00Z", subscribe: {id: s1, customer: acme, plan: p}}
  - {at: "2026-01-10T00:00:00Z", cancel: {subscription: s1}}
  - {at: "2026-01-12T00:00:00Z", subscribe: {id: s2, customer: acme, plan: p, start: "2026-01-09T00:00:00Z"}}
  - {at: "2026-01-12T00:00:00Z", subscribe: {id: s3, customer: acme, plan: p, start: "2026-01-10T00:00:00Z"}}
  - {at: "2026-01-13T00:00:00Z", subscribe: {id: s4, customer: acme, plan: q}}
  - {at: "2026-01-14T00:00:00Z", change: {subscription: s4, plan: p, when: at_period_end}}
  - {at: "2026-01-14T00:00:00Z", subscribe: {id: s5, customer: acme, plan: p, events: named}}
""")
    assert [(entry["at"][5:10], entry["act"], entry["code"]) for entry in result["refused"]] == [
        ("01-12", "subscribe", "usage_billed_twice"),
        ("01-14", "change", "usage_billed_twice"),
    ]


def test_coupon_takes_a_credit_in_only_if_its_line_is_on_the_same_invoice() -> None:
    result = run("""
now: "2026-05-01T02:00:00Z"
plans: {p: {currency: USD, period: month, align: calendar, charges: {seats: {recurring: "10"}}}}
timeline:
  - {at: "2026-04-01T00:00:00Z", subscribe: {id: s, customer: acme, plan: p}}
  - {at: "2026-04-11T00:00:00Z", change: {subscription: s, quantities: {seats: 4}}}
  - {at: "2026-04-21T00:00:00Z", change: {subscription: s, quantities: {seats: 1}}}
  - {at: "2026-04-25T00:00:00Z", coupon: {customer: acme, id: c, percent: "50", periods: 1}}
""")
    # -10 * 20 / 30 is net already; 40 * 20 / 30 - 40 * 10 / 30 + 10 * 10 / 30 + 10 = 26.67, half of it off.
    assert short(result)[1] == (
        "05-01",
        [
            "seats proration -6.67",
            "seats proration 26.67",
            "seats proration -13.33",
            "seats proration 3.33",
            "seats recurring 10.00",
            "c discount -13.34",
        ],
        "6.66",
    )
