"""All that a customer's balance and drafts are made of, read at one instant in one statement."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from metering.invoices.detail import id_of
from metering.invoices.finals import FinalInvoices, Finals
from metering.invoices.late import DraftRow, matched
from metering.postgres.queries import queries
from metering.rater.source import AccrualUsage, Segment, segments_of
from metering.subscriptions.accounts import Accounts, Written
from rating.account import Account
from rating.billed import Billed, Invoice
from rating.invoice import draft
from rating.issues import Issue, Part, issues, last_issue, next_issue, open_part
from rating.subscription import FOREVER
from rating.usage import UsageRequest
from schemas.instants import DAY, HOUR, Instant

FRAMES_MAX: Final = 20_000
FIRST_FLOOR: Final = 70 * DAY
"""How far back totals are read of a customer that was not read before: two months and some days."""

TOTAL_COLUMNS: Final = ("customer", "subscription", "charge", "segment_start", "dimensions", "events", "quantity")


class Owed(NamedTuple):
    """A customer, its final invoices, and the issues that are not final, in order; usage answers for all of it."""

    account: Account
    partition: int
    finals: Finals
    drafts: tuple[Issue, ...]
    late_from: int
    late_window: int
    usage: AccrualUsage

    def drafted(self) -> tuple[list[tuple[Issue, Invoice | None]], Billed]:
        """Each draft as an invoice as if it became final now, None without lines; and what is billed with them."""
        if not self.drafts:
            return [], self.finals.billed
        billed = Billed(self.finals.invoices)
        made: list[tuple[Issue, Invoice | None]] = []
        for issue in self.drafts:
            invoice = draft(self.account, issue, billed, self.usage, late_from(issue.parts, self.late_window))
            if invoice is not None:
                billed.add(invoice)
            made.append((issue, invoice))
        return made, billed


class _Frame(NamedTuple):
    """What follows from an account and its drafts alone, at any instant of since <= t < until: no issue is in between.

    `floor`: totals of segments that ended before it are not needed.
    """

    account: Account
    drafts: tuple[Issue, ...]
    since: int
    until: int
    floor: int
    late_from: int
    late_window: int
    segments: Mapping[UsageRequest, Segment]


class OwedReader:
    """Reads what customers owe.

    `late_window` in microseconds is how late an event may be (spec 2.4); what a backfill has raised it to counts too.
    """

    def __init__(self, accounts: Accounts, finals: FinalInvoices, late_window: int) -> None:
        self._accounts = accounts
        self._finals = finals
        self._late_window = late_window
        self._frames: OrderedDict[str, _Frame] = OrderedDict()

    async def read(self, connection: asyncpg.Connection, customer: str, now: int) -> Owed | None:
        """What a customer owes at an instant, None if there is no such customer."""
        frame = self._frames.get(customer)
        floor = now - FIRST_FLOOR if frame is None else frame.floor
        while True:
            row = await connection.fetchrow(queries().owing, customer, Instant(floor).moment())
            if row is None:
                return None
            account = await self._accounts.of(connection, Written(customer, *row[:3]))
            drafts = _drafts(account, row, now)
            late_window = max(self._late_window, row["late_window"])
            if frame is None or not _holds(frame, account, drafts, now, late_window):
                frame = self._keep(_frame(account, drafts, now, late_window))
            if frame.floor >= floor or not row["more"]:
                break
            floor = frame.floor
        finals = (await self._finals.load(connection, {customer: row["finals"]}))[customer]
        totals: list[Any] = [dict(zip(TOTAL_COLUMNS, (customer, *total), strict=True)) for total in row["totals"]]
        usage = AccrualUsage(frame.segments, totals)
        return Owed(account, row["partition"], finals, drafts, frame.late_from, frame.late_window, usage)

    def forget(self) -> None:
        """Remember nothing: all data was dropped."""
        self._accounts.forget()
        self._finals.forget()
        self._frames.clear()

    def _keep(self, frame: _Frame) -> _Frame:
        self._frames[frame.account.key] = frame
        self._frames.move_to_end(frame.account.key)
        if len(self._frames) > FRAMES_MAX:
            self._frames.popitem(last=False)
        return frame


def late_from(parts: Sequence[Part], late_window: int) -> int:
    """The earliest time of an event that can have arrived since these subscriptions' last invoices were drawn up."""
    return min((part.since - late_window - HOUR for part in parts if part.since > -FOREVER), default=FOREVER)


def _holds(frame: _Frame, account: Account, drafts: tuple[Issue, ...], now: int, late_window: int) -> bool:
    same = frame.account is account and frame.drafts == drafts and frame.late_window == late_window
    return same and frame.since <= now < frame.until


def _frame(account: Account, drafts: tuple[Issue, ...], now: int, late_window: int) -> _Frame:
    late = late_from(_parts(account, drafts, now, late_window), late_window)
    periods = (subscription.course.period_at(now) for subscription in account.subscriptions.values())
    starts = [period.start for period in periods if period is not None]
    floor = min([now, late, *(issue.start for issue in drafts), *starts])
    # Segments that begin within a day are in it too, so that a day's readings share one frame at the most.
    until = min(next_issue(account, now), now + DAY)
    return _Frame(account, drafts, now, until, floor, late, late_window, segments_of([account], floor, until + 1))


def _parts(account: Account, drafts: Sequence[Issue], now: int, late_window: int) -> list[Part]:
    """What late events may correct: drafts, what is open, and what ended not so long ago."""
    parts = [part for issue in drafts for part in issue.parts]
    for subscription in account.subscriptions.values():
        if not subscription.ended(now):
            parts.append(open_part(account, subscription, now)[0])
        elif last_issue(subscription) > now - 2 * late_window:
            parts.append(Part(subscription, last_issue(subscription)))
    return parts


def _drafts(account: Account, row: asyncpg.Record, now: int) -> tuple[Issue, ...]:
    """The issues that are not final: those that have a row, and those that no scheduler has come to yet."""
    due_from = FOREVER if row["due_from"] is None else Instant.of(row["due_from"])
    if not row["drafts"] and due_from > now:
        return ()
    rows = [DraftRow(name, subscription, Instant.of(issued)) for name, subscription, issued in row["drafts"]]
    due = issues(account, due_from - 1, now) if due_from <= now else []
    found = {**{id_of(account.key, one.key): one for one in due}, **matched(account, rows, now)}
    return tuple(sorted(found.values(), key=lambda one: one.order))
