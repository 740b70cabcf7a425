"""Reading the log outside any group, in parts that are bounded by bytes; the next is read while one is worked on."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from metering.stream.log import Log, Record

PART_BYTES: Final = 16 << 20
"""Payload read at once, about: as many records as are expected to hold that much. Two parts are held at a time."""
PART_RECORDS: Final = 50_000
"""A read of Kafka costs 0.1 to 0.3 s, however little it brings (measured)."""
FIRST_RECORDS: Final = 64
"""Read at first, while nothing is known of their size (64 MB if all are as large as may be)."""


async def parts(
    log: Log, partition: int, first: int, end: int, expected: int | None = None
) -> AsyncGenerator[tuple[list[Record], int], None]:
    """The records of offsets `first` to before `end` in parts, each with the offset that follows it.

    `expected`: bytes of a record, if something is known of them.
    """
    if first >= end:
        return
    count = FIRST_RECORDS if expected is None else _count(expected)
    last = min(first + count, end)
    reading = asyncio.create_task(log.read(partition, first, last - 1))
    try:
        while first < end:
            records = await reading
            after = last
            if after < end:
                count = min(_count(mean_size(records)), 16 * count)
                last = min(after + count, end)
                reading = asyncio.create_task(log.read(partition, after, last - 1))
            yield records, after
            first = after
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def mean_size(records: list[Record]) -> int:
    """Bytes of a record, on average and at least 1."""
    return sum(len(record.payload or b"") for record in records) // max(1, len(records)) + 1


def _count(size: int) -> int:
    return max(1, min(PART_RECORDS, PART_BYTES // size))
