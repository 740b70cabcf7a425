"""The table `usage`: adding what a checkpoint metered."""

from collections.abc import Sequence

import asyncpg

from metering.observe import metrics
from metering.postgres.queries import queries
from metering.usage.fold import Bucket, dimensions_text
from schemas.instants import Instant


async def add(connection: asyncpg.Connection, buckets: Sequence[Bucket]) -> None:
    """Add to the buckets, in one statement; keys are distinct within `buckets`."""
    if not buckets:
        return
    metrics.USAGE_BUCKETS.inc(len(buckets))
    columns = list(zip(*buckets, strict=True))
    await connection.execute(
        queries().add_usage,
        columns[0],
        columns[1],
        [Instant(start).moment() for start in columns[2]],
        [dimensions_text(combination) for combination in columns[3]],
        *columns[4:],
    )
