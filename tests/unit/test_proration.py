"""Fees and their splitting: the three prorations, changes, early ends (spec 7.2 to 7.6)."""

from fractions import Fraction

import pytest

from rating.catalog import Catalog
from rating.proration import Fee, arrears_fees, opening_fees, proration_fees
from rating.subscription import FOREVER, Effect, Period, Subscription, subscription
from rating.zone import zone
from schemas.instants import Instant
from schemas.numbers import Number
from schemas.plan import Period as Length
from schemas.plan import Plan, RecurringCharge
from schemas.price import PerUnit

UTC = zone("UTC")


def at(text: str) -> int:
    return int(Instant.parse(text if "T" in text else f"{text}T00:00:00Z"))


def fee(amount: int, bill: str = "advance", prorate: str = "second") -> RecurringCharge:
    price = PerUnit(unit=Number(amount))
    return RecurringCharge(recurring=price, bill=bill, prorate=prorate)  # type: ignore[arg-type]


def changing(first: RecurringCharge | None, *then: tuple[str, RecurringCharge | None]) -> Subscription:
    """A subscription of June 2026 (30 days) whose charge `base` is replaced, at the instants given."""
    catalog = Catalog()
    definitions = [first, *(charge for _, charge in then)]
    for place, charge in enumerate(definitions):
        charges = {} if charge is None else {"base": charge}
        catalog.add(f"p{place}", Plan(currency="USD", period=Length("month"), charges=dict(charges)))
    plans = [catalog.find(f"p{place}") for place in range(len(definitions))]
    assert plans[0] is not None
    one = subscription("s", "c", UTC, plans[0], {}, at("2026-06-01"), at("2026-06-01"), False)
    for (when, _), plan in zip(then, plans[1:], strict=True):
        one = one.after(at(when), Effect(plan), False)
    return one


def june(one: Subscription) -> Period:
    period = one.course.period_at(at("2026-06-01"))
    assert period is not None
    return period


def amounts(fees: list[Fee]) -> list[Fraction]:
    return [each.amount for each in fees]


def prorations(one: Subscription) -> list[Fraction]:
    return amounts(list(proration_fees(one, june(one), UTC, -FOREVER, FOREVER)))


CHANGES = {
    "second": ([fee(30), ("2026-06-16", fee(60))], [-15, 30]),
    "day-of-the-change-belongs-to-the-new": (
        [fee(30, prorate="day"), ("2026-06-16T18:00:00Z", fee(60, prorate="day"))],
        [-15, 30],
    ),
    "each-side-by-its-own": ([fee(30, prorate="day"), ("2026-06-16T12:00:00Z", fee(60))], [-15, 29]),
    "same-fee": ([fee(30), ("2026-06-16", fee(30))], []),
    "dropped": ([fee(30), ("2026-06-16", None)], [-15]),
    "added": ([None, ("2026-06-16", fee(60))], [30]),
    "added-whole": ([None, ("2026-06-16", fee(60, prorate="none"))], [60]),
    "none-is-never-credited": ([fee(30, prorate="none"), ("2026-06-16", None)], []),
    "none-on-the-new-side": ([fee(30), ("2026-06-16", fee(60, prorate="none"))], []),
    "none-on-the-old-side": ([fee(30, prorate="none"), ("2026-06-16", fee(60))], []),
    "none-dropped-and-added-again": (
        [fee(30, prorate="none"), ("2026-06-10", None), ("2026-06-16", fee(30, prorate="none"))],
        [],
    ),
    "touched-by-none-stays-so": (
        [fee(30), ("2026-06-10", fee(60, prorate="none")), ("2026-06-16", fee(90))],
        [],
    ),
    "advance-to-arrears": ([fee(30), ("2026-06-16", fee(30, bill="arrears"))], [-15]),
    "arrears-to-advance": ([fee(30, bill="arrears"), ("2026-06-16", fee(30))], [15]),
    "arrears-to-whole-advance": ([fee(30, bill="arrears"), ("2026-06-16", fee(60, prorate="none"))], [60]),
}


@pytest.mark.parametrize(("steps", "expected"), CHANGES.values(), ids=CHANGES)
def test_change_credits_and_charges(steps: list[object], expected: list[int]) -> None:
    first, *then = steps
    assert prorations(changing(first, *then)) == expected  # type: ignore[arg-type]


def test_credits_and_charges_of_many_changes_add_up() -> None:
    """What is charged in advance, credited and charged at changes is what each fee costs for its time."""
    one = changing(fee(30), ("2026-06-05", fee(90)), ("2026-06-11", fee(12)), ("2026-06-20", fee(45)))
    opened = sum(amounts(list(opening_fees(one, june(one), UTC))), Fraction(0))
    expected = 1 * 4 + 3 * 6 + Fraction(2, 5) * 9 + Fraction(3, 2) * 11
    assert opened + sum(prorations(one), Fraction(0)) == expected


def test_early_end_credits_what_is_unused() -> None:
    one = changing(fee(30)).after(at("2026-06-16"), Effect(ends=True), False)
    assert prorations(one) == [-15]


@pytest.mark.parametrize(
    ("prorate", "cancelled", "expected"),
    [
        ("second", "2026-06-16T12:00:00Z", Fraction("15.5")),
        ("day", "2026-06-16T12:00:00Z", 15),
        ("none", "2026-06-16", 30),
    ],
    ids=["second", "day-of-the-cancellation-is-free", "none-in-full"],
)
def test_arrears_of_a_period_that_ends_early(prorate: str, cancelled: str, expected: Fraction) -> None:
    one = changing(fee(30, "arrears", prorate)).after(at(cancelled), Effect(ends=True), False)
    assert amounts(list(arrears_fees(one, june(one), UTC))) == [expected]


def test_arrears_have_a_line_for_each_segment() -> None:
    one = changing(fee(30, "arrears"), ("2026-06-16", fee(60, "arrears")))
    assert amounts(list(arrears_fees(one, june(one), UTC))) == [15, 30]


def test_arrears_without_proration_go_to_who_is_there_at_the_end() -> None:
    one = changing(fee(30, "arrears", "none"), ("2026-06-16", fee(60, "arrears", "none")))
    assert amounts(list(arrears_fees(one, june(one), UTC))) == [60]


def test_charge_made_whole_in_advance_has_no_arrears() -> None:
    one = changing(fee(30, prorate="none"), ("2026-06-16", fee(60, "arrears")))
    assert list(arrears_fees(one, june(one), UTC)) == []


def test_seats_change_by_quantity_alone() -> None:
    one = changing(fee(10)).after(at("2026-06-16"), Effect(quantities={"base": Number(5)}), False)
    credit, charge = proration_fees(one, june(one), UTC, -FOREVER, FOREVER)
    assert (credit.amount, credit.quantity, credit.takes_back) == (Fraction(-5), Number(1), at("2026-06-01"))
    assert (charge.amount, charge.quantity, charge.takes_back) == (Fraction(25), Number(5), None)
