"""Due customers get their drafts: a row per issue, and the next instant at which there is one."""

from typing import Final, NamedTuple

import asyncpg

from metering.invoices.detail import id_of
from metering.postgres.queries import queries
from metering.subscriptions.accounts import Accounts
from rating.issues import Issue, issues, next_issue
from rating.subscription import FOREVER
from schemas.instants import Instant

CHUNK_CUSTOMERS: Final = 1_000


class Drafted(NamedTuple):
    """What one transaction did."""

    customers: int
    drafts: int


async def draft_due(lent: asyncpg.Connection, accounts: Accounts, now: Instant, grace: int) -> Drafted:
    """Insert the drafts of a chunk of due customers, every missed instant one by one; a second run inserts nothing.

    `grace` in microseconds (spec 8.8).
    """
    rows = await lent.fetch(queries().take_due, now.moment(), CHUNK_CUSTOMERS)
    if not rows:
        return Drafted(0, 0)
    known = await accounts.load_many(lent, [row["customer"] for row in rows])
    found: list[Issue] = []
    later: dict[str, int] = {}
    for row in rows:
        account = known[row["customer"]]
        found += issues(account, Instant.of(row["at"]) - 1, now)
        later[account.key] = next_issue(account, now)
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
    open_ = {key: at for key, at in later.items() if at != FOREVER}
    await lent.execute(queries().advance_due, list(open_), [Instant(at).moment() for at in open_.values()])
    await lent.execute(queries().delete_due, [key for key in later if key not in open_])
    return Drafted(len(rows), len(found))
