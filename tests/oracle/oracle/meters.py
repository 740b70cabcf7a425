"""Meters (section 3): which events count, their values, and the quantity of a span."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Protocol

from oracle.catalog import Meter, UsageCharge
from oracle.numbers import ValueRejected, parse_value, text_of
from oracle.times import microseconds

_MICROSECONDS = {"second": 10**6, "hour": 3600 * 10**6, "day": 86400 * 10**6}
Combination = tuple[str, ...]


class Happening(Protocol):
    """What a meter looks at in an event."""

    @property
    def time(self) -> datetime: ...
    @property
    def tree(self) -> dict[str, Any]: ...


def at_path(tree: dict[str, Any], path: str) -> object:
    """The value at a dotted path from the event's top (3.1); None if it is missing."""
    value: object = tree
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def wants(meter: Meter, event: Happening) -> bool:
    """Whether type and `where` let the event in."""
    if event.tree["type"] != meter.event_type:
        return False
    return all(text_of(at_path(event.tree, path)) in allowed for path, allowed in meter.where)


def value_of(meter: Meter, event: Happening) -> Fraction | str:
    """The event's value for the meter: text for `unique`, 1 for `count`; or raises `ValueRejected`."""
    if meter.aggregation == "count" or meter.value is None:
        return Fraction(1)
    value = at_path(event.tree, meter.value)
    if meter.aggregation != "unique":
        return parse_value(value)
    if value is None:
        raise ValueRejected("value_missing")
    if isinstance(value, dict | list):
        raise ValueRejected("value_not_numeric")
    return text_of(value)


def dimension(meter: Meter, name: str, event: Happening) -> str:
    """The text of one of the meter's dimensions (3.4)."""
    return text_of(at_path(event.tree, dict(meter.dimensions)[name]))


def metered(meter: Meter, events: Sequence[Happening]) -> list[tuple[Happening, Fraction | str]]:
    """The events that the meter takes, each with its value, in the order of arrival."""
    taken = []
    for event in events:
        if wants(meter, event):
            try:
                taken.append((event, value_of(meter, event)))
            except ValueRejected:
                continue
    return taken


def aggregate(aggregation: str, values: Sequence[tuple[datetime, Fraction | str]]) -> Fraction:
    """The quantity of (time, value) pairs in the order of arrival; `time_weighted` is `integral`."""
    if aggregation == "count":
        return Fraction(len(values))
    if aggregation == "unique":
        return Fraction(len({value for _, value in values}))
    numbers = [(at, value) for at, value in values if isinstance(value, Fraction)]
    if not numbers:
        return Fraction(0)
    if aggregation == "sum":
        return sum((value for _, value in numbers), Fraction(0))
    if aggregation == "max":
        return max(value for _, value in numbers)
    if aggregation == "min":
        return min(value for _, value in numbers)
    if aggregation == "latest":
        newest = max(at for at, _ in numbers)
        return [value for at, value in numbers if at == newest][-1]
    raise ValueError(f"unknown aggregation {aggregation!r}")


def levels(values: Sequence[tuple[datetime, Fraction]]) -> list[tuple[datetime, Fraction]]:
    """The level from each instant on; of several at one time the later arrival counts (3.3)."""
    return sorted(dict(values).items())


def integral(values: Sequence[tuple[datetime, Fraction]], start: datetime, end: datetime) -> Fraction:
    """The level's integral over [start, end), in level x microseconds; before the first it is 0."""
    total, level, since = Fraction(0), Fraction(0), start
    for at, value in levels(values):
        if at >= end:
            break
        if at > since:
            total += level * microseconds(at - since)
            since = at
        level = value
    return total + level * microseconds(end - since)


def carried(values: Sequence[tuple[datetime, Fraction]], start: datetime) -> Fraction:
    """The level that stands just before `start`."""
    before = [value for at, value in levels(values) if at < start]
    return before[-1] if before else Fraction(0)


def quantities(
    meter: Meter,
    charge: UsageCharge,
    events: Sequence[Happening],
    span: tuple[datetime, datetime],
    full: tuple[datetime, datetime],
) -> dict[Combination, Fraction]:
    """The quantity of each combination that is rated in the span (4.3), keyed by the values of
    `charge.kept_apart`. A charge that keeps nothing apart always has its one combination `()`."""
    taken = [
        (event, value)
        for event, value in metered(meter, events)
        if all(dimension(meter, name, event) in allowed for name, allowed in charge.where)
    ]
    groups: dict[Combination, list[tuple[Happening, Fraction | str]]] = {}
    if not charge.kept_apart:
        groups[()] = []
    for event, value in taken:
        groups.setdefault(tuple(dimension(meter, name, event) for name in charge.kept_apart), []).append((event, value))
    result = {}
    for key, group in groups.items():
        if meter.aggregation == "time_weighted":
            quantity = _weighted(meter, group, span, full)
        else:
            inside = [(event.time, value) for event, value in group if span[0] <= event.time < span[1]]
            quantity = aggregate(meter.aggregation, inside) if inside else None
        if quantity is not None or not charge.kept_apart:
            result[key] = quantity or Fraction(0)
    return result


def _weighted(
    meter: Meter,
    group: Sequence[tuple[Happening, Fraction | str]],
    span: tuple[datetime, datetime],
    full: tuple[datetime, datetime],
) -> Fraction | None:
    """Each combination of all the meter's dimensions has a level of its own, the integrals are added
    (3.4). None: no event in the span and no level other than 0 carried into it."""
    series: dict[Combination, list[tuple[datetime, Fraction]]] = {}
    for event, value in group:
        key = tuple(dimension(meter, name, event) for name, _ in meter.dimensions)
        series.setdefault(key, []).append((event.time, Fraction(value)))
    rated = False
    total = Fraction(0)
    for values in series.values():
        rated = rated or carried(values, span[0]) != 0 or any(span[0] <= at < span[1] for at, _ in values)
        total += integral(values, *span)
    unit = microseconds(full[1] - full[0]) if meter.unit == "period" else _MICROSECONDS[str(meter.unit)]
    return total / unit if rated else None
