"""Which charge of which subscription is in force when (spec 7.1): segments within billing periods."""

from collections.abc import Iterator
from fractions import Fraction

import msgspec

from rating.account import Account
from rating.catalog import Version
from rating.subscription import Course, Period, Phase, Subscription
from rating.terms import FeeTerms, UsageTerms
from rating.usage import UsageRequest
from schemas.numbers import Number


class ChargeSegment(msgspec.Struct, frozen=True, gc=False):
    """start <= t < end: a usage charge unchanged, within one billing period; rated on its own."""

    subscription: Subscription
    charge: str
    terms: UsageTerms
    start: int
    end: int
    period: Period

    @property
    def fraction(self) -> Fraction:
        """Its share of the full period in exact time (spec 7.2 `second`)."""
        return self.period.share(self.start, self.end)

    def request(self) -> UsageRequest:
        """The usage that it bills."""
        subscription, terms, full = self.subscription, self.terms, self.period.full
        return UsageRequest(
            customer=subscription.customer,
            subscription=subscription.id,
            named_only=subscription.named,
            meter=terms.charge.meter,
            start=self.start,
            end=self.end,
            full_period=full.end - full.start,
            where=terms.where,
            by=terms.by,
        )

    def until(self, end: int) -> "ChargeSegment":
        """The same as if it ended at `end` (for balances: now)."""
        return ChargeSegment(self.subscription, self.charge, self.terms, self.start, min(self.end, end), self.period)


class FeeSegment(msgspec.Struct, frozen=True, gc=False):
    """start <= t < end: a recurring charge with one definition and one quantity, within one billing period."""

    charge: str
    terms: FeeTerms
    quantity: Number
    start: int
    end: int

    def goes_on(self, at: int, terms: FeeTerms, quantity: Number) -> bool:
        """Whether what is in force from `at` on is the same charge unchanged."""
        same = self.terms is terms or self.terms.charge == terms.charge
        return same and self.end == at and self.quantity == quantity


def usage_segments(subscription: Subscription, period: Period) -> list[ChargeSegment]:
    """The segments of all usage charges in a billing period, by charge key, then by time."""
    pieces = subscription.course.pieces(period.start, period.end)
    if len(pieces) == 1:
        start, end, phase = pieces[0]
        return [
            ChargeSegment(subscription, charge, terms, start, end, period) for charge, terms in phase.plan.usage.items()
        ]
    open_: dict[str, ChargeSegment] = {}
    found: dict[str, list[ChargeSegment]] = {}
    for start, end, phase in pieces:
        for charge, terms in phase.plan.usage.items():
            before = open_.get(charge)
            if before is not None and before.end == start and terms.same(before.terms):
                found[charge].pop()
                start_here = before.start
            else:
                start_here = start
            open_[charge] = ChargeSegment(subscription, charge, terms, start_here, end, period)
            found.setdefault(charge, []).append(open_[charge])
    return [segment for segments in found.values() for segment in segments]


def arrears_segments(subscription: Subscription, period: Period) -> list[FeeSegment]:
    """The segments of the recurring charges that are billed in arrears, by charge key, then by time."""
    found: dict[str, list[FeeSegment]] = {}
    for start, end, phase in subscription.course.pieces(period.start, period.end):
        for charge, terms in phase.plan.arrears.items():
            segments = found.setdefault(charge, [])
            quantity, begun = phase.quantity(charge), start
            if segments and segments[-1].goes_on(start, terms, quantity):
                begun = segments.pop().start
            segments.append(FeeSegment(charge, terms, quantity, begun, end))
    return [segment for segments in found.values() for segment in segments]


def segments_between(account: Account, start: int, end: int) -> Iterator[ChargeSegment]:
    """Every usage segment of a customer that overlaps start <= t < end: where the stream finds what an event costs.

    Trials are not in it: usage in them costs nothing (spec 6.6).
    """
    for subscription in account.subscriptions.values():
        first, last = max(start, subscription.start), min(end, subscription.end)
        if first < last:
            for period in subscription.course.periods(first, last - 1):
                yield from (s for s in usage_segments(subscription, period) if s.start < last and s.end > first)


def charge_order(course: Course) -> dict[str, int]:
    """The rank of each charge key on an invoice: the order of the plan's charges, plans by time, new keys after."""
    plans: list[Version] = [phase.plan for phase in course.phases]
    if len(plans) == 1:
        return plans[0].order
    order: dict[str, int] = {}
    for plan in plans:
        for charge in plan.order:
            order.setdefault(charge, len(order))
    return order


def plan_minimum(subscription: Subscription, period: Period) -> Fraction | None:
    """The plan's minimum for a billing period: the sum over its segments, exact (spec 8.4); None if there is none."""
    pieces: list[tuple[int, int, Phase]] = subscription.course.pieces(period.start, period.end)
    parts = [
        Fraction(phase.plan.plan.minimum) * period.share(start, end)
        for start, end, phase in pieces
        if phase.plan.plan.minimum is not None
    ]
    return sum(parts, Fraction(0)) if parts else None
