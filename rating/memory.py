"""Usage in memory: what the simulator bills from, and tests. Events in columns, any number of requests in one pass."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np

from rating.aggregate import Rows, events_of, integrals, numbers, unit_of
from rating.extract import Batch, Metered
from rating.fixed import Column, Indices, Mask, joined, sum_groups
from rating.usage import Combination, Quantity, UsageRequest
from rating.usage_index import NOBODY, UsageIndex, flat_ranges
from schemas.meter import Meter

ALWAYS: Final = 2**63 - 1
"""A cut-off after everything, in microseconds."""


class MemoryUsage:
    """Events as they arrive, by meter; `as_of` answers what was known at an instant."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self._meters = dict(meters)
        self._parts: dict[str, list[tuple[Batch, Metered, int]]] = {key: [] for key in meters}
        self._indices: dict[str, UsageIndex] = {}
        self._voided: dict[int, int] = {}
        self._arrived = 0

    def add(self, batch: Batch, metered: Sequence[Metered]) -> int:
        """Take in what a batch has for its meters; the arrival of its row r is the number returned + r."""
        first = self._arrived
        self._arrived += len(batch)
        for part in metered:
            self._parts[part.meter].append((batch, part, first))
            self._indices.pop(part.meter, None)
        return first

    def void(self, arrival: int, at: int) -> None:
        """Take an event's effect away from the instant `at` on (microseconds); a second void changes nothing."""
        self._voided.setdefault(arrival, at)
        self._indices.clear()

    def as_of(self, cutoff: int = ALWAYS) -> "KnownUsage":
        """Usage as it was known just before `cutoff`: events received and voids made before it (microseconds)."""
        return KnownUsage(self, cutoff)

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        """Usage by all that is known (`UsageSource`)."""
        return self.as_of().quantities(requests)

    def meter(self, key: str) -> Meter:
        """The definition of a meter; `KeyError` if there is none."""
        return self._meters[key]

    def index(self, key: str) -> UsageIndex:
        """The events of one meter, sorted; built again after events or voids came in."""
        if key not in self._indices:
            self._indices[key] = self._build(key)
        return self._indices[key]

    def _build(self, key: str) -> UsageIndex:
        meter, parts = self._meters[key], self._parts[key]
        combinations: dict[tuple[str, ...], int] = {}
        codes: list[Indices] = [np.zeros(0, dtype=np.int64)]
        for _, part, _ in parts:
            table = [combinations.setdefault(found, len(combinations)) for found in part.combinations]
            codes.append(np.array(table, dtype=np.int64)[part.code])
        rows = [(batch, part.rows) for batch, part, _ in parts]
        arrival = _together([part.rows + first for _, part, first in parts])
        values = None
        if meter.aggregation == "unique":
            texts: dict[str, int] = {}
            found = chain.from_iterable(part.texts or () for _, part, _ in parts)
            values = Column(np.array([texts.setdefault(text, len(texts)) for text in found], dtype=np.int64), 0)
        elif meter.aggregation != "count":
            values = joined([part.values for _, part, _ in parts if part.values is not None])
        voided = np.full(len(arrival), ALWAYS, dtype=np.int64)
        if self._voided:
            voided = np.array([self._voided.get(number, ALWAYS) for number in arrival.tolist()], dtype=np.int64)
        return UsageIndex(
            customers=[batch.subjects[row] for batch, found in rows for row in found.tolist()],
            named=[batch.subscriptions[row] for batch, found in rows for row in found.tolist()],
            combinations=list(combinations),
            combination=np.concatenate(codes),
            time=_together([batch.time[found] for batch, found in rows]),
            arrival=arrival,
            received=_together([batch.received[found] for batch, found in rows]),
            voided=voided,
            values=values,
            by_combination=meter.aggregation == "time_weighted",
        )


