"""Exact decimals as they are written: the grammar of spec 1.2 and the limits of prices (spec 1.3).

A number never passes through a binary float: it arrives as its literal text and is kept as an exact decimal.
"""

import re
from decimal import Context, Decimal, Inexact
from typing import Final

PLACES_MAX: Final = 12
"""Decimal places that a quantity or a price may have once trailing zeros are dropped (spec 1.2, 1.3)."""

DIGITS_MAX: Final = 18
"""Digits before the point: every number is below 10^18 in magnitude (spec 1.2)."""

LITERAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""The accepted spelling of a decimal: `[+-]?(digits[.digits]|.digits)([eE][+-]?digits)?` (spec 1.2)."""

_EXACT: Final = Context(prec=64, Emax=999_999, Emin=-999_999, traps=[Inexact])


class Number(Decimal):
    """An exact decimal of a catalog or a request, written as text on every wire."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Number":
        """Read a literal; `ValueError` says what is wrong with it.

        >>> Number.parse("1e3")
        Number('1000')
        """
        if len(text) > 64 or LITERAL.fullmatch(text) is None:
            raise ValueError(f"{text[:80]!r} is not a decimal number such as 12.5")
        value = Decimal(text)
        if value.adjusted() >= DIGITS_MAX and value != 0:
            raise ValueError(f"{text} is out of range: the magnitude must be below 10^{DIGITS_MAX}")
        plain = _plain(value)
        places = -min(0, int(plain.as_tuple().exponent))
        if places > PLACES_MAX:
            raise ValueError(f"{text} has {places} decimal places; {PLACES_MAX} are the most that is kept")
        return cls(plain)

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
