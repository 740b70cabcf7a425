"""Periods tile time without gap or overlap, in every time zone through its clock changes, and equal the oracle (6)."""

from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import periods as oracle

from rating.period import Span, cycle_from
from rating.proration import fraction_of
from rating.zone import EPOCH_ORDINAL, zone
from schemas.instants import DAY, HOUR, Instant
from schemas.numbers import Number
from schemas.plan import Period, Plan, RecurringCharge
from schemas.price import PerUnit

ZONES = sorted(available_timezones() - {"Factory", "localtime"})
HARD = [
    "America/Havana",  # midnight skipped
    "America/Sao_Paulo",  # midnight skipped, and twice
    "America/St_Johns",  # changed at 00:01
    "Africa/Cairo",
    "Asia/Tehran",
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # a date that does not exist
    "Pacific/Kwajalein",
    "Asia/Kathmandu",
    "Europe/Amsterdam",
    "America/New_York",
    "UTC",
]
INSTANTS = st.integers(
    int(Instant.parse("1993-01-01T00:00:00Z")), int(Instant.parse("2032-01-01T00:00:00Z"))
)  # fmt: skip
LENGTHS = st.one_of(
    st.builds(Period, st.sampled_from(["day", "week", "month", "quarter", "half_year", "year"])),
    st.builds(Period, st.sampled_from(["day", "week", "month", "year"]), st.integers(2, 14)),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    length = draw(LENGTHS)
    align = draw(st.sampled_from(["anniversary", "calendar"]))
    long = length.unit not in ("day", "week")
    anchor = draw(st.one_of(st.none(), st.integers(1, 31))) if long and align == "anniversary" else None
    return Plan(currency="USD", period=length, charges={}, align=align, anchor_day=anchor)  # type: ignore[arg-type]


def moment(instant: int) -> datetime:
    return Instant(instant).moment()


def micro(at: datetime) -> int:
    return int(Instant.of(at))


def oracle_cycle(plan: Plan, name: str, start: int) -> oracle.Cycle:
    long_form = {"every": str(plan.period.every), "unit": plan.period.unit}
    written = plan.period.unit if plan.period.every == 1 else long_form
    return oracle.make_cycle(moment(start), written, ZoneInfo(name), plan.align, plan.anchor_day)


@pytest.mark.parametrize("names", [ZONES[start::6] for start in range(6)], ids=lambda names: f"{names[0]} and others")
def test_days_tile_time_in_every_zone(names: list[str]) -> None:
    """Over six years with clock changes: midnights rise, no date is longer than 26 hours, each begins on its date."""
    first = date(2010, 12, 25).toordinal()
    for name in names:
        place = zone(name)
        midnights = [place.midnight(first + day) for day in range(370)]
        lengths = [after - before for before, after in pairwise(midnights)]
        assert all(0 <= length <= 26 * HOUR for length in lengths), name
        assert sum(length == 0 for length in lengths) <= 1, name
        for day, (start, length) in enumerate(zip(midnights, lengths, strict=False)):
            assert not length or place.owning_date(start) == first + day, (name, day)
            assert not length or place.owning_date(start + length - 1) == first + day, (name, day)


@given(st.sampled_from(HARD), st.integers(date(1990, 1, 1).toordinal(), date(2030, 1, 1).toordinal()))
@settings(max_examples=300, deadline=None)
def test_midnight_equals_the_oracle(name: str, ordinal: int) -> None:
    expected = oracle.local_midnight(date.fromordinal(ordinal), ZoneInfo(name))
    assert moment(zone(name).midnight(ordinal)) == expected


@given(plans(), st.sampled_from(HARD), INSTANTS)
@settings(max_examples=250, deadline=None)
def test_periods_tile_time_from_the_start_on(plan: Plan, name: str, start: int) -> None:
    cycle = cycle_from(plan, zone(name), start)
    full = cycle.full(start)
    assert full.start <= start < full.end
    if plan.align == "anniversary" and plan.anchor_day is None:
        assert full.start == start
    for _ in range(8):
        assert cycle.full(full.end - 1) == full
        following = cycle.full(full.end)
        assert following.start == full.end < following.end
        full = following


@given(plans(), st.sampled_from(HARD), INSTANTS, st.integers(0, 1200))
@settings(max_examples=250, deadline=None)
def test_full_period_equals_the_oracle(plan: Plan, name: str, start: int, later: int) -> None:
    at = start + later * DAY // 2
    expected = oracle_cycle(plan, name, start).full_period(moment(at))
    assert cycle_from(plan, zone(name), start).full(at) == Span(micro(expected[0]), micro(expected[1]))


@given(st.sampled_from(HARD), INSTANTS, st.lists(st.integers(0, 10**6), max_size=4), st.sampled_from(["second", "day"]))
@settings(max_examples=250, deadline=None)
def test_fractions_of_parts_add_up_to_one(name: str, start: int, cuts: list[int], prorate: str) -> None:
    place = zone(name)
    full = cycle_from(Plan(currency="USD", period=Period("month"), charges={}), place, start).full(start)
    charge = RecurringCharge(recurring=PerUnit(unit=Number(1)), prorate=prorate)  # type: ignore[arg-type]
    inside = sorted(full.start + cut * full.length // 10**6 for cut in cuts)
    parts = [fraction_of(charge, low, high, full, place) for low, high in pairwise([full.start, *inside, full.end])]
    assert sum(parts, Fraction(0)) == 1
    assert all(part >= 0 for part in parts)


@given(st.sampled_from(HARD), INSTANTS, st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_fraction_equals_the_oracle(name: str, start: int, one: int, other: int) -> None:
    place = zone(name)
    full = cycle_from(Plan(currency="USD", period=Period("month"), charges={}), place, start).full(start)
    low, high = (full.start + min(max(part, 0), 10**6) * full.length // 10**6 for part in sorted([one, other]))
    for prorate in ("second", "day"):
        charge = RecurringCharge(recurring=PerUnit(unit=Number(1)), prorate=prorate)
        bounds = (moment(full.start), moment(full.end))
        expected = oracle.fraction(moment(low), moment(high), bounds, prorate, ZoneInfo(name))
        assert fraction_of(charge, low, high, full, place) == expected


def test_date_that_a_zone_skips_has_no_length() -> None:
    place = zone("Pacific/Apia")
    skipped = date(2011, 12, 30).toordinal()
    assert place.midnight(skipped) == place.midnight(skipped + 1)
    december = Span(place.midnight(date(2011, 12, 1).toordinal()), place.midnight(date(2012, 1, 1).toordinal()))
    assert place.dates_ended(december.start, december.end) == 30


def test_epoch_is_its_own_midnight() -> None:
    assert zone("UTC").midnight(EPOCH_ORDINAL) == 0
    assert datetime(1970, 1, 1, tzinfo=UTC) == moment(0)


def test_unknown_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="not an IANA time zone"):
        zone("Europe/Amsterdamm")
