"""Up to which instant everything that was received is committed, per partition.

The log's end is read; once a partition has committed past it, all that was received before the reading is in. So the
answer never runs ahead of a worker that lags, and gets there even while events keep coming.
"""

from typing import NamedTuple

import asyncpg

from metering.clock import Clock
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from metering.stream.log import Log
from schemas.instants import Instant


class _Target(NamedTuple):
    """Once the offset is committed, the partition is complete up to `at`."""

    at: Instant
    offset: int


class Watermarks:
    """What is known of each partition; `refresh` learns more."""

    def __init__(self, pool: asyncpg.Pool, log: Log, clock: Clock) -> None:
        self._pool = pool
        self._log = log
        self._clock = clock
        self._targets: dict[int, _Target] = {}
        self._complete: dict[int, Instant] = {}

    def of(self, partition: int) -> Instant | None:
        """The instant up to which a partition is complete; None if nothing is known yet."""
        return self._complete.get(partition)

    def all(self) -> dict[int, Instant]:
        """The instant of every partition of which one is known."""
        return dict(self._complete)

    async def refresh(self) -> None:
        """Read the log's ends where none is waited for, then see what is committed.

        Raises `LogUnavailable` or `StoreUnavailable`; what was known stays known.
        """
        missing = [partition for partition in range(self._log.partitions) if partition not in self._targets]
        if missing:
            now = self._clock.now()  # before the ends are read: what arrives in between may or may not be in them
            ends = await self._log.ends()
            self._targets |= {partition: _Target(now, ends.get(partition, 0)) for partition in missing}
        async with connection(self._pool) as lent:
            rows = await lent.fetch(queries().committed_offsets)
        committed = {row["partition"]: row["next_offset"] for row in rows}
        for partition, target in list(self._targets.items()):
            if committed.get(partition, 0) >= target.offset:
                self._complete[partition] = max(target.at, self._complete.get(partition, target.at))
                del self._targets[partition]

    def learn(self, other: "Watermarks") -> None:
        """Take over what another has found out of the same log; nothing later than the clock, as after a reset."""
        now = self._clock.now()
        for partition, at in other.all().items():
            if at <= now:
                self._complete[partition] = max(at, self._complete.get(partition, at))

    def forget(self) -> None:
        """Know nothing: the log was made anew."""
        self._targets.clear()
        self._complete.clear()
