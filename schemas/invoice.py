"""Invoices, their lines and balances as everybody reads them (spec 8, 9, 10); money is text."""

from typing import Literal

import msgspec

from schemas.instants import Instant

LineKind = Literal["usage", "recurring", "proration", "one_off", "minimum", "maximum", "discount", "tax", "adjustment"]


class Span(msgspec.Struct, frozen=True):
    """Half-open: start <= t < end (spec 6.1)."""

    start: Instant
    end: Instant


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line: `amount` in the currency's decimals, `quantity` exact; what is null for which kind: spec 10."""

    charge: str | None
    kind: LineKind
    quantity: str | None
    amount: str
    dimensions: dict[str, str]
    period: Span
    note: str | None = None
    unpriced: bool = False


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as the result of spec 10 shows it."""

    subscription: str | None
    customer: str
    currency: str
    status: Literal["draft", "final", "void"]
    number: int | None
    issued: Instant
    period: Span
    lines: tuple[Line, ...]
    subtotal: str
    tax: str
    credits: str
    total: str
    due: str


class BalanceCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A usage charge of the open period of a live subscription, one per segment and combination (spec 9)."""

    subscription: str
    charge: str
    quantity: str
    amount: str
    dimensions: dict[str, str]
    period: Span
    price: str | None = None
    next_bound: str | None = None


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed and what is left in one currency: exact decimals, `due` in the currency's decimals.

    `charges` are those of subscriptions in this currency.
    """

    currency: str
    accrued: str
    credits: str
    available: str
    due: str
    charges: tuple[BalanceCharge, ...] = ()


class Balance(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A customer's balance (spec 9); `other` lists the currencies beside the customer's own."""

    currency: str
    accrued: str
    credits: str
    available: str
    due: str
    charges: tuple[BalanceCharge, ...]
    other: tuple[Money, ...] = ()
    as_of: Instant | None = None
