"""The oracle itself: its numbers by hand, and every file of the scenarios folder beside the project."""

from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from oracle import document, invoices, numbers, periods, prices, scenario

SCENARIOS = Path(__file__).resolve().parents[3] / "shared" / "scenarios"
FILES = sorted([*SCENARIOS.glob("*.yaml"), *SCENARIOS.glob("*.json")])


@pytest.mark.skipif(not FILES, reason="no scenarios folder beside the project")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_file_run_shows_what_it_expects(path: Path) -> None:
    tree = document.load(path)
    assert scenario.differences(tree["expect"], scenario.run(tree)) == []


def test_differences_wrong_number_of_entries_is_named() -> None:
    assert scenario.differences({"a": ["1"]}, {"a": ["1", "2"]}) == [".a: 2 entries, expected 1: ['1', '2']"]
    assert scenario.differences({"a": {"b": "1"}}, {"a": {"b": "2", "c": "3"}}) == [".a.b: '2', expected '1'"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.50", Fraction(25, 2)),
        (numbers.Number("1e3"), Fraction(1000)),
        (".5", Fraction(1, 2)),
        ("-999999999999999999.999999999999", -Fraction(10**30 - 1, 10**12)),
        ("0e999999999999", Fraction(0)),
        ("0.0000000000010000", Fraction(1, 10**12)),
    ],
    ids=["text", "literal", "no-whole-part", "largest", "zero", "trailing-zeros"],
)
def test_value_of_an_event_accepted_exactly(value: object, expected: Fraction) -> None:
    assert numbers.parse_value(value) == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "value_missing"),
        (True, "value_not_numeric"),
        ("1.", "value_not_numeric"),
        ("+-1", "value_not_numeric"),
        ("-Infinity", "value_not_finite"),
        ("1e18", "value_out_of_range"),
        ("1e999999999999", "value_out_of_range"),
        ("1000000000000000000.0000000000001", "value_out_of_range"),
        ("0.0000000000001", "value_too_precise"),
    ],
    ids=["null", "boolean", "point", "signs", "infinity", "range", "exponent", "range-first", "precise"],
)
def test_value_of_an_event_refused_with_its_code(value: object, code: str) -> None:
    with pytest.raises(numbers.ValueRejected) as refusal:
        numbers.parse_value(value)
    assert refusal.value.code == code


def test_money_at_a_half_goes_away_from_zero() -> None:
    halves = [Fraction(1, 200), Fraction(-1, 200), Fraction(3, 200)]
    assert [numbers.money(numbers.round_money(x, "USD"), "USD") for x in halves] == ["0.01", "-0.01", "0.02"]
    assert numbers.money(numbers.round_money(Fraction(667, 2), "JPY"), "JPY") == "334"
    assert numbers.plain(Fraction(1, 3600)) == "0.000277777778"


def test_allocation_of_a_discount_loses_nothing() -> None:
    parts = invoices.allocate(Fraction(1), [Fraction(1), Fraction(1), Fraction(1)], 2)
    assert parts == [Fraction(34, 100), Fraction(33, 100), Fraction(33, 100)]


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), datetime(2018, 11, 4, 3, tzinfo=UTC)),
        ("Africa/Cairo", date(2014, 9, 26), datetime(2014, 9, 25, 22, tzinfo=UTC)),
        ("America/Havana", date(2024, 11, 3), datetime(2024, 11, 3, 4, tzinfo=UTC)),
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10, tzinfo=UTC)),
        ("Pacific/Apia", date(2011, 12, 31), datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ],
    ids=["skipped", "hour-before-twice", "twice", "skipped-day", "day-after-it"],
)
def test_local_midnight_at_a_clock_change_is_the_first_instant(zone: str, day: date, expected: datetime) -> None:
    assert periods.local_midnight(day, ZoneInfo(zone)) == expected


def test_boundaries_from_the_31st_come_back_to_it() -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = list(islice(periods.boundaries(periods.make_cycle(start, "month", ZoneInfo("UTC"))), 4))
    assert [at.date().isoformat() for at in found] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    assert found[0] == start


def test_anchor_day_runs_both_ways_from_the_day_of_its_month() -> None:
    cycle = periods.make_cycle(datetime(2026, 1, 5, tzinfo=UTC), "month", ZoneInfo("UTC"), anchor_day=20)
    full = cycle.full_period(datetime(2026, 1, 5, tzinfo=UTC))
    assert [at.date().isoformat() for at in full] == ["2025-12-20", "2026-01-20"]


def test_graduated_price_at_zero_and_beyond_a_bound_charges_flats() -> None:
    tiers = (
        prices.Tier(Fraction(0), Fraction(0), Fraction(5)),
        prices.Tier(None, Fraction(2), Fraction(1)),
    )
    price = prices.Price("graduated", tiers=tiers)
    assert prices.amount(price, Fraction(0)) == 5
    assert prices.amount(price, Fraction(3)) == 5 + 3 * 2 + 1
