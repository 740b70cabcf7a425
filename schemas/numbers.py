"""Exact decimals as they are written: the grammar of spec 1.2 and the limits of prices (spec 1.3).

A number never passes through a binary float: it arrives as its literal text and is kept as an exact decimal.
"""

import re
from decimal import Context, Decimal, Inexact
from typing import Final, NamedTuple

PLACES_MAX: Final = 12
"""Decimal places that a quantity or a price may have once trailing zeros are dropped (spec 1.2, 1.3)."""

DIGITS_MAX: Final = 18
"""Digits before the point: every number is below 10^18 in magnitude (spec 1.2)."""

LITERAL: Final = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]+))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?", re.ASCII)
"""The accepted spelling of a decimal: `[+-]?(digits[.digits]|.digits)([eE][+-]?digits)?` (spec 1.2)."""

_EXACT: Final = Context(prec=64, Emax=999_999, Emin=-999_999, traps=[Inexact])
_EXPONENT_DIGITS_MAX: Final = 9


class Scientific(NamedTuple):
    """A literal taken apart: the value is `sign` x `digits` x 10**`exponent`; `digits` has no zeros at its ends.

    0 is ("", "", 0), so equal values are equal tuples however they were written.
    """

    sign: str
    digits: str
    exponent: int

    @property
    def out_of_range(self) -> bool:
        """Whether the magnitude is 10^18 or more (spec 1.2)."""
        return len(self.digits) + self.exponent > DIGITS_MAX

    @property
    def places(self) -> int:
        """Decimal places once trailing zeros are dropped."""
        return max(0, -self.exponent)

    def scaled(self) -> int:
        """The value as an integer: value x 10**places."""
        return int(f"{self.sign}{self.digits or '0'}") * int(10 ** max(0, self.exponent))

    def text(self) -> str:
        """Plain decimal text without exponent and trailing zeros; the caller has bounded the exponent."""
        digits, exponent = self.digits or "0", self.exponent
        if exponent >= 0:
            return f"{self.sign}{digits}{'0' * exponent}"
        padded = digits.rjust(1 - exponent, "0")
        return f"{self.sign}{padded[:exponent]}.{padded[exponent:]}"


def scientific(text: str) -> Scientific | None:
    """Take a literal of any length apart, exact, without building the number; None if it is no decimal (spec 1.2)."""
    match = LITERAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, bare, power = match.groups()
    fraction = bare or fraction or ""
    digits = (whole or "") + fraction
    significant = digits.rstrip("0")
    exponent = len(digits) - len(significant) - len(fraction)
    significant = significant.lstrip("0")
    if not significant:
        return Scientific("", "", 0)
    if power:
        size = power.lstrip("+-").lstrip("0")
        far = size if len(size) <= _EXPONENT_DIGITS_MAX else "9" * (_EXPONENT_DIGITS_MAX + 1)
        exponent += int(f"{'-' if power[0] == '-' else ''}{far or '0'}")
    return Scientific("-" if sign == "-" else "", significant, exponent)


class Number(Decimal):
    """An exact decimal of a catalog or a request, written as text on every wire."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Number":
        """Read a literal; `ValueError` says what is wrong with it.

        >>> Number.parse("1e3")
        Number('1000')
        """
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        value = scientific(text)
        if value is None:
            raise ValueError(f"{shown!r} is not a decimal number such as 12.5")
        if value.out_of_range:
            raise ValueError(f"{shown} is out of range: the magnitude must be below 10^{DIGITS_MAX}")
        if value.places > PLACES_MAX:
            raise ValueError(f"{shown} has {value.places} decimal places; {PLACES_MAX} are the most that is kept")
        return cls(value.text())

    def __repr__(self) -> str:
        return f"Number('{plain_text(self)}')"


def _plain(value: Decimal) -> Decimal:
    """The same value without trailing zeros, without an exponent above 0 and without a signed zero."""
    if value == 0:
        return Decimal(0)
    digits = _EXACT.normalize(value)
    exponent = int(digits.as_tuple().exponent)
    return _EXACT.quantize(digits, Decimal(1)) if exponent > 0 else digits


def plain_text(value: Decimal) -> str:
    """Plain decimal text without exponent, trailing zeros or a negative zero (`100`, `0.00000001`)."""
    return format(_plain(value), "f")
