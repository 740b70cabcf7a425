"""Columns of exact numbers: scaled integers in int64 where a bound proves that they fit, Python integers beyond.

An exact value is `values / 10**scale` (`Column`), or `values / (10**scale * divisor)` where it is a quotient
(`Amounts`). numpy wraps int64 silently, so every kernel here first bounds its result in Python integers and
takes an object array when the bound does not fit: the same code, always exact (spec 1.1, 1.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]
"""An array of dtype int64, or of dtype object that holds Python integers."""

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

INT64_MAX: Final = 2**63 - 1
_SAMPLE_SAFE: Final = 2**31


def magnitude(values: Ints) -> int:
    """The greatest absolute value as a Python integer; 0 for an empty array."""
    if values.size == 0:
        return 0
    return max(int(values.max()), -int(values.min()))


def narrow(values: Ints) -> Ints:
    """The same numbers as int64 if all of them fit, else as Python integers."""
    if values.dtype == np.int64:
        return values
    if magnitude(values) <= INT64_MAX:
        return values.astype(np.int64)
    return values.astype(object)


def ints(numbers: Sequence[int]) -> Ints:
    """An array of Python integers, int64 if all of them fit."""
    try:
        return np.array(numbers, dtype=np.int64)
    except OverflowError:
        array = np.empty(len(numbers), dtype=object)
        array[:] = numbers
        return array


def widen(values: Ints) -> Ints:
    """The same numbers as Python integers in an object array."""
    return values if values.dtype == object else values.astype(object)


def times(values: Ints, factor: "Ints | int") -> Ints:
    """The product, elementwise or by one integer; int64 only where the bound of the product fits."""
    if isinstance(factor, int):
        if factor == 1:
            return values
        bound = magnitude(values) * abs(factor)
    else:
        bound = magnitude(values) * magnitude(factor)
    if bound <= INT64_MAX and values.dtype != object and (isinstance(factor, int) or factor.dtype != object):
        if isinstance(factor, int) and abs(factor) > INT64_MAX:  # all values are 0
            return values
        return values * factor
    return widen(values) * (factor if isinstance(factor, int) else widen(factor))


def plus(left: Ints, right: "Ints | int") -> Ints:
    """The sum, elementwise or with one integer; int64 only where the bound of the sum fits."""
    other = abs(right) if isinstance(right, int) else magnitude(right)
    fits = magnitude(left) + other <= INT64_MAX
    if fits and left.dtype != object and (isinstance(right, int) or right.dtype != object):
        return left + right
    return widen(left) + (right if isinstance(right, int) else widen(right))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """n exact decimals: `values / 10**scale`; `values` int64[n], or object[n] of Python integers."""

    values: Ints
    scale: int

    @classmethod
    def of_ints(cls, values: "npt.ArrayLike | Sequence[int]", scale: int = 0) -> "Column":
        """A column of the integers `values`, each meaning `value / 10**scale`."""
        if isinstance(values, np.ndarray):
            return cls(narrow(values), scale)
        return cls(ints(list(values)), scale)  # type: ignore[arg-type]

    @classmethod
    def zeros(cls, rows: int, scale: int = 0) -> "Column":
        """`rows` zeros."""
        return cls(np.zeros(rows, dtype=np.int64), scale)

    def __len__(self) -> int:
        return len(self.values)

    def decimals(self) -> list[Decimal]:
        """The values as exact decimals with `scale` places."""
        return [decimal_of(value, self.scale) for value in self.values.tolist()]

    def fractions(self) -> list[Fraction]:
        """The values as exact fractions."""
        one = 10**self.scale
        return [Fraction(value, one) for value in self.values.tolist()]

    def rescale(self, scale: int) -> "Column":
        """The same values at another scale; `ValueError` if digits would be lost."""
        if scale == self.scale:
            return self
        if scale > self.scale:
            return Column(times(self.values, 10 ** (scale - self.scale)), scale)
        values, one = widen(self.values), 10 ** (self.scale - scale)
        quotient = values // one
        if np.any(quotient * one != values):
            raise ValueError(f"values with {self.scale} decimal places do not all fit into {scale}")
        return Column(narrow(quotient), scale)

    def add(self, other: "Column") -> "Column":
        """The sum, row by row, at the larger scale."""
        scale = max(self.scale, other.scale)
        return Column(plus(self.rescale(scale).values, other.rescale(scale).values), scale)

    def subtract(self, other: "Column") -> "Column":
        """The difference, row by row, at the larger scale."""
        return self.add(Column(times(other.values, -1), other.scale))

    def multiply(self, factor: "Column | int") -> "Column":
        """The product with one integer or row by row; scales add up."""
        if isinstance(factor, int):
            return Column(times(self.values, factor), self.scale)
        return Column(times(self.values, factor.values), self.scale + factor.scale)

    def take(self, rows: Indices | Mask) -> "Column":
        """The rows named by index or mask, in that order."""
        return Column(self.values[rows], self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Amounts:
    """n exact rationals: `values / (10**scale * divisor)`; `divisor` > 0, one integer or one for each row.

    Quantities that do not terminate (1 second in hours) and amounts whose `per` does not divide are such columns.
    """

    values: Ints
    scale: int = 0
    divisor: Ints | int = 1

    @classmethod
    def of(cls, numbers: "Column | Amounts | Sequence[Fraction]") -> "Amounts":
        """Exact rationals from a column or from fractions (integers too); terminating ones get no divisor."""
        if isinstance(numbers, Amounts):
            return numbers
        if isinstance(numbers, Column):
            return cls(numbers.values, numbers.scale)
        below = {number.denominator for number in numbers}
        if below <= {1}:
            return cls(ints([number.numerator for number in numbers]))
        scale = max(decimal_places(denominator) for denominator in below)
        one = 10**scale
        if all(one % denominator == 0 for denominator in below):
            return cls(ints([number.numerator * (one // number.denominator) for number in numbers]), scale)
        divisor = ints([number.denominator for number in numbers])
        return cls(ints([number.numerator for number in numbers]), 0, divisor)

    def __len__(self) -> int:
        return len(self.values)

    def fractions(self) -> list[Fraction]:
        """The values as exact fractions."""
        one = 10**self.scale
        if isinstance(self.divisor, int):
            below = one * self.divisor
            return [Fraction(value, below) for value in self.values.tolist()]
        return [Fraction(v, one * d) for v, d in zip(self.values.tolist(), self.divisor.tolist(), strict=True)]

    def take(self, rows: Indices | Mask) -> "Amounts":
        """The rows named by index or mask, in that order."""
        divisor = self.divisor if isinstance(self.divisor, int) else self.divisor[rows]
        return Amounts(self.values[rows], self.scale, divisor)

    def multiply(self, factor: "Amounts") -> "Amounts":
        """The product, row by row."""
        return Amounts(
            times(self.values, factor.values), self.scale + factor.scale, product(self.divisor, factor.divisor)
        )


def product(left: Ints | int, right: Ints | int) -> Ints | int:
    """The product of two divisors, each one integer or one a row."""
    if isinstance(left, int):
        return left * right if isinstance(right, int) else times(right, left)
    return times(left, right)


def column(decimals: Sequence[Decimal]) -> Column:
    """A column of exact decimals at the smallest common scale; `ValueError` for NaN and infinities."""
    parts = [integer_and_places(value) for value in decimals]
    scale = max((places for _, places in parts), default=0)
    return Column(ints([whole * 10 ** (scale - places) for whole, places in parts]), scale)


def joined(columns: Sequence[Column]) -> Column:
    """Columns one after the other, at the largest of their scales."""
    scale = max((part.scale for part in columns), default=0)
    parts = [part.rescale(scale).values for part in columns]
    if any(part.dtype == object for part in parts):
        parts = [widen(part) for part in parts]
    return Column(np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64), scale)


def integer_and_places(value: Decimal) -> tuple[int, int]:
    """`(whole, places)` with value = whole / 10**places and places >= 0; exact at any length."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not finite")
    whole = int("".join(map(str, digits)) or "0")
    whole = -whole if sign else whole
    return (whole * 10**exponent, 0) if exponent > 0 else (whole, -exponent)


