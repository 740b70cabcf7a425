"""Drops old messages of a log that is a table: what is committed and archived, and older than anything read again."""

import time
from typing import Final

import asyncpg

from metering.clock import Clock
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from metering.stream.postgres_log import PostgresLog
from schemas.instants import DAY, Instant

EVERY_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 0.5
"""How soon a stop is seen."""


class Trimmer:
    """A role: trims now and then. Kept is the late window and a day: a boundary made since reads its bucket again."""

    def __init__(self, log: PostgresLog, pool: asyncpg.Pool, clock: Clock, late_window: int) -> None:
        """`late_window` in microseconds (spec 2.4)."""
        self._log = log
        self._pool = pool
        self._clock = clock
        self._late_window = late_window
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`."""
        last = -EVERY_SECONDS
        while not self._stopping:
            if time.monotonic() - last >= EVERY_SECONDS:
                await self.trim()
                last = time.monotonic()
            await self._clock.sleep(LOOK_SECONDS)

    async def trim(self) -> None:
        """Drop what is old now."""
        async with connection(self._pool) as lent:
            rows = await lent.fetch(queries().archived_offsets)
        archived = {row["partition"]: row["next_offset"] for row in rows}
        await self._log.trim(archived, Instant(self._clock.now() - self._late_window - DAY))

    def stop(self) -> None:
        """End `run`."""
        self._stopping = True
