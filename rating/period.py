"""Billing periods (spec 6): the boundaries of a cycle, and the full period that holds an instant.

Every span is half-open, in microseconds since the epoch. Boundaries are local midnights, counted from the anchor.
"""

from calendar import monthrange
from datetime import date
from functools import lru_cache
from typing import NamedTuple

import msgspec

from rating.zone import Zone
from schemas.plan import Period as Length
from schemas.plan import Plan

_MONTHS = {"month": 1, "quarter": 3, "half_year": 6, "year": 12}
_DAYS = {"day": 1, "week": 7}


class Span(NamedTuple):
    """start <= t < end."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Microseconds."""
        return self.end - self.start


class Steps(NamedTuple):
    """The length of a period as days or as months, one of them 0; equal lengths are equal here (spec 7.5)."""

    days: int
    months: int


def steps_of(length: Length) -> Steps:
    """`week` is 7 days, `quarter` 3 months, `{every: 2, unit: week}` 14 days."""
    if length.unit in _DAYS:
        return Steps(_DAYS[length.unit] * length.every, 0)
    return Steps(0, _MONTHS[length.unit] * length.every)


class Cycle(msgspec.Struct, frozen=True, gc=False):
    """Boundaries of a subscription from `start` on.

    `anchor` is the ordinal of the date from which boundaries are counted; `day` the day of the month wanted, clamped to
    the month's last day. `both_ways`: boundaries exist before the anchor too (`anchor_day`, `align: calendar`), so the
    first period may be a stub of its full period; else the first full period starts at `start` itself (spec 6.5).
    """

    zone: Zone
    start: int
    anchor: int
    day: int
    steps: Steps
    both_ways: bool

    def full(self, instant: int) -> Span:
        """The full period that holds an instant, boundary to boundary (spec 6.5); `instant` >= `start`."""
        zone = self.zone
        span = _between_boundaries(zone, self.anchor, self.day, self.steps, zone.owning_date(instant))
        if self.both_ways or span.start >= self.start:
            return span
        return Span(self.start, span.end)


@lru_cache(maxsize=65_536)
def _between_boundaries(zone: Zone, anchor: int, day: int, steps: Steps, date_: int) -> Span:
    """The boundaries around a date that has begun: all that is counted from one anchor shares them."""
    months = 0 if steps.days else _month_index(date_) - _month_index(anchor)
    k = (date_ - anchor) // steps.days if steps.days else months // steps.months
    while _boundary(anchor, day, steps, k) > date_:
        k -= 1
    while _boundary(anchor, day, steps, k + 1) <= date_:
        k += 1
    while zone.midnight(_boundary(anchor, day, steps, k + 1)) == zone.midnight(_boundary(anchor, day, steps, k)):
        k += 1
    start, end = (_boundary(anchor, day, steps, place) for place in (k, k + 1))
    return Span(zone.midnight(start), zone.midnight(end))


def _boundary(anchor: int, day: int, steps: Steps, k: int) -> int:
    """The date of boundary k, counted from the anchor date itself (spec 6.4)."""
    if steps.days:
        return anchor + k * steps.days
    year, month = divmod(_month_index(anchor) + k * steps.months, 12)
    return date(year, month + 1, min(day, monthrange(year, month + 1)[1])).toordinal()


def cycle_from(plan: Plan, zone: Zone, start: int) -> Cycle:
    """The cycle of a plan anchored at `start`: a subscription's start, a trial's end, a change of length (6.4, 7.5)."""
    local = date.fromordinal(zone.local_date(start))
    steps = steps_of(plan.period)
    if plan.align == "calendar":
        anchor = _unit_start(plan.period, local)
        return Cycle(zone, start, anchor.toordinal(), anchor.day, steps, True)
    if plan.anchor_day is not None and steps.months:
        day = min(plan.anchor_day, monthrange(local.year, local.month)[1])
        return Cycle(zone, start, local.replace(day=day).toordinal(), day, steps, True)
    return Cycle(zone, start, local.toordinal(), local.day, steps, False)


def trial_end(zone: Zone, start: int, days: int) -> int:
    """The local midnight `days` after the date of the start: the end of a trial (spec 6.6)."""
    return zone.midnight(zone.local_date(start) + days)


def _unit_start(length: Length, local: date) -> date:
    """The start of the calendar unit that holds a date: Monday, the 1st, Jan/Apr/Jul/Oct, Jan/Jul, Jan 1."""
    if length.unit == "day":
        return local
    if length.unit == "week":
        return date.fromordinal(local.toordinal() - local.weekday())
    months = _MONTHS[length.unit]
    return date(local.year, (local.month - 1) // months * months + 1, 1)


def _month_index(ordinal: int) -> int:
    day = date.fromordinal(ordinal)
    return day.year * 12 + day.month - 1
