"""Price tables (spec 5): what a quantity costs. Each struct is one model; `rating/models` has a function for each."""

import msgspec

from schemas.numbers import Number

ZERO = Number(0)
ONE = Number(1)


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Units above the tier before it, up to and including `up_to` (None: no end); missing prices are 0 (spec 5.1)."""

    up_to: Number | None
    unit: Number = ZERO
    flat: Number = ZERO


class Model(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="model",
):
    """What all models share: units that are free of charge per period, taken off first (spec 5)."""

    included: Number = ZERO


class PerUnit(Model, frozen=True, tag="per_unit"):
    """q x unit / per."""

    unit: Number
    per: Number = ONE


class Graduated(Model, frozen=True, tag="graduated"):
    """Each unit at the price of the tier that it lies in, plus the flat of each tier reached."""

    tiers: tuple[Tier, ...]
    per: Number = ONE


class Volume(Model, frozen=True, tag="volume"):
    """All units at the price of the tier that holds the whole quantity, plus its flat."""

    tiers: tuple[Tier, ...]
    per: Number = ONE


class Stairstep(Model, frozen=True, tag="stairstep"):
    """The flat of the tier that holds the quantity; its tiers have no unit price."""

    tiers: tuple[Tier, ...]


class Package(Model, frozen=True, tag="package"):
    """Whole packages of `size` units, begun ones count."""

    size: Number
    amount: Number


class Percentage(Model, frozen=True, tag="percentage"):
    """q x rate / 100: a share of an amount that is metered."""

    rate: Number


PriceTable = PerUnit | Graduated | Volume | Stairstep | Package | Percentage
"""A price of one quantity, without `by_value`."""


class ByValue(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="model",
    tag="by_value",
):
    """Each value of one dimension has a table of its own; `otherwise` prices the rest (spec 5.2).

    Written `{by_value: {dimension, cases, otherwise}}` in documents.
    """

    dimension: str
    cases: dict[str, PriceTable]
    otherwise: PriceTable | None = None


Price = PriceTable | ByValue
