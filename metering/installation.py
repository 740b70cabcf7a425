"""What is true of a whole installation: under which clock its data were made, and how it begins anew."""

from typing import Final

import asyncpg

from metering.clock import Clock, SettableClock
from metering.errors import ConfigurationError
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.stream.log import Log
from schemas.instants import Instant

SYSTEM_CLOCK: Final = "system"


async def claim_clock(pool: asyncpg.Pool, clock: Clock) -> str | None:
    """Make sure that the data and the clock fit; a settable clock goes on where it was left.

    Answers what a person should be told, if anything. Raises `ConfigurationError` where data of one kind of clock would
    be used under the other: months that have passed under a settable clock have not passed in the world.
    """
    wanted = str(clock.now()) if isinstance(clock, SettableClock) else SYSTEM_CLOCK
    async with connection(pool) as lent:
        found: str = await lent.fetchval(queries().claim_clock, wanted)
    if not isinstance(clock, SettableClock):
        if found == SYSTEM_CLOCK:
            return None
        raise ConfigurationError(
            f"these data were made under a settable clock, which is at {found}: start with --clock, or on other data"
        )
    if found == SYSTEM_CLOCK:
        raise ConfigurationError("these data live by the machine's clock: for --clock choose others with --data-dir")
    left = Instant.parse(found)
    if left <= clock.now():
        return None
    clock.set(left)
    return f"The clock was left at {left}; it goes on from there."


async def save_clock(pool: asyncpg.Pool, clock: Clock) -> None:
    """Remember where a settable clock stands, for the next start."""
    async with connection(pool) as lent:
        await lent.execute(queries().save_clock, str(clock.now()))


async def drop_data(pool: asyncpg.Pool, log: Log) -> None:
    """Drop all data; reading begins at the present end of the log. No worker and no scheduler may run."""
    ends = await log.ends()

    async def steps(lent: asyncpg.Connection) -> None:
        await lent.execute(queries().drop_all_data)
        await lent.execute(queries().begin_sellers)
        await lent.execute(queries().begin_partitions, log.identity, list(ends), list(ends.values()))

    await transaction(pool, steps)
