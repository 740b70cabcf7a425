"""Puts the parts together: what `metering up` and `metering demo` run in one process (design 6).

Started in this order, stopped in the reverse: PostgreSQL, migrations, pool, log, roles, API, probes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from metering.api.app import make_app
from metering.api.keys import Keys
from metering.api.probes import make_probes
from metering.clock import Clock
from metering.config import Settings
from metering.embedded import EmbeddedPostgres
from metering.installation import claim_clock
from metering.parts import Parts
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.serving import serve
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Log
from metering.stream.postgres_log import PostgresLog
from metering.supervisor import Role

POOL_SIZE: Final = 32
"""A connection for each partition's checkpoint at the usual number of them, and some for readers."""
POOL_CLOSE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.5
"""How soon an embedded server that ended is seen."""


@dataclass(frozen=True)
class Engine:
    """A running engine: where it is, and what a person should be told."""

    url: str
    probes_url: str
    admin_key: str | None
    """The admin key made at this first start, to be shown once."""
    notes: tuple[str, ...]
    failed: Callable[[], Coroutine[Any, Any, None]]
    """Waits until a role fails for good, and raises its error."""


@asynccontextmanager
async def running(settings: Settings, clock: Clock, *, embedded_broker: bool = False) -> AsyncIterator[Engine]:
    """Run everything until the block ends.

    `embedded_broker`: the Kafka that the settings name is an `EmbeddedBroker`. Raises `MeteringError` for what does not
    start.
    """
    async with AsyncExitStack() as stack:
        yield await _start(settings, clock, embedded_broker, stack)


async def _start(settings: Settings, clock: Clock, embedded_broker: bool, stack: AsyncExitStack) -> Engine:
    notes: list[str] = []
    dsn, kept = settings.postgres, dict[str, Callable[[], Role]]()
    if dsn is None:
        postgres = await stack.enter_async_context(EmbeddedPostgres(settings.data_dir))
        dsn, kept["postgres"] = postgres.dsn, lambda: KeptServer(postgres, clock)
        notes.append(f"PostgreSQL is embedded; its data are in {settings.data_dir}.")
    if applied := await migrate(dsn):
        notes.append(f"The database was migrated: {', '.join(applied)}.")
    pool = await create_pool(dsn, size=POOL_SIZE)
    stack.push_async_callback(_close_pool, pool)
    if said := await claim_clock(pool, clock):
        notes.append(said)
    log = log_of(settings, pool, clock, embedded_broker)
    await log.start()
    stack.push_async_callback(log.stop)
    keys = Keys(pool, clock)
    admin_key = await keys.bootstrap(settings.bootstrap_key)
    parts = Parts(settings, clock, pool, log, kept)
    stack.push_async_callback(parts.stop)
    parts.start()
    url = await serve(make_app(keys, *parts.routes(keys)), settings.host, settings.port, stack, notes)
    probes_url = await serve(make_probes(parts.checks()), settings.host, settings.metrics_port, stack, notes)
    return Engine(url, probes_url, admin_key, tuple(notes), parts.failed)


class KeptServer:
    """A role: an embedded server that ended, killed or crashed, is started again on its data."""

    def __init__(self, server: EmbeddedPostgres, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._stopping = False

    async def run(self) -> None:
        """Look now and then until `stop`; raises `EmbeddedError` if the server cannot be started again."""
        while not self._stopping:
            await self._server.start()
            await self._clock.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """End `run`; the server itself is left to whoever started it."""
        self._stopping = True


def log_of(settings: Settings, pool: asyncpg.Pool, clock: Clock, embedded_broker: bool) -> Log:
    """Kafka where it is named, else a table of PostgreSQL."""
    if settings.kafka is None:
        return PostgresLog(pool, clock=clock, partitions=settings.partitions)
    return KafkaLog(
        settings.kafka,
        settings.topic,
        clock=clock,
        partitions=settings.partitions,
        # The embedded broker takes seconds for a group, and has no other process to share with.
        group=None if embedded_broker else "metering",
        embedded=embedded_broker,
    )


async def _close_pool(pool: asyncpg.Pool) -> None:
    """Close the connections; those that do not answer are dropped."""
    try:
        async with asyncio.timeout(POOL_CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()
