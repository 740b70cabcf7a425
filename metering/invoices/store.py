"""Reading invoices: final ones as they were written, drafts as they stand."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from metering.clock import Clock
from metering.invoices.detail import from_detail, id_of
from metering.invoices.owed import OwedReader
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from rating.account import Account
from rating.billed import Billed, Invoice
from rating.explain_lines import explain_invoice
from schemas.instants import Instant


class Kept(NamedTuple):
    """An invoice and its keeper's part: its id, its number once it is final, the zone in which its customer lives."""

    id: str
    issued: Instant
    number: int | None
    invoice: Invoice
    timezone: str


def explained(account: Account, invoice: Invoice, before: Sequence[Invoice]) -> list[str]:
    """The arithmetic of an invoice's lines; `before` are the customer's earlier invoices."""
    try:
        return explain_invoice(account, invoice, Billed(before))
    except StopIteration:
        raise KeyError(invoice.key) from None


class InvoiceStore:
    """Invoices in Postgres."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, owed: OwedReader) -> None:
        self._pool = pool
        self._clock = clock
        self._owed = owed

    async def get(self, name: str) -> Kept | None:
        """An invoice by its id; None if there is none, or it is a draft without lines."""
        async with connection(self._pool) as lent:
            row = await lent.fetchrow(queries().get_invoice, name)
            found = await self._kept(lent, [] if row is None else [row])
        return found[0] if found else None

    async def list_after(
        self, customer: str | None, status: str | None, after: tuple[Instant, str], limit: int
    ) -> tuple[list[Kept], tuple[Instant, str] | None]:
        """The invoices among at most `limit` rows after an (instant of issue, id), and where the next page begins."""
        async with connection(self._pool) as lent:
            rows = await lent.fetch(queries().list_invoices, customer, status, after[0].moment(), after[1], limit + 1)
            found = await self._kept(lent, rows[:limit])
        last = rows[limit - 1] if len(rows) > limit else None
        return found, None if last is None else (Instant.of(last["issued_at"]), last["id"])

    async def explain(self, name: str) -> list[str] | None:
        """The arithmetic of every line of an invoice, None if there is none; `KeyError` where it cannot be found again:
        what it was made of (a tax, by name) is not there any more."""
        async with connection(self._pool) as lent:
            row = await lent.fetchrow(queries().get_invoice, name)
            owed = None if row is None else await self._owed.read(lent, row["customer"], self._clock.now())
        if row is None or owed is None:
            return None
        before = list(owed.finals.invoices)
        if row["status"] == "final":
            place = owed.finals.ids.index(name)
            return explained(owed.account, before[place], before[:place])
        for issue, invoice in owed.drafted()[0]:
            if invoice is not None and id_of(issue.customer, issue.key) == name:
                return explained(owed.account, invoice, before)
            before += [invoice] if invoice is not None else []
        return None

    async def _kept(self, lent: asyncpg.Connection, rows: Sequence[asyncpg.Record]) -> list[Kept]:
        drafts: dict[str, Invoice] = {}
        for customer in sorted({row["customer"] for row in rows if row["status"] == "draft"}):
            drafts |= await self._drafts(lent, customer)
        kept = []
        for row in rows:
            invoice = from_detail(row["detail"]) if row["status"] == "final" else drafts.get(row["id"])
            if invoice is not None:
                kept.append(Kept(row["id"], Instant.of(row["issued_at"]), row["number"], invoice, row["timezone"]))
        return kept

    async def _drafts(self, lent: asyncpg.Connection, customer: str) -> dict[str, Invoice]:
        """The drafts of a customer that have lines, by id, as if they became final now."""
        owed = await self._owed.read(lent, customer, self._clock.now())
        if owed is None:
            return {}
        made, _ = owed.drafted()
        return {id_of(customer, issue.key): invoice for issue, invoice in made if invoice is not None}
