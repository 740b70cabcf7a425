"""All that a customer's balance and drafts are made of, read at one instant in one statement."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from metering.invoices.detail import id_of
from metering.invoices.finals import FinalInvoices, Finals
from metering.invoices.late import DraftRow, matched
from metering.postgres.queries import queries
from metering.rater.source import AccrualUsage
from metering.subscriptions.accounts import Accounts, Written
from rating.account import Account
from rating.billed import Billed, Invoice
from rating.invoice import draft
from rating.issues import Issue, Part, issues, last_issue, open_part
from rating.subscription import FOREVER
from schemas.instants import DAY, HOUR, Instant

FLOORS_MAX: Final = 100_000
FIRST_FLOOR: Final = 70 * DAY
"""How far back totals are read of a customer that was not read before: two months and some days."""


class Owed(NamedTuple):
    """A customer, its final invoices, and the issues that are not final, in order; usage answers for all of it."""

    account: Account
    partition: int
    finals: Finals
    drafts: tuple[Issue, ...]
    late_from: int
    usage: AccrualUsage

    def drafted(self, late_window: int) -> tuple[list[tuple[Issue, Invoice | None]], Billed]:
        """Each draft as an invoice as if it became final now, None without lines; and what is billed with them."""
        if not self.drafts:
            return [], self.finals.billed
        billed = Billed(self.finals.invoices)
        made: list[tuple[Issue, Invoice | None]] = []
        for issue in self.drafts:
            invoice = draft(self.account, issue, billed, self.usage, late_from(issue.parts, late_window))
            if invoice is not None:
                billed.add(invoice)
            made.append((issue, invoice))
        return made, billed


class OwedReader:
    """Reads what customers owe; `late_window` in microseconds is how late an event may be (spec 2.4)."""

    def __init__(self, accounts: Accounts, finals: FinalInvoices, late_window: int) -> None:
        self._accounts = accounts
        self._finals = finals
        self._late_window = late_window
        self._floors: OrderedDict[str, int] = OrderedDict()

    async def read(self, connection: asyncpg.Connection, customer: str, now: int) -> Owed | None:
        """What a customer owes at an instant, None if there is no such customer."""
        floor = self._floors.get(customer, now - FIRST_FLOOR)
        while True:
            row = await connection.fetchrow(queries().owing, customer, Instant(floor).moment())
            if row is None:
                return None
            account = await self._accounts.of(
                connection, Written(customer, row["definition"], row["acts"], row["catalog"])
            )
            drafts = _drafts(account, row, now)
            late = late_from_of(account, drafts, now, self._late_window)
            needed = min([now, late, *(issue.start for issue in drafts), *_open_starts(account, now)])
            if needed >= floor or not row["more"]:
                break
            floor = needed
        self._remember(customer, needed)
        finals = (await self._finals.load(connection, {customer: row["finals"]}))[customer]
        usage = AccrualUsage([account], _totals(customer, row["totals"]), needed, now + 1)
        return Owed(account, row["partition"], finals, drafts, late, usage)

    def forget(self) -> None:
        """Remember nothing: all data was dropped."""
        self._accounts.forget()
        self._finals.forget()
        self._floors.clear()

    def _remember(self, customer: str, floor: int) -> None:
        self._floors[customer] = floor
        if len(self._floors) > FLOORS_MAX:
            self._floors.popitem(last=False)


def late_from(parts: Sequence[Part], late_window: int) -> int:
    """The earliest time of an event that can have arrived since these subscriptions' last invoices were drawn up."""
    return min((part.since - late_window - HOUR for part in parts if part.since > -FOREVER), default=FOREVER)


def late_from_of(account: Account, drafts: Sequence[Issue], now: int, late_window: int) -> int:
    """The same for all of an account: its drafts, and what is open after them."""
    parts = [part for issue in drafts for part in issue.parts]
    for subscription in account.subscriptions.values():
        if not subscription.ended(now):
            parts.append(open_part(account, subscription, now)[0])
        elif last_issue(subscription) > now - 2 * late_window:
            parts.append(Part(subscription, last_issue(subscription)))
    return late_from(parts, late_window)


def _drafts(account: Account, row: asyncpg.Record, now: int) -> tuple[Issue, ...]:
    """The issues that are not final: those that have a row, and those that no scheduler has come to yet."""
    rows = [DraftRow(name, subscription, Instant.of(issued)) for name, subscription, issued in row["drafts"]]
    found = matched(account, rows, now)
    if row["due_from"] is not None:
        due = issues(account, Instant.of(row["due_from"]) - 1, now)
        found = {**{id_of(account.key, one.key): one for one in due}, **found}
    return tuple(sorted(found.values(), key=lambda one: one.order))


def _open_starts(account: Account, now: int) -> list[int]:
    """The starts of the billing periods that are open."""
    periods = (subscription.course.period_at(now) for subscription in account.subscriptions.values())
    return [period.start for period in periods if period is not None]


def _totals(customer: str, rows: Sequence[Any]) -> list[Any]:
    names = ("subscription", "charge", "segment_start", "dimensions", "events", "quantity")
    return [{"customer": customer, **dict(zip(names, row, strict=True))} for row in rows]
