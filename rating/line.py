"""Lines: the only place where an amount is rounded to money (spec 1.4).

An amount stays exact until it becomes a line; totals are sums of rounded lines, never rounded sums.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from rating.fixed import Amounts
from rating.money import decimals_of, money_text, quantity_text, round_amounts
from schemas.instants import Instant
from schemas.invoice import Line as ShownLine
from schemas.invoice import LineKind, Span


class LineHead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All of a line but its amount: `start` <= t < `end` in microseconds; `quantity` exact, None where spec 10 says so.

    `segment` is the start of the charge's segment (7.1): with subscription, charge, kind and dimensions it names the
    line for adjustments. `note`: the coupon's id or the tax's name.
    """

    subscription: str | None
    charge: str | None
    kind: LineKind
    quantity: Fraction | None
    dimensions: tuple[tuple[str, str], ...] = ()
    start: int
    end: int
    segment: int | None = None
    note: str | None = None
    unpriced: bool = False


class MadeLine(msgspec.Struct, frozen=True, gc=False):
    """A line: its head and its `amount` in minor units of its currency."""

    head: LineHead
    amount: int


def make_lines(heads: Sequence[LineHead], amounts: Amounts, currency: str) -> list[MadeLine]:
    """Lines of one currency: each amount rounded once, half away from zero, to the minor unit (spec 1.4)."""
    rounded = round_amounts(amounts, decimals_of(currency)).values.tolist()
    return [MadeLine(head, amount) for head, amount in zip(heads, rounded, strict=True)]


def round_money(amounts: Sequence[Fraction], currency: str) -> list[int]:
    """Exact amounts that become lines one by one (fees, minimums, taxes), in minor units, halves away from zero."""
    minor: list[int] = round_amounts(Amounts.of(amounts), decimals_of(currency)).values.tolist()
    return minor


def shown(line: MadeLine, currency: str) -> ShownLine:
    """A line as everybody reads it (spec 10)."""
    head = line.head
    return ShownLine(
        charge=head.charge,
        kind=head.kind,
        quantity=None if head.quantity is None else quantity_text(head.quantity),
        amount=money_text(line.amount, currency),
        dimensions=dict(head.dimensions),
        period=Span(Instant(head.start), Instant(head.end)),
        note=head.note,
        unpriced=head.unpriced,
    )
