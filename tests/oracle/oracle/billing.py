"""What one subscription owes (7, 8.1, 8.9): usage, fees, prorations and adjustments, invoice by invoice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from oracle import prices
from oracle.catalog import Fee, Meter, UsageCharge
from oracle.events import Event, Intake
from oracle.lines import Line, charge_line
from oracle.meters import quantities
from oracle.numbers import round_money
from oracle.segments import Period, Phase, Segment, Subscription
from oracle.times import MICROSECOND

Key = tuple[str, datetime, str, tuple[str, ...]]
"""A usage line within its period: charge, segment start, kind, values of the dimensions."""


def full_fee(fee: Fee, quantity: Fraction) -> Fraction:
    """The price of a full period for the item's quantity (4.2)."""
    if isinstance(fee.price, prices.Price):
        return prices.amount(fee.price, quantity)
    return fee.price * quantity


def counted(subscription: Subscription, events: Sequence[Event]) -> list[Event]:
    """The events that count for the subscription (4.4)."""
    mine = (subscription.id,) if subscription.named else (subscription.id, None)
    return [event for event in events if event.subscription in mine]


def segment_lines(
    subscription: Subscription, segment: Segment, period: Period, meter: Meter, events: Sequence[Event]
) -> list[Line]:
    """The usage lines of one segment, then its minimum and its maximum (5.3), those of 0 included."""
    charge = segment.definition
    assert isinstance(charge, UsageCharge)
    currency = subscription.plan.currency
    span = (segment.start, segment.end)
    share = subscription.share(*span, period.full)
    lines = []
    for key, quantity in sorted(quantities(meter, charge, events, span, period.full).items()):
        values = dict(zip(charge.kept_apart, key, strict=True))
        table = charge.price
        price = table.of(values[table.dimension]) if isinstance(table, prices.ByValue) else table
        exact = Fraction(0)
        if price is not None and segment.start < segment.end:
            exact = prices.amount(prices.scaled(price, share) if charge.prorated else price, quantity)
        line = charge_line(segment.charge, "usage", quantity, exact, currency, span)
        line.dimensions, line.unpriced = values, price is None
        lines.append(line)
    exact = sum((line.exact for line in lines), Fraction(0))
    amount = sum((line.amount for line in lines), Fraction(0))
    if charge.minimum is not None:
        bound = charge.minimum * share
        more, rounded = max(bound - exact, Fraction(0)), max(round_money(bound, currency) - amount, Fraction(0))
        lines.append(Line(segment.charge, "minimum", None, more, rounded, span))
        exact, amount = exact + more, amount + rounded
    if charge.maximum is not None and segment.start < segment.end:
        bound = charge.maximum * share if charge.prorated else charge.maximum
        less, rounded = min(bound - exact, Fraction(0)), min(round_money(bound, currency) - amount, Fraction(0))
        lines.append(Line(segment.charge, "maximum", None, less, rounded, span))
    return lines


def usage_lines(
    subscription: Subscription,
    period: Period,
    end: datetime,
    meters: dict[str, Meter],
    events: Sequence[Event],
    current: bool = False,
) -> dict[Key, Line]:
    """All usage lines of a period as if it ended at `end`, each segment rated on its own (7.1)."""
    found: dict[Key, Line] = {}
    mine = counted(subscription, events)
    for segment in subscription.segments(period.start, end, current):
        if isinstance(segment.definition, UsageCharge):
            meter = meters[segment.definition.meter]
            for line in segment_lines(subscription, segment, period, meter, mine):
                line.of = period
                found[segment.charge, segment.start, line.kind, tuple(line.dimensions.values())] = line
    return found


@dataclass
class Fees:
    """The advance fees of a period: `opening` lines, then those of the changes within it (7.3)."""

    opening: list[Line] = field(default_factory=list)
    changes: list[Line] = field(default_factory=list)
    standing: dict[str, tuple[Line, Fee, Fraction]] = field(default_factory=dict)
    charged: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    """Keys that a fee with `prorate: none` touched: neither credited nor charged any more (7.2)."""
    in_full: set[str] = field(default_factory=set)
    """Keys charged in full by an advance fee with `prorate: none`."""


def advance_fees(subscription: Subscription, period: Period) -> Fees:
    """The advance fees of a period, its changes, and the credits if it ended early."""
    fees = Fees()
    phases = [
        phase
        for phase in subscription.phases
        if (period.end is None or phase.start < period.end) and (phase.end is None or phase.end > period.start)
    ]
    for key, fee in phases[0].plan.fees().items():
        if fee.bill == "advance":
            fees.opening.append(_charge(subscription, period, fees, key, fee, phases[0], period.start))
    for old, new in pairwise(phases):
        for key in dict.fromkeys([*old.plan.fees(), *new.plan.fees()]):
            _change(subscription, period, fees, key, old, new)
    if period.early and period.end is not None:
        for key in list(fees.standing):
            _credit(subscription, period, fees, key, period.end)
    return fees