def decimal_of(whole: int, places: int) -> Decimal:
    """The exact decimal `whole / 10**places`, whatever its length."""
    return Decimal((int(whole < 0), tuple(map(int, str(abs(whole)))), -places))


def decimal_places(denominator: int) -> int:
    """How many decimal places the factors 2 and 5 of a denominator need; what else it holds does not terminate."""
    twos = (denominator & -denominator).bit_length() - 1
    fives = 0
    while denominator % 5 == 0:
        denominator //= 5
        fives += 1
    return max(twos, fives)


def sum_groups(values: Column, group: Indices, groups: int) -> Column:
    """Exact sums of `values` by `group` (int64[n], 0 <= group < groups); groups without rows are 0.

    int64 where count x greatest fits; else int64 halves of each value, which cannot wrap below 2^31 rows; else objects.
    """
    numbers = values.values
    if numbers.dtype != object:
        if magnitude(numbers) * len(numbers) <= INT64_MAX:
            sums = np.zeros(groups, dtype=np.int64)
            np.add.at(sums, group, numbers)
            return Column(sums, values.scale)
        if len(numbers) < _SAMPLE_SAFE:
            high = np.zeros(groups, dtype=np.int64)
            low = np.zeros(groups, dtype=np.int64)
            np.add.at(high, group, numbers >> 32)
            np.add.at(low, group, numbers & 0xFFFFFFFF)
            return Column(narrow(high.astype(object) * 2**32 + low.astype(object)), values.scale)
    totals: list[int] = [0] * groups
    for index, number in zip(group.tolist(), numbers.tolist(), strict=True):
        totals[index] += number
    return Column(ints(totals), values.scale)
