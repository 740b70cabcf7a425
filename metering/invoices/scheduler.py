"""The scheduler: closes what is due. Any number of them may run; Postgres rows decide who works on what (design 5)."""

import asyncio
from functools import partial
from typing import Final

import asyncpg
import structlog

from metering.clock import Clock
from metering.errors import LogUnavailable, StoreUnavailable
from metering.invoices.drafting import draft_due
from metering.invoices.finalizing import finalize_ready
from metering.invoices.finals import FinalInvoices
from metering.invoices.owed import OwedReader
from metering.invoices.watermark import Watermarks
from metering.observe.metrics import INVOICES, INVOICES_WAITING
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.subscriptions.accounts import Accounts

_log = structlog.get_logger("metering.invoices")

POLL_SECONDS: Final = 0.5
SETTLE_PAUSE_SECONDS: Final = 0.02


class Scheduler:
    """Drafts what is due and makes final what is past its grace, for as long as there is anything to do."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        clock: Clock,
        accounts: Accounts,
        watermarks: Watermarks,
        *,
        grace: int,
        late_window: int,
    ) -> None:
        """`grace` (spec 8.8) and `late_window` (spec 2.4) in microseconds."""
        self._pool = pool
        self._clock = clock
        self._accounts = accounts
        self._finals = FinalInvoices()
        self._owed = OwedReader(accounts, self._finals, late_window)
        self.watermarks = watermarks
        self._grace = grace
        self._late_window = late_window
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping.is_set():
            await self.step()
            await self._clock.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End `run` after the transaction at hand."""
        self._stopping.set()

    async def step(self) -> int:
        """Do all that can be done now; answers how many drafts still wait for the stream."""
        await self.draft()
        await self.watermarks.refresh()
        await self.finalize()
        async with connection(self._pool) as lent:
            waiting: int = await lent.fetchval(queries().waiting_drafts, self._clock.now().moment())
        INVOICES_WAITING.set(waiting)
        return waiting

    async def settle(self, seconds: float) -> bool:
        """Step until nothing waits any more, or for so long; whether all is done. For a clock that was moved."""
        try:
            async with asyncio.timeout(seconds):
                while await self.step():
                    await self._clock.sleep(SETTLE_PAUSE_SECONDS)
        except (TimeoutError, StoreUnavailable, LogUnavailable) as error:
            _log.warning("not_settled", reason=str(error) or type(error).__name__)
            return False
        return True

    async def draft(self) -> None:
        """Draft all that is due, chunk by chunk."""
        while not self._stopping.is_set():
            work = partial(
                draft_due,
                accounts=self._accounts,
                owed=self._owed,
                now=self._clock.now(),
                grace=self._grace,
                late_window=self._late_window,
            )
            done = await transaction(self._pool, work)
            INVOICES.labels("draft").inc(done.drafts)
            if not done.customers:
                return

    async def finalize(self) -> None:
        """Make final all that is ready, chunk by chunk."""
        while not self._stopping.is_set():
            work = partial(
                finalize_ready,
                accounts=self._accounts,
                finals=self._finals,
                complete=self.watermarks.all(),
                now=self._clock.now(),
                late_window=self._late_window,
            )
            done = await transaction(self._pool, work)
            INVOICES.labels("final").inc(done.final)
            INVOICES.labels("empty").inc(done.empty)
            if not done.drafts:
                return
            _log.info("invoices_final", final=done.final, empty=done.empty)

    def forget(self) -> None:
        """Remember nothing: all data was dropped."""
        self._owed.forget()
        self.watermarks.forget()
