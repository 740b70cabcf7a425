"""Money: the currencies' decimals, the one rounding, and the splitting of an amount (spec 1.4, 1.5).

Money that was rounded is a whole number of minor units (cents, yen, fils) in a Python integer; nothing else rounds.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from rating.fixed import (
    INT64_MAX,
    Amounts,
    Column,
    Ints,
    decimal_places,
    magnitude,
    narrow,
    product,
    times,
    widen,
)
from schemas.currency import CURRENCIES

BALANCE_PLACES: Final = 12
"""Decimal places of amounts that are not yet invoiced, and of quantities that do not terminate (spec 1.4)."""


def known_currency(code: str) -> bool:
    """Whether `code` is an active ISO 4217 currency."""
    return code in CURRENCIES


def decimals_of(currency: str) -> int:
    """The decimals of a currency's minor unit (USD 2, JPY 0, KWD 3); `ValueError` for an unknown code."""
    try:
        return CURRENCIES[currency]
    except KeyError:
        raise ValueError(f"{currency!r} is not an ISO 4217 currency code such as USD") from None


def round_half_away(numerator: int, denominator: int) -> int:
    """numerator / denominator (> 0) as a whole number, halves away from zero: 1/2 -> 1, -1/2 -> -1."""
    if denominator <= 0:
        raise ValueError(f"a denominator must be above 0, not {denominator}")
    magnitude_rounded = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -magnitude_rounded if numerator < 0 else magnitude_rounded


def round_amounts(amounts: Amounts, decimals: int) -> Column:
    """Exact amounts rounded to `decimals` places, half away from zero: a column of minor units at that scale."""
    values, below = amounts.values, amounts.divisor
    if decimals >= amounts.scale:
        values = times(values, 10 ** (decimals - amounts.scale))
    else:
        below = product(below, 10 ** (amounts.scale - decimals))
    if isinstance(below, int) and below == 1:
        return Column(narrow(values), decimals)
    return Column(_divide_half_away(values, below), decimals)


def _divide_half_away(values: Ints, below: Ints | int) -> Ints:
    """values / below, halves away from zero; int64 where twice the greatest value and the divisor fit."""
    greatest = below if isinstance(below, int) else magnitude(below)
    wide = 2 * magnitude(values) + greatest > INT64_MAX or 2 * greatest > INT64_MAX
    if wide or values.dtype == object or (not isinstance(below, int) and below.dtype == object):
        values, below = widen(values), below if isinstance(below, int) else widen(below)
    rounded = (2 * np.abs(values) + below) // (2 * below)
    return narrow(np.where(values < 0, -rounded, rounded))


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` minor units over lines with what is left of each as `weights`; nothing is lost (spec 1.5).

    The magnitude is split in proportion, by largest remainder, ties to the earlier line; a line with less than nothing
    left takes a share of the other sign. `ValueError` if the weights do not come to more than 0.
    """
    whole = sum(weights)
    if total == 0:
        return [0] * len(weights)
    if whole <= 0:
        raise ValueError(f"{total} cannot be split over lines of which nothing is left")
    shares, rests = [], []
    for weight in weights:
        share, rest = divmod(abs(total) * weight, whole)
        shares.append(share)
        rests.append(rest)
    missing = abs(total) - sum(shares)
    for line in sorted(range(len(weights)), key=lambda index: (-rests[index], index))[:missing]:
        shares[line] += 1
    return [-share for share in shares] if total < 0 else shares


def minor_of(amount: Fraction, currency: str) -> int:
    """An exact amount in minor units, rounded half away from zero: the scalar form of `round_amounts`."""
    return round_half_away(amount.numerator * 10 ** decimals_of(currency), amount.denominator)


def money_text(minor: int, currency: str) -> str:
    """Minor units as text with the currency's decimals: 500 -> `5.00` (USD), `500` (JPY)."""
    return fixed_text(minor, decimals_of(currency))


def fixed_text(whole: int, places: int) -> str:
    """whole / 10**places with exactly `places` decimals and no negative zero."""
    digits = str(abs(whole)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if whole < 0 else text


def rounded_text(value: Fraction | int, places: int = BALANCE_PLACES) -> str:
    """An exact number as plain text, rounded half away from zero to `places`, no trailing zeros (spec 1.4, 10)."""
    text = fixed_text(round_half_away(value.numerator * 10**places, value.denominator), places)
    return text.rstrip("0").rstrip(".") if places else text


def quantity_text(value: Fraction | int) -> str:
    """A quantity as plain text: every digit if it terminates, else rounded to 12 places (spec 1.4)."""
    places = decimal_places(value.denominator)
    return rounded_text(value, places if 10**places % value.denominator == 0 else BALANCE_PLACES)


def rounded_texts(values: Amounts, places: int = BALANCE_PLACES) -> list[str]:
    """`rounded_text` of every row."""
    rounded = round_amounts(values, places)
    texts = [fixed_text(whole, places) for whole in widen(rounded.values).tolist()]
    return [text.rstrip("0").rstrip(".") for text in texts] if places else texts
