"""Segments: which charge is in force when, and what the stream finds for an interval (spec 7.1)."""

from rating.account import Account
from rating.catalog import Catalog
from rating.segments import charge_order, plan_minimum, segments_between, usage_segments
from schemas.act import Act, Change, Subscribe
from schemas.customer import Customer
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.numbers import Number
from schemas.plan import Period, Plan, UsageCharge
from schemas.price import ByValue, PerUnit

ONE, TWO = PerUnit(unit=Number(1)), PerUnit(unit=Number(2))
MONTH = Period("month")


def at(text: str) -> Instant:
    return Instant.parse(f"{text}T00:00:00Z")


def usage(price: PerUnit | ByValue, **more: object) -> UsageCharge:
    return UsageCharge(meter="m", price=price, **more)  # type: ignore[arg-type]


def account(*acts: tuple[str, Act]) -> Account:
    priced = ByValue(dimension="model", cases={"a": ONE, "b": ONE}, otherwise=None)
    plans = {
        "p": Plan(currency="USD", period=MONTH, charges={"x": usage(ONE), "y": usage(TWO)}, minimum=Number(30)),
        "q": Plan(currency="USD", period=MONTH, charges={"z": usage(ONE), "x": usage(ONE), "y": usage(ONE)}),
        "v": Plan(currency="USD", period=MONTH, charges={"v": usage(priced, by=("region",), where={"t": ("1",)})}),
        "t": Plan(currency="USD", period=MONTH, charges={"x": usage(ONE)}, trial_days=10),
    }
    meter = Meter(
        event_type="e", aggregation="count", dimensions={"region": "data.r", "model": "data.m", "t": "data.t"}
    )
    catalog, made = Catalog({"m": meter}, plans), Account("c", Customer(currency="USD"))
    for when, act in acts:
        made.add(catalog, at(when), act)
    return made


def spans(found: Account, start: str, end: str) -> list[tuple[str, str, str]]:
    return [
        (segment.charge, str(Instant(segment.start))[:10], str(Instant(segment.end))[:10])
        for segment in segments_between(found, at(start), at(end))
    ]


def test_charge_that_stays_the_same_goes_on_over_a_change_of_plan() -> None:
    found = account(
        ("2026-04-01", Subscribe(id="s", customer="c", plan="p")), ("2026-04-11", Change(subscription="s", plan="q"))
    )
    assert spans(found, "2026-04-01", "2026-05-01") == [
        ("x", "2026-04-01", "2026-05-01"),
        ("y", "2026-04-01", "2026-04-11"),
        ("y", "2026-04-11", "2026-05-01"),
        ("z", "2026-04-11", "2026-05-01"),
    ]
    assert charge_order(found.subscriptions["s"].course) == {"x": 0, "y": 1, "z": 2}


def test_interval_finds_only_segments_that_overlap_it() -> None:
    found = account(("2026-04-01", Subscribe(id="s", customer="c", plan="p")))
    assert spans(found, "2026-03-01", "2026-04-01") == []
    assert [start for _, start, _ in spans(found, "2026-04-30", "2026-05-02")] == [
        "2026-04-01", "2026-04-01", "2026-05-01", "2026-05-01"
    ]  # fmt: skip


def test_trial_has_no_segments() -> None:
    found = account(("2026-04-01", Subscribe(id="s", customer="c", plan="t")))
    assert spans(found, "2026-04-01", "2026-04-30") == [("x", "2026-04-11", "2026-05-11")]


def test_request_asks_for_the_dimension_of_by_value_last() -> None:
    found = account(("2026-04-01", Subscribe(id="s", customer="c", plan="v", events="named")))
    (segment,) = segments_between(found, at("2026-04-01"), at("2026-04-02"))
    asked = segment.request()
    assert asked.by == ("region", "model")
    assert asked.where == (("t", ("1",)),)
    assert asked.named_only
    assert (asked.start, asked.end) == (at("2026-04-01"), at("2026-05-01"))
    assert segment.terms.price(("eu", "a")) is not None
    assert segment.terms.price(("eu", "c")) is None


def test_plan_minimum_is_the_sum_over_its_segments() -> None:
    found = account(
        ("2026-04-01", Subscribe(id="s", customer="c", plan="p")), ("2026-04-11", Change(subscription="s", plan="q"))
    )
    subscription = found.subscriptions["s"]
    april, may = subscription.course.periods(at("2026-04-01"), at("2026-05-01"))
    assert plan_minimum(subscription, april) == 10
    assert plan_minimum(subscription, may) is None
    assert len(usage_segments(subscription, may)) == 3
