"""Aggregations by hand, and where numbers leave int64 (spec 3.2-3.5)."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from rating.aggregate import (
    Change,
    Rows,
    State,
    fold,
    integral,
    integrals,
    level_after,
    merge,
    numbers,
    result,
    unit_of,
)
from rating.fixed import Column
from schemas.instants import DAY, HOUR, SECOND
from schemas.meter import Aggregation

BIG = 10**30


def rows(values: list[int], *, texts: list[str] | None = None) -> Rows:
    """Values in group 1 of 3, each a microsecond after the other, arriving backwards."""
    count = len(values)
    places = np.arange(count, dtype=np.int64)
    return Rows(np.ones(count, dtype=np.int64), 3, places, places[::-1].copy(), Column.of_ints(values), texts)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("sum", 6), ("max", 7), ("min", -3), ("latest", 2), ("count", 3)],
)
@pytest.mark.parametrize("scale", [1, BIG], ids=["int64", "wide"])
def test_group_with_events_has_its_number_and_others_zero(aggregation: Aggregation, expected: int, scale: int) -> None:
    values = [7 * scale, -3 * scale, 2 * scale]
    wanted = expected if aggregation == "count" else expected * scale
    found = numbers(aggregation, rows(values))
    assert found.values.tolist() == [0, wanted, 0]
    assert [result(aggregation, state) for state in fold(aggregation, rows(values))] == [0, wanted, 0]


def test_all_negative_values_have_a_negative_maximum() -> None:
    assert numbers("max", rows([-7, -3])).values.tolist() == [0, -3, 0]
    assert numbers("min", rows([7, 3])).values.tolist() == [0, 3, 0]


def test_latest_of_equal_times_is_the_later_arrival() -> None:
    same = Rows(np.zeros(3, dtype=np.int64), 1, np.array([5, 5, 4]), np.array([1, 2, 3]), Column.of_ints([10, 20, 30]))
    assert numbers("latest", same).values.tolist() == [20]
    assert fold("latest", same) == [State(3, Decimal(20), 5, 2)]
    assert merge("latest", State(1, Decimal(1), 5, 1), State(1, Decimal(9), 4, 8)) == State(2, Decimal(1), 5, 1)


def test_unique_counts_texts_not_values() -> None:
    texts = rows([0, 0, 0, 0], texts=["1", "1.0", "", "1"])
    assert numbers("unique", texts).values.tolist() == [0, 3, 0]
    assert fold("unique", texts)[1].texts == {"1", "1.0", ""}
    coded = Rows(texts.group, 3, texts.time, texts.arrival, None, np.array([4, 5, 6, 4]))
    assert numbers("unique", coded).values.tolist() == [0, 3, 0]
    with pytest.raises(ValueError, match="keeps texts"):
        fold("unique", coded)


def test_sums_longer_than_any_decimal_context_are_exact() -> None:
    long, tiny = State(1, Decimal(10**50)), State(1, Decimal("0.000000000001"))
    assert merge("sum", long, tiny).number == Decimal("1" + "0" * 50 + ".000000000001")


def test_level_is_integrated_from_what_was_carried_in() -> None:
    changes = (Change(2 * HOUR, 0, Decimal(5)), Change(3 * HOUR, 1, Decimal("0.5")))
    assert integral(changes, Decimal(2), 0, 4 * HOUR) == Fraction(19, 2) * HOUR
    assert integral(changes, Decimal(2), 2 * HOUR, 3 * HOUR) == 5 * HOUR
    assert integral((), Decimal(2), 0, HOUR) == 2 * HOUR
    assert integral((), Decimal(0), 0, 0) == 0
    assert level_after(changes, Decimal(2)) == Decimal("0.5")
    assert level_after((), Decimal(2)) == 2


def test_level_set_twice_at_one_instant_is_what_arrived_later() -> None:
    twice = Rows(np.zeros(2, dtype=np.int64), 1, np.array([10, 10]), np.array([8, 3]), Column.of_ints([7, 9]))
    span = np.array([0]), np.array([20])
    assert integrals(twice, Column.zeros(1), *span).values.tolist() == [70]
    assert fold("time_weighted", twice)[0].changes == (Change(10, 8, Decimal(7)),)


def test_levels_beyond_int64_areas_are_exact() -> None:
    wide = Rows(np.zeros(1, dtype=np.int64), 1, np.array([0]), np.array([0]), Column.of_ints([10**18 - 1]))
    assert integrals(wide, Column.zeros(1), np.array([0]), np.array([31 * DAY])).values.tolist() == [
        (10**18 - 1) * 31 * DAY
    ]


def test_units_of_time_are_exact_lengths() -> None:
    assert [unit_of("second", 0), unit_of("hour", 0), unit_of("day", 0)] == [SECOND, HOUR, DAY]
    assert unit_of("period", 28 * DAY) == 28 * DAY


@pytest.mark.parametrize("ask", [numbers, fold], ids=["numbers", "fold"])
def test_aggregation_without_its_values_is_refused(ask: object) -> None:
    empty = Rows(np.zeros(1, dtype=np.int64), 1, np.array([0]), np.array([0]))
    assert callable(ask)
    with pytest.raises(ValueError, match="needs values"):
        ask("sum", empty)


def test_level_without_a_span_has_no_quantity() -> None:
    with pytest.raises(ValueError, match="without a span"):
        numbers("time_weighted", rows([1]))
    with pytest.raises(ValueError, match="without a span"):
        result("time_weighted", State(1))