class KnownUsage:
    """Usage as it was known before an instant: a `UsageSource`."""

    def __init__(self, usage: MemoryUsage, cutoff: int) -> None:
        self._usage = usage
        self._cutoff = cutoff

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        """The combinations of every request; requests of one meter, filter and `by` are answered in one pass."""
        answers: list[dict[Combination, Quantity]] = [{} if request.by else {(): Quantity(0)} for request in requests]
        alike: dict[object, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault((request.meter, request.where, request.by), []).append(place)
        for places in alike.values():
            _Pass(self._usage, self._cutoff, [requests[place] for place in places]).answer(places, answers)
        return answers


class _Pass:
    """Requests that ask the same of different customers and spans."""

    def __init__(self, usage: MemoryUsage, cutoff: int, requests: list[UsageRequest]) -> None:
        first = requests[0]
        self.requests = requests
        self.meter = usage.meter(first.meter)
        self.index = usage.index(first.meter)
        self.allowed, self.kept, self.by = self.index.select(list(self.meter.dimensions), first.where, first.by)
        self.start = np.array([request.start for request in requests], dtype=np.int64)
        self.end = np.array([request.end for request in requests], dtype=np.int64)
        self.customer = self.index.customer_codes([request.customer for request in requests])
        self.named = self.index.named_codes([request.subscription for request in requests])
        self.named_only = np.array([request.named_only for request in requests], dtype=np.bool_)
        self.known = (self.index.received < cutoff) & (self.index.voided >= cutoff)

    def answer(self, places: list[int], answers: list[dict[Combination, Quantity]]) -> None:
        """Write each request's combinations to its place among the answers."""
        measure = self._weighted if self.meter.aggregation == "time_weighted" else self._counted
        request, by, values, events = measure()
        one = 10**values.scale
        units = self._units()
        found = zip(request.tolist(), by.tolist(), values.values.tolist(), events.tolist(), strict=True)
        for place, combination, value, count in found:
            below = one * units[place] if units else one
            answers[places[place]][self.by[combination]] = Quantity(value, below, count)

    def _units(self) -> list[int]:
        """Microseconds in the unit of a level, for each request; empty for the other aggregations."""
        if self.meter.aggregation != "time_weighted":
            return []
        unit = self.meter.unit
        if unit is None:
            raise ValueError("a time_weighted meter needs a unit: second, hour, day or period")
        return [unit_of(unit, request.full_period) for request in self.requests]

    def _counts(self, request: Indices, rows: Indices) -> Mask:
        """Which events count for the request beside them: known, and naming no subscription or this one."""
        named = self.index.named[rows]
        mine = (named == self.named[request]) | ((named == NOBODY) & ~self.named_only[request])
        good: Mask = self.known[rows] & mine
        return good

    def _counted(self) -> tuple[Indices, Indices, Column, Indices]:
        """Request, combination, result and number of events of every combination that has events."""
        index = self.index
        low, high = index.ranges(self.customer, self.start, self.end)
        request, rows = flat_ranges(low, high)
        good = self.allowed[index.combination[rows]] & self._counts(request, rows)
        request, rows = request[good], rows[good]
        key, group = np.unique(request * len(self.by) + self.kept[index.combination[rows]], return_inverse=True)
        picked = None if index.values is None else index.values.take(rows)
        texts = picked.values if picked is not None and self.meter.aggregation == "unique" else None
        grouped = Rows(group.astype(np.int64), len(key), index.time[rows], index.arrival[rows], picked, texts)
        values = numbers(self.meter.aggregation, grouped)
        return key // len(self.by), key % len(self.by), values, events_of(grouped)

    def _weighted(self) -> tuple[Indices, Indices, Column, Indices]:
        """The same for levels: each combination has its own, those of one `by` are added (spec 3.4)."""
        index = self.index
        request, block = flat_ranges(*index.blocks_of(self.customer))
        wanted = self.allowed[index.block_combination[block]]
        request, block = request[wanted], block[wanted]
        start, end = self.start[request], self.end[request]
        low, high = index.ranges(block, start, end)
        carried = self._carried(request, block, low)
        pair, rows = flat_ranges(low, high)
        good = self._counts(request[pair], rows)
        pair, rows = pair[good], rows[good]
        levels = index.level(rows)
        grouped = Rows(pair, len(request), index.time[rows], index.arrival[rows], levels)
        areas, events = integrals(grouped, carried, start, np.maximum(start, end)), events_of(grouped)
        alive = (events > 0) | (carried.values != 0).astype(np.bool_)
        keys = request[alive] * len(self.by) + self.kept[index.block_combination[block[alive]]]
        key, group = np.unique(keys, return_inverse=True)
        group = group.astype(np.int64)
        sums = sum_groups(areas.take(alive), group, len(key))
        counts = sum_groups(Column(events[alive], 0), group, len(key))
        return key // len(self.by), key % len(self.by), sums, counts.values

    def _carried(self, request: Indices, block: Indices, low: Indices) -> Column:
        """The level into each span: that of the last event before it that counts, 0 if there is none (spec 3.3)."""
        first = self.index.block_start[block]
        row = low - 1
        while True:
            back = np.flatnonzero(row >= first)
            back = back[~self._counts(request[back], row[back])]
            if not len(back):
                break
            row[back] -= 1
        found = row >= first
        levels = self.index.level(np.where(found, row, 0)) if len(self.index.time) else Column.zeros(len(row))
        return Column(np.where(found, levels.values, 0), levels.scale)


def _together(parts: list[Indices]) -> Indices:
    """Arrays one after the other."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
