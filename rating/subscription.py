"""One subscription as its acts made it: its phases, its cycles, its end (spec 6, 7.1, 7.5 to 7.7).

A subscription is an immutable value; each act gives a new one. What is pending takes effect at a known boundary unless
another act comes first, so the course ahead is known at any time.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise

import msgspec

from rating.catalog import Version
from rating.period import Cycle, Span, cycle_from, steps_of, trial_end
from rating.zone import Zone
from schemas.act import ONE
from schemas.numbers import Number

FOREVER = 2**62
"""Later than any instant: the end of what has none."""


class Phase(msgspec.Struct, frozen=True, gc=False):
    """From `start` on the plan and the quantities of items, by charge key."""

    start: int
    plan: Version
    quantities: Mapping[str, Number]

    def quantity(self, charge: str) -> Number:
        """The quantity of an item; 1 unless it was given (spec 4.2)."""
        return self.quantities.get(charge, ONE)


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """From `start` on one cycle; None while the trial lasts."""

    start: int
    cycle: Cycle | None


class Period(msgspec.Struct, frozen=True, gc=False):
    """start <= t < end of one billing period as the subscription has it, within its `full` period (spec 6.5).

    `end` is before the full period's end where the subscription ends or another cycle begins (7.5, 7.6).
    """

    start: int
    end: int
    full: Span

    @property
    def early(self) -> bool:
        """Whether the period ends before its full period does."""
        return self.end < self.full.end

    def share(self, start: int, end: int) -> Fraction:
        """|S n P| / |P| in exact time (spec 7.2 `second`)."""
        return Fraction(end - start, self.full.end - self.full.start)


class Effect(msgspec.Struct, frozen=True):
    """What an act does to a subscription once it takes effect."""

    plan: Version | None = None
    quantities: Mapping[str, Number] = {}
    ends: bool = False

    def then(self, later: "Effect") -> "Effect":
        """Both at one instant count as one (spec 7.1); after an end nothing else has an effect."""
        if self.ends:
            return self
        return Effect(later.plan or self.plan, {**self.quantities, **later.quantities}, later.ends)


class Course(msgspec.Struct, frozen=True):
    """Phases and stretches in order of time, the first of each from the subscription's start; `end` FOREVER if open."""

    phases: tuple[Phase, ...]
    stretches: tuple[Stretch, ...]
    end: int = FOREVER

    @property
    def start(self) -> int:
        return self.phases[0].start

    def phase_at(self, instant: int) -> Phase:
        """The phase in force at an instant (the first one, before the start)."""
        return self.phases[max(0, _last(self.phases, instant))]

    def pieces(self, start: int, end: int) -> list[tuple[int, int, Phase]]:
        """The phases within a span, each with its part of the span; of an empty one the one in force at it."""
        if len(self.phases) == 1 or start == end:
            return [(start, end, self.phase_at(start))]
        first = max(0, _last(self.phases, start))
        found = []
        for index in range(first, len(self.phases)):
            phase = self.phases[index]
            until = self.phases[index + 1].start if index + 1 < len(self.phases) else FOREVER
            if phase.start >= end:
                break
            found.append((max(phase.start, start), min(until, end), phase))
        return found

    def next_boundary(self, after: int) -> int:
        """The first boundary later than `after`: a period's end, the trial's, or the subscription's."""
        index = max(0, _last(self.stretches, after))
        limit = self.stretches[index + 1].start if index + 1 < len(self.stretches) else FOREVER
        cycle = self.stretches[index].cycle
        if cycle is not None:
            limit = min(limit, cycle.full(max(after, cycle.start)).end)
        return min(limit, self.end) if after < self.end else FOREVER

    def periods(self, after: int = -FOREVER, upto: int = FOREVER) -> Iterator[Period]:
        """The billing periods that hold an instant of after <= t <= upto, in order; a trial is none."""
        only = self.stretches[0]
        if len(self.stretches) == 1 and only.cycle is not None:
            yield from _tiles(only.cycle, only.start, self.end, after, upto)
            return
        first = max(0, _last(self.stretches, after))
        bounds = [*(stretch.start for stretch in self.stretches), FOREVER]
        for stretch, (start, limit) in list(zip(self.stretches, pairwise(bounds), strict=True))[first:]:
            limit = min(limit, self.end)
            if stretch.cycle is None or limit <= start:
                continue
            yield from _tiles(stretch.cycle, start, limit, after, upto)
            if upto < limit:
                return

    def period_at(self, instant: int) -> Period | None:
        """The billing period that holds an instant; None in a trial, before the start and after the end."""
        if not self.start <= instant < self.end:
            return None
        return next(self.periods(instant, instant), None)

    def with_effect(self, at: int, effect: Effect) -> "Course":
        """The course with an effect at an instant later than all its phases, or at its start."""
        if effect.ends:
            return Course(self.phases, self.stretches, at)
        last = self.phases[-1]
        plan = effect.plan or last.plan
        phase = Phase(at, plan, {**last.quantities, **effect.quantities} if effect.quantities else last.quantities)
        begun = last.start < at
        phases = (*self.phases, phase) if begun else (*self.phases[:-1], phase)
        return Course(phases, self._stretches_with(at, last.plan, plan, begun), self.end)

    def _stretches_with(self, at: int, old: Version, new: Version, begun: bool) -> tuple[Stretch, ...]:
        """The cycles once a plan follows another: another length begins one (7.5), none does in a trial, after which
        the plan then in force begins its own."""
        last = self.stretches[-1]
        assert last.cycle is not None
        in_trial = len(self.stretches) == 2 and self.stretches[0].cycle is None and at <= last.start
        same = steps_of(new.plan.period) == steps_of(old.plan.period)
        if new is old or (begun and same and not in_trial):
            return self.stretches
        kept = self.stretches[:-1] if last.start >= at else self.stretches
        start = max(at, last.start)
        return (*kept, Stretch(start, cycle_from(new.plan, last.cycle.zone, start)))


