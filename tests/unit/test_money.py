"""Money: decimals of currencies, halves away from zero, splitting, texts (spec 1.4, 1.5, 10)."""

from fractions import Fraction

import pytest

from rating.fixed import Amounts
from rating.money import (
    allocate,
    decimals_of,
    known_currency,
    minor_of,
    money_text,
    quantity_text,
    round_amounts,
    round_half_away,
    rounded_text,
)


@pytest.mark.parametrize(
    ("currency", "decimals"), [("USD", 2), ("JPY", 0), ("KWD", 3), ("UGX", 0), ("CLF", 4), ("ISK", 0), ("IQD", 3)]
)
def test_currency_has_its_decimals(currency: str, decimals: int) -> None:
    assert known_currency(currency)
    assert decimals_of(currency) == decimals


@pytest.mark.parametrize("code", ["QQQ", "usd", "", "XAU"])
def test_unknown_currency_is_refused(code: str) -> None:
    assert not known_currency(code)
    with pytest.raises(ValueError, match="not an ISO 4217 currency"):
        decimals_of(code)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(1, 2, 1), (-1, 2, -1), (5, 2, 3), (-5, 2, -3), (1, 3, 0), (2, 3, 1), (0, 7, 0), (10**40 + 1, 2, 5 * 10**39 + 1)],
)
def test_halves_go_away_from_zero(numerator: int, denominator: int, expected: int) -> None:
    assert round_half_away(numerator, denominator) == expected


def test_rounding_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        round_half_away(1, 0)


def test_half_cents_that_binary_floats_get_wrong_are_rounded_up() -> None:
    ties = [Fraction(cents * 10 + 5, 1000) for cents in range(200)]
    assert round_amounts(Amounts.of(ties), 2).values.tolist() == [cents + 1 for cents in range(200)]
    below = Amounts.of([Fraction("0.014999999999999999")])
    assert round_amounts(below, 2).values.tolist() == [1]


def test_rows_with_divisors_of_their_own_are_each_divided_by_theirs() -> None:
    amounts = Amounts.of([Fraction(1, 3), Fraction(2, 7), Fraction(-(10**25), 3)])
    assert round_amounts(amounts, 2).values.tolist() == [33, 29, -333333333333333333333333333]


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (10, [0, 3, 0], [0, 10, 0]),
        (1, [5, 5], [1, 0]),
        (2, [1, 2, 3], [0, 1, 1]),
        (0, [0, 0], [0, 0]),
        (50, [200, -100], [100, -50]),
    ],
    ids=["thirds", "negative", "nothing-left-of-some", "tie", "remainders", "nothing", "signed"],
)
def test_amount_is_split_by_largest_remainder(total: int, weights: list[int], shares: list[int]) -> None:
    assert allocate(total, weights) == shares


@pytest.mark.parametrize("weights", [[0, 0], [], [5, -6]], ids=["nothing-left", "no-lines", "less-than-nothing"])
def test_amount_without_lines_to_carry_it_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        allocate(5, weights)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(500, "USD", "5.00"), (-5, "USD", "-0.05"), (0, "KWD", "0.000"), (500, "JPY", "500"), (-1, "JPY", "-1")],
)
def test_money_is_written_with_its_decimals(minor: int, currency: str, text: str) -> None:
    assert money_text(minor, currency) == text


@pytest.mark.parametrize(
    ("value", "rounded", "quantity"),
    [
        (Fraction(1, 3600), "0.000277777778", "0.000277777778"),
        (Fraction(100), "100", "100"),
        (Fraction(-1, 10**13), "0", "-0.0000000000001"),
        (Fraction(-5, 10**13), "-0.000000000001", "-0.0000000000005"),
        (Fraction(3, 2), "1.5", "1.5"),
    ],
    ids=["hour", "whole", "below-places", "half-of-last-place", "half"],
)
def test_exact_numbers_are_written_plainly(value: Fraction, rounded: str, quantity: str) -> None:
    assert rounded_text(value) == rounded
    assert quantity_text(value) == quantity


def test_scalar_rounding_is_that_of_the_column() -> None:
    assert minor_of(Fraction(-1, 200), "USD") == -1
    assert minor_of(Fraction(1, 2), "JPY") == 1
