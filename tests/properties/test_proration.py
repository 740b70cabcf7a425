"""What is credited and charged adds up: over any changes, a fee costs its price for the time that it was in force."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rating.account import Account
from rating.billed import Billed
from rating.catalog import Catalog
from rating.invoice import draft
from rating.issues import issues, next_issue
from rating.proration import arrears_fees, opening_fees, proration_fees
from rating.subscription import FOREVER, Effect, Subscription, subscription
from rating.usage import Combination, Quantity, UsageRequest
from rating.zone import zone
from schemas.act import Cancel, Change, OneOff, Subscribe
from schemas.customer import Customer
from schemas.instants import DAY, Instant
from schemas.numbers import Number
from schemas.plan import Period, Plan, RecurringCharge
from schemas.price import PerUnit

ZONES = st.sampled_from(["UTC", "Europe/Amsterdam", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"])
START = int(Instant.parse("2025-10-01T00:00:00Z"))
STARTS = st.integers(START, START + 60 * DAY)
QUANTITIES = st.lists(st.tuples(st.integers(1, 10**6 - 1), st.integers(0, 20)), min_size=1, max_size=6)


def plan(bill: str, prorate: str, unit: str = "month") -> Plan:
    fee = RecurringCharge(recurring=PerUnit(unit=Number(7)), bill=bill, prorate=prorate)  # type: ignore[arg-type]
    return Plan(currency="USD", period=Period(unit), charges={"seat": fee})  # type: ignore[arg-type]


def changed(first: Plan, name: str, start: int, changes: list[tuple[int, int]]) -> tuple[Subscription, list[int]]:
    """A subscription whose seats change within its first period, and the instants of the changes."""
    catalog = Catalog({}, {"p": first})
    version = catalog.find("p")
    assert version is not None
    one = subscription("s", "c", zone(name), version, {}, start, start, False)
    full = next(one.course.periods(start, start)).full
    instants = sorted({full.start + share * full.length // 10**6 for share, _ in changes} - {start})
    for at, (_, seats) in zip(instants, changes, strict=False):
        one = one.after(at, Effect(quantities={"seat": Number(seats)}), False)
    return one, instants


def owed(one: Subscription, instants: list[int], end: int, full: int) -> Fraction:
    """7 a seat for a full period, by exact time."""
    bounds = [one.start, *(at for at in instants if at < end), end]
    return sum(
        (
            7 * Fraction(one.course.phase_at(low).quantity("seat")) * Fraction(high - low, full)
            for low, high in pairwise(bounds)
        ),
        Fraction(0),
    )


@given(ZONES, STARTS, QUANTITIES)
@settings(max_examples=150, deadline=None)
def test_advance_fee_with_its_credits_and_charges_costs_its_time(
    name: str, start: int, changes: list[tuple[int, int]]
) -> None:
    one, instants = changed(plan("advance", "second"), name, start, changes)
    period = next(one.course.periods(start, start))
    fees = [*opening_fees(one, period, zone(name)), *proration_fees(one, period, zone(name), -FOREVER, FOREVER)]
    total = sum((fee.amount for fee in fees), Fraction(0))
    assert total == owed(one, instants, period.end, period.full.length)


@given(ZONES, STARTS, QUANTITIES, st.integers(1, 10**6))
@settings(max_examples=150, deadline=None)
def test_advance_fee_that_is_cancelled_costs_its_time(
    name: str, start: int, changes: list[tuple[int, int]], share: int
) -> None:
    one, instants = changed(plan("advance", "second"), name, start, changes)
    full = next(one.course.periods(start, start)).full
    at = max([full.start + share * full.length // 10**6, *instants])
    one = one.after(at, Effect(ends=True), False)
    period = next(one.course.periods(start, start))
    fees = [*opening_fees(one, period, zone(name)), *proration_fees(one, period, zone(name), -FOREVER, FOREVER)]
    assert sum((fee.amount for fee in fees), Fraction(0)) == owed(one, instants, at, full.length)


@given(ZONES, STARTS, QUANTITIES, st.sampled_from(["second", "day"]))
@settings(max_examples=150, deadline=None)
def test_arrears_are_what_advance_would_have_been(
    name: str, start: int, changes: list[tuple[int, int]], prorate: str
) -> None:
    totals = []
    for bill in ("advance", "arrears"):
        one, _ = changed(plan(bill, prorate), name, start, changes)
        period = next(one.course.periods(start, start))
        fees = [
            *opening_fees(one, period, zone(name)),
            *proration_fees(one, period, zone(name), -FOREVER, FOREVER),
            *arrears_fees(one, period, zone(name)),
        ]
        totals.append(sum((fee.amount for fee in fees), Fraction(0)))
    assert totals[0] == totals[1]


class NoUsage:
    """A customer who uses nothing."""

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        return [{(): Quantity(0)} for _ in requests]


@given(
    STARTS,
    st.lists(
        st.tuples(st.integers(0, 200 * DAY), st.sampled_from(["seats", "week", "month", "extra", "end"])), max_size=6
    ),
    st.integers(0, 300 * DAY),
)
@settings(max_examples=150, deadline=None)
def test_issues_do_not_depend_on_how_often_one_asks(start: int, steps: list[tuple[int, str]], cut: int) -> None:
    """Asked once, in two parts, or by the next instant each time: the same issues, and no one-off is lost."""
    catalog = Catalog({}, {"month": plan("advance", "second"), "week": plan("arrears", "day", "week")})
    account, extras, ended = Account("c", Customer(currency="USD")), 0, False
    account.add(catalog, start, Subscribe(id="s", customer="c", plan="month"))
    for after, kind in sorted(steps):
        at = start + after
        if ended:
            break
        if kind == "extra":
            extras += 1
            account.add(catalog, at, OneOff(id=f"o{extras}", amount=Number(1), subscription="s"))
        elif kind == "end":
            account.add(catalog, at, Cancel(subscription="s"))
            ended = True
        elif kind == "seats":
            account.add(catalog, at, Change(subscription="s", quantities={"seat": Number(3)}))
        else:
            account.add(catalog, at, Change(subscription="s", plan=kind))
    last = start + 300 * DAY
    whole = issues(account, -FOREVER, last)
    assert [*issues(account, -FOREVER, start + cut), *issues(account, start + cut, last)] == whole
    instants, at = [], -FOREVER
    while (at := next_issue(account, at)) <= last:
        instants.append(at)
    assert instants == [issue.issued for issue in whole]
    if start < account.subscriptions["s"].end:
        assert sum(len(part.extras) for issue in whole for part in issue.parts) == extras
    billed = Billed()
    for issue in whole:
        invoice = draft(account, issue, billed, NoUsage())
        if invoice is not None:
            billed.add(invoice)
            assert invoice.total == sum(line.amount for line in invoice.lines)
