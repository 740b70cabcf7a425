"""A subscription's life: its phases (which plan and quantities from when), cycles and periods (6, 7)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from oracle.catalog import Charge, Customer, Fee, Plan
from oracle.numbers import number
from oracle.periods import Cycle, fraction, local_midnight, make_cycle
from oracle.times import local_date

Full = tuple[datetime, datetime]


@dataclass(frozen=True)
class Phase:
    """The plan and the quantities in force over [start, end); `end` None: until further notice."""

    start: datetime
    end: datetime | None
    plan: Plan
    quantities: tuple[tuple[str, Fraction], ...]

    def quantity(self, charge: str) -> Fraction:
        """The item's quantity, 1 unless given (4.2)."""
        return dict(self.quantities).get(charge, Fraction(1))


@dataclass(frozen=True)
class Segment:
    """A longest span [start, end) with the charge unchanged, cut to one period (7.1)."""

    charge: str
    definition: Charge
    quantity: Fraction
    start: datetime
    end: datetime


@dataclass(eq=False)
class Period:
    """A billing period as it ran: [start, end) inside its full period. `end` None: it still runs.
    `early`: it was ended before its boundary (7.5, 7.6), so unused advance fees are credited."""

    start: datetime
    full: Full
    end: datetime | None = None
    early: bool = False


@dataclass(frozen=True)
class Pending:
    """A change or a cancellation that waits for the next boundary (7.7)."""

    cancel: bool
    plan: Plan | None
    quantities: dict[str, Fraction]


