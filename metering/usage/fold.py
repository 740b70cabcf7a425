"""From accepted events to buckets of usage (pure; spec 3.4, 3.5)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import msgspec
import numpy as np

from metering.dedup.window import INDEX_BITS
from rating.extract import Batch, Metered
from rating.fixed import Indices, Mask, sum_groups
from schemas.instants import HOUR
from schemas.meter import Aggregation

Cuts = Callable[[str], Sequence[int]]
"""The instants of a customer (rising, microseconds) at which a bucket ends though the hour does not."""


class Bucket(NamedTuple):
    """What one checkpoint adds to a bucket; `start` in microseconds."""

    customer: str
    meter: str
    start: int
    combination: tuple[str, ...]
    named: str
    quantity: Decimal
    events: int
    first_offset: int
    last_offset: int


LIVE: frozenset[Aggregation] = frozenset({"count", "sum"})
"""What buckets can hold, and so what is metered live: the aggregations whose parts add up. The simulator has all."""


def fold(aggregation: Aggregation, metered: Metered, batch: Batch, positions: Indices, cuts: Cuts) -> list[Bucket]:
    """The buckets that one meter's rows of a batch add to; `positions` int64 of the whole batch."""
    if len(metered.rows) == 0:
        return []
    rows = metered.rows
    picked = rows.tolist()
    subject, subjects = _encode([batch.subjects[row] for row in picked])
    named, names = _encode_rare([batch.subscriptions[row] for row in picked])
    start, starts = _encode_ints(_starts(batch.time[rows], subject, subjects, cuts))
    key = ((subject * len(names) + named) * len(metered.combinations) + metered.code) * len(starts) + start
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    count = np.bincount(group, minlength=len(first))
    if metered.values is None:
        quantities = [Decimal(events) for events in count.tolist()]
    else:
        quantities = sum_groups(metered.values, group, len(first)).decimals()
    offsets = positions[rows] >> INDEX_BITS
    lowest = np.full(len(first), np.iinfo(np.int64).max)
    highest = np.full(len(first), -1)
    np.minimum.at(lowest, group, offsets)
    np.maximum.at(highest, group, offsets)
    return [
        Bucket(
            subjects[who], metered.meter, begins, metered.combinations[code], names[name], quantity, events, low, high
        )
        for who, begins, code, name, quantity, events, low, high in zip(
            subject[first].tolist(),
            starts[start[first]].tolist(),
            metered.code[first].tolist(),
            named[first].tolist(),
            quantities,
            count.tolist(),
            lowest.tolist(),
            highest.tolist(),
            strict=True,
        )
    ]


def only(metered: Metered, wanted: Mask) -> Metered:
    """Some of a meter's rows: `wanted` bool[m]. For aggregations whose parts add up."""
    values = None if metered.values is None else metered.values.take(wanted)
    return replace(metered, rows=metered.rows[wanted], values=values, code=metered.code[wanted])


def _starts(time: Indices, subject: Indices, subjects: list[str], cuts: Cuts) -> Indices:
    """Where each event's bucket begins: int64[m]."""
    starts = time // HOUR * HOUR
    for code, customer in enumerate(subjects):
        if at := cuts(customer):
            rows = np.flatnonzero(subject == code)
            starts[rows] = _cut(starts[rows], time[rows], at)
    return starts


def _cut(starts: Indices, time: Indices, cuts: Sequence[int]) -> Indices:
    """The later of each hour and the last cut that is not after the event."""
    at = np.array(cuts, dtype=np.int64)
    before = np.searchsorted(at, time, side="right") - 1
    return np.where(before >= 0, np.maximum(starts, at[np.maximum(before, 0)]), starts)


def _encode(texts: list[str]) -> tuple[Indices, list[str]]:
    """Codes of texts, and the texts in order of first sight."""
    codes: dict[str, int] = {}
    encoded = np.array([codes.setdefault(text, len(codes)) for text in texts], dtype=np.int64)
    return encoded, list(codes)


def _encode_rare(texts: list[str | None]) -> tuple[Indices, list[str]]:
    """The same, where most often there is no text at all: None counts as empty."""
    return _encode([text or "" for text in texts]) if any(texts) else (np.zeros(len(texts), dtype=np.int64), [""])


def _encode_ints(numbers: Indices) -> tuple[Indices, Indices]:
    """Codes of integers, and the integers in order."""
    distinct, encoded = np.unique(numbers, return_inverse=True)
    return encoded, distinct


def dimensions_text(combination: Sequence[str]) -> str:
    """A combination as the tables keep it: a JSON array of its texts."""
    return msgspec.json.encode(combination).decode()


def combination_of(text: str) -> tuple[str, ...]:
    """The combination that a table keeps."""
    return msgspec.json.decode(text, type=tuple[str, ...])
