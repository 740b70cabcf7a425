"""The charges of a plan's version ready for use: prices compiled once, fees kept by quantity (spec 4, 5)."""

from fractions import Fraction

from rating.fixed import column
from rating.price import CompiledPrice, compile_price, rate, table_for
from schemas.numbers import Number
from schemas.plan import RecurringCharge, UsageCharge
from schemas.price import ByValue, PriceTable


class UsageTerms:
    """A usage charge: `where` and `by` as usage is asked for (`by_value`'s dimension last), its prices compiled."""

    __slots__ = ("_compiled", "by", "charge", "value", "where")

    def __init__(self, charge: UsageCharge) -> None:
        self.charge = charge
        self.where = tuple(charge.where.items())
        self.value = charge.price.dimension if isinstance(charge.price, ByValue) else None
        self.by = charge.by if self.value is None or self.value in charge.by else (*charge.by, self.value)
        self._compiled: dict[str, CompiledPrice | None] = {}

    def price(self, combination: tuple[str, ...]) -> CompiledPrice | None:
        """The price of a combination of the dimensions in `by`; None: unpriced (spec 5.2)."""
        value = "" if self.value is None else combination[self.by.index(self.value)]
        if value not in self._compiled:
            table = table_for(self.charge.price, value)
            self._compiled[value] = None if table is None else self._same_table(table)
        return self._compiled[value]

    def same(self, other: "UsageTerms | None") -> bool:
        """Whether both are the very same charge, so that its segment goes on (spec 7.1)."""
        return other is not None and (self is other or self.charge == other.charge)

    def _same_table(self, table: PriceTable) -> CompiledPrice:
        """Values with one table share one compiled price: their rows are rated in one call."""
        for known in self._compiled.values():
            if known is not None and known.table is table:
                return known
        return compile_price(table)


class FeeTerms:
    """A recurring charge and the fees of its quantities."""

    __slots__ = ("_fees", "charge", "compiled")

    def __init__(self, charge: RecurringCharge) -> None:
        self.charge = charge
        self.compiled = compile_price(charge.recurring)
        self._fees: dict[Number, Fraction] = {}

    def fee(self, quantity: Number) -> Fraction:
        """The exact price of a full period for a quantity of the item (spec 4.2)."""
        found = self._fees.get(quantity)
        if found is None:
            found = self._fees[quantity] = rate(self.compiled, column([quantity])).fractions()[0]
        return found
