"""Customers: who is billed, in which currency and time zone (spec 6.2, 8.5)."""

import msgspec

from schemas.numbers import Number


class Tax(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exclusive tax, in percent of the taxable sum (spec 8.5)."""

    name: str
    rate: Number


class Customer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A customer as the catalog and the API write it; its key is the `subject` of its events."""

    currency: str
    timezone: str = "UTC"
    taxes: tuple[Tax, ...] = ()
    consolidate: bool = False
    name: str | None = None
