"""Decimals as they are written: the grammar, the limits, and plain text (spec 1)."""

from decimal import Decimal

import pytest

from schemas.numbers import Number, plain_text, scientific


@pytest.mark.parametrize(
    ("literal", "plain"),
    [
        ("1e3", "1000"),
        ("+5", "5"),
        (".5", "0.5"),
        ("-.5e1", "-5"),
        ("-0.0", "0"),
        ("1E-12", "0.000000000001"),
        ("12.50", "12.5"),
        ("999999999999999999.999999999999", "999999999999999999.999999999999"),
        ("0." + "1" + "0" * 500, "0.1"),
        ("0e999999999999999999999", "0"),
        ("1" + "0" * 100 + "e-100", "1"),
    ],
)
def test_literal_is_read_exactly_and_written_plainly(literal: str, plain: str) -> None:
    assert plain_text(Number.parse(literal)) == plain
    assert Number.parse(literal) == Decimal(plain)


@pytest.mark.parametrize(
    ("literal", "why"),
    [
        ("", "not a decimal"),
        ("1_000", "not a decimal"),
        ("NaN", "not a decimal"),
        (" 1", "not a decimal"),
        ("1.", "not a decimal"),
        ("١", "not a decimal"),
        ("1e18", "out of range"),
        ("-1" + "0" * 5000, "out of range"),
        ("1e99999999999999999999", "out of range"),
        ("1e-13", "13 decimal places"),
        ("1e-99999999999999999999", "decimal places"),
    ],
)
def test_what_is_no_number_or_beyond_the_limits_is_refused(literal: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Number.parse(literal)


def test_equal_values_are_taken_apart_into_the_same_parts() -> None:
    assert scientific("1000") == scientific("1e3") == scientific("+1000.00") == scientific("0.1e4")
    assert scientific("-0") == scientific("0e5") == scientific(".0")
    assert scientific("1") != scientific("-1")


def test_plain_text_never_shows_an_exponent() -> None:
    assert plain_text(Decimal("1E+2")) == "100"
    assert plain_text(Decimal("1E-8")) == "0.00000001"
    assert repr(Number("1E+2")) == "Number('100')"
