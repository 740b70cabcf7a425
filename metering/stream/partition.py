"""The row that is a partition's fence, progress and lock (design 3)."""

from typing import NamedTuple

import asyncpg

from metering.errors import Fenced, LogReplaced
from metering.postgres.queries import queries


class Held(NamedTuple):
    """A partition that this process owns: its epoch, where its next record lies, the catalog version it knows."""

    epoch: int
    next_offset: int
    catalog_version: int


async def take(connection: asyncpg.Connection, partition: int, log_id: str, owner: str) -> Held:
    """Own the partition from now on: add 1 to its epoch, so that whoever owned it before is fenced.

    Raises `LogReplaced` if what was read so far came from another log.
    """
    row = await connection.fetchrow(queries().take_partition, partition, log_id, owner)
    if row["log_id"] != log_id:
        raise LogReplaced(
            f"partition {partition} was read from log {row['log_id']} up to offset {row['next_offset']},"
            f" but this is log {log_id}; see docs/howto/operate.md, 'The log was replaced'"
        )
    return Held(row["epoch"], row["next_offset"], row["catalog_version"])


async def hold(connection: asyncpg.Connection, partition: int, epoch: int) -> Held:
    """Lock the row for the transaction at hand; `Fenced` if another owner went on."""
    row = await connection.fetchrow(queries().hold_partition, partition)
    if row is None or row["epoch"] != epoch:
        now = "is gone" if row is None else f"is at epoch {row['epoch']}"
        raise Fenced(f"partition {partition}: its row {now}, ours is {epoch}")
    return Held(row["epoch"], row["next_offset"], row["catalog_version"])


async def lock(connection: asyncpg.Connection, partition: int) -> None:
    """Lock the row for a change of what a customer owes, and tell its worker that what it knows is old."""
    await connection.execute(queries().lock_partition, partition)


async def lock_all(connection: asyncpg.Connection, partitions: int) -> None:
    """The same for every partition, in order: the catalog changes for all."""
    for partition in range(partitions):
        await lock(connection, partition)
