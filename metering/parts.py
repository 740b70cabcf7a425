"""The parts of an engine over one pool and one log: its roles, its routes, and how all of it begins anew."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import asyncpg
from aiohttp import web

from metering.api import balance, key_routes, rejected, usage
from metering.api import clock as clocks
from metering.api.keys import Keys
from metering.api.probes import Check
from metering.archive import http as events
from metering.archive.archiver import Archiver
from metering.archive.checker import Checker
from metering.archive.place import place_of
from metering.archive.reading import EventReader
from metering.archive.rebuild import Rebuilder
from metering.archive.store import ArchiveStore
from metering.catalog import http as catalog
from metering.catalog.store import CatalogStore
from metering.clock import Clock, SettableClock
from metering.config import Settings
from metering.ingest import http as ingest
from metering.installation import drop_data, save_clock
from metering.invoices import http as invoices
from metering.invoices.finals import FinalInvoices
from metering.invoices.owed import OwedReader
from metering.invoices.scheduler import Scheduler
from metering.invoices.store import InvoiceStore
from metering.invoices.watermark import Watermarks
from metering.postgres.pool import connection
from metering.stream.checkpoint import Checkpoint
from metering.stream.lane import Lane
from metering.stream.log import Log
from metering.stream.postgres_log import PostgresLog
from metering.stream.trim import Trimmer
from metering.stream.worker import Worker
from metering.subscriptions import http as subscriptions
from metering.subscriptions.accounts import Accounts
from metering.subscriptions.customers import CustomerStore
from metering.subscriptions.store import Acts
from metering.supervisor import Role, Supervisor
from schemas.instants import Instant

SETTLE_SECONDS: Final = 20.0
"""How long `POST /v1/clock` waits until what has fallen due is done."""


class Parts:
    """What works (`start`, `stop`, `failed`) and what answers (`routes`, `checks`)."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        pool: asyncpg.Pool,
        log: Log,
        others: Mapping[str, Callable[[], Role]] | None = None,
    ) -> None:
        """`others` are roles besides worker and scheduler."""
        self._settings = settings
        self._clock = clock
        self._pool = pool
        self._log = log
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._accounts = Accounts()
        self._owed = OwedReader(self._accounts, FinalInvoices(), settings.late_window)
        self._watermarks = Watermarks(pool, log, clock)
        self._gateway = ingest.Gateway(log, clock, settings.late_window)
        self._place = place_of(settings)
        self._others = dict(others or {})
        self._supervisor = Supervisor(self._roles())

    def start(self) -> None:
        """Start the roles."""
        self._supervisor.start()

    async def failed(self) -> None:
        """Wait until a role has failed for good, and raise its error."""
        while True:
            supervisor = self._supervisor
            await supervisor.failed()
            if supervisor is self._supervisor:
                return

    async def stop(self) -> None:
        """Let what is on its way arrive, then stop the roles."""
        await self._gateway.close()
        await self._supervisor.stop()

    def checks(self) -> dict[str, Check]:
        """What must work for the engine to be ready."""

        async def store() -> None:
            async with connection(self._pool) as lent:
                await lent.fetchval("SELECT 1")

        async def log() -> None:
            await self._log.ends()

        return {"postgres": store, "log": log}

    def routes(self, keys: Keys) -> list[Iterable[web.AbstractRouteDef]]:
        """Every route of the API."""
        pool, clock = self._pool, self._clock
        customers = CustomerStore(pool, clock, self._log.partitions)
        balances = balance.Balances(pool, clock, self._owed, self._watermarks)
        found: list[Iterable[web.AbstractRouteDef]] = [
            ingest.routes(self._gateway),
            catalog.routes(CatalogStore(pool, clock, self._log.partitions), customers),
            subscriptions.routes(customers, Acts(pool, clock, self._log, self._accounts), clock),
            balance.routes(balances),
            invoices.routes(InvoiceStore(pool, clock, self._owed)),
            usage.routes(pool),
            rejected.routes(pool),
            events.routes(pool, EventReader(pool, self._log, self._place)),
            key_routes.routes(keys),
        ]
        if isinstance(clock, SettableClock):
            found.append(clocks.routes(clock, self._settle, self._reset))
        return found

    def _roles(self) -> dict[str, Callable[[], Role]]:
        roles: dict[str, Callable[[], Role]] = self._others | {
            "archiver": lambda: Archiver(
                self._log, ArchiveStore(self._pool), self._place, self._clock, owner=self._owner
            ),
            "checker": lambda: Checker(
                Rebuilder(self._pool, self._log, self._place, self._clock, self._settings.late_window),
                self._log.partitions,
                self._clock,
            ),
            "worker": lambda: Worker(self._log, self._lane_of(Accounts()), self._clock),
            "scheduler": lambda: self._scheduler(self._watermarks),
        }
        if isinstance(log := self._log, PostgresLog):
            roles["trimmer"] = lambda: Trimmer(log, self._pool, self._clock, self._settings.late_window)
        return roles

    def _lane_of(self, accounts: Accounts) -> Callable[[int], Lane]:
        """How a worker makes a partition's lane; its lanes share what they know of accounts."""
        late_window = self._settings.late_window

        def lane(partition: int) -> Lane:
            checkpoint = Checkpoint(
                partition, self._log, self._pool, self._clock, accounts, owner=self._owner, late_window=late_window
            )
            return Lane(checkpoint, self._clock)

        return lane

    def _scheduler(self, watermarks: Watermarks) -> Scheduler:
        settings = self._settings
        return Scheduler(
            self._pool, self._clock, self._accounts, watermarks, grace=settings.grace, late_window=settings.late_window
        )

    async def _settle(self) -> bool:
        """After the clock was moved: remember it, then do what has fallen due."""
        await save_clock(self._pool, self._clock)
        watermarks = Watermarks(self._pool, self._log, self._clock)  # what is waited for lies after the move
        settled = await self._scheduler(watermarks).settle(SETTLE_SECONDS)
        self._watermarks.learn(watermarks)  # a balance that is read now is as of now
        return settled

    async def _reset(self, now: Instant) -> None:
        """Drop all data and begin at `now`; the API stays, keys too."""
        assert isinstance(self._clock, SettableClock)
        stopped, self._supervisor = self._supervisor, Supervisor(self._roles())
        await stopped.stop()
        await drop_data(self._pool, self._log)
        self._clock.restart(now)
        await save_clock(self._pool, self._clock)
        self._owed.forget()
        self._watermarks.forget()
        self._supervisor.start()