@dataclass(eq=False)
class Subscription:
    """One subscription. Acts set `plan`, `quantities`, `ended`; `settle` makes of all acts of one
    instant one change (7.1)."""

    id: str
    customer: Customer
    plan: Plan
    quantities: dict[str, Fraction]
    start: datetime
    made: datetime
    named: bool
    end: datetime | None = None
    pending: list[Pending] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    cycle: Cycle | None = None

    def __post_init__(self) -> None:
        days = self.plan.trial_days
        zone = self.customer.zone
        self.trial_end = (
            local_midnight(local_date(self.start, zone) + timedelta(days=days), zone) if days else self.start
        )
        """The anchor: before it there are no invoices (6.6). Without a trial the start."""

    @property
    def boundary(self) -> datetime:
        """The end of the period that runs (of the trial, of the time before the start)."""
        return self.periods[-1].full[1] if self.periods else self.trial_end

    def change(self, plan: Plan | None, quantities: dict[str, Fraction]) -> None:
        """A change now: the plan, if one is named, and the named quantities."""
        self.plan = plan or self.plan
        self.quantities = {**self.quantities, **quantities}

    def due_pending(self, at: datetime) -> None:
        """What waited for the boundary `at` happens, in the order given."""
        waiting, self.pending = self.pending, []
        for act in waiting:
            if act.cancel:
                self.end = at
                return
            self.change(act.plan, act.quantities)

    def advance(self, until: datetime) -> None:
        """Passes every boundary before `until`, and has what waits for one at `until` happen."""
        while self.end is None and self.boundary < until:
            at = self.boundary
            self.due_pending(at)
            self.settle(at)
        if self.end is None and self.boundary == until:
            self.due_pending(until)

    def settle(self, at: datetime) -> None:
        """Makes the net effect of all acts of the instant `at` a fact."""
        if self.end is not None and self.end < at:
            return
        begins = max(at, self.start)
        if self.end is None:
            self._set_phase(begins)
        elif self.phases and self.phases[-1].end is None:
            self.phases[-1] = _ended(self.phases[-1], self.end)
        if at < self.trial_end:
            return
        running = self.periods[-1] if self.periods and self.periods[-1].end is None else None
        if running is None:
            if self.end is None:
                self._open(at, new_cycle=True)
            return
        assert self.cycle is not None
        new_cycle = self.plan.length != self.cycle.length
        at_boundary = at == running.full[1]
        if not (self.end is not None or at_boundary or new_cycle):
            return
        running.end = at
        running.early = not at_boundary
        if self.end is None:
            self._open(at, new_cycle)

    def _set_phase(self, at: datetime) -> None:
        now = Phase(at, None, self.plan, tuple(sorted(self.quantities.items())))
        if self.phases:
            last = self.phases[-1]
            if (last.plan, last.quantities) == (now.plan, now.quantities):
                return
            self.phases.pop()
            if last.start < at:
                self.phases.append(_ended(last, at))
        self.phases.append(now)

    def _open(self, at: datetime, new_cycle: bool) -> None:
        if new_cycle or self.cycle is None:
            zone = self.customer.zone
            self.cycle = make_cycle(at, self.plan.period, zone, self.plan.align, self.plan.anchor_day)
        self.periods.append(Period(at, self.cycle.full_period(at)))

    def phases_in(self, start: datetime, end: datetime, current: bool = False) -> list[Phase]:
        """The phases within [start, end), cut to it; with `current` also the one in force at `end`,
        though it be empty."""
        found = []
        for phase in self.phases:
            first, last = max(phase.start, start), end if phase.end is None else min(phase.end, end)
            in_force = first == last == end and (phase.end is None or phase.end > end)
            if first < last or (current and in_force):
                found.append(Phase(first, last, phase.plan, phase.quantities))
        return found

    def segments(self, start: datetime, end: datetime, current: bool = False) -> list[Segment]:
        """The segments of all charges within [start, end) (7.1); `current` as in `phases_in`."""
        found: list[Segment] = []
        for phase in self.phases_in(start, end, current):
            assert phase.end is not None
            for key, charge in phase.plan.charges.items():
                quantity = phase.quantity(key) if isinstance(charge, Fee) else Fraction(1)
                segment = Segment(key, charge, quantity, phase.start, phase.end)
                for index, other in enumerate(found):
                    same = (other.charge, other.definition, other.quantity) == (key, charge, quantity)
                    if same and other.end == phase.start:
                        found[index] = Segment(key, charge, quantity, other.start, phase.end)
                        break
                else:
                    found.append(segment)
        return found

    def share(self, start: datetime, end: datetime, full: Full, by: str = "second") -> Fraction:
        """The fraction of [start, end) in a full period (7.2)."""
        return fraction(start, end, full, by, self.customer.zone)

    def charge_order(self, until: datetime) -> list[str]:
        """The charges' keys: the first plan's in its order, then the new keys of later plans."""
        phases = [phase for phase in self.phases if phase.start <= until]
        return list(dict.fromkeys(key for phase in phases for key in phase.plan.charges))

    def outlook(self, at: datetime) -> list[tuple[Plan, datetime, datetime | None]]:
        """The plans' spans as they stand in the midst of an instant: what was, is and is pending (4.4)."""
        spans: list[tuple[Plan, datetime, datetime | None]] = [
            (phase.plan, phase.start, at if phase.end is None else min(phase.end, at)) for phase in self.phases
        ]
        if self.end is not None:
            return spans
        since = max(at, self.start) if self.phases else self.start
        until = self._next_boundary(at) if self.pending else None
        spans.append((self.plan, since, until))
        plan = self.plan
        for act in self.pending:
            if act.cancel:
                return spans
            plan = act.plan or plan
        if until is not None:
            spans.append((plan, until, None))
        return spans

    def _next_boundary(self, at: datetime) -> datetime:
        if self.boundary > at:
            return self.boundary
        plan = self.plan
        if self.cycle is not None and plan.length == self.cycle.length:
            return self.cycle.full_period(at)[1]
        return make_cycle(at, plan.period, self.customer.zone, plan.align, plan.anchor_day).full_period(at)[1]


def _ended(phase: Phase, at: datetime) -> Phase:
    return Phase(phase.start, at, phase.plan, phase.quantities)


def _overlap(one: Plan, other: Plan) -> bool:
    """Whether a usage charge of each could take the same event: one meter, filters that meet."""
    for charge in one.usage().values():
        for rival in other.usage().values():
            filters, others = dict(charge.where), dict(rival.where)
            apart = any(not filters[name] & others[name] for name in filters.keys() & others.keys())
            empty = any(not allowed for allowed in [*filters.values(), *others.values()])
            if charge.meter == rival.meter and not apart and not empty:
                return True
    return False


def billed_twice(subscription: Subscription, others: Sequence[Subscription], at: datetime) -> bool:
    """Whether the subscription as it now stands would bill usage that another one bills too (4.4)."""
    if subscription.named:
        return False
    for other in others:
        if other.id == subscription.id or other.customer != subscription.customer or other.named:
            continue
        for plan, start, end in subscription.outlook(at):
            for rival, since, until in other.outlook(at):
                meet = (end is None or since < end) and (until is None or start < until)
                if meet and start != end and since != until and _overlap(plan, rival):
                    return True
    return False


def tree_quantities(tree: dict[str, Any] | None) -> dict[str, Fraction]:
    """The `quantities` of an act."""
    return {key: number(value) for key, value in (tree or {}).items()}
