"""Price tables (section 5) and what they make of a quantity, exactly."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from oracle.numbers import number


@dataclass(frozen=True)
class Tier:
    """Holds quantities up to and including `up_to` (None: all the rest)."""

    up_to: Fraction | None
    unit: Fraction
    flat: Fraction


@dataclass(frozen=True)
class Price:
    """One price table; fields that its model does not have keep their neutral values."""

    model: str
    included: Fraction = Fraction(0)
    unit: Fraction = Fraction(0)
    per: Fraction = Fraction(1)
    tiers: tuple[Tier, ...] = ()
    size: Fraction = Fraction(1)
    package: Fraction = Fraction(0)
    rate: Fraction = Fraction(0)


@dataclass(frozen=True)
class ByValue:
    """A table for each value of one dimension (5.2)."""

    dimension: str
    cases: tuple[tuple[str, Price], ...]
    otherwise: Price | None

    def of(self, value: str) -> Price | None:
        """The table of a value; None: it has no price."""
        return dict(self.cases).get(value, self.otherwise)


def parse_price(tree: dict[str, Any]) -> Price:
    """A price table of a document."""
    tiers = tuple(
        Tier(
            None if tier.get("up_to") is None else number(tier["up_to"]),
            number(tier.get("unit") or "0"),
            number(tier.get("flat") or "0"),
        )
        for tier in tree.get("tiers", ())
    )
    return Price(
        model=tree["model"],
        included=number(tree.get("included") or "0"),
        unit=number(tree.get("unit") or "0"),
        per=number(tree.get("per") or "1"),
        tiers=tiers,
        size=number(tree.get("size") or "1"),
        package=number(tree.get("amount") or "0"),
        rate=number(tree.get("rate") or "0"),
    )


def parse_any_price(tree: dict[str, Any]) -> Price | ByValue:
    """A price table, or one per value of a dimension."""
    if "by_value" not in tree:
        return parse_price(tree)
    by = tree["by_value"]
    cases = tuple(sorted((key, parse_price(case)) for key, case in by["cases"].items()))
    otherwise = by.get("otherwise")
    return ByValue(by["dimension"], cases, None if otherwise is None else parse_price(otherwise))


def scaled(price: Price, fraction: Fraction) -> Price:
    """The table of a charge with `prorated: true` (5.3): free units, bounds and flats shrink."""
    tiers = tuple(
        Tier(None if tier.up_to is None else tier.up_to * fraction, tier.unit, tier.flat * fraction)
        for tier in price.tiers
    )
    return Price(
        price.model,
        price.included * fraction,
        price.unit,
        price.per,
        tiers,
        price.size,
        price.package,
        price.rate,
    )


def tier_of(price: Price, q: Fraction) -> Tier:
    """The tier that holds q: the first whose bound is not below it (5.1)."""
    return next(tier for tier in price.tiers if tier.up_to is None or q <= tier.up_to)


def _graduated(price: Price, q: Fraction) -> Fraction:
    total, below = Fraction(0), None
    for tier in price.tiers:
        if below is not None and q <= below:
            break
        top = q if tier.up_to is None else min(q, tier.up_to)
        total += (top - (below or 0)) * tier.unit / price.per + tier.flat
        below = tier.up_to
    return total


def amount(price: Price, q: Fraction) -> Fraction:
    """The exact amount of quantity q; a negative one is billed as 0, `included` comes off first."""
    q = max(q - price.included, Fraction(0)) if q > 0 else Fraction(0)
    if price.model == "per_unit":
        return q * price.unit / price.per
    if price.model == "graduated":
        return _graduated(price, q)
    if price.model == "volume":
        tier = tier_of(price, q)
        return q * tier.unit / price.per + tier.flat
    if price.model == "stairstep":
        return tier_of(price, q).flat
    if price.model == "package":
        return -(-q // price.size) * price.package
    if price.model == "percentage":
        return q * price.rate / 100
    raise ValueError(f"unknown price model {price.model!r}")
