"""Acts: what is done to a customer's account, in the order of time (spec 10, `timeline`).

The list of a customer's acts is the truth about its subscriptions, credits, coupons and one-off charges;
all else is derived from it.
"""

from typing import Literal

import msgspec

from schemas.instants import Instant
from schemas.numbers import Number

ONE = Number(1)
ZERO = Number(0)
When = Literal["now", "at_period_end"]


class _Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, tag_field="act"):
    """Common to all acts."""


class Subscribe(_Act, frozen=True, tag="subscribe"):
    """A subscription begins: now, or at `start` if it is back-dated. `plan` may name a version (`pro@2`)."""

    id: str
    customer: str
    plan: str
    quantities: dict[str, Number] = {}
    start: Instant | None = None
    events: Literal["all", "named"] = "all"


class Change(_Act, frozen=True, tag="change"):
    """Another plan, other quantities, or both; `quantities` replaces the named ones only (spec 7.1)."""

    subscription: str
    plan: str | None = None
    quantities: dict[str, Number] = {}
    when: When = "now"


class Cancel(_Act, frozen=True, tag="cancel"):
    """The subscription ends (spec 7.6)."""

    subscription: str
    when: When = "now"


class Grant(_Act, frozen=True, tag="grant"):
    """Credits given to a customer (spec 8.6)."""

    customer: str
    id: str
    amount: Number
    currency: str | None = None
    priority: int = 0
    expires: Instant | None = None


class Coupon(_Act, frozen=True, tag="coupon"):
    """A discount given to a customer: `percent` or `amount`; `periods` None: for ever (spec 8.3)."""

    customer: str
    id: str
    percent: Number | None = None
    amount: Number | None = None
    charges: tuple[str, ...] | None = None
    periods: int | None = None


class OneOff(_Act, frozen=True, tag="one_off"):
    """A charge made once, of a subscription or of a customer; negative for a goodwill credit (spec 8.11)."""

    id: str
    amount: Number
    quantity: Number = ONE
    subscription: str | None = None
    customer: str | None = None


Act = Subscribe | Change | Cancel | Grant | Coupon | OneOff


class Entry(msgspec.Struct, frozen=True):
    """One act and the instant at which it was done."""

    at: Instant
    act: Act
