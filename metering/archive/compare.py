"""Usage and totals that are kept, beside those computed again: what differs (pure)."""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from metering.archive.recompute import Amount, Place, Usage, aligned, pieces_by_customer
from metering.archive.snapshot import NOBODY, Snapshot, Worth
from metering.rater.totals import Key, Sum, gather, rated
from rating.segments import ChargeSegment
from schemas.instants import HOUR

NOTHING = Worth(0, Fraction(0), Fraction(0))


class Named(NamedTuple):
    """An event that is named for a difference, by its offset and its number in the message; `source` and `id` are None
    where nothing has it."""

    offset: int
    number: int
    source: str | None
    id: str | None
    quantity: Fraction | None
    why: str


class Difference(NamedTuple):
    """Something that is kept otherwise than computed: a bucket of usage (`place`) or a rated total (`key`)."""

    place: Place | None
    key: Key | None
    kept: Worth
    computed: Worth
    events: Sequence[Named] = ()


def unverifiable(snapshot: Snapshot) -> frozenset[Place]:
    """Buckets with events from before the archive: they cannot be computed."""
    return frozenset(place for place, amount in snapshot.usage.items() if amount.first_offset < snapshot.begin)


def start_of(snapshot: Snapshot, customer: str, start: int) -> int:
    """Where today's bucket of an instant begins: a cut that is no longer one divides nothing."""
    hour, cuts = start // HOUR * HOUR, snapshot.cuts(customer)
    place = bisect_right(cuts, start) - 1
    return max(hour, cuts[place]) if place >= 0 else hour


def differences(snapshot: Snapshot, computed: Usage, start: int, end: int, *, totals: bool) -> list[Difference]:
    """What of the usage in [start, end) differs, and with `totals` of the rated totals."""
    old = unverifiable(snapshot)

    def at(customer: str, instant: int) -> int:
        return start_of(snapshot, customer, instant)

    skipped = {place._replace(start=at(place.customer, place.start)) for place in old}
    kept, again = aligned(snapshot.usage, at), aligned(computed, at)
    found = []
    for place in sorted(kept.keys() | again.keys()):
        left, right = kept.get(place), again.get(place)
        same = left is not None and right is not None and left[:2] == right[:2]
        if not same and place not in skipped and start <= place.start < end:
            found.append(Difference(place, None, _worth(left), _worth(right)))
    if totals:
        found += _totals(snapshot, again | {place: kept[place] for place in skipped})
    return found


def _totals(snapshot: Snapshot, usage: Usage) -> list[Difference]:
    """Totals that are not what the usage gives."""
    sums: dict[Key, Sum] = {}
    touched: dict[Key, ChargeSegment] = {}
    for customer, pieces in pieces_by_customer(usage).items():
        dimensions = {piece.meter: snapshot.meters.dimensions(piece.meter) for piece in pieces}
        touched |= gather(customer, snapshot.owners.get(customer, NOBODY).segments, pieces, dimensions, sums)
    again = {
        total.key: Worth(
            total.sum.events, Fraction(total.sum.quantity), Fraction(total.numerator) / Fraction(total.divisor)
        )
        for total in rated(touched, sums)
    }
    return [
        Difference(None, key, snapshot.totals.get(key, NOTHING), again.get(key, NOTHING))
        for key in sorted(snapshot.totals.keys() | again.keys())
        if snapshot.totals.get(key) != again.get(key)
    ]


def _worth(amount: Amount | None) -> Worth:
    return NOTHING if amount is None else Worth(amount.events, Fraction(amount.quantity), Fraction(0))