def _charge(
    subscription: Subscription, period: Period, fees: Fees, key: str, fee: Fee, phase: Phase, at: datetime
) -> Line:
    """Fee x fraction of the rest of the period from `at` on."""
    full = full_fee(fee, phase.quantity(key))
    exact = full * subscription.share(at, period.full[1], period.full, fee.prorate)
    kind = "recurring" if at == period.start else "proration"
    currency = subscription.plan.currency
    line = charge_line(key, kind, phase.quantity(key), exact, currency, (at, period.full[1]))
    line.of = period
    fees.charged.add(key)
    if fee.prorate == "none":
        fees.locked.add(key)
        fees.in_full.add(key)
    else:
        fees.standing[key] = (line, fee, full)
    return line


def _credit(subscription: Subscription, period: Period, fees: Fees, key: str, at: datetime) -> None:
    """Takes back what stands for the rest of the period from `at` on."""
    charged, fee, full = fees.standing.pop(key)
    exact = -full * subscription.share(at, period.full[1], period.full, fee.prorate)
    currency = subscription.plan.currency
    line = charge_line(key, "proration", charged.quantity, exact, currency, (at, period.full[1]))
    line.of, line.takes_back = period, charged
    fees.changes.append(line)


def _change(subscription: Subscription, period: Period, fees: Fees, key: str, old: Phase, new: Phase) -> None:
    """What a change inside the period does to one charge key (7.2 `none`, 7.3)."""
    was, now = old.plan.fees().get(key), new.plan.fees().get(key)
    at = new.start
    if was and now:
        terms = (full_fee(was, old.quantity(key)), was.bill, was.prorate)
        if terms == (full_fee(now, new.quantity(key)), now.bill, now.prorate):
            return
    if now and now.bill == "advance" and now.prorate == "none" and key not in fees.charged:
        fees.changes.append(_charge(subscription, period, fees, key, now, new, at))
        return
    if (was and now and "none" in (was.prorate, now.prorate)) or (now and now.prorate == "none"):
        fees.locked.add(key)
        fees.standing.pop(key, None)
    if key in fees.locked:
        return
    if was and key in fees.standing:
        _credit(subscription, period, fees, key, at)
    if now and now.bill == "advance":
        fees.changes.append(_charge(subscription, period, fees, key, now, new, at))


def arrears_fees(
    subscription: Subscription, period: Period, end: datetime, fees: Fees, current: bool = False
) -> list[Line]:
    """One line per segment of each arrears fee, as if the period ended at `end` (7.4)."""
    lines = []
    for segment in subscription.segments(period.start, end, current):
        fee = segment.definition
        if not isinstance(fee, Fee) or fee.bill != "arrears" or segment.charge in fees.in_full:
            continue
        if fee.prorate == "none" and segment.end != end:
            continue
        share = subscription.share(segment.start, segment.end, period.full, fee.prorate)
        exact = full_fee(fee, segment.quantity) * share
        span = (segment.start, segment.end)
        line = charge_line(segment.charge, "recurring", segment.quantity, exact, subscription.plan.currency, span)
        line.of = period
        lines.append(line)
    return lines


@dataclass(eq=False)
class OneOff:
    """A charge made by hand (8.11), without a subscription if that is None."""

    at: datetime
    customer: str
    subscription: Subscription | None
    id: str
    amount: Fraction
    quantity: Fraction

    def line(self, currency: str) -> Line:
        """Its line."""
        exact = self.amount * self.quantity
        return charge_line(self.id, "one_off", self.quantity, exact, currency, (self.at, self.at))


@dataclass(eq=False)
class Candidate:
    """An instant at which the subscription may get an invoice; without lines there is none."""

    issue: datetime
    subscription: Subscription | None
    customer: str
    currency: str
    closes: list[Period] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    of_its_own: bool = False
    """An invoice of its own, also for a customer who asks for one invoice (8.9)."""


