"""A line as its arithmetic: what was counted, at which price, and how it comes to the amount.

`included 100 of 1,600; 1,000 x 0.02 + 500 x 0.01 + 1.00 flat = 26.00`: what stands before the last `=` evaluates to
what stands behind it, in exact numbers. A number that does not terminate is written as a fraction (`310/31`). Where
the exact amount has more digits than its currency, `rounded` says what the line carries:
`39 x 0.125 = 4.875, rounded 4.88`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rating.clamps import Clamp
from rating.fixed import decimal_places
from rating.models.step import Step
from rating.money import decimals_of, minor_of, money_text, rounded_text
from rating.price import WHOLE, CompiledPrice, steps
from schemas.numbers import Number
from schemas.price import Package, Percentage

_PLACES_SHOWN_MAX = 40


@dataclass(frozen=True, slots=True)
class Explanation:
    """A line's arithmetic: `text` for people; `amount` is exact, the sum of the steps' amounts times the factors."""

    text: str
    steps: tuple[Step, ...]
    factors: tuple[Fraction, ...]
    amount: Fraction


def explain(
    price: CompiledPrice,
    quantity: Fraction,
    currency: str,
    *,
    fraction: Fraction = WHOLE,
    factors: Sequence[Fraction] = (),
) -> Explanation:
    """The arithmetic of a priced line in exact numbers.

    `fraction` scales `included`, bounds and flats of a `prorated` usage charge (spec 5.3). `factors` multiply the
    whole: the share of the period that a fee is for, -1 for a credit, what discounts left of it (spec 7.2, 7.3).
    """
    found = tuple(steps(price, quantity, fraction))
    amount = sum((step.amount for step in found), Fraction(0))
    shown = [_units(step, currency, price) for step in found if step.units]
    shown += [f"{_unit(step.flat, currency)} flat" for step in found if step.flat]
    shown = shown or [f"0 x {_unit(found[0].unit, currency)}"]
    formula = " + ".join(shown)
    if factors:
        formula = f"({formula})" if len(shown) > 1 else formula
        formula += "".join(f" x {_number(factor)}" for factor in factors)
        for factor in factors:
            amount *= factor
    text = f"{_before(price, quantity, fraction)}{formula} = {_result(amount, currency)}"
    return Explanation(text, found, tuple(factors), amount)


def explain_clamp(kind: Clamp, bound: int, total: int, currency: str) -> str:
    """The arithmetic of a minimum or maximum line: the rounded bound less the segment's lines, in minor units."""
    less = f"- {money_text(total, currency)}" if total >= 0 else f"+ {money_text(-total, currency)}"
    return f"{kind} {money_text(bound, currency)} {less} = {money_text(bound - total, currency)}"


def explain_percent(percent: Number, base: int, currency: str, *, sign: int = 1) -> str:
    """The arithmetic of a discount (`sign` -1) or a tax: a percentage of a sum of minor units."""
    amount = Fraction(percent) * base * sign / (100 * 10 ** decimals_of(currency))
    minus = "-" if sign < 0 else ""
    return f"{minus}{money_text(base, currency)} x {_number(Fraction(percent))} / 100 = {_result(amount, currency)}"


def _before(price: CompiledPrice, quantity: Fraction, fraction: Fraction) -> str:
    """What happens to the quantity before it meets a price."""
    parts = []
    free = Fraction(price.table.included) * fraction
    if quantity < 0:
        parts.append(f"{_number(quantity)} is billed as 0; ")
    elif free:
        parts.append(f"included {_number(min(free, quantity))} of {_number(quantity)}; ")
    if isinstance(price.table, Package):
        charged = max(quantity - free, Fraction(0))
        parts.append(f"{_number(charged)} in packages of {_number(Fraction(price.table.size))}: ")
    return "".join(parts)


def _units(step: Step, currency: str, price: CompiledPrice) -> str:
    """The units of one tier at their price."""
    unit = _number(step.unit) if isinstance(price.table, Percentage) else _unit(step.unit, currency)
    return f"{_number(step.units)} x {unit}" + (f" / {_number(step.per)}" if step.per != 1 else "")


def _number(value: Fraction) -> str:
    """An exact number with commas between thousands; a fraction where it does not terminate."""
    places = decimal_places(value.denominator)
    if 10**places % value.denominator or places > _PLACES_SHOWN_MAX:
        return f"{value.numerator}/{value.denominator}"
    whole, point, rest = rounded_text(value, places).partition(".")
    return f"{whole}{point}{rest}" if whole == "-0" else f"{int(whole):,}{point}{rest}"


def _unit(value: Fraction, currency: str) -> str:
    """A price: exact, with at least the currency's decimals."""
    text = _number(value)
    wanted = decimals_of(currency)
    if "/" in text or not wanted:
        return text
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.ljust(wanted, '0')}"


def _result(amount: Fraction, currency: str) -> str:
    """The exact amount, and what it is rounded to where that differs."""
    minor = minor_of(amount, currency)
    text = _unit(amount, currency)
    same = amount == Fraction(minor, 10 ** decimals_of(currency))
    return text if same else f"{text}, rounded {_unit(Fraction(minor, 10 ** decimals_of(currency)), currency)}"
