"""Subscriptions: phases, cycles, pending changes, ends (spec 6.6, 7.1, 7.5 to 7.7)."""

import pytest

from rating.catalog import Catalog, Version
from rating.subscription import FOREVER, Effect, Subscription, subscription
from rating.zone import zone
from schemas.instants import Instant
from schemas.numbers import Number
from schemas.plan import Period, Plan, RecurringCharge
from schemas.price import PerUnit

FEE = RecurringCharge(recurring=PerUnit(unit=Number(30)))


def at(text: str) -> int:
    return int(Instant.parse(f"{text}T00:00:00Z"))


@pytest.fixture
def catalog() -> Catalog:
    month, year, week = Period("month"), Period("year"), Period("week")
    plans = {
        "monthly": Plan(currency="USD", period=month, charges={"base": FEE}),
        "other": Plan(currency="USD", period=Period("month", 1), charges={"base": FEE}),
        "yearly": Plan(currency="USD", period=year, charges={"base": FEE}),
        "weekly": Plan(currency="USD", period=week, charges={"base": FEE}),
        "trial": Plan(currency="USD", period=month, charges={"base": FEE}, trial_days=14),
        "calendar": Plan(currency="USD", period=month, charges={"base": FEE}, align="calendar"),
    }
    return Catalog({}, plans)


def made(catalog: Catalog, plan: str, start: str = "2026-01-10") -> Subscription:
    return subscription("s", "c", zone("UTC"), version(catalog, plan), {}, at(start), at(start), False)


def version(catalog: Catalog, plan: str) -> Version:
    found = catalog.find(plan)
    assert found is not None
    return found


def spans(one: Subscription, after: str, upto: str) -> list[tuple[str, str]]:
    periods = one.course.periods(at(after), at(upto))
    return [(str(Instant(p.start))[:10], str(Instant(p.end))[:10]) for p in periods]


def change(catalog: Catalog, plan: str) -> Effect:
    return Effect(version(catalog, plan))


def test_same_length_keeps_the_cycle(catalog: Catalog) -> None:
    one = made(catalog, "monthly").after(at("2026-01-20"), change(catalog, "calendar"), False)
    assert spans(one, "2026-01-10", "2026-02-20") == [("2026-01-10", "2026-02-10"), ("2026-02-10", "2026-03-10")]
    assert [phase.plan.key for phase in one.course.phases] == ["monthly", "calendar"]


def test_other_length_ends_the_period_and_begins_a_cycle(catalog: Catalog) -> None:
    one = made(catalog, "monthly").after(at("2026-01-20"), change(catalog, "weekly"), False)
    assert spans(one, "2026-01-10", "2026-01-28") == [
        ("2026-01-10", "2026-01-20"),
        ("2026-01-20", "2026-01-27"),
        ("2026-01-27", "2026-02-03"),
    ]
    first = next(one.course.periods(at("2026-01-10")))
    assert first.early
    assert first.full.end == at("2026-02-10")


def test_two_changes_at_one_instant_count_as_one(catalog: Catalog) -> None:
    there = made(catalog, "monthly").after(at("2026-01-20"), change(catalog, "yearly"), False)
    back = there.after(at("2026-01-20"), change(catalog, "other"), False)
    assert spans(back, "2026-01-10", "2026-02-11") == [("2026-01-10", "2026-02-10"), ("2026-02-10", "2026-03-10")]
    assert [phase.plan.key for phase in back.course.phases] == ["monthly", "other"]


def test_pending_change_stays_pending_over_a_change_now(catalog: Catalog) -> None:
    one = made(catalog, "monthly")
    one = one.after(at("2026-01-15"), Effect(quantities={"base": Number(5)}), True)
    one = one.after(at("2026-01-20"), change(catalog, "weekly"), False)
    assert one.course.phases[-1].start == at("2026-01-27")
    assert one.course.phases[-1].quantity("base") == Number(5)
    assert one.course.phases[-1].plan.key == "weekly"


