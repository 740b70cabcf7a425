"""Billing periods (section 6): local midnights, boundaries, the full period of an instant."""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from oracle.numbers import number
from oracle.times import MICROSECOND, local_date, microseconds

_HOUR = timedelta(hours=1)
_LENGTHS = {
    "day": (1, "day"),
    "week": (7, "day"),
    "month": (1, "month"),
    "quarter": (3, "month"),
    "half_year": (6, "month"),
    "year": (12, "month"),
}


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


@cache
def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant at which the wall shows `day` 00:00 or later (6.2), in UTC.

    A skipped midnight is so the first instant after the gap, one that happens twice is the first.
    Found by walking over the stretches of constant offset around it.
    """
    target = datetime.combine(day, time())
    start = target.replace(tzinfo=UTC) - 30 * _HOUR
    while True:
        offset = _wall(start, zone) - start.replace(tzinfo=None)
        end = _offset_change(start, offset, zone)
        first = max(start, target.replace(tzinfo=UTC) - offset)
        if end is None or first < end:
            return first
        start = end


def _offset_change(start: datetime, offset: timedelta, zone: ZoneInfo) -> datetime | None:
    """The first instant in the next 60 hours at which the zone's offset is another one."""

    def differs(at: datetime) -> bool:
        return _wall(at, zone) - at.replace(tzinfo=None) != offset

    for hours in range(1, 61):
        if differs(start + hours * _HOUR):
            low, high = start + (hours - 1) * _HOUR, start + hours * _HOUR
            while high - low > MICROSECOND:
                middle = low + (high - low) // 2
                low, high = (low, middle) if differs(middle) else (middle, high)
            return high
    return None


@dataclass(frozen=True)
class Length:
    """A period's length: `count` days or months. A week is 7 days, a quarter 3 months (7.5)."""

    count: int
    unit: str


def parse_length(period: object) -> Length:
    """The length of a plan's `period`, a word or `{every, unit}`."""
    if isinstance(period, dict):
        count, unit = _LENGTHS[str(period["unit"])]
        return Length(int(number(period["every"])) * count, unit)
    return Length(*_LENGTHS[str(period)])


def add_months(day: date, months: int, wanted: int | None = None) -> date:
    """`day` plus months, on its own day of the month or the month's last day before it."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(wanted or day.day, last))


def unit_start(day: date, period: object) -> date:
    """The start of the calendar unit that holds `day`: Monday, the 1st, 1 January … (6.4)."""
    unit = str(period["unit"]) if isinstance(period, dict) else str(period)
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())
    months = _LENGTHS[unit][0]
    return date(day.year, (day.month - 1) // months * months + 1, 1)


@dataclass(frozen=True)
class Cycle:
    """Periods counted from one anchor date. `start`: the instant at which the cycle begins."""

    start: datetime
    anchor: date
    length: Length
    zone: ZoneInfo
    whole_first: bool
    """The first full period starts at `start` itself (anniversary without `anchor_day`, 6.5)."""

    def boundary(self, k: int) -> datetime:
        """Boundary k: the anchor date plus k periods, always counted from the anchor date itself."""
        if self.length.unit == "day":
            day = self.anchor + timedelta(days=k * self.length.count)
        else:
            day = add_months(self.anchor, k * self.length.count)
        return local_midnight(day, self.zone)

    def full_period(self, at: datetime) -> tuple[datetime, datetime]:
        """The full period that holds an instant at or after `start`, boundary to boundary."""
        days = (local_date(at, self.zone) - self.anchor).days
        k = days // self.length.count if self.length.unit == "day" else days // 31 // self.length.count
        k -= 2
        while self.boundary(k + 1) <= at:
            k += 1
        first = self.boundary(k)
        if self.whole_first and first <= self.start:
            first = self.start
        return first, self.boundary(k + 1)


def make_cycle(
    start: datetime, period: object, zone: ZoneInfo, align: str = "anniversary", anchor_day: int | None = None
) -> Cycle:
    """The cycle that begins at `start` (6.4)."""
    day = local_date(start, zone)
    length = parse_length(period)
    if align == "calendar":
        return Cycle(start, unit_start(day, period), length, zone, whole_first=False)
    if anchor_day is not None and length.unit == "month":
        return Cycle(start, add_months(day, 0, anchor_day), length, zone, whole_first=False)
    return Cycle(start, day, length, zone, whole_first=True)


def boundaries(cycle: Cycle) -> Iterator[datetime]:
    """The cycle's start, then every boundary after it, strictly rising, for ever."""
    at = cycle.start
    while True:
        yield at
        at = cycle.full_period(at)[1]


def _dates(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[date]:
    """The local dates whose end lies in (start, end]; a date that a clock change skips is none (7.2)."""
    day = local_date(start, zone) - timedelta(days=1)
    while local_midnight(day, zone) < end:
        begins, ends = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
        if start < ends <= end and begins < ends:
            yield day
        day += timedelta(days=1)


@lru_cache(maxsize=10_000)
def fraction(start: datetime, end: datetime, full: tuple[datetime, datetime], by: str, zone: ZoneInfo) -> Fraction:
    """The share of the full period that [start, end) covers (7.2), `by` second, day or none (whole)."""
    if by == "none":
        return Fraction(1)
    start, end = max(start, full[0]), min(end, full[1])
    if end <= start:
        return Fraction(0)
    if by == "day":
        return Fraction(sum(1 for _ in _dates(start, end, zone)), sum(1 for _ in _dates(*full, zone)))
    return microseconds(end - start) / microseconds(full[1] - full[0])
