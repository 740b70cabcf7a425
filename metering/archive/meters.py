"""Which meters an event met when it was committed: their definitions, each from an offset of the partition on."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg

from metering.postgres.queries import queries
from metering.usage.meters import Meters
from schemas.codec import convert
from schemas.meter import Meter


class Since(NamedTuple):
    """A meter counts as it is defined here from this offset on."""

    meter: str
    first_offset: int
    definition: Meter


class MeterTimes:
    """The meters of a partition over its offsets: `at` answers those that a message met."""

    def __init__(self, now: Mapping[str, Meter], since: Sequence[Since]) -> None:
        """`now` are the meters in force; one without a `Since` has counted from the beginning."""
        noted = {one.meter for one in since}
        self._begin = {key: meter for key, meter in now.items() if key not in noted}
        self.edges = sorted({one.first_offset for one in since})
        self._by_edge = [self._meters_at(edge, since) for edge in self.edges]
        self._first = Meters(self._begin)

    def _meters_at(self, offset: int, since: Sequence[Since]) -> Meters:
        known = dict(self._begin)
        for one in sorted(since, key=lambda one: one.first_offset):
            if one.first_offset <= offset:
                known[one.meter] = one.definition
        return Meters(known)

    def at(self, offset: int) -> Meters:
        """The meters that a message at this offset met."""
        place = bisect_right(self.edges, offset) - 1
        return self._first if place < 0 else self._by_edge[place]

    def dimensions(self, meter: str) -> tuple[str, ...]:
        """The names of a meter's dimensions, which never change."""
        return next(one.dimensions(meter) for one in (self._first, *self._by_edge) if meter in one)

    @classmethod
    async def load(cls, lent: asyncpg.Connection, partition: int) -> "MeterTimes":
        """The meters of a partition."""
        now = {row["key"]: convert(row["definition"], Meter) for row in await lent.fetch(queries().load_meters)}
        rows = await lent.fetch(queries().meters_since, partition)
        return cls(now, [Since(row["meter"], row["first_offset"], convert(row["definition"], Meter)) for row in rows])
