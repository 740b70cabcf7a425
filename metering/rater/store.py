"""The table `accrual`."""

from collections.abc import Sequence

import asyncpg

from metering.postgres.queries import queries
from metering.rater.totals import Key, Sum, Total
from metering.usage.fold import combination_of, dimensions_text
from schemas.instants import Instant


async def load_sums(connection: asyncpg.Connection, customers: Sequence[str], since: int) -> dict[Key, Sum]:
    """What the totals of these customers have metered, of segments that end after `since` (microseconds)."""
    if not customers:
        return {}
    rows = await connection.fetch(queries().sums_of, customers, Instant(since).moment())
    return {
        Key(
            row["customer"],
            row["subscription"],
            row["charge"],
            Instant.of(row["segment_start"]),
            combination_of(row["dimensions"]),
        ): Sum(row["events"], row["quantity"])
        for row in rows
    }


async def put_totals(connection: asyncpg.Connection, totals: Sequence[Total]) -> None:
    """Write totals as absolute values, in one statement; keys are distinct."""
    if not totals:
        return
    await connection.execute(
        queries().put_totals,
        [total.key.customer for total in totals],
        [total.key.subscription for total in totals],
        [total.key.charge for total in totals],
        [Instant(total.key.start).moment() for total in totals],
        [Instant(total.end).moment() for total in totals],
        [dimensions_text(total.key.combination) for total in totals],
        [total.sum.events for total in totals],
        [total.sum.quantity for total in totals],
        [total.numerator for total in totals],
        [total.divisor for total in totals],
    )
