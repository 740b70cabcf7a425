"""Totals: which ones a bucket of usage belongs to, and what they come to (pure; spec 4.3, 5)."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from metering.usage.pieces import EXACT, Piece
from rating.fixed import Amounts, column
from rating.price import CompiledPrice, rate
from rating.segments import ChargeSegment
from schemas.price import PriceTable


class Key(NamedTuple):
    """Names a total: `start` of its segment in microseconds, `combination` the texts of the charge's dimensions."""

    customer: str
    subscription: str
    charge: str
    start: int
    combination: tuple[str, ...]


class Sum(NamedTuple):
    """What a total has metered: events and their exact quantity."""

    events: int = 0
    quantity: Decimal = Decimal(0)

    def plus(self, events: int, quantity: Decimal) -> "Sum":
        """The total with more usage."""
        return Sum(self.events + events, EXACT.add(self.quantity, quantity))


class Total(NamedTuple):
    """A rated total: the amount is numerator / divisor, exact. `unpriced`: no price fits its value (spec 5.2)."""

    key: Key
    end: int
    sum: Sum
    numerator: Decimal
    divisor: int
    unpriced: bool


def gather(
    customer: str,
    segments: Sequence[ChargeSegment],
    pieces: Iterable[Piece],
    dimensions: Mapping[str, Sequence[str]],
    sums: dict[Key, Sum],
) -> dict[Key, ChargeSegment]:
    """Add pieces to the sums of the totals that they belong to; answers the segment of each total touched.

    `dimensions` has for every meter the names whose values a piece's combination holds.
    """
    touched: dict[Key, ChargeSegment] = {}
    by_meter: dict[str, list[ChargeSegment]] = {}
    for segment in segments:
        by_meter.setdefault(segment.terms.charge.meter, []).append(segment)
    for piece in pieces:
        values = dict(zip(dimensions[piece.meter], piece.combination, strict=True))
        for segment in by_meter.get(piece.meter, ()):
            if segment.start <= piece.start < segment.end and _wants(segment, piece.named, values):
                combination = tuple(values.get(name, "") for name in segment.terms.by)
                key = Key(customer, segment.subscription.id, segment.charge, segment.start, combination)
                sums[key] = sums.get(key, Sum()).plus(piece.events, piece.quantity)
                touched[key] = segment
    return touched


def _wants(segment: ChargeSegment, named: str, values: Mapping[str, str]) -> bool:
    """Whether a segment bills usage with these dimensions, of events that name this subscription (spec 4.3, 4.4)."""
    subscription = segment.subscription
    if named != subscription.id and (named or subscription.named):
        return False
    return all(values.get(name, "") in allowed for name, allowed in segment.terms.where)


def rated(touched: Mapping[Key, ChargeSegment], sums: Mapping[Key, Sum]) -> list[Total]:
    """The totals with their amounts: one call of `rate` per price table, however many totals use it."""
    groups: dict[tuple[PriceTable, bool], tuple[CompiledPrice, list[Key]]] = {}
    totals: list[Total] = []
    for key, segment in touched.items():
        price = segment.terms.price(key.combination)
        if price is None:
            totals.append(Total(key, segment.end, sums[key], Decimal(0), 1, unpriced=True))
        else:
            group = (price.table, segment.terms.charge.prorated)
            groups.setdefault(group, (price, []))[1].append(key)
    for (_, prorated), (price, keys) in groups.items():
        quantities = column([sums[key].quantity for key in keys])
        shares = Amounts.of([touched[key].fraction for key in keys]) if prorated else None
        amounts = rate(price, quantities, shares)
        divisors = np.broadcast_to(np.asarray(amounts.divisor, dtype=object), len(keys)).tolist()
        for key, value, divisor in zip(keys, amounts.values.tolist(), divisors, strict=True):
            numerator = EXACT.scaleb(Decimal(value), -amounts.scale)
            totals.append(Total(key, touched[key].end, sums[key], numerator, divisor, unpriced=False))
    return totals
