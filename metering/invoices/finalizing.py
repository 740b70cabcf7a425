"""Drafts become final: lines, totals, credits and the gapless number in one transaction (spec 8.8)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import asyncpg

from metering.invoices.detail import to_detail
from metering.invoices.finals import FinalInvoices
from metering.invoices.late import DraftRow, matched
from metering.invoices.owed import late_from
from metering.postgres.queries import queries
from metering.rater.source import AccrualUsage, segments_of
from metering.subscriptions.accounts import Accounts
from rating.account import Account
from rating.billed import Billed, Invoice, show_line
from rating.invoice import Due, draft_many
from rating.issues import Issue
from rating.money import decimals_of
from schemas.instants import Instant

CHUNK_DRAFTS: Final = 1_000
SELLER: Final = "default"
LINE_COLUMNS: Final = (
    "invoice",
    "position",
    "charge",
    "kind",
    "quantity",
    "amount",
    "dimensions",
    "period_start",
    "period_end",
    "note",
    "unpriced",
)


class Finalized(NamedTuple):
    """What one transaction did: drafts looked at, invoices made final, drafts dropped because they have no lines."""

    drafts: int
    final: int
    empty: int


class _Work(NamedTuple):
    """A customer's drafts that are ready, in order, each with its issue; None where an act has undone the issue."""

    account: Account
    drafts: list[tuple[str, Issue | None]]


async def finalize_ready(
    lent: asyncpg.Connection,
    accounts: Accounts,
    finals: FinalInvoices,
    complete: Mapping[int, Instant],
    now: Instant,
    late_window: int,
) -> Finalized:
    """Make a chunk of ready drafts final, the earliest first.

    `complete`: per partition the instant up to which all that was received is committed; a draft waits until that is
    past its grace. Customers that another scheduler works on are left to it.
    """
    uptos = [instant.moment() for instant in complete.values()]
    ready = await lent.fetch(queries().ready_drafts, list(complete), uptos, CHUNK_DRAFTS)
    if not ready:
        return Finalized(0, 0, 0)
    late_window = max(late_window, await lent.fetchval(queries().late_window))
    partitions = {row["customer"]: row["partition"] for row in ready}
    locked = await lent.fetch(queries().lock_customers, sorted(partitions))
    customers = [row["key"] for row in locked]
    rows = await lent.fetch(queries().drafts_of, customers, ready[-1]["issued_at"])
    known = await accounts.load_many(lent, customers)
    ids: dict[str, list[str]] = {customer: [] for customer in customers}
    for row in await lent.fetch(queries().final_ids, customers):
        ids[row["customer"]].append(row["id"])
    before = await finals.load(lent, ids)
    work = _work(known, rows, {one: complete[partitions[one]] for one in customers})
    usage = await _usage(lent, work, late_window)
    made = _drafted(work, {one: Billed(before[one].invoices) for one in customers}, usage, late_window)
    return await _write(lent, made, now)


def _work(known: Mapping[str, Account], rows: Sequence[asyncpg.Record], complete: Mapping[str, Instant]) -> list[_Work]:
    """The drafts of each customer up to the first that is not ready, matched with the issues that they stand for."""
    drafts: dict[str, list[asyncpg.Record]] = {}
    stopped: set[str] = set()
    for row in rows:
        customer = row["customer"]
        if Instant.of(row["finalize_at"]) > complete[customer]:
            stopped.add(customer)
        if customer not in stopped:
            drafts.setdefault(customer, []).append(row)
    work = []
    for customer, mine in drafts.items():
        named = [DraftRow(row["id"], row["subscription"], Instant.of(row["issued_at"])) for row in mine]
        by_id = matched(known[customer], named, named[-1].issued)
        work.append(_Work(known[customer], [(row.id, by_id.get(row.id)) for row in named]))
    return work


async def _usage(lent: asyncpg.Connection, work: Sequence[_Work], late_window: int) -> AccrualUsage:
    """What was metered in all that falls due, and in what late events may have changed."""
    found = [issue for one in work for _, issue in one.drafts if issue is not None]
    since = min((min(issue.start, late_from(issue.parts, late_window)) for issue in found), default=0)
    until = max((issue.issued for issue in found), default=0)
    accounts = [one.account for one in work]
    rows = await lent.fetch(queries().totals_since, [account.key for account in accounts], Instant(since).moment())
    return AccrualUsage(segments_of(accounts, since, until + 1), rows)


def _drafted(
    work: Sequence[_Work], billed: Mapping[str, Billed], usage: AccrualUsage, late_window: int
) -> list[tuple[str, Issue | None, Invoice | None]]:
    """Every draft as the invoice that it comes to: in waves, because each builds on the customer's earlier ones."""
    made: list[tuple[str, Issue | None, Invoice | None]] = []
    for wave in range(max((len(one.drafts) for one in work), default=0)):
        here = [(one.account, *one.drafts[wave]) for one in work if wave < len(one.drafts)]
        made += [(name, None, None) for _, name, issue in here if issue is None]
        due = [(name, Due(account, issue, billed[account.key], late_from(issue.parts, late_window)))
               for account, name, issue in here if issue is not None]  # fmt: skip
        for (name, one), invoice in zip(due, draft_many([one for _, one in due], usage), strict=True):
            if invoice is not None:
                one.billed.add(invoice)
            made.append((name, one.issue, invoice))
    return made


async def _write(
    lent: asyncpg.Connection, made: Sequence[tuple[str, Issue | None, Invoice | None]], now: Instant
) -> Finalized:
    """Write what was made; the numbers are taken last, so their row is locked for as short as can be."""
    full = sorted(
        ((name, issue, invoice) for name, issue, invoice in made if issue is not None and invoice is not None),
        key=lambda one: one[2].order,
    )
    empty = [name for name, _, invoice in made if invoice is None]
    await lent.execute(queries().delete_drafts, empty)
    if full:
        lines = [row for name, _, invoice in full for row in _lines(name, invoice)]
        await lent.copy_records_to_table("invoice_line", records=lines, columns=LINE_COLUMNS)
        last = await lent.fetchval(queries().next_numbers, SELLER, len(full))
        invoices = [invoice for _, _, invoice in full]
        await lent.execute(
            queries().finalize,
            now.moment(),
            [name for name, _, _ in full],
            list(range(last - len(full) + 1, last + 1)),
            [one.subscription for one in invoices],
            [_money(one.subtotal, one) for one in invoices],
            [_money(one.tax, one) for one in invoices],
            [_money(one.credits, one) for one in invoices],
            [_money(one.total, one) for one in invoices],
            [_money(one.due, one) for one in invoices],
            [to_detail(one) for one in invoices],
        )
    return Finalized(len(made), len(full), len(empty))


def _lines(name: str, invoice: Invoice) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for position, line in enumerate(invoice.lines, 1):
        shown = show_line(line, invoice.currency)
        rows.append(
            (
                name,
                position,
                shown.charge,
                shown.kind,
                shown.quantity,
                _money(line.amount, invoice),
                shown.dimensions,
                shown.period.start.moment(),
                shown.period.end.moment(),
                shown.note,
                shown.unpriced,
            )
        )
    return rows


def _money(minor: int, invoice: Invoice) -> Decimal:
    """Minor units as a decimal, exact however many digits they have."""
    sign, digits, _ = Decimal(minor).as_tuple()
    return Decimal((sign, digits, -decimals_of(invoice.currency)))