class Subscription(msgspec.Struct, frozen=True):
    """A subscription after all acts so far.

    `made` is the instant of the act, `start` earlier if it was back-dated; `named`: only events that name it count.
    `settled` is the course before the instant `at` of the latest effects `now`; `pending` waits for the boundary
    after `touched`, the instant of the latest act. `course` is all of it, what is pending included.
    """

    id: str
    customer: str
    currency: str
    made: int
    named: bool
    settled: Course
    at: int
    now: Effect
    touched: int
    pending: tuple[Effect, ...]
    course: Course

    @property
    def start(self) -> int:
        return self.course.start

    @property
    def end(self) -> int:
        """Its end as far as it is known; FOREVER if none is."""
        return self.course.end

    def ended(self, instant: int) -> bool:
        """Whether it has ended at an instant: its span is half-open."""
        return instant >= self.course.end

    def after(self, at: int, effect: Effect, at_period_end: bool) -> "Subscription":
        """The subscription after one more act, not earlier than those before."""
        settled, when, now, pending = self.settled, self.at, self.now, self.pending
        boundary = self._boundary()
        if pending and boundary <= at:
            settled, when, now, pending = settled.with_effect(when, now), boundary, _joined(pending), ()
        if at_period_end:
            pending = (*pending, effect)
        elif at > when:
            settled, when, now = settled.with_effect(when, now), at, effect
        else:
            now = now.then(effect)
        return _of(self, settled, when, now, max(at, self.start), pending)

    def _boundary(self) -> int:
        return self.settled.with_effect(self.at, self.now).next_boundary(self.touched)


def subscription(
    name: str,
    customer: str,
    zone: Zone,
    plan: Version,
    quantities: Mapping[str, Number],
    made: int,
    start: int,
    named: bool,
) -> Subscription:
    """A new subscription of a plan, open-ended, with its trial if the plan has one (spec 6.6)."""
    paid = trial_end(zone, start, plan.plan.trial_days) if plan.plan.trial_days else start
    stretches: tuple[Stretch, ...] = (Stretch(paid, cycle_from(plan.plan, zone, paid)),)
    if paid > start:
        stretches = (Stretch(start, None), *stretches)
    course = Course((Phase(start, plan, dict(quantities)),), stretches)
    currency = plan.plan.currency
    return Subscription(name, customer, currency, made, named, course, start, Effect(), max(made, start), (), course)


def _of(
    before: Subscription, settled: Course, at: int, now: Effect, touched: int, pending: tuple[Effect, ...]
) -> Subscription:
    course = settled.with_effect(at, now)
    if pending and course.end == FOREVER:
        course = course.with_effect(course.next_boundary(touched), _joined(pending))
    return Subscription(
        before.id,
        before.customer,
        before.currency,
        before.made,
        before.named,
        settled,
        at,
        now,
        touched,
        pending,
        course,
    )


def _tiles(cycle: Cycle, start: int, limit: int, after: int, upto: int) -> Iterator[Period]:
    """The periods of one cycle in force at start <= t < limit that hold an instant of after <= t <= upto."""
    at = max(start, after)
    while at < limit and at <= upto:
        full = cycle.full(at)
        yield Period(max(start, full.start), min(full.end, limit), full)
        at = full.end


def _joined(effects: tuple[Effect, ...]) -> Effect:
    joined = effects[0]
    for effect in effects[1:]:
        joined = joined.then(effect)
    return joined


def _last(parts: tuple[Phase, ...] | tuple[Stretch, ...], instant: int) -> int:
    """The index of the last part that begins at or before an instant; -1 if none does."""
    if len(parts) == 1:
        return 0 if parts[0].start <= instant else -1
    return bisect_right(parts, instant, key=lambda part: part.start) - 1
