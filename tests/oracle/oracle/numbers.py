"""Exact numbers (section 1): literals, values of events, rounding, and how numbers are written."""

import re
from collections.abc import Sequence
from fractions import Fraction

Tree = object
"""A parsed document: dict, list, text, `Number`, bool or None."""


class Number(str):
    """A number of a document, kept as its literal text (`1.0e+2`), so that no float ever holds it."""

    __slots__ = ()


class ValueRejected(Exception):
    """A value that a meter does not take (1.2); `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


_TEXT = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]+))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")
_NOT_FINITE = re.compile(r"[+-]?\.?(nan|inf|infinity)", re.IGNORECASE)
_LARGEST_EXPONENT = 10_000

# ISO 4217: the currencies whose minor unit is not a hundredth.
_MINOR_UNITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DECIMALS = {code: digits for digits, codes in _MINOR_UNITS.items() for code in codes.split()}


def decimals(currency: str) -> int:
    """Decimal places of the currency's minor unit."""
    return _DECIMALS.get(currency, 2)


def _split(text: str) -> tuple[int, int] | None:
    """(digits, exponent) with value = digits x 10^exponent and no trailing zeros; None: no decimal."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    sign, whole, part, bare, power = match.groups()
    digits = int((whole or "") + (part or bare or ""))
    exponent = int(power or "0") - len(part or bare or "")
    if digits == 0:
        return 0, 0
    while digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    return (-digits if sign == "-" else digits), exponent


def number(text: object) -> Fraction:
    """The value of a decimal in a document, a literal or text (prices, amounts, quantities)."""
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise ValueError(f"{text!r} is not a decimal")
    split = _split(str(text) + "0" if str(text).endswith(".") else str(text))
    if split is None or abs(split[1]) > _LARGEST_EXPONENT:
        raise ValueError(f"{text!r} is not a decimal")
    return Fraction(split[0]) * Fraction(10) ** split[1]


def parse_value(value: object) -> Fraction:
    """The value of an event (1.2), a `Number` or text; raises `ValueRejected` with the first code that fits."""
    if value is None:
        raise ValueRejected("value_missing")
    if not isinstance(value, str):
        raise ValueRejected("value_not_numeric")
    text = f"{value}0" if isinstance(value, Number) and value.endswith(".") else str(value)
    if _NOT_FINITE.fullmatch(text):
        raise ValueRejected("value_not_finite")
    split = _split(text)
    if split is None:
        raise ValueRejected("value_not_numeric")
    digits, exponent = split
    if digits != 0 and len(str(abs(digits))) + exponent > 18:
        raise ValueRejected("value_out_of_range")
    if exponent < -12:
        raise ValueRejected("value_too_precise")
    return Fraction(digits) * Fraction(10) ** exponent


def round_half_away(value: Fraction, places: int) -> Fraction:
    """`value` to `places` decimals, halves away from zero."""
    scale = Fraction(10) ** places
    whole = (abs(value) * scale * 2 + 1) // 2
    return (whole if value >= 0 else -whole) / scale


def round_money(amount: Fraction, currency: str) -> Fraction:
    """`amount` in whole minor units of `currency` (1.4): 0.005 -> 0.01, -0.005 -> -0.01."""
    return round_half_away(amount, decimals(currency))


def fixed(value: Fraction, places: int) -> str:
    """`value`, which has at most `places` decimals, written with exactly that many."""
    scaled = value * 10**places
    if scaled.denominator != 1:
        raise ValueError(f"{value} has more than {places} decimals")
    digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
    sign = "-" if scaled < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else sign + digits


def money(amount: Fraction, currency: str) -> str:
    """A rounded amount with the currency's decimals: `5.00`, JPY `500`."""
    return fixed(amount, decimals(currency))


def terminating_places(value: Fraction) -> int | None:
    """How many decimals `value` has, None if they never end."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def plain(value: Fraction) -> str:
    """A plain decimal without trailing zeros; one that does not end is rounded to 12 places (1.4)."""
    places = terminating_places(value)
    return fixed(value, places) if places is not None else plain(round_half_away(value, 12))


def plain12(value: Fraction) -> str:
    """An amount that is not yet invoiced: rounded to 12 places, without trailing zeros (1.4)."""
    return plain(round_half_away(value, 12))


def text_of(value: object) -> str:
    """The text of a scalar (3.1): numbers plain, booleans `true`/`false`, missing or null empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return str(value) if _NOT_FINITE.fullmatch(value) else plain(number(value))
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{text_of(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(text_of(item) for item in value) + "]"
    raise TypeError(f"no value of a document: {value!r}")
