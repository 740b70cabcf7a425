"""Every line of an invoice as its arithmetic."""

from rating.billed import Billed
from rating.explain_lines import explain_invoice
from rating.simulate import play
from schemas.documents import load_document
from schemas.scenario import read_scenario

TEXT = """
name: explained
now: "2026-06-02T00:00:00Z"
meters: {calls: {event_type: call, aggregation: sum, value: data.n, dimensions: {tier: data.tier}}}
plans:
  p:
    currency: USD
    period: month
    minimum: "200.00"
    charges:
      base: {recurring: "60.00"}
      api:
        meter: calls
        minimum: "50.00"
        price:
          model: graduated
          included: 100
          tiers: [{up_to: 1000, unit: "0.02"}, {up_to: null, unit: "0.01", flat: 1}]
      by: {meter: calls, price: {by_value: {dimension: tier, cases: {gold: {model: percentage, rate: "2.5"}}}}}
customers: {acme: {currency: USD, taxes: [{name: VAT, rate: "21"}]}}
timeline:
  - {at: "2026-04-01T00:00:00Z", coupon: {customer: acme, id: ten, percent: 10, periods: 2}}
  - {at: "2026-04-01T00:00:00Z", subscribe: {id: s, customer: acme, plan: p}}
  - {at: "2026-04-02T00:00:00Z", coupon: {customer: acme, id: five, amount: "5.00"}}
  - {at: "2026-04-10T00:00:00Z", events: [
      {id: e1, type: call, subject: acme, time: "2026-04-10T00:00:00Z", data: {n: 1600, tier: gold}},
      {id: e2, type: call, subject: acme, time: "2026-04-10T00:00:00Z", data: {n: 5, tier: lead}}]}
  - {at: "2026-04-16T00:00:00Z", change: {subscription: s, quantities: {base: 2}}}
  - {at: "2026-04-20T00:00:00Z", one_off: {subscription: s, id: setup, amount: "1.255", quantity: 3}}
  - {at: "2026-05-05T00:00:00Z", events: [
      {id: e3, type: call, subject: acme, time: "2026-04-11T00:00:00Z", data: {n: 4000, tier: gold}}]}
"""


def explained() -> list[list[str]]:
    played = play(read_scenario(load_document(TEXT, "explained.yaml")))
    (statement,) = played.statements
    billed, found = Billed(), []
    for bill in statement.bills:
        found.append(explain_invoice(statement.account, bill.invoice, billed))
        billed.add(bill.invoice)
    return found


def test_lines_show_how_they_came_about() -> None:
    first, second, third = explained()
    assert first == ["1 x 60.00 = 60.00", "-60.00 x 10 / 100 = -6.00", "54.00 x 21 / 100 = 11.34"]
    assert second == [
        "1 x 60.00 x 0.5 x -1 x 0.9 = -27.00",
        "2 x 60.00 x 0.5 = 60.00",
        "2 x 60.00 = 120.00",
        "included 100 of 1,605; 1,000 x 0.02 + 505 x 0.01 + 1.00 flat = 26.05",
        "minimum 50.00 - 26.05 = 23.95",
        "1,600 x 2.5 / 100 = 40.00",
        "no price for this value = 0",
        "3 x 1.255 = 3.765, rounded 3.77",
        "-273.77 x 10 / 100 = -27.377, rounded -27.38",
        "-min(5.00, 246.39) = -5.00",
        "minimum 200.00 - 159.26 = 40.74",  # 54 - 27 + 60 + 26.05 + 23.95 + 40 less 17.74 of the discounts
        "255.13 x 21 / 100 = 53.5773, rounded 53.58",
    ]
    assert third == [
        "2 x 60.00 = 120.00",
        "now 66.05 - 26.05 billed = 40.00",
        "now 0.00 - 23.95 billed = -23.95",
        "minimum 50.00 - 0.00 = 50.00",
        "now 140.00 - 40.00 billed = 100.00",
        "-min(5.00, 286.05) = -5.00",
        "minimum 200.00 - 154.94 = 45.06",
        "326.11 x 21 / 100 = 68.4831, rounded 68.48",
    ]


def test_every_line_has_one_explanation() -> None:
    played = play(read_scenario(load_document(TEXT, "explained.yaml")))
    lines = [len(bill.invoice.lines) for bill, _ in played.bills]
    assert [len(texts) for texts in explained()] == lines