class Account:
    """One subscription's bill from its start until now: its candidates, and what is still to come."""

    def __init__(
        self,
        subscription: Subscription,
        meters: dict[str, Meter],
        intake: Intake,
        one_offs: Sequence[OneOff],
        grace: timedelta,
        now: datetime,
    ) -> None:
        self.subscription, self.meters, self.intake = subscription, meters, intake
        self.grace, self.now = grace, now
        self.one_offs = [one_off for one_off in one_offs if one_off.subscription is subscription]
        self.fees = {period: advance_fees(subscription, period) for period in subscription.periods}
        self.billed: dict[Period, dict[Key, tuple[Fraction, Fraction]]] = {}
        self.candidates: list[Candidate] = []
        for at in sorted(self._instants()):
            self._candidate(at)
        if subscription.end is not None:
            self._after_the_end(max(subscription.end, subscription.made) + grace)

    def _instants(self) -> set[datetime]:
        made = self.subscription.made
        instants = {max(period.start, made) for period in self.subscription.periods}
        instants |= {max(p.end, made) for p in self.subscription.periods if p.end is not None}
        if self.subscription.end is not None:
            instants.add(max(self.subscription.end, made))
        return instants

    def _known(self, final: datetime) -> list[Event]:
        before = final if final <= self.now else None
        return self.intake.known(self.subscription.customer.key, before)

    def _candidate(self, at: datetime) -> None:
        subscription, made = self.subscription, self.subscription.made
        candidate = Candidate(at, subscription, subscription.customer.key, subscription.plan.currency)
        events = self._known(at + self.grace)
        candidate.lines += self.adjustments(events)
        for period in subscription.periods:
            fees = self.fees[period]
            if max(period.start, made) == at:
                candidate.lines += fees.opening
            if period.end is not None and max(period.end, made) == at:
                candidate.closes.append(period)
                candidate.lines += fees.changes
                candidate.lines += self._closing(period, period.end, events)
        for one_off in [one_off for one_off in self.one_offs if one_off.at <= at]:
            self.one_offs.remove(one_off)
            candidate.lines.append(one_off.line(candidate.currency))
        self.candidates.append(candidate)

    def _closing(self, period: Period, end: datetime, events: Sequence[Event]) -> list[Line]:
        usage = usage_lines(self.subscription, period, end, self.meters, events)
        self.billed[period] = {
            key: (line.quantity or Fraction(0), line.amount) for key, line in usage.items() if line.made
        }
        return [*usage.values(), *arrears_fees(self.subscription, period, end, self.fees[period])]

    def adjustments(self, events: Sequence[Event], book: bool = True) -> list[Line]:
        """New less billed for each usage line of the periods closed so far (8.9)."""
        lines = []
        for period, billed in self.billed.items():
            assert period.end is not None
            new = usage_lines(self.subscription, period, period.end, self.meters, events)
            for key in dict.fromkeys([*new, *billed]):
                charge, start, kind, values = key
                quantity, amount = billed.get(key, (Fraction(0), Fraction(0)))
                line = new.get(key)
                more = (line.quantity or Fraction(0) if line else Fraction(0)) - quantity
                difference = (line.amount if line else Fraction(0)) - amount
                if difference == 0:
                    continue
                span, names = self._place(period, charge, start)
                lines.append(
                    Line(
                        charge,
                        "adjustment",
                        more if kind == "usage" else None,
                        difference,
                        difference,
                        span,
                        dict(zip(names, values, strict=True)) if kind == "usage" else {},
                        corrects=kind,
                    )
                )
                if book:
                    billed[key] = (quantity + more, amount + difference)
        return lines

    def _place(self, period: Period, charge: str, start: datetime) -> tuple[tuple[datetime, datetime], tuple[str, ...]]:
        assert period.end is not None
        for segment in self.subscription.segments(period.start, period.end):
            if (segment.charge, segment.start) == (charge, start):
                assert isinstance(segment.definition, UsageCharge)
                return (segment.start, segment.end), segment.definition.kept_apart
        raise LookupError("an adjustment of a segment that does not exist")

    def _after_the_end(self, final: datetime) -> None:
        """Invoices of their own for what arrives when the last one is final (8.9)."""
        stored = [event for event in self.intake.stored.values() if event.subject == self.subscription.customer.key]
        arrivals = {event.received for event in stored} | {event.voided for event in stored if event.voided}
        for at in sorted(arrivals):
            if at < final:
                continue
            customer = self.subscription.customer.key
            if self.adjustments(self.intake.known(customer, at + MICROSECOND), book=False):
                final = at + self.grace
                self._candidate_after(at, self._known(final))

    def _candidate_after(self, at: datetime, events: Sequence[Event]) -> None:
        subscription = self.subscription
        candidate = Candidate(at, subscription, subscription.customer.key, subscription.plan.currency)
        candidate.lines += self.adjustments(events)
        candidate.of_its_own = True
        self.candidates.append(candidate)

    def open_period(self) -> Period | None:
        """The period that runs now, if any."""
        periods = self.subscription.periods
        return periods[-1] if periods and periods[-1].end is None else None

    def open_usage(self) -> list[Line]:
        """The usage lines of the open period as if it ended now (9)."""
        period = self.open_period()
        if period is None:
            return []
        events = self.intake.known(self.subscription.customer.key, None)
        return list(usage_lines(self.subscription, period, self.now, self.meters, events, current=True).values())

    def to_come(self) -> list[Line]:
        """All lines that no invoice carries yet: the open period's, adjustments, one-offs (9)."""
        lines = self.open_usage()
        period = self.open_period()
        if period is not None:
            fees = self.fees[period]
            lines += [*fees.changes, *arrears_fees(self.subscription, period, self.now, fees, current=True)]
        lines += self.adjustments(self.intake.known(self.subscription.customer.key, None), book=False)
        return lines + [one_off.line(self.subscription.plan.currency) for one_off in self.one_offs]
