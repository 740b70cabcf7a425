"""Aggregations (spec 3.2-3.5): what a set of events comes to, in columns for many groups at once.

A stream needs them in parts: `fold` turns the rows of a batch into one `State` a group, `merge` joins two states,
`result` reads one. Laws: merge is associative and commutative with `State()` as its neutral element, and folding the
parts of a list and merging gives what folding the list gives, whatever the order and the batch sizes. Two events of one
customer never have the same arrival.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Final, NamedTuple

import msgspec
import numpy as np

from rating.fixed import Column, Indices, column, joined, sum_groups, times
from schemas.instants import DAY, HOUR, SECOND
from schemas.meter import Aggregation, LevelUnit

_EXACT: Final = Context(prec=200, Emax=999_999, Emin=-999_999, traps=[Inexact])
_ZERO: Final = Decimal(0)
_UNITS: Final[dict[LevelUnit, int]] = {"second": SECOND, "hour": HOUR, "day": DAY}


class Change(NamedTuple):
    """A level set at `time` (microseconds); of several at one time the later `arrival` holds (spec 3.3)."""

    time: int
    arrival: int
    level: Decimal


class State(msgspec.Struct, frozen=True):
    """What a group of events comes to so far; a row of Postgres can keep it.

    `number` is the sum, the greatest, the least or the latest value (`count`: 0, `events` says it), and means nothing
    while `events` is 0. `time` (microseconds) and `arrival` belong to `latest`, `texts` to `unique`, `changes` (in
    order of time, one a time) to `time_weighted`.
    """

    events: int = 0
    number: Decimal = _ZERO
    time: int = 0
    arrival: int = 0
    texts: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()


class Rows(msgspec.Struct, frozen=True):
    """n accepted values in columns, each in a group.

    `group` int64[n], 0 <= group < `groups`; `time` (microseconds) and `arrival` int64[n] (greater = arrived later);
    `values` for all aggregations but `count` and `unique`; `texts` for `unique`: n texts, or
    int64[n] that stand for them.
    """

    group: Indices
    groups: int
    time: Indices
    arrival: Indices
    values: Column | None = None
    texts: Sequence[str] | Indices | None = None


def events_of(rows: Rows) -> Indices:
    """How many events each group has: int64[groups]."""
    return np.bincount(rows.group, minlength=rows.groups).astype(np.int64)


def numbers(aggregation: Aggregation, rows: Rows) -> Column:
    """The result of every group (spec 3.2); 0 where a group has no events. Not for `time_weighted`: `integrals`."""
    match aggregation:
        case "count":
            return Column(events_of(rows), 0)
        case "sum":
            return sum_groups(_values(rows), rows.group, rows.groups)
        case "max" | "min":
            return _extremes(rows, greatest=aggregation == "max")
        case "latest":
            return _first_zero(_values(rows), _latest(rows), rows.groups)
        case "unique":
            return Column(_distinct(rows), 0)
        case "time_weighted":
            raise ValueError("a level has no number without a span: integrals() takes it")


def fold(aggregation: Aggregation, rows: Rows) -> list[State]:
    """One state a group, from the rows of one batch."""
    events = events_of(rows).tolist()
    match aggregation:
        case "count":
            return [State(count) for count in events]
        case "sum" | "max" | "min":
            found = numbers(aggregation, rows).decimals()
            return [State(count, number) for count, number in zip(events, found, strict=True)]
        case "latest":
            return _fold_latest(rows, events)
        case "unique":
            sets: list[set[str]] = [set() for _ in range(rows.groups)]
            if isinstance(rows.texts, np.ndarray):
                raise ValueError("a state of `unique` keeps texts, not what stands for them")
            for group, text in zip(rows.group.tolist(), rows.texts or (), strict=True):
                sets[group].add(text)
            return [State(count, texts=frozenset(texts)) for count, texts in zip(events, sets, strict=True)]
        case "time_weighted":
            return _fold_changes(rows, events)


def merge(aggregation: Aggregation, left: State, right: State) -> State:
    """The state of both sets of events together."""
    if not left.events or not right.events:
        return left if left.events else right
    events = left.events + right.events
    match aggregation:
        case "count":
            return State(events)
        case "sum":
            return State(events, _EXACT.add(left.number, right.number))
        case "max":
            return State(events, max(left.number, right.number))
        case "min":
            return State(events, min(left.number, right.number))
        case "latest":
            last = max(left, right, key=lambda state: (state.time, state.arrival))
            return State(events, last.number, last.time, last.arrival)
        case "unique":
            return State(events, texts=left.texts | right.texts)
        case "time_weighted":
            return State(events, changes=_in_order([*left.changes, *right.changes]))


def result(aggregation: Aggregation, state: State) -> Fraction:
    """The quantity of a state; 0 without events. Not for `time_weighted`: `integral` takes the span."""
    match aggregation:
        case "count":
            return Fraction(state.events)
        case "unique":
            return Fraction(len(state.texts))
        case "time_weighted":
            raise ValueError("a level has no quantity without a span: integral() takes it")
    return Fraction(state.number) if state.events else Fraction(0)


def level_after(changes: Sequence[Change], carried: Decimal) -> Decimal:
    """The level that carries on after these changes (spec 3.3)."""
    return changes[-1].level if changes else carried


def integral(changes: Sequence[Change], carried: Decimal, start: int, end: int) -> Fraction:
    """The integral of the level over start <= t < end, in level x microseconds; `carried` is the level into it."""
    inside = [change for change in changes if start <= change.time < end]
    rows = Rows(
        np.zeros(len(inside), dtype=np.int64),
        1,
        np.array([change.time for change in inside], dtype=np.int64),
        np.array([change.arrival for change in inside], dtype=np.int64),
        column([change.level for change in inside]),
    )
    span = np.array([start], dtype=np.int64), np.array([end], dtype=np.int64)
    return integrals(rows, column([carried]), *span).fractions()[0]


def integrals(rows: Rows, carried: Column, start: Indices, end: Indices) -> Column:
    """The integral of each group's level over its span, in level x microseconds (spec 3.3).

    `carried` is the level into each span, `start` and `end` int64[groups]; every row lies within its group's span.
    """
    levels = _values(rows)
    scale = max(levels.scale, carried.scale)
    level = joined([carried.rescale(scale), levels.rescale(scale)])
    group = np.concatenate([np.arange(rows.groups, dtype=np.int64), rows.group])
    time = np.concatenate([start, rows.time])
    arrival = np.concatenate([np.full(rows.groups, np.iinfo(np.int64).min), rows.arrival])
    order = np.lexsort((arrival, time, group))
    group, time = group[order], time[order]
    until = np.empty_like(time)
    until[:-1] = time[1:]
    last = np.empty(len(group), dtype=np.bool_)
    last[:-1] = group[1:] != group[:-1]
    last[-1:] = True
    until[last] = end[group[last]]
    areas = Column(times(level.values[order], until - time), scale)
    return sum_groups(areas, group, rows.groups)


def unit_of(unit: LevelUnit, full_period: int) -> int:
    """Microseconds in one unit of time of a `time_weighted` meter; `period` is as long as the full billing period."""
    return full_period if unit == "period" else _UNITS[unit]


def _values(rows: Rows) -> Column:
    """The values of aggregations that need them."""
    if rows.values is None:
        raise ValueError("this aggregation needs values")
    return rows.values


def _extremes(rows: Rows, *, greatest: bool) -> Column:
    """The greatest or the least value of each group, 0 for groups without events."""
    values = _values(rows)
    order = np.lexsort((values.values, rows.group)) if values.values.dtype != object else _order_wide(rows, values)
    group = rows.group[order]
    edge = np.ones(len(group), dtype=np.bool_)
    if greatest:
        edge[:-1] = group[1:] != group[:-1]
    else:
        edge[1:] = group[1:] != group[:-1]
    return _first_zero(values, (group[edge], order[edge]), rows.groups)


def _order_wide(rows: Rows, values: Column) -> Indices:
    """Rows by group and value where values are Python integers."""
    keys = list(zip(rows.group.tolist(), values.values.tolist(), strict=True))
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _latest(rows: Rows) -> tuple[Indices, Indices]:
    """The groups that have events, and the row of the greatest time of each, of equal times the later arrival."""
    order = np.lexsort((rows.arrival, rows.time, rows.group))
    group = rows.group[order]
    last = np.ones(len(group), dtype=np.bool_)
    last[:-1] = group[1:] != group[:-1]
    return group[last], order[last].astype(np.int64)


def _first_zero(values: Column, found: tuple[Indices, Indices], groups: int) -> Column:
    """`values` of the found rows, put to the groups they were found for; 0 elsewhere."""
    group, row = found
    numbers_found = np.zeros(groups, dtype=values.values.dtype)
    numbers_found[group] = values.values[row]
    return Column(numbers_found, values.scale)


def _distinct(rows: Rows) -> Indices:
    """How many distinct texts each group has."""
    code = rows.texts
    if not isinstance(code, np.ndarray):
        codes: dict[str, int] = {}
        code = np.array([codes.setdefault(text, len(codes)) for text in code or ()], dtype=np.int64)
    order = np.lexsort((code, rows.group))
    group, code = rows.group[order], code[order]
    new = np.ones(len(group), dtype=np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (code[1:] != code[:-1])
    return np.bincount(group[new], minlength=rows.groups).astype(np.int64)


def _fold_latest(rows: Rows, events: list[int]) -> list[State]:
    """`fold` of `latest`: the last value with its time and arrival."""
    states = [State()] * rows.groups
    groups, found = _latest(rows)
    values = _values(rows).take(found).decimals()
    where = zip(groups.tolist(), values, rows.time[found].tolist(), rows.arrival[found].tolist(), strict=True)
    for group, value, time, arrival in where:
        states[group] = State(events[group], value, time, arrival)
    return states


def _fold_changes(rows: Rows, events: list[int]) -> list[State]:
    """`fold` of `time_weighted`: the changes in order of time."""
    changes: list[list[Change]] = [[] for _ in range(rows.groups)]
    levels = _values(rows).decimals()
    for group, *change in zip(rows.group.tolist(), rows.time.tolist(), rows.arrival.tolist(), levels, strict=True):
        changes[group].append(Change(*change))
    return [State(count, changes=_in_order(found)) for count, found in zip(events, changes, strict=True)]


def _in_order(changes: list[Change]) -> tuple[Change, ...]:
    """Changes by time, one a time: the later arrival replaces the earlier (spec 3.3)."""
    by_time: dict[int, Change] = {}
    for change in sorted(changes, key=lambda change: (change.time, change.arrival)):
        by_time[change.time] = change
    return tuple(by_time.values())
