"""How events ended, where it can be looked up: the tables `rejected` and `outcome`."""

from collections import Counter
from collections.abc import Sequence

import asyncpg

from metering.postgres.queries import queries
from metering.stream.arrivals import Refused
from schemas.instants import Instant
from schemas.outcome import Outcome


async def insert_rejected(connection: asyncpg.Connection, partition: int, refused: Sequence[Refused]) -> None:
    """List what arrived and does not count."""
    if not refused:
        return
    columns = [list(column) for column in zip(*refused, strict=True)]
    columns[5] = [Instant(received).moment() for received in columns[5]]
    await connection.execute(queries().insert_rejected, partition, *columns)


async def count(connection: asyncpg.Connection, partition: int, outcomes: Counter[Outcome]) -> None:
    """Add to the counts of a partition."""
    ended = {code.value: events for code, events in outcomes.items() if events}
    if ended:
        await connection.execute(queries().count_outcomes, partition, list(ended), list(ended.values()))
