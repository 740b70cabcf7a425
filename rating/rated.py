"""Usage rated by segment: many segments of many accounts in one vectorised call (spec 4.3, 5, 7.1)."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from rating.fixed import Amounts, decimal_places, ints
from rating.line import LineHead, MadeLine, make_lines
from rating.price import CompiledPrice, rate
from rating.segments import ChargeSegment
from rating.usage import Quantity, UsageSource


class RatedUsage(msgspec.Struct, frozen=True, gc=False):
    """One combination of a segment, rated: its line (made or not, see `billing`), and its exact amount as row `place`
    of `amounts`; `price` None: unpriced."""

    line: MadeLine
    price: CompiledPrice | None
    amounts: Amounts
    place: int

    @property
    def quantity(self) -> Fraction:
        """The exact quantity, before `included`."""
        return self.line.head.quantity or Fraction(0)

    @property
    def amount(self) -> Fraction:
        """The exact amount, before it is rounded."""
        below = self.amounts.divisor
        divisor = below if isinstance(below, int) else int(below[self.place])
        return Fraction(int(self.amounts.values[self.place]), 10**self.amounts.scale * divisor)

    @property
    def billing(self) -> bool:
        """Whether an invoice has a line of it: an amount of 0 only for usage that is not 0 (8.1)."""
        return self.line.amount != 0 or self.quantity != 0


def rate_usage(segments: Sequence[ChargeSegment], usage: UsageSource) -> list[list[RatedUsage]]:
    """For each segment its combinations in order of their texts, each rated, in the currency of its subscription.

    Rows of one price table and currency go through one call, whichever account they belong to.
    """
    answers = usage.quantities([segment.request() for segment in segments]) if segments else []
    rated: list[list[RatedUsage]] = [[] for _ in segments]
    tables: dict[tuple[int, str, bool], _Table] = {}
    for place, (segment, combinations) in enumerate(zip(segments, answers, strict=True)):
        terms, currency = segment.terms, segment.subscription.currency
        prorated = terms.charge.prorated
        for combination, quantity in combinations.items():
            price = terms.price(combination)
            key = (id(price), currency, prorated)
            table = tables.get(key)
            if table is None:
                table = tables[key] = _Table(price, currency)
            table.places.append((place, len(rated[place])))
            table.quantities.append(quantity)
            table.heads.append(_head(segment, combination, quantity, price is None))
            if prorated:
                table.fractions.append(segment.fraction)
            rated[place].append(_PENDING)
    for table in tables.values():
        table.rate_into(rated)
    return rated


class _Table:
    """The rows of one price table and currency."""

    __slots__ = ("currency", "fractions", "heads", "places", "price", "quantities")

    def __init__(self, price: CompiledPrice | None, currency: str) -> None:
        self.price = price
        self.currency = currency
        self.places: list[tuple[int, int]] = []
        self.quantities: list[Quantity] = []
        self.heads: list[LineHead] = []
        self.fractions: list[Fraction] = []

    def rate_into(self, rated: list[list[RatedUsage]]) -> None:
        """Rate all rows in one call and put them where they belong."""
        if self.price is None:
            amounts = Amounts(ints([0] * len(self.heads)))
        else:
            fraction = Amounts.of(self.fractions) if self.fractions else None
            amounts = rate(self.price, _column(self.quantities), fraction)
        lines = make_lines(self.heads, amounts, self.currency)
        for row, (line, (place, combination)) in enumerate(zip(lines, self.places, strict=True)):
            rated[place][combination] = RatedUsage(line, self.price, amounts, row)


_PENDING = RatedUsage(
    MadeLine(LineHead(subscription=None, charge=None, kind="usage", quantity=None, start=0, end=0), 0),
    None,
    Amounts(ints([0])),
    0,
)


def _head(segment: ChargeSegment, combination: tuple[str, ...], quantity: Quantity, unpriced: bool) -> LineHead:
    return LineHead(
        subscription=segment.subscription.id,
        charge=segment.charge,
        kind="usage",
        quantity=Fraction(quantity.numerator, quantity.denominator),
        dimensions=tuple(zip(segment.terms.by, combination, strict=True)) if combination else (),
        start=segment.start,
        end=segment.end,
        unpriced=unpriced,
    )


def _column(quantities: Sequence[Quantity]) -> Amounts:
    """Exact quantities as one column; a divisor for each row only where they do not terminate."""
    above = [quantity.numerator for quantity in quantities]
    below = [quantity.denominator for quantity in quantities]
    different = set(below)
    if different == {1}:
        return Amounts(ints(above))
    scale = max(decimal_places(denominator) for denominator in different)
    one = 10**scale
    if all(one % denominator == 0 for denominator in different):
        return Amounts(ints([up * (one // down) for up, down in zip(above, below, strict=True)]), scale)
    return Amounts(ints(above), 0, ints(below))
