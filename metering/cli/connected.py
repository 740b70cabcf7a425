"""What commands that work beside a running engine stand on: its database, its log, its clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from metering.clock import Clock, SettableClock, SystemClock
from metering.config import Settings
from metering.embedded import EmbeddedPostgres
from metering.installation import SYSTEM_CLOCK
from metering.postgres.pool import connection, create_pool
from metering.postgres.queries import queries
from metering.stream.log import Log
from metering.wiring import log_of
from schemas.instants import Instant

CONNECTIONS = 8


class Connected(NamedTuple):
    """An installation, from outside."""

    pool: asyncpg.Pool
    log: Log
    clock: Clock


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connected]:
    """Connect to the installation that the settings name.

    The database must be migrated. Without `METERING_POSTGRES` it is the embedded one of the data folder, which is
    started for as long; an engine that runs on that folder must be stopped before.
    """
    if settings.postgres is None:
        async with EmbeddedPostgres(settings.data_dir) as server, _connected(settings, server.dsn) as found:
            yield found
    else:
        async with _connected(settings, settings.postgres) as found:
            yield found


@asynccontextmanager
async def _connected(settings: Settings, dsn: str) -> AsyncIterator[Connected]:
    pool = await create_pool(dsn, size=CONNECTIONS)
    try:
        async with connection(pool) as lent:
            found: str = await lent.fetchval(queries().claim_clock, SYSTEM_CLOCK)
        clock: Clock = SystemClock() if found == SYSTEM_CLOCK else SettableClock(Instant.parse(found))
        log = log_of(settings, pool, clock, embedded_broker=False)
        await log.start()
        try:
            yield Connected(pool, log, clock)
        finally:
            await log.stop()
    finally:
        pool.terminate()
