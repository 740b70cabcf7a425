"""The lines of an invoice (8.1): what they carry, when they are made, and in what order they stand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from oracle.numbers import money, plain, round_money
from oracle.times import write

if TYPE_CHECKING:
    from oracle.segments import Period

Span = tuple[datetime, datetime]
_CORRECTED = ("usage", "minimum", "maximum")
_RANK = {"usage": 3, "recurring": 3, "proration": 3, "minimum": 4, "maximum": 5}


@dataclass(eq=False)
class Line:
    """One line. `exact` is the amount before, `amount` after the one rounding (1.4)."""

    charge: str | None
    kind: str
    quantity: Fraction | None
    exact: Fraction
    amount: Fraction
    period: Span | None
    dimensions: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    unpriced: bool = False
    corrects: str = "usage"
    """Of an adjustment: the kind of the line that it corrects."""
    of: "Period | None" = None
    """The billing period whose plan minimum this line counts for (8.4)."""
    takes_back: "Line | None" = None
    """Of a proration credit: the line that it takes back (7.3)."""
    share: Fraction = Fraction(0)
    """Its share of the invoice's discounts, 0 or below for a positive line (1.5)."""
    invoice: object = None
    """The invoice on which it stands."""

    @property
    def made(self) -> bool:
        """A line of 0 is made only for usage whose quantity is not 0 (8.1)."""
        return self.amount != 0 or (self.kind == "usage" and self.quantity != 0)

    def settle_credit(self, currency: str) -> None:
        """Makes a credit net of the discounts of the line that it takes back, if that stands on an
        earlier invoice (7.3); a line of the same invoice is not placed yet. To be called once."""
        charged = self.takes_back
        if charged is None or charged.invoice is None or charged.amount == 0:
            return
        self.exact *= (charged.amount + charged.share) / charged.amount
        self.amount = round_money(self.exact, currency)

    def json(self, currency: str) -> dict[str, Any]:
        """The line as section 10 shows it."""
        tree: dict[str, Any] = {
            "charge": self.charge,
            "kind": self.kind,
            "quantity": None if self.quantity is None else plain(self.quantity),
            "amount": money(self.amount, currency),
            "dimensions": dict(self.dimensions),
            "period": None if self.period is None else span(self.period),
        }
        if self.charge is None:
            tree["note"] = self.note
        if self.unpriced:
            tree["unpriced"] = True
        return tree


def span(period: Span) -> dict[str, str]:
    """A span as section 10 shows it."""
    return {"start": write(period[0]), "end": write(period[1])}


def charge_line(
    charge: str, kind: str, quantity: Fraction | None, exact: Fraction, currency: str, period: Span
) -> Line:
    """A line of a charge, rounded here."""
    return Line(charge, kind, quantity, exact, round_money(exact, currency), period)


def in_order(lines: Sequence[Line], charges: Sequence[str]) -> list[Line]:
    """Charge lines in the order of section 10: by charge, by period start, adjustments first, a credit
    before a charge, then the dimensions by text; one-offs come last, as given."""

    def rank(line: Line) -> tuple[object, ...]:
        if line.kind == "one_off":
            return (1,)
        kind = _CORRECTED.index(line.corrects) if line.kind == "adjustment" else _RANK[line.kind]
        start = line.period[0] if line.period else None
        values = tuple(line.dimensions.values())
        credit = line.kind == "proration" and line.amount < 0
        return (0, charges.index(str(line.charge)), start, kind, not credit, values)

    return sorted(lines, key=rank)
