"""Columns at the edges of int64: every kernel falls back to Python integers before it could wrap."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from rating.fixed import INT64_MAX, Amounts, Column, column, decimal_of, ints, joined, plus, sum_groups, times

TOP = Column.of_ints([INT64_MAX, -INT64_MAX])


def test_largest_int64_times_one_stays_int64() -> None:
    assert TOP.multiply(1).values.dtype == np.int64
    assert TOP.multiply(-1).values.tolist() == [-INT64_MAX, INT64_MAX]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([2**62], [2], 2**63),
        ([300_000_000_000], [50_000_000], 15_000_000_000_000_000_000),
        ([-(2**63)], [-1], 2**63),
        ([0], [2**70], 0),
    ],
    ids=["just-over", "wraps-silently-in-numpy", "least-int64-negated", "zero"],
)
def test_product_beyond_int64_is_exact(left: list[int], right: list[int], expected: int) -> None:
    assert times(ints(left), ints(right)).tolist() == [expected]
    assert times(ints(left), right[0]).tolist() == [expected]


def test_sum_beyond_int64_is_exact() -> None:
    assert plus(TOP.values, 1).tolist() == [2**63, -INT64_MAX + 1]
    assert TOP.add(TOP).values.tolist() == [2 * INT64_MAX, -2 * INT64_MAX]


def test_group_sums_beyond_int64_are_exact_and_empty_groups_are_zero() -> None:
    values = Column.of_ints([INT64_MAX] * 3 + [-(2**63)] * 2 + [7])
    group = np.array([0, 0, 0, 2, 2, 3])
    assert sum_groups(values, group, 5).values.tolist() == [3 * INT64_MAX, 0, -(2**64), 7, 0]


def test_group_sums_that_fit_stay_int64() -> None:
    sums = sum_groups(Column.of_ints([1, 2, 3], 2), np.array([1, 0, 1]), 2)
    assert sums.values.dtype == np.int64
    assert sums.decimals() == [Decimal("0.02"), Decimal("0.04")]


def test_group_sums_of_no_rows_are_zeros() -> None:
    assert sum_groups(Column.zeros(0), np.zeros(0, dtype=np.int64), 2).values.tolist() == [0, 0]


def test_rescale_that_would_lose_digits_is_refused() -> None:
    assert column([Decimal("1.50")]).rescale(1).decimals() == [Decimal("1.5")]
    with pytest.raises(ValueError, match="do not all fit into 0"):
        column([Decimal("1.5")]).rescale(0)


def test_column_of_decimals_takes_exponents_and_refuses_nan() -> None:
    assert column([Decimal("1E+2"), Decimal("0.001")]).fractions() == [Fraction(100), Fraction(1, 1000)]
    with pytest.raises(ValueError, match="not finite"):
        column([Decimal("NaN")])


def test_decimal_of_many_digits_is_exact() -> None:
    assert decimal_of(-(10**60) - 1, 3) == Decimal("-1" + "0" * 56 + "0.001")


def test_columns_of_different_width_and_scale_are_joined() -> None:
    both = joined([Column.of_ints([1], 2), Column.of_ints([2**70], 0)])
    assert both.fractions() == [Fraction(1, 100), Fraction(2**70)]
    assert len(joined([])) == 0


@pytest.mark.parametrize(
    "numbers",
    [[Fraction(1, 3), Fraction(1, 7)], [Fraction(5, 4), Fraction(-1, 8)], [Fraction(3)], [], [Fraction(1, 3 * 10**20)]],
    ids=["thirds", "terminating", "whole", "none", "long"],
)
def test_fractions_survive_as_amounts(numbers: list[Fraction]) -> None:
    assert Amounts.of(numbers).fractions() == numbers
    assert Amounts.of(numbers).take(np.arange(len(numbers))).fractions() == numbers


def test_amounts_multiply_row_by_row() -> None:
    found = Amounts.of([Fraction(1, 3), Fraction(5)]).multiply(Amounts.of([Fraction(3, 7), Fraction(-1, 2)]))
    assert found.fractions() == [Fraction(1, 7), Fraction(-5, 2)]
