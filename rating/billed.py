"""Invoices as values, and what earlier invoices of a customer have billed, used up and left (spec 8)."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import msgspec

from rating.line import LineHead, MadeLine, shown
from rating.money import money_text
from rating.period import Span
from schemas.instants import Instant
from schemas.invoice import Invoice as ShownInvoice
from schemas.invoice import Line as ShownLine
from schemas.invoice import Span as ShownSpan

Corrected = Literal["usage", "minimum", "maximum"]
"""What an adjustment corrects: the line of usage itself, or that of the charge's minimum or maximum (8.9)."""

LineKey = tuple[str, str, int, tuple[tuple[str, str], ...], Corrected]
"""A billed amount of usage: subscription, charge, start of its segment in its period, dimensions, what it is."""


class InvoiceLine(msgspec.Struct, frozen=True, gc=False):
    """One line of an invoice: its head, its amount and its share of the discounts (<= 0) in minor units.

    `period` is the start of the billing period whose plan minimum it counts for (8.4), None if for none. `corrects`
    says what an adjustment corrects. `advance`: it charges an advance fee, which a later change may take back; a
    credit of one that stands on an earlier invoice names its start in `takes_back`: it is net of discounts (7.3, 8.3).
    """

    head: LineHead
    amount: int
    discount: int = 0
    period: int | None = None
    corrects: Corrected | None = None
    advance: bool = False
    takes_back: int | None = None

    @property
    def usage_key(self) -> LineKey | None:
        """The billed amount that it belongs to, if it is of a usage charge."""
        head = self.head
        kind = self.corrects or head.kind
        if head.charge is None or head.subscription is None or kind not in ("usage", "minimum", "maximum"):
            return None
        return head.subscription, head.charge, head.start, head.dimensions, kind


class Invoice(msgspec.Struct, frozen=True, gc=False):
    """An invoice, all money in minor units of its currency.

    `subscription` is the first one by id that has lines on it, None for a one-off charge of the customer itself.
    `coupons` are the keys of the coupons that it counts as a use of, `grants` the keys of the grants that it used,
    each with how much. Whether it is a draft or final, and its number, is its keeper's matter.
    """

    key: str
    customer: str
    currency: str
    issued: int
    period: Span
    subscription: str | None
    lines: tuple[InvoiceLine, ...]
    subtotal: int
    tax: int
    credits: int
    coupons: tuple[str, ...] = ()
    grants: tuple[tuple[str, int], ...] = ()

    @property
    def order(self) -> tuple[int, bool, str]:
        """Its place among invoices: by instant, then subscription id; one-offs of a customer first (8.11, 10)."""
        return self.issued, self.subscription is not None, self.subscription or ""

    @property
    def total(self) -> int:
        """Subtotal and tax."""
        return self.subtotal + self.tax

    @property
    def due(self) -> int:
        """What is to be paid; a negative total is not paid out (8.7)."""
        return max(self.total - self.credits, 0)

    @property
    def given(self) -> int:
        """What it gives the customer as a new grant: its negative total (8.7)."""
        return max(-self.total, 0)


class Net(msgspec.Struct, frozen=True):
    """The grant that an invoice with a negative total has become (8.7); `amount` in minor units."""

    key: str
    at: int
    currency: str
    amount: int


class Billed:
    """What earlier invoices of one customer amount to: all that a new one must know of them.

    `fees`: lines of advance fees by (subscription, charge, start), each with its invoice's instant. `periods`: what the
    lines of a billing period come to less their discounts, by (subscription, start of the period), as the plan minimum
    counts them. `uses`: how many invoices counted as a use of a coupon. `spent`: minor units used of a grant. `nets`:
    grants made of negative totals, in order.
    """

    __slots__ = ("_usage", "fees", "nets", "periods", "spent", "uses")

    def __init__(self, invoices: Iterable[Invoice] = ()) -> None:
        self.fees: dict[tuple[str | None, str | None, int], tuple[InvoiceLine, int]] = {}
        self.periods: dict[tuple[str | None, int], int] = {}
        self._usage: dict[tuple[str, str, int], dict[LineKey, tuple[Fraction, int]]] = {}
        self.uses: dict[str, int] = {}
        self.spent: dict[str, int] = {}
        self.nets: list[Net] = []
        for invoice in invoices:
            self.add(invoice)

    def usage_of(self, subscription: str, charge: str, start: int) -> dict[LineKey, tuple[Fraction, int]]:
        """The billed quantity and amount of every line of a usage segment in its billing period."""
        return self._usage.get((subscription, charge, start), {})

    def add(self, invoice: Invoice) -> None:
        """One more invoice, in the order of `Issue.order`."""
        for line in invoice.lines:
            head = line.head
            if line.advance:
                self.fees[head.subscription, head.charge, head.start] = line, invoice.issued
            if line.period is not None:
                place = (head.subscription, line.period)
                self.periods[place] = self.periods.get(place, 0) + line.amount + line.discount
            key = line.usage_key
            if key is not None:
                segment = self._usage.setdefault(key[:3], {})
                quantity, amount = segment.get(key, (Fraction(0), 0))
                segment[key] = (quantity + (head.quantity or 0), amount + line.amount)
        for coupon in invoice.coupons:
            self.uses[coupon] = self.uses.get(coupon, 0) + 1
        for grant, amount in invoice.grants:
            self.spent[grant] = self.spent.get(grant, 0) + amount
        if invoice.given:
            self.nets.append(Net(f"net {invoice.key}", invoice.issued, invoice.currency, invoice.given))


def show_invoice(invoice: Invoice, number: int | None) -> ShownInvoice:
    """An invoice as everybody reads it (spec 10); without a number it is a draft."""
    currency = invoice.currency
    return ShownInvoice(
        subscription=invoice.subscription,
        customer=invoice.customer,
        currency=currency,
        status="draft" if number is None else "final",
        number=number,
        issued=Instant(invoice.issued),
        period=ShownSpan(Instant(invoice.period.start), Instant(invoice.period.end)),
        lines=tuple(show_line(line, currency) for line in invoice.lines),
        subtotal=money_text(invoice.subtotal, currency),
        tax=money_text(invoice.tax, currency),
        credits=money_text(invoice.credits, currency),
        total=money_text(invoice.total, currency),
        due=money_text(invoice.due, currency),
    )


def show_line(line: InvoiceLine, currency: str) -> ShownLine:
    """A line as everybody reads it (spec 10)."""
    return shown(MadeLine(line.head, line.amount), currency)
