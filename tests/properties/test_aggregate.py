"""Aggregations obey the laws of a stream and equal the oracle, whatever the order and the batches (spec 3)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import meters as oracle

from rating.aggregate import Rows, State, fold, integral, level_after, merge, numbers, result
from rating.fixed import column
from schemas.meter import Aggregation

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES = st.one_of(
    st.integers(-5, 5).map(Decimal),
    st.builds(lambda whole, places: Decimal(whole).scaleb(-places), st.integers(-(10**17), 10**17), st.integers(0, 12)),
)


class Happened(NamedTuple):
    """One event: its group, its time, its value; its place in the list is its arrival."""

    group: int
    time: int
    value: Decimal


EVENTS = st.lists(st.builds(Happened, st.integers(0, 3), st.integers(0, 20), VALUES), max_size=12)
Arrived = list[tuple[int, Happened]]


def rows_of(events: Arrived, aggregation: Aggregation) -> Rows:
    """Columns of (arrival, event) pairs, in any order."""
    return Rows(
        np.array([event.group for _, event in events], dtype=np.int64),
        4,
        np.array([event.time for _, event in events], dtype=np.int64),
        np.array([arrival for arrival, _ in events], dtype=np.int64),
        None if aggregation in ("count", "unique") else column([event.value for _, event in events]),
        [str(event.value) for _, event in events] if aggregation == "unique" else None,
    )


def fold_all(events: Arrived, aggregation: Aggregation) -> list[State]:
    return fold(aggregation, rows_of(events, aggregation))


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=AGGREGATIONS)
@settings(max_examples=120, deadline=None, print_blob=True)
@given(events=EVENTS, data=st.data())
def test_any_order_in_any_batches_gives_the_same_states(
    aggregation: Aggregation, events: list[Happened], data: st.DataObject
) -> None:
    arrived = list(enumerate(events))
    whole = fold_all(arrived, aggregation)
    shuffled = data.draw(st.permutations(arrived))
    cut = data.draw(st.integers(0, len(events)))
    cut_two = data.draw(st.integers(cut, len(events)))
    parts = [fold_all(part, aggregation) for part in (shuffled[:cut], shuffled[cut:cut_two], shuffled[cut_two:])]
    for group in range(4):
        a, b, c = (part[group] for part in parts)
        left = merge(aggregation, merge(aggregation, a, b), c)
        assert (
            left == merge(aggregation, a, merge(aggregation, b, c)) == merge(aggregation, c, merge(aggregation, b, a))
        )
        assert left == whole[group]
        assert merge(aggregation, State(), a) == a == merge(aggregation, a, State())


@pytest.mark.parametrize("aggregation", [a for a in AGGREGATIONS if a != "time_weighted"])
@settings(max_examples=120, deadline=None, print_blob=True)
@given(events=EVENTS)
def test_results_are_the_oracles(aggregation: Aggregation, events: list[Happened]) -> None:
    arrived = list(enumerate(events))
    columns = numbers(aggregation, rows_of(arrived, aggregation)).fractions()
    for group, state in enumerate(fold_all(arrived, aggregation)):
        mine: list[tuple[datetime, Fraction | str]] = [
            (
                EPOCH + timedelta(seconds=event.time),
                str(event.value) if aggregation == "unique" else Fraction(event.value),
            )
            for event in events
            if event.group == group
        ]
        expected = oracle.aggregate(aggregation, mine)
        assert columns[group] == expected == result(aggregation, state)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    events=EVENTS,
    span=st.tuples(st.integers(-5, 30), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    cut=st.integers(-5, 60),
)
def test_integral_of_a_level_is_the_oracles_and_adds_up_over_parts(
    events: list[Happened], span: tuple[int, int], cut: int
) -> None:
    start, end = span
    for group, state in enumerate(fold_all(list(enumerate(events)), "time_weighted")):
        mine = [
            (EPOCH + timedelta(microseconds=event.time), Fraction(event.value))
            for event in events
            if event.group == group
        ]
        edges = EPOCH + timedelta(microseconds=start), EPOCH + timedelta(microseconds=end)
        carried = level_after([change for change in state.changes if change.time < start], Decimal(0))
        assert Fraction(carried) == oracle.carried(mine, edges[0])
        whole = integral(state.changes, carried, start, end)
        assert whole == oracle.integral(mine, *edges)
        middle = min(max(cut, start), end)
        between = level_after([change for change in state.changes if change.time < middle], Decimal(0))
        parts = integral(state.changes, carried, start, middle) + integral(state.changes, between, middle, end)
        assert whole == parts
