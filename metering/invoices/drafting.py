"""Due customers get their drafts: a row per issue, and the next instant at which there is one."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import asyncpg

from metering.invoices.detail import id_of
from metering.invoices.late import ended_finally
from metering.invoices.owed import OwedReader, late_from
from metering.postgres.queries import queries
from metering.subscriptions.accounts import Accounts
from rating.account import Account
from rating.invoice import draft
from rating.issues import Issue, issues, late_issue, next_issue
from rating.subscription import FOREVER, Subscription
from schemas.instants import Instant

CHUNK_CUSTOMERS: Final = 1_000


class Drafted(NamedTuple):
    """What one transaction did."""

    customers: int
    drafts: int


async def draft_due(
    lent: asyncpg.Connection, accounts: Accounts, owed: OwedReader, now: Instant, grace: int, late_window: int
) -> Drafted:
    """Insert the drafts of a chunk of due customers, every missed instant one by one; a second run inserts nothing.

    `grace` (spec 8.8) and `late_window` (2.4) in microseconds.
    """
    rows = await lent.fetch(queries().take_due, now.moment(), CHUNK_CUSTOMERS)
    if not rows:
        return Drafted(0, 0)
    late_window = max(late_window, await lent.fetchval(queries().late_window))
    known = await accounts.load_many(lent, [row["customer"] for row in rows])
    found: list[Issue] = []
    later: dict[str, int] = {}
    for row in rows:
        account = known[row["customer"]]
        at = Instant.of(row["at"])
        found += issues(account, at - 1, now)
        later[account.key] = next_issue(account, now)
        if ended := ended_finally(account, at, grace, late_window):
            found += await _late_issues(lent, owed, account, ended, at, now)
    if found:
        await lent.execute(
            queries().insert_drafts,
            [id_of(issue.customer, issue.key) for issue in found],
            [issue.customer for issue in found],
            [issue.subscription for issue in found],
            [issue.currency for issue in found],
            [Instant(issue.issued).moment() for issue in found],
            [Instant(issue.issued + grace).moment() for issue in found],
            [Instant(issue.start).moment() for issue in found],
        )
    await _advance(lent, later)
    return Drafted(len(rows), len(found))


async def _late_issues(
    lent: asyncpg.Connection,
    owed: OwedReader,
    account: Account,
    ended: Sequence[Subscription],
    at: Instant,
    now: Instant,
) -> list[Issue]:
    """Invoices of ended subscriptions whose usage has changed since, unless an open one takes it up (spec 8.9)."""
    state = await owed.read(lent, account.key, now)
    drafted = {row["subscription"] for row in await lent.fetch(queries().open_drafts, [account.key])}
    found = []
    for subscription in ended:
        issue = late_issue(subscription, at)
        if state is not None and subscription.id not in drafted:
            since = late_from(issue.parts, state.late_window)
            if draft(account, issue, state.finals.billed, state.usage, since) is not None:
                found.append(issue)
    return found


async def _advance(lent: asyncpg.Connection, later: Mapping[str, int]) -> None:
    """When these customers are due next; FOREVER: not any more."""
    open_ = {key: at for key, at in later.items() if at != FOREVER}
    await lent.execute(queries().advance_due, list(open_), [Instant(at).moment() for at in open_.values()])
    await lent.execute(queries().delete_due, [key for key in later if key not in open_])