def test_pending_changes_take_effect_in_the_order_given(catalog: Catalog) -> None:
    one = made(catalog, "monthly")
    one = one.after(at("2026-01-15"), Effect(quantities={"base": Number(5)}), True)
    one = one.after(at("2026-01-16"), Effect(quantities={"base": Number(7)}), True)
    assert one.course.phase_at(at("2026-02-10")).quantity("base") == Number(7)
    assert one.course.phase_at(at("2026-02-10") - 1).quantity("base") == Number(1)


def test_pending_cancellation_ends_at_the_boundary_whatever_follows(catalog: Catalog) -> None:
    one = made(catalog, "monthly").after(at("2026-01-15"), Effect(ends=True), True)
    one = one.after(at("2026-01-16"), change(catalog, "yearly"), True)
    assert one.end == at("2026-02-10")
    assert one.ended(at("2026-02-10"))
    assert not one.ended(at("2026-02-10") - 1)


def test_act_at_a_boundary_waits_for_the_next_one(catalog: Catalog) -> None:
    one = made(catalog, "monthly").after(at("2026-02-10"), Effect(ends=True), True)
    assert one.end == at("2026-03-10")


def test_cancel_now_ends_at_once_and_drops_what_is_pending(catalog: Catalog) -> None:
    one = made(catalog, "monthly").after(at("2026-01-15"), change(catalog, "yearly"), True)
    one = one.after(at("2026-01-20"), Effect(ends=True), False)
    assert one.end == at("2026-01-20")
    assert spans(one, "2026-01-10", "2026-12-31") == [("2026-01-10", "2026-01-20")]


def test_trial_is_no_period_and_moves_the_anchor(catalog: Catalog) -> None:
    one = made(catalog, "trial", "2026-01-03")
    assert one.course.period_at(at("2026-01-05")) is None
    assert one.course.next_boundary(at("2026-01-05")) == at("2026-01-17")
    assert spans(one, "2026-01-03", "2026-02-17") == [("2026-01-17", "2026-02-17"), ("2026-02-17", "2026-03-17")]


def test_change_of_length_in_a_trial_leaves_the_trial(catalog: Catalog) -> None:
    one = made(catalog, "trial", "2026-01-03").after(at("2026-01-05"), change(catalog, "weekly"), False)
    assert spans(one, "2026-01-03", "2026-01-24") == [("2026-01-17", "2026-01-24"), ("2026-01-24", "2026-01-31")]


def test_cancellation_at_the_end_of_a_trial_leaves_no_period(catalog: Catalog) -> None:
    one = made(catalog, "trial", "2026-01-03").after(at("2026-01-05"), Effect(ends=True), True)
    assert one.end == at("2026-01-17")
    assert spans(one, "2026-01-03", "2026-12-31") == []


def test_open_subscription_has_no_end(catalog: Catalog) -> None:
    assert made(catalog, "monthly").end == FOREVER
    assert made(catalog, "monthly").course.next_boundary(at("2030-01-15")) == at("2030-02-10")


def test_quantities_replace_the_named_ones_only(catalog: Catalog) -> None:
    one = made(catalog, "monthly").after(at("2026-01-15"), Effect(quantities={"a": Number(2)}), False)
    one = one.after(at("2026-01-16"), Effect(quantities={"b": Number(3)}), False)
    assert {key: one.course.phases[-1].quantity(key) for key in "abc"} == {
        "a": Number(2),
        "b": Number(3),
        "c": Number(1),
    }


def test_plan_reference_finds_the_newest_or_the_named_version(catalog: Catalog) -> None:
    catalog.add("monthly", Plan(currency="USD", period=Period("month"), charges={}), at("2026-01-01"))
    assert version(catalog, "monthly").version == 2
    assert version(catalog, "monthly@1").reference == "monthly@1"
    assert [catalog.find(name) for name in ("monthly@3", "monthly@0", "monthly@x", "nothing", "@1")] == [None] * 5
