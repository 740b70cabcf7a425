"""Plans (spec 4): what a subscription is charged, and how often."""

from typing import Literal

import msgspec

from schemas.numbers import Number
from schemas.price import Price, PriceTable


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The length of a billing period (spec 6.3): `{every: 2, unit: week}`; written `month` for one month."""

    unit: Literal["day", "week", "month", "quarter", "half_year", "year"]
    every: int = 1


class RecurringCharge(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="kind",
    tag="recurring",
):
    """A fee for a full period and the quantity of the subscription's item (spec 4.2)."""

    recurring: PriceTable
    bill: Literal["advance", "arrears"] = "advance"
    prorate: Literal["second", "day", "none"] = "second"


class UsageCharge(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="kind",
    tag="usage",
):
    """Usage of a meter at a price, billed in arrears (spec 4.3, 5.3)."""

    meter: str
    price: Price
    where: dict[str, tuple[str, ...]] = {}
    by: tuple[str, ...] = ()
    minimum: Number | None = None
    maximum: Number | None = None
    prorated: bool = False


Charge = RecurringCharge | UsageCharge


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A price list with a period. Charges keep the order in which they are written: invoices list them so.

    `kind` of a charge is not written in documents: a charge with `recurring` is recurring, one with `meter` is usage.
    """

    currency: str
    period: Period
    charges: dict[str, Charge]
    align: Literal["anniversary", "calendar"] = "anniversary"
    anchor_day: int | None = None
    trial_days: int = 0
    minimum: Number | None = None
