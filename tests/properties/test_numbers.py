"""Numbers stay exact: literals, values of events, columns beyond int64, the one rounding, texts (spec 1)."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import numbers as oracle

from rating.events import Written
from rating.fixed import INT64_MAX, Amounts, Column, column, joined, sum_groups
from rating.leaves import column_of, number_of, text_of
from rating.money import minor_of, quantity_text, round_amounts, rounded_text, rounded_texts
from schemas.numbers import Number, scientific
from schemas.outcome import Outcome

LITERALS = st.from_regex(r"[+-]?([0-9]{1,25}(\.[0-9]{1,15})?|\.[0-9]{1,15})([eE][+-]?[0-9]{1,2})?", fullmatch=True)
TEXTS = st.one_of(
    LITERALS,
    st.text(max_size=6),
    st.text(alphabet="0123456789.eE+-_ ,naifNAIF", max_size=8),
    st.sampled_from(
        ["", "NaN", "-inf", "+Infinity", "sNaN", " 1", "1_000", "١", "1.", "1e", "0x1", "--1", "0e999999999999"]
    ),
)
WHOLES = st.one_of(st.integers(-1000, 1000), st.integers(-(2**63), 2**63 - 1), st.integers(-(10**30), 10**30))
EDGES = st.sampled_from([0, 1, -1, INT64_MAX, -INT64_MAX, -(2**63), 2**63, 2**31, 2**32, 10**18])
COLUMNS = st.builds(Column.of_ints, st.lists(st.one_of(WHOLES, EDGES), min_size=1, max_size=8), st.integers(0, 12))


@settings(max_examples=500, deadline=None, print_blob=True)
@given(text=TEXTS)
@example(text="999999999999999999.999999999999")
@example(text="1000000000000000000")
@example(text="0.0000000000001")
def test_value_of_an_event_is_read_as_the_oracle_reads_it(text: str) -> None:
    for leaf, theirs in ((text, text), (Written(text), oracle.Number(text))):
        try:
            expected: object = oracle.parse_value(theirs)
        except oracle.ValueRejected as rejected:
            expected = rejected.code
        found = number_of(leaf)
        if expected == "value_not_numeric" and found is Outcome.VALUE_NOT_FINITE:
            assert "snan" in text.lower()  # a spelling of NaN that only we know
        elif isinstance(leaf, Written) and text.endswith("."):
            continue  # no JSON number
        elif isinstance(found, Outcome):
            assert found == expected
        else:
            assert Fraction(found[0], 10 ** found[1]) == expected


@settings(max_examples=300, deadline=None, print_blob=True)
@given(text=LITERALS)
def test_literal_keeps_its_value_and_equal_values_look_equal(text: str) -> None:
    number = scientific(text)
    assert number is not None
    assert Fraction(number.text()) == Fraction(Decimal(text))
    assert scientific(number.text()) == number
    assert text_of(Written(text)) == oracle.text_of(oracle.Number(text))
    if not number.out_of_range and number.places <= 12:
        assert Number.parse(text) == Decimal(text)
    else:
        with pytest.raises(ValueError, match=r"out of range|decimal places"):
            Number.parse(text)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    leaves=st.lists(st.one_of(TEXTS, LITERALS.map(Written), st.integers(-(10**19), 10**19), st.none(), st.booleans()))
)
def test_values_in_a_column_are_those_read_one_by_one(leaves: list[object]) -> None:
    values, rows, rejected = column_of(list(leaves), np.arange(len(leaves)))
    alone = [number_of(leaf) for leaf in leaves]
    kept = [Fraction(one[0], 10 ** one[1]) for one in alone if not isinstance(one, Outcome)]
    assert values.fractions() == kept
    assert rows.tolist() == [row for row, one in enumerate(alone) if not isinstance(one, Outcome)]
    assert rejected == [(row, one) for row, one in enumerate(alone) if isinstance(one, Outcome)]


@settings(max_examples=300, deadline=None, print_blob=True)
@given(left=COLUMNS, right=COLUMNS, factor=WHOLES, data=st.data())
def test_columns_calculate_as_fractions_do(left: Column, right: Column, factor: int, data: st.DataObject) -> None:
    rows = min(len(left), len(right))
    left, right = left.take(np.arange(rows)), right.take(np.arange(rows))
    one, two = left.fractions(), right.fractions()
    assert left.add(right).fractions() == [a + b for a, b in zip(one, two, strict=True)]
    assert left.subtract(right).fractions() == [a - b for a, b in zip(one, two, strict=True)]
    assert left.multiply(right).fractions() == [a * b for a, b in zip(one, two, strict=True)]
    assert left.multiply(factor).fractions() == [a * factor for a in one]
    assert left.rescale(left.scale + 7).fractions() == one
    assert joined([left, right]).fractions() == one + two
    assert column(left.decimals()).fractions() == one
    group = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), dtype=np.int64)
    sums = [sum((a for a, g in zip(one, group, strict=True) if g == index), Fraction(0)) for index in range(5)]
    assert sum_groups(left, group, 5).fractions() == sums


@settings(max_examples=300, deadline=None, print_blob=True)
@given(
    values=st.lists(st.tuples(WHOLES, st.one_of(st.integers(1, 100), st.integers(1, 10**20))), min_size=1, max_size=6),
    currency=st.sampled_from(["USD", "JPY", "KWD", "CLF"]),
)
@example(values=[(1, 200), (-1, 200), (3, 200), (-3, 200), (1, 2), (-1, 2)], currency="USD")
def test_amounts_are_rounded_once_and_halves_go_away_from_zero(values: list[tuple[int, int]], currency: str) -> None:
    amounts = [Fraction(*value) for value in values]
    expected = [oracle.round_money(amount, currency) for amount in amounts]
    places = oracle.decimals(currency)
    assert round_amounts(Amounts.of(amounts), places).fractions() == expected
    assert [Fraction(minor_of(amount, currency), 10**places) for amount in amounts] == expected
    assert rounded_texts(Amounts.of(amounts)) == [oracle.plain12(amount) for amount in amounts]
    assert [rounded_text(amount) for amount in amounts] == [oracle.plain12(amount) for amount in amounts]
    assert [quantity_text(amount) for amount in amounts] == [oracle.plain(amount) for amount in amounts]
