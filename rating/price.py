"""Prices (spec 5): a table compiled once to integers, then n quantities in one call, always exact.

`rate` is the only computation of an amount: balance, preview, invoice, simulation and rebuild all call it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rating.fixed import Amounts, Column, Ints, integer_and_places, plus, product, times
from rating.models.graduated import graduated_pieces, graduated_steps
from rating.models.package import Packages, package_steps
from rating.models.per_unit import per_unit_pieces, per_unit_steps
from rating.models.percentage import HUNDRED, percentage_steps
from rating.models.pieces import Pieces
from rating.models.stairstep import stairstep_pieces, stairstep_steps
from rating.models.step import Rung, Step, holding
from rating.models.volume import volume_pieces, volume_steps
from schemas.numbers import Number
from schemas.price import ByValue, Graduated, Package, Percentage, PerUnit, Price, PriceTable, Stairstep, Volume

WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """A price table as integers.

    `included`, `up_to` (all tiers but the last) and `size` are at `scale` decimal places, `unit`, `flat` and `amount`
    at `price_scale`. An amount is an integer / (10**(scale + price_scale) x per): `unit` and `flat` are brought to
    that, so that `per` and percent are divisors of the result and nothing is divided before it is rounded.
    """

    table: PriceTable
    scale: int
    price_scale: int
    per: int
    included: int
    up_to: tuple[int, ...]
    unit: tuple[int, ...]
    flat: tuple[int, ...]

    def rule(self, scale: int) -> Pieces | Packages:
        """The table for quantities at `scale` (>= this table's) decimal places."""
        up = 10 ** (scale - self.scale)
        bounds = [bound * up for bound in self.up_to]
        flats = [flat * 10**scale for flat in self.flat]
        match self.table:
            case Graduated():
                return graduated_pieces(bounds, self.unit, flats)
            case Volume():
                return volume_pieces(bounds, self.unit, flats)
            case Stairstep():
                return stairstep_pieces(bounds, flats)
            case Package():
                return Packages(bounds[0], self.flat[0])
            case PerUnit() | Percentage():
                return per_unit_pieces(self.unit[0])

    def rungs(self, fraction: Fraction = WHOLE) -> tuple[Rung, ...]:
        """The tiers of a tiered table in exact numbers, bounds and flats times `fraction` (spec 5.3 `prorated`)."""
        match self.table:
            case Graduated(tiers=tiers) | Volume(tiers=tiers) | Stairstep(tiers=tiers):
                return tuple(
                    Rung(
                        None if tier.up_to is None else Fraction(tier.up_to) * fraction,
                        Fraction(tier.unit),
                        Fraction(tier.flat) * fraction,
                    )
                    for tier in tiers
                )
        return ()


def compile_price(table: PriceTable) -> CompiledPrice:
    """Bring a price table to integers; `ValueError` names a table that spec 5 does not allow."""
    amounts: list[Number] = []
    bounds: list[Number] = []
    units: list[Number] = []
    per: Number | int = 1
    match table:
        case PerUnit(unit=unit, per=per):
            units = [unit]
        case Percentage(rate=rate):
            units, per = [rate], HUNDRED
        case Package(size=size, amount=amount):
            if size <= 0:
                raise ValueError(f"a package of {size} units: size must be above 0")
            bounds, amounts = [size], [amount]
        case Graduated(tiers=tiers, per=per) | Volume(tiers=tiers, per=per):
            bounds = _bounds([tier.up_to for tier in tiers])
            units, amounts = [tier.unit for tier in tiers], [tier.flat for tier in tiers]
        case Stairstep(tiers=tiers):
            bounds, amounts = _bounds([tier.up_to for tier in tiers]), [tier.flat for tier in tiers]
    if per <= 0:
        raise ValueError(f"a price per {per} units: per must be above 0")
    if table.included < 0:
        raise ValueError(f"{table.included} units included: included must not be below 0")
    scale = max(integer_and_places(number)[1] for number in [table.included, *bounds])
    price_scale = max((integer_and_places(number)[1] for number in [*units, *amounts]), default=0)
    below, above = Fraction(per).as_integer_ratio()
    return CompiledPrice(
        table,
        scale,
        price_scale,
        below,
        _at(table.included, scale),
        tuple(_at(bound, scale) for bound in bounds),
        tuple(_at(unit, price_scale) * above for unit in units),
        tuple(_at(amount, price_scale) * below for amount in amounts),
    )


def _bounds(up_to: Sequence[Number | None]) -> list[Number]:
    """The bounds of all tiers but the last; `ValueError` where they do not rise strictly to an open end."""
    if not up_to or up_to[-1] is not None:
        raise ValueError("the last tier must have up_to: null, so that every quantity has a price")
    bounds: list[Number] = []
    for bound in up_to[:-1]:
        if bound is None:
            raise ValueError("only the last tier may have up_to: null")
        if bound < 0 or (bounds and bound <= bounds[-1]):
            raise ValueError(f"up_to {bound} must not be below 0 and must be above the tier before it")
        bounds.append(bound)
    return bounds


def _at(number: Number, scale: int) -> int:
    """A number as an integer at `scale` (>= its own) decimal places."""
    whole, places = integer_and_places(number)
    return whole * int(10 ** (scale - places))


def table_for(price: Price, value: str) -> PriceTable | None:
    """The table that prices usage whose `by_value` dimension has this value; None: unpriced (spec 5.2)."""
    if isinstance(price, ByValue):
        return price.cases.get(value, price.otherwise)
    return price


def rate(price: CompiledPrice, quantities: Column | Amounts, fraction: Amounts | None = None) -> Amounts:
    """The exact amounts of n quantities of one table (spec 5), before `minimum` and `maximum`.

    A negative quantity is billed as 0; `included` is taken off first. `fraction` (> 0, one a row) scales `included`,
    bounds and flats of a charge with `prorated: true` (spec 5.3). One row is n = 1 of the same call.
    """
    given = Amounts.of(quantities)
    scale = max(given.scale, price.scale)
    values = times(given.values, 10 ** (scale - given.scale))
    divisor: Ints | int = given.divisor
    one: Ints | int = given.divisor
    if fraction is not None:
        below = product(fraction.divisor, 10**fraction.scale)
        one = product(fraction.values, divisor)
        divisor = product(divisor, below)
        values = times(values, below)
    charged = _charged(values, price.included * 10 ** (scale - price.scale), one)
    rule = price.rule(scale)
    if isinstance(rule, Packages):  # the size of a package does not shrink with the period
        return Amounts(rule.amounts(charged, divisor), price.price_scale, price.per)
    return Amounts(rule.amounts(charged, one), scale + price.price_scale, product(divisor, price.per))


def _charged(values: Ints, included: int, one: Ints | int) -> Ints:
    """max(q - included, 0): the units that cost something."""
    if included:
        values = plus(values, -included * one if isinstance(one, int) else times(one, -included))
    return np.maximum(values, 0)


def steps(price: CompiledPrice, quantity: Fraction, fraction: Fraction = WHOLE) -> list[Step]:
    """What `rate` computes for one row, tier by tier in exact numbers; the steps' amounts add up to the amount."""
    charged = max(quantity - Fraction(price.table.included) * fraction, Fraction(0))
    rungs = price.rungs(fraction)
    match price.table:
        case PerUnit(unit=unit, per=per):
            return per_unit_steps(charged, Fraction(unit), Fraction(per))
        case Percentage(rate=percent):
            return percentage_steps(charged, Fraction(percent))
        case Package(size=size, amount=amount):
            return package_steps(charged, Fraction(size), Fraction(amount))
        case Graduated(per=per):
            return graduated_steps(charged, rungs, Fraction(per))
        case Volume(per=per):
            return volume_steps(charged, rungs, Fraction(per))
        case Stairstep():
            return stairstep_steps(charged, rungs)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a quantity stands in its table (spec 9): the unit price now in force (None: the model has none) and the
    `up_to` of the tier that holds the quantity (None: no end)."""

    unit: Fraction | None
    next_bound: Fraction | None


def standing(price: CompiledPrice, quantity: Fraction, fraction: Fraction = WHOLE) -> Standing:
    """The unit price and the bound of the tier that holds what is charged of a quantity (spec 9)."""
    match price.table:
        case PerUnit(unit=unit, per=per):
            return Standing(Fraction(unit) / Fraction(per), None)
        case Percentage(rate=percent):
            return Standing(Fraction(percent) / HUNDRED, None)
        case Package():
            return Standing(None, None)
    charged = max(quantity - Fraction(price.table.included) * fraction, Fraction(0))
    rungs = price.rungs(fraction)
    rung = rungs[holding(charged, rungs)]
    if isinstance(price.table, Stairstep):
        return Standing(None, rung.up_to)
    return Standing(rung.unit / Fraction(price.table.per), rung.up_to)
