"""Name the first events that explain a difference (reads the archive again, a bucket at a time)."""

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.archive.accepted import among
from metering.archive.compare import Difference, Named, start_of
from metering.archive.files import read_file
from metering.archive.place import Place
from metering.archive.recompute import Place as Bucket
from metering.archive.recompute import Usage, usage_of
from metering.archive.rows import INSTANT, SCHEMA, positions_of, times_of
from metering.archive.snapshot import Snapshot
from metering.dedup.window import place_of
from rating.fixed import Indices
from schemas.instants import DAY, HOUR

EXPLAINED_MAX: Final = 20
"""Differences for which events are looked for."""
NAMED_MAX: Final = 3
LOOKED_AT_MAX: Final = 20_000
"""Events of a bucket that are looked at one by one."""
_NOBODY: Final = np.zeros(0, dtype=np.int64)
_EPOCH: Final = date(1970, 1, 1)

NOT_KEPT = "it is in the archive, but was never committed"
GONE = "it was committed, but is neither in the archive nor in the log"
NOT_COUNTED = "it was committed, but should not have counted"
EXACTLY = "its quantity is the difference"
IN_IT = "it belongs here"


class Evidence(NamedTuple):
    """What is known of the events behind a snapshot.

    `chosen` are the positions of those that counted, `positions` those of all, `taken` those of the identities that are
    remembered at `now`, all rising; `tail` the tables that came from the log; `late_window` as the workers have it.
    """

    snapshot: Snapshot
    place: Place
    tail: Sequence[Any]
    chosen: Indices
    positions: Indices
    late_window: int
    taken: Indices = _NOBODY
    now: int = 0


def explain(found: Sequence[Difference], evidence: Evidence) -> list[Difference]:
    """The same differences, the first of usage with the events that explain them best."""
    explained = []
    for number, one in enumerate(found):
        if one.place is not None and number < EXPLAINED_MAX:
            one = one._replace(events=_named(one, one.place, evidence))
        explained.append(one)
    return explained


def _named(one: Difference, place: Bucket, evidence: Evidence) -> list[Named]:
    """The first events of a bucket, those first that explain the difference."""
    table = _events_of(place, evidence)
    off = one.kept.quantity - one.computed.quantity
    proof, others = _gone(one, place, evidence), list[Named]()
    window = np.maximum(times_of(table, "late_window"), evidence.late_window)
    remembered = times_of(table, "received") + window + DAY > evidence.now
    kept = among(positions_of(table), evidence.taken)
    counted = among(positions_of(table), evidence.chosen)
    for row in range(min(len(table), LOOKED_AT_MAX)):
        quantity = _quantity(table.slice(row, 1), place, evidence)
        if quantity is None:
            continue
        why = IN_IT
        if counted[row] and not kept[row] and remembered[row]:
            why = NOT_KEPT
        elif kept[row] and not counted[row]:
            why = NOT_COUNTED
        elif abs(one.kept.events - one.computed.events) == 1 and quantity == abs(off) and off:
            why = EXACTLY
        shown = table.slice(row, 1).to_pylist()[0]
        named = Named(shown["offset"], shown["index"], shown["source"], shown["id"], quantity, why)
        if why in (NOT_KEPT, NOT_COUNTED):
            proof.append(named)
        elif counted[row]:
            others.append(named)
    hints = [named for named in others if named.why is EXACTLY]
    return sorted(proof, key=lambda named: named[:2])[:NAMED_MAX] or hints[:NAMED_MAX] or others[:NAMED_MAX]


def _gone(one: Difference, place: Bucket, evidence: Evidence) -> list[Named]:
    """Positions that were committed in the bucket's range of offsets, but of which no event is left."""
    kept = [
        amount
        for at, amount in evidence.snapshot.usage.items()
        if at._replace(start=start_of(evidence.snapshot, at.customer, at.start)) == place
    ]
    if not kept or one.kept.events <= one.computed.events:
        return []
    lost = evidence.taken[~among(evidence.taken, evidence.positions)]
    first, last = min(amount.first_offset for amount in kept), max(amount.last_offset for amount in kept)
    places = [place_of(int(position)) for position in lost.tolist()]
    return [Named(offset, index, None, None, None, GONE) for offset, index in places if first <= offset <= last]


def _events_of(place: Bucket, evidence: Evidence) -> Any:
    """The events of the bucket's customer in its hour, in the order of the log."""
    hour = place.start // HOUR * HOUR
    wanted = (
        (pc.field("customer") == place.customer)
        & (pc.field("time") >= pa.scalar(hour, INSTANT))
        & (pc.field("time") < pa.scalar(hour + HOUR, INSTANT))
    )
    day = _EPOCH + timedelta(hour // DAY)
    files = [file for file in evidence.snapshot.files if file.day == day]
    tables = [read_file(evidence.place, file.path, wanted) for file in files]
    tables += [table.filter(wanted) for table in evidence.tail]
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by([("offset", "ascending"), ("index", "ascending")])


def _quantity(event: Any, place: Bucket, evidence: Evidence) -> Fraction | None:
    """What one event adds to a bucket, None if it is not one of it."""
    usage: Usage = {}
    snapshot = evidence.snapshot
    usage_of(event, positions_of(event), snapshot.meters, snapshot.cuts, usage)
    amount = usage.get(place)
    return None if amount is None else Fraction(amount.quantity)
