"""Recurring fees (spec 4.2) and their splitting: fractions (7.2), advance (7.3), arrears (7.4), early ends (7.5)."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import msgspec

from rating.period import Span
from rating.segments import arrears_segments
from rating.subscription import Period, Phase, Subscription
from rating.terms import FeeTerms
from rating.zone import Zone
from schemas.numbers import Number
from schemas.plan import RecurringCharge

WHOLE = Fraction(1)


class Fee(msgspec.Struct, frozen=True):
    """A line of a recurring charge before it is rounded, for start <= t < end.

    `fee` is the price of a full period, `fraction` what is charged of it. `period` is the start of the billing period
    that the line belongs to (8.4); `advance`: it charges a fee billed in advance. A credit names in `takes_back`
    the start of the line that charged the fee; where that stands on an earlier invoice it is less its discounts (7.3).
    """

    charge: str
    kind: Literal["recurring", "proration"]
    quantity: Number
    fee: Fraction
    fraction: Fraction
    start: int
    end: int
    period: int
    advance: bool = False
    takes_back: int | None = None

    @property
    def amount(self) -> Fraction:
        """The exact amount, negative for a credit, before discounts of what it takes back."""
        amount = self.fee * self.fraction
        return amount if self.takes_back is None else -amount


def fraction_of(charge: RecurringCharge, start: int, end: int, full: Span, zone: Zone) -> Fraction:
    """The fraction of a span in its full period by the charge's `prorate` (spec 7.2); `none` is never split: 1."""
    match charge.prorate:
        case "second":
            return Fraction(end - start, full.end - full.start)
        case "day":
            return Fraction(zone.dates_ended(start, end), zone.dates_ended(full.start, full.end))
        case "none":
            return WHOLE


def opening_fees(subscription: Subscription, period: Period, zone: Zone) -> Iterator[Fee]:
    """Advance fees at the start of a period: of what is left of its full period (spec 7.3)."""
    phase, end = subscription.course.phase_at(period.start), period.full.end
    for charge, terms in phase.plan.advance.items():
        quantity = phase.quantity(charge)
        fraction = fraction_of(terms.charge, period.start, end, period.full, zone)
        yield Fee(charge, "recurring", quantity, terms.fee(quantity), fraction, period.start, end, period.start, True)


def arrears_fees(subscription: Subscription, period: Period, zone: Zone) -> Iterator[Fee]:
    """Arrears at the end of a period, one line a segment (7.4); `none` only if its segment lasts to the end (7.2)."""
    for segment in arrears_segments(subscription, period):
        terms, start, end = segment.terms, segment.start, segment.end
        if terms.charge.prorate != "none" or end == period.end:
            fraction = fraction_of(terms.charge, start, end, period.full, zone)
            fee = terms.fee(segment.quantity)
            yield Fee(segment.charge, "recurring", segment.quantity, fee, fraction, start, end, period.start)


def proration_fees(subscription: Subscription, period: Period, zone: Zone, after: int, upto: int) -> Iterator[Fee]:
    """Credits and charges of advance fees that take effect at after < t <= upto: at changes inside the period (7.3),
    and the credit of what is unused where the period ends early (7.5, 7.6)."""
    pieces = subscription.course.pieces(period.start, period.end)
    if len(pieces) == 1 and not period.early:
        return
    split = _Split(period, zone, pieces[0][2])
    for (_, _, old), (at, _, new) in pairwise(pieces):
        fees = list(split.change(old, new, at))
        if after < at <= upto:
            yield from fees
    if period.early and after < period.end <= upto:
        yield from split.early_end(pieces[-1][2])


class _Split:
    """What a period has charged of its advance fees while its changes are gone through in order.

    `begun`: by charge the start of the line that charged the fee in force. `whole`: charges whose fee was charged in
    full by `prorate: none`, never credited nor charged again in this period.
    """

    def __init__(self, period: Period, zone: Zone, first: Phase) -> None:
        self._period = period
        self._zone = zone
        self._begun = dict.fromkeys(first.plan.advance, period.start)
        self._charged = set(first.plan.advance)
        self._whole = {charge for charge, terms in first.plan.advance.items() if terms.charge.prorate == "none"}

    def change(self, old: Phase, new: Phase, at: int) -> Iterator[Fee]:
        """The lines of a change at `at`: credits of old fees and charges of new ones."""
        for charge in dict.fromkeys([*old.plan.advance, *new.plan.advance]):
            before, now = old.plan.recurring(charge), new.plan.recurring(charge)
            if charge in self._whole or not self._lines_at_change(charge, before, now, old, new):
                continue
            yield from self._credit(charge, old, at)
            terms = new.plan.advance.get(charge)
            if terms is not None:
                self._begun[charge] = at
                self._charged.add(charge)
                if terms.charge.prorate == "none":
                    self._whole.add(charge)
                yield self._fee(charge, terms, new.quantity(charge), at, None)

    def early_end(self, last: Phase) -> Iterator[Fee]:
        """The credit of what is unused of every advance fee in force when the period ends early."""
        for charge in last.plan.advance:
            if charge not in self._whole:
                yield from self._credit(charge, last, self._period.end)

    def _lines_at_change(
        self, charge: str, before: FeeTerms | None, now: FeeTerms | None, old: Phase, new: Phase
    ) -> bool:
        """Whether a change makes lines of this charge (7.2, 7.3)."""
        if before is None or now is None:
            return now is None or now.charge.prorate != "none" or charge not in self._charged
        if before.charge.prorate == "none" or now.charge.prorate == "none":
            return False
        same = before.charge.bill == now.charge.bill and before.charge.prorate == now.charge.prorate
        return not same or before.fee(old.quantity(charge)) != now.fee(new.quantity(charge))

    def _credit(self, charge: str, phase: Phase, at: int) -> Iterator[Fee]:
        terms = phase.plan.advance.get(charge)
        if terms is not None and terms.charge.prorate != "none":
            begun = self._begun.get(charge, self._period.start)
            yield self._fee(charge, terms, phase.quantity(charge), at, begun)

    def _fee(self, charge: str, terms: FeeTerms, quantity: Number, at: int, takes_back: int | None) -> Fee:
        period, end = self._period, self._period.full.end
        fraction = fraction_of(terms.charge, at, end, period.full, self._zone)
        fee = terms.fee(quantity)
        return Fee(charge, "proration", quantity, fee, fraction, at, end, period.start, takes_back is None, takes_back)
