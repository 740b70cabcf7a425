"""Split filled buckets at boundaries that came into being inside them (design 3)."""

from collections.abc import Sequence
from decimal import Decimal

import asyncpg
import numpy as np

from metering.dedup.window import ENTRY, INDEX_BITS, position_of
from metering.errors import OffsetLost
from metering.postgres.queries import queries
from metering.stream.log import Log
from metering.usage import store
from metering.usage.fold import Bucket, combination_of, fold, only
from metering.usage.meters import Meters
from metering.usage.pieces import EXACT
from rating.events import NotJson, split_batch
from schemas.ids import partition_of
from schemas.instants import HOUR, Instant


async def split(connection: asyncpg.Connection, log: Log, customer: str, cuts: Sequence[int]) -> None:
    """Make buckets of the customer begin at these instants (rising, microseconds), where one is filled across them.

    The events of such a bucket are read from the log again, in the caller's transaction, which holds the partition.
    Raises `OffsetLost` if the log no longer gives what the bucket holds: nothing is guessed.
    """
    for hour in sorted({cut // HOUR * HOUR for cut in cuts if cut % HOUR}):
        inside = [cut for cut in cuts if hour < cut < hour + HOUR]
        rows = await connection.fetch(
            queries().buckets_of_hour, customer, Instant(hour).moment(), Instant(hour + HOUR).moment()
        )
        old = [_bucket(customer, row) for row in rows]
        if old and any(bucket.start < inside[-1] for bucket in old):
            await _split_hour(connection, log, customer, hour, old, sorted({*inside, *(b.start for b in old)}))


async def _split_hour(
    connection: asyncpg.Connection, log: Log, customer: str, hour: int, old: list[Bucket], cuts: Sequence[int]
) -> None:
    """Replace the buckets of one hour by finer ones."""
    partition = partition_of(customer, log.partitions)
    first, last = min(bucket.first_offset for bucket in old), max(bucket.last_offset for bucket in old)
    raws, positions, received = await _accepted(connection, log, partition, first, last)
    meters = await Meters.load(connection)
    batch = meters.extractor.read(raws, received)
    here = [subject == customer for subject in batch.subjects]
    rows = np.flatnonzero(batch.valid & np.array(here, dtype=np.bool_) & (batch.time // HOUR * HOUR == hour))
    new: list[Bucket] = []
    since = {bucket.meter: min(b.first_offset for b in old if b.meter == bucket.meter) for bucket in old}
    offsets = positions >> INDEX_BITS
    for metered in meters.extractor.meter(batch, rows):
        if metered.meter not in since:
            continue
        # A meter counts events from when it was made: those before its first one are not its own.
        metered = only(metered, offsets[metered.rows] >= since[metered.meter])
        new += fold(meters.aggregation(metered.meter), metered, batch, positions, lambda _: cuts)
    if _sums(new) != _sums(old):
        raise OffsetLost(
            f"the log no longer gives the events {first} to {last} of partition {partition} as they were metered, so"
            f" the hour {Instant(hour)} of {customer!r} cannot be split; choose a full hour instead"
        )
    await connection.execute(queries().delete_hour, customer, Instant(hour).moment(), Instant(hour + HOUR).moment())
    await store.add(connection, new)


async def _accepted(
    connection: asyncpg.Connection, log: Log, partition: int, first: int, last: int
) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """The events of a range of offsets that took their identity, with positions and receipt."""
    taken: set[int] = set()
    for row in await connection.fetch(queries().seen_between, partition, first, last):
        taken.update(np.frombuffer(row["keys"], dtype="<u8").reshape(-1, ENTRY // 8)[:, 3].tolist())
    raws: list[bytes] = []
    positions: list[int] = []
    received: list[int] = []
    for record in await log.read(partition, first, last):
        try:
            events = split_batch(record.payload or b"")
        except NotJson:
            continue
        for index, raw in enumerate(events):
            if (position := position_of(record.offset, index)) in taken:
                raws.append(raw)
                positions.append(position)
                received.append(record.received)
    return raws, np.array(positions, dtype=np.int64), np.array(received, dtype=np.int64)


def _sums(buckets: Sequence[Bucket]) -> dict[tuple[str, tuple[str, ...], str], tuple[Decimal, int]]:
    """Quantity and events by meter, combination and named subscription."""
    sums: dict[tuple[str, tuple[str, ...], str], tuple[Decimal, int]] = {}
    for bucket in buckets:
        key = (bucket.meter, bucket.combination, bucket.named)
        quantity, events = sums.get(key, (Decimal(0), 0))
        sums[key] = (EXACT.add(quantity, bucket.quantity), events + bucket.events)
    return sums


def _bucket(customer: str, row: asyncpg.Record) -> Bucket:
    return Bucket(
        customer,
        row["meter"],
        Instant.of(row["bucket"]),
        combination_of(row["dimensions"]),
        row["named"],
        row["quantity"],
        row["events"],
        row["first_offset"],
        row["last_offset"],
    )
