"""Usage computed again from events: the same functions as in the stream, over the archive's rows (pure)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from metering.archive.accepted import among
from metering.archive.exact import Noted
from metering.archive.meters import MeterTimes
from metering.archive.rows import codes_of, positions_of, times_of
from metering.dedup.window import INDEX_BITS
from metering.usage.fold import Bucket, Cuts, fold
from metering.usage.meters import Meters
from metering.usage.pieces import EXACT, Piece
from rating.extract import Batch, Metered
from rating.fixed import Indices

COLUMNS = ["customer", "time", "type", "subscription", "received", "offset", "index", "values", "texts"]
"""What is read of the archive for this, besides the JSON where it is needed."""


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


def usage_of(
    table: Any, chosen: Indices, meters: MeterTimes, cuts: Cuts, usage: Usage, events: Callable[[], Any] | None = None
) -> None:
    """Add to `usage` what the rows of a table (`COLUMNS`) with chosen positions (rising) come to.

    `events` gives the JSON of all rows, in their order, where the notes do not have what a meter reads; without it the
    table's column `event` does.
    """
    positions = positions_of(table)
    mask = among(positions, chosen)
    rows = np.flatnonzero(mask)
    if len(rows) == 0:
        return
    part = table if len(rows) == len(table) else table.filter(pa.array(mask))
    positions = positions[rows]
    epochs = np.searchsorted(np.array(meters.edges, dtype=np.int64), positions >> INDEX_BITS, side="right")
    for epoch in np.unique(epochs).tolist():
        here = np.flatnonzero(epochs == epoch)
        some = part if len(here) == len(part) else part.take(here)
        in_force = meters.at(int(positions[here[0]]) >> INDEX_BITS)

        def raws(places: Indices, at: Indices = rows[here]) -> list[bytes]:
            column = table["event"] if events is None else events()
            found: list[bytes] = column.cast(pa.binary()).take(at[places]).to_pylist()
            return found

        _in_epoch(some, positions[here], in_force, cuts, usage, raws)


def _in_epoch(
    table: Any, positions: Indices, meters: Meters, cuts: Cuts, usage: Usage, raws: Callable[[Indices], list[bytes]]
) -> None:
    """The same for rows that met one set of meters; all of them count."""
    codes, types = codes_of(table, "type")
    noted, batch = Noted(table), _columns(table)
    left: list[int] = []
    wanted: set[str] = set()
    for code, kind in enumerate(types):
        of_type = np.flatnonzero(codes == code)
        for key, meter in meters.of_type(kind).items():
            metered = noted.meter(key, meter, of_type)
            if metered is None:
                wanted.add(key)
                left.append(code)
            else:
                _fold(meters, metered, batch, positions, cuts, usage)
    if wanted:
        places = np.flatnonzero(np.isin(codes, left))
        parsed = meters.extractor.read(raws(places), times_of(table, "received")[places])
        for metered in meters.extractor.meter(parsed):
            if metered.meter in wanted:
                _fold(meters, metered, parsed, positions[places], cuts, usage)


def _fold(meters: Meters, metered: Metered, batch: Batch, positions: Indices, cuts: Cuts, usage: Usage) -> None:
    for bucket in fold(meters.aggregation(metered.meter), metered, batch, positions, cuts):
        add(usage, bucket)


def _columns(table: Any) -> Batch:
    """Of a batch what `fold` reads."""
    time = times_of(table)
    codes, customers = codes_of(table, "customer")
    subjects = np.array(customers, dtype=object)[codes].tolist()  # One text object a customer: hashed once.
    named = table["subscription"]
    subscriptions = [None] * len(named) if named.null_count == len(named) else named.to_pylist()
    nothing: list[Any] = []
    valid = np.ones(len(time), dtype=np.bool_)
    return Batch(valid, nothing, nothing, nothing, subjects, subscriptions, time, time, time, nothing, nothing)


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
