"""Usage computed again from events: the same functions as in the stream, over the archive's rows (pure)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from metering.archive.accepted import among
from metering.archive.meters import MeterTimes
from metering.archive.rows import positions_of, times_of
from metering.dedup.window import INDEX_BITS
from metering.usage.fold import Bucket, Cuts, fold
from metering.usage.pieces import EXACT, Piece
from rating.fixed import Indices


class Place(NamedTuple):
    """Where usage is kept: a row of `usage` without its sums."""

    customer: str
    meter: str
    start: int
    combination: tuple[str, ...]
    named: str


class Amount(NamedTuple):
    """What is there: quantity, events, and the offsets between which these lie."""

    quantity: Decimal
    events: int
    first_offset: int
    last_offset: int

    def plus(self, other: "Amount") -> "Amount":
        """Both together."""
        return Amount(
            EXACT.add(self.quantity, other.quantity),
            self.events + other.events,
            min(self.first_offset, other.first_offset),
            max(self.last_offset, other.last_offset),
        )


Usage = dict[Place, Amount]


def usage_of(table: Any, chosen: Indices, meters: MeterTimes, cuts: Cuts, usage: Usage) -> None:
    """Add to `usage` what the rows of a table (`rows.SCHEMA`) with chosen positions (rising) come to."""
    positions = positions_of(table)
    rows = np.flatnonzero(among(positions, chosen))
    if len(rows) == 0:
        return
    part = table if len(rows) == len(table) else table.take(rows)
    positions = positions[rows]
    epochs = np.searchsorted(np.array(meters.edges, dtype=np.int64), positions >> INDEX_BITS, side="right")
    for epoch in np.unique(epochs).tolist():
        here = np.flatnonzero(epochs == epoch)
        some = part if len(here) == len(part) else part.take(here)
        in_force = meters.at(int(positions[here[0]]) >> INDEX_BITS)
        raws = some["event"].cast(pa.binary()).to_pylist()
        batch = in_force.extractor.read(raws, times_of(some, "received"))
        for metered in in_force.extractor.meter(batch):
            for bucket in fold(in_force.aggregation(metered.meter), metered, batch, positions[here], cuts):
                add(usage, bucket)


def add(usage: Usage, bucket: Bucket) -> None:
    """Add what a bucket has."""
    place, amount = Place(*bucket[:5]), Amount(*bucket[5:])
    before = usage.get(place)
    usage[place] = amount if before is None else before.plus(amount)


def aligned(usage: Usage, start_of: Callable[[str, int], int]) -> Usage:
    """The same usage in buckets that begin where `start_of` (customer, start) says: finer ones are added up."""
    found: Usage = {}
    for place, amount in usage.items():
        at = place._replace(start=start_of(place.customer, place.start))
        before = found.get(at)
        found[at] = amount if before is None else before.plus(amount)
    return found


def pieces_by_customer(usage: Usage) -> dict[str, list[Piece]]:
    """Usage as the rater takes it."""
    pieces: dict[str, list[Piece]] = {}
    for place, amount in usage.items():
        pieces.setdefault(place.customer, []).append(Piece(*place[1:], amount.quantity, amount.events))
    return pieces
