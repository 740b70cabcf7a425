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


class Fee(msgspec.Struct, frozen=True, gc=False):
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
    split: _Split | None = None
    for segment in arrears_segments(subscription, period):
        terms, start, end = segment.terms, segment.start, segment.end
        split = split or _Split(subscription, period, zone)
        if segment.charge in split.full or (terms.charge.prorate == "none" and end != period.end):
            continue
        fraction = fraction_of(terms.charge, start, end, period.full, zone)
        fee = terms.fee(segment.quantity)
        yield Fee(segment.charge, "recurring", segment.quantity, fee, fraction, start, end, period.start)


def proration_fees(subscription: Subscription, period: Period, zone: Zone, after: int, upto: int) -> Iterator[Fee]:
    """Credits and charges of advance fees that take effect at after < t <= upto: at changes inside the period (7.3),
    and the credit of what is unused where the period ends early (7.5, 7.6)."""
    if period.early or len(subscription.course.phases) > 1:
        yield from (fee for fee in _Split(subscription, period, zone).fees if after < fee.start <= upto)


class _Split:
    """A period's changes gone through in order: what they credit and charge of advance fees.

    `fees` are the lines. `full`: charges that `prorate: none` charged in full, which nothing else charges in this
    period; `_touched` those and all that had such a side at a change: they are neither credited nor charged (7.2).
    `_begun`: by charge the line that charged the fee in force, its start and quantity.
    """

    def __init__(self, subscription: Subscription, period: Period, zone: Zone) -> None:
        self._period = period
        self._zone = zone
        pieces = subscription.course.pieces(period.start, period.end)
        first = pieces[0][2].plan.advance
        self.fees: list[Fee] = []
        self.full = {charge for charge, terms in first.items() if terms.charge.prorate == "none"}
        self._touched = set(self.full)
        self._begun = {charge: (period.start, pieces[0][2].quantity(charge)) for charge in first}
        for (_, _, old), (at, _, new) in pairwise(pieces):
            for charge in dict.fromkeys([*old.plan.order, *new.plan.order]):
                self._change(charge, old, new, at)
        if period.early:
            for charge in pieces[-1][2].plan.advance:
                if charge not in self._touched:
                    self._credit(charge, pieces[-1][2], period.end)

    def _change(self, charge: str, old: Phase, new: Phase, at: int) -> None:
        """The lines of one charge at a change: the credit of the old fee and the charge of the new one."""
        before, now = old.plan.recurring(charge), new.plan.recurring(charge)
        if charge in self._touched or (before is None and now is None):
            return
        if any(terms is not None and terms.charge.prorate == "none" for terms in (before, now)):
            self._touched.add(charge)
            if charge in new.plan.advance and charge not in self._begun:
                self.full.add(charge)
                self._charge(charge, new, at)
            return
        if (
            before is not None
            and now is not None
            and _unchanged(before, now, old.quantity(charge), new.quantity(charge))
        ):
            return
        if charge in old.plan.advance:
            self._credit(charge, old, at)
        if charge in new.plan.advance:
            self._charge(charge, new, at)

    def _credit(self, charge: str, phase: Phase, at: int) -> None:
        begun, quantity = self._begun[charge]
        self._add(charge, phase, at, quantity, begun)

    def _charge(self, charge: str, phase: Phase, at: int) -> None:
        quantity = phase.quantity(charge)
        self._begun[charge] = at, quantity
        self._add(charge, phase, at, quantity, None)

    def _add(self, charge: str, phase: Phase, at: int, shown: Number, takes_back: int | None) -> None:
        """A line by the fee in force in a phase; a credit shows the quantity of the line that it takes back."""
        period, end = self._period, self._period.full.end
        terms = phase.plan.advance[charge]
        fraction = fraction_of(terms.charge, at, end, period.full, self._zone)
        fee, advance = terms.fee(phase.quantity(charge)), takes_back is None
        self.fees.append(Fee(charge, "proration", shown, fee, fraction, at, end, period.start, advance, takes_back))


def _unchanged(before: FeeTerms, now: FeeTerms, old: Number, new: Number) -> bool:
    """Whether fee, `bill` and `prorate` stay the same: such a charge has no lines at a change (spec 7.3)."""
    one, other = before.charge, now.charge
    return one.bill == other.bill and one.prorate == other.prorate and before.fee(old) == now.fee(new)
