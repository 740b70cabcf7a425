"""Late usage as a difference (spec 8.9): what a final period comes to now, less what was billed for it.

Rated afresh from the first unit, so late units pay the tier that they reach: 90 billed at 1.00, then 20 late ones where
100 cost 1.00 and the rest 0.50, come to 100 + 5 - 90 = 15.00. And to nothing where nothing changed: the same function
gives the same amount.
"""

from collections.abc import Iterable
from fractions import Fraction

from rating.billed import Billed, InvoiceLine, LineKey
from rating.line import LineHead
from rating.segments import ChargeSegment


def corrections(lines: Iterable[InvoiceLine], segment: ChargeSegment, billed: Billed) -> list[InvoiceLine]:
    """The adjustments of a final segment whose lines would be `lines` now: new - billed, where the amount differs."""
    now = {line.usage_key: line for line in lines}
    before = billed.usage_of(segment.subscription.id, segment.charge, segment.start)
    found = []
    for key in dict.fromkeys([*(key for key in now if key is not None), *before]):
        new = now.get(key)
        quantity, amount = before.get(key, (Fraction(0), 0))
        difference = (0 if new is None else new.amount) - amount
        if difference:
            after = Fraction(0) if new is None else new.head.quantity or Fraction(0)
            found.append(_correction(key, segment, after - quantity, difference, new is not None and new.head.unpriced))
    return found


def _correction(
    key: LineKey, segment: ChargeSegment, quantity: Fraction, amount: int, unpriced: bool
) -> InvoiceLine:  # fmt: skip
    *_, dimensions, corrects = key
    head = LineHead(
        subscription=segment.subscription.id,
        charge=segment.charge,
        kind="adjustment",
        quantity=quantity if corrects == "usage" else None,
        dimensions=dimensions,
        start=segment.start,
        end=segment.end,
        unpriced=unpriced,
    )
    return InvoiceLine(head, amount, corrects=corrects)
