"""Usage that comes in after a subscription's final invoice has an invoice of its own (spec 8.9)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import asyncpg

from metering.invoices.detail import id_of
from metering.postgres.queries import queries
from rating.account import Account
from rating.issues import Issue, issues, last_issue, late_issue
from rating.subscription import FOREVER, Subscription
from schemas.instants import Instant


class DraftRow(NamedTuple):
    """A draft as its row names it; `issued` in microseconds."""

    id: str
    subscription: str | None
    issued: int


def late_arrivals(
    ends: Mapping[str, int], subjects: Sequence[str], times: Iterable[tuple[int, int, int]]
) -> dict[str, int]:
    """By customer the first instant at which usage arrived for a subscription that had ended by then.

    `ends`: the ends of subscriptions whose totals were touched, by customer. `times`: (row, time, received) of events.
    """
    found: dict[str, int] = {}
    for row, time, received in times:
        end = ends.get(subjects[row])
        if end is not None and time < end <= received:
            found[subjects[row]] = min(received, found.get(subjects[row], received))
    return found


async def mark_due(lent: asyncpg.Connection, arrived: Mapping[str, int]) -> None:
    """Have the scheduler look at these customers, as of the instant of each."""
    if arrived:
        keys = sorted(arrived)
        await lent.execute(queries().mark_due, keys, [Instant(arrived[key]).moment() for key in keys])


def ended_finally(account: Account, at: int, grace: int, late_window: int) -> list[Subscription]:
    """Subscriptions whose last invoice was final at `at`, not so long ago that no event could be late for them."""
    found = []
    for subscription in account.subscriptions.values():
        last = last_issue(subscription)
        if last != FOREVER and last + grace <= at <= last + 2 * late_window:
            found.append(subscription)
    return found


def matched(account: Account, rows: Sequence[DraftRow], upto: int) -> dict[str, Issue]:
    """By id the issues that drafts stand for; one that an act has undone is left out."""
    if not rows:
        return {}
    wanted = {row.id for row in rows}
    first = min(row.issued for row in rows)
    found = {id_of(account.key, issue.key): issue for issue in issues(account, first - 1, upto)}
    for row in rows:
        if row.id not in found and row.subscription in account.subscriptions:
            late = late_issue(account.subscriptions[row.subscription], row.issued)
            found[id_of(account.key, late.key)] = late
    return {name: issue for name, issue in found.items() if name in wanted}
