"""The whole engine in one process over a log in memory: gateway, worker, scheduler and API under a settable clock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from metering.api import balance as balances
from metering.api import clock as clocks
from metering.api import rejected, usage
from metering.api.balance import Balances
from metering.clock import SettableClock
from metering.ingest.http import Gateway
from metering.ingest.http import routes as ingest_routes
from metering.invoices.finals import FinalInvoices
from metering.invoices.http import routes as invoice_routes
from metering.invoices.owed import OwedReader
from metering.invoices.scheduler import Scheduler
from metering.invoices.store import InvoiceStore
from metering.invoices.watermark import Watermarks
from metering.stream.checkpoint import Checkpoint
from metering.stream.lane import Lane
from metering.stream.worker import Worker
from metering.subscriptions.accounts import Accounts
from metering.testing.api import Answer, Api, serve_api
from metering.testing.broker import MemoryLog
from schemas.instants import DAY, HOUR, Instant

SETTLE_SECONDS = 20.0


class Engine:
    """A running engine; `api` talks to it."""

    def __init__(
        self,
        api: Api,
        clock: SettableClock,
        log: MemoryLog,
        scheduler: Scheduler,
        owed: OwedReader,
        new_scheduler: Callable[[], Scheduler],
        start_worker: Callable[[], Awaitable[None]],
    ) -> None:
        self.api = api
        self.clock = clock
        self.log = log
        self.scheduler = scheduler
        """The one that `POST /v1/clock` waits for; balances take `as_of` from its watermarks."""
        self.owed = owed
        self.new_scheduler = new_scheduler
        self.start_worker = start_worker

    async def send(self, events: Sequence[Any]) -> Answer:
        """Post events, and wait until they are in the balances of whoever they concern."""
        return await self.send_raw([msgspec.json.encode(event) for event in events])

    async def send_raw(self, raws: Sequence[bytes]) -> Answer:
        """The same with events as they are written; what the gateway refuses has not arrived."""
        answer = await self.api.post("/v1/events", b"[" + b",".join(raws) + b"]")
        assert answer.status == 202, answer
        await self.committed()
        await self.scheduler.step()  # usage of what has ended may be drafted at once
        return answer

    async def committed(self) -> None:
        """Wait until the worker has committed all that is in the log."""
        watermarks = self.new_scheduler().watermarks
        async with asyncio.timeout(SETTLE_SECONDS):
            await watermarks.refresh()
            while len(watermarks.all()) < self.log.partitions:
                await self.clock.sleep(0.01)
                await watermarks.refresh()

    async def move(self, at: str | Instant) -> None:
        """Move the clock, and have everything done that falls due."""
        answer = await self.api.post("/v1/clock", {"now": str(at)})
        assert answer.status == 200, answer
        assert answer.tree["settled"], answer


@asynccontextmanager
async def run_engine(
    pool: asyncpg.Pool,
    start: Instant,
    *,
    grace: int = HOUR,
    late_window: int = 35 * DAY,
    worker: bool = True,
) -> AsyncIterator[Engine]:
    """Everything, from `start` on; `grace` and `late_window` in microseconds."""
    clock = SettableClock(start)
    log = MemoryLog(clock)
    accounts, finals = Accounts(), FinalInvoices()
    owed = OwedReader(accounts, finals, late_window)
    watermarks = Watermarks(pool, log, clock)

    def new_scheduler() -> Scheduler:
        marks = Watermarks(pool, log, clock)
        return Scheduler(pool, clock, Accounts(), marks, grace=grace, late_window=late_window)

    scheduler = Scheduler(pool, clock, accounts, watermarks, grace=grace, late_window=late_window)
    gateway = Gateway(log, clock, late_window)

    async def no_reset(_now: Instant) -> None:
        raise NotImplementedError

    streamed = Accounts()

    def lane(partition: int) -> Lane:
        return Lane(Checkpoint(partition, log, pool, clock, streamed, owner="tests", late_window=late_window), clock)

    stream = Worker(log, lane, clock)
    running: list[asyncio.Task[None]] = []

    async def start_worker() -> None:
        running.append(asyncio.create_task(stream.run()))

    if worker:
        await start_worker()
    try:
        async with serve_api(
            pool,
            clock,
            log,
            ingest_routes(gateway),
            balances.routes(Balances(pool, clock, owed, watermarks)),
            invoice_routes(InvoiceStore(pool, clock, owed)),
            rejected.routes(pool),
            usage.routes(pool),
            clocks.routes(clock, lambda: scheduler.settle(SETTLE_SECONDS), no_reset),
            accounts=accounts,
        ) as api:
            yield Engine(api, clock, log, scheduler, owed, new_scheduler, start_worker)
    finally:
        stream.stop()
        await asyncio.gather(*running)
        await gateway.close()
