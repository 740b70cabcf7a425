"""Reading the log outside any group, in parts that are bounded by bytes."""

from collections.abc import AsyncIterator
from typing import Final

from metering.stream.log import Log, Record

PART_BYTES: Final = 8 << 20
"""Payload read at once, about: as many records as are expected to hold that much."""
PART_RECORDS: Final = 20_000
FIRST_RECORDS: Final = 64
"""Read at first, while nothing is known of their size (64 MB if all are as large as may be)."""


async def parts(log: Log, partition: int, first: int, end: int) -> AsyncIterator[tuple[list[Record], int]]:
    """The records of offsets `first` to before `end` in parts, each with the offset that follows it."""
    count = FIRST_RECORDS
    while first < end:
        last = min(first + count, end)
        records = await log.read(partition, first, last - 1)
        yield records, last
        size = sum(len(record.payload or b"") for record in records) // max(1, len(records)) + 1
        count = max(1, min(PART_RECORDS, PART_BYTES // size, 4 * count))
        first = last
