"""Billing periods (spec 6): the boundaries of a cycle, and the full period that holds an instant.

Every span is half-open, in microseconds since the epoch. Boundaries are local midnights, counted from the anchor.
"""

from calendar import monthrange
from datetime import date
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

    def boundary(self, k: int) -> int:
        """Boundary k, counted from the anchor; boundary 0 of a cycle that does not run both ways is its start."""
        if k <= 0 and not self.both_ways:
            return self.start
        if self.steps.days:
            return self.zone.midnight(self.anchor + k * self.steps.days)
        months = _month_index(self.anchor) + k * self.steps.months
        year, month = divmod(months, 12)
        last = monthrange(year, month + 1)[1]
        return self.zone.midnight(date(year, month + 1, min(self.day, last)).toordinal())

    def full(self, instant: int) -> Span:
        """The full period that holds an instant, boundary to boundary (spec 6.5); `instant` >= `start`."""
        ordinal = self.zone.local_date(instant)
        if self.steps.days:
            k = (ordinal - self.anchor) // self.steps.days
        else:
            k = (_month_index(ordinal) - _month_index(self.anchor)) // self.steps.months
        while self.boundary(k) > instant:
            k -= 1
        while self.boundary(k + 1) <= instant:
            k += 1
        begin = self.boundary(k)
        return Span(begin if self.both_ways else max(begin, self.start), self.boundary(k + 1))


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
