"""The archive's columns: records of the log as a table of events, in the order in which files keep them (pure)."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from metering.archive.exact import TEXTS, VALUES, Notes
from metering.dedup.window import INDEX_BITS, INDEX_MAX
from metering.stream.arrivals import arrivals
from metering.stream.log import Record
from rating.fixed import Indices
from schemas.ids import identities
from schemas.instants import DAY

INSTANT: Final = pa.timestamp("us", tz="UTC")
SCHEMA: Final = pa.schema(
    [
        pa.field("customer", pa.string(), nullable=False),
        pa.field("time", INSTANT, nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("subscription", pa.string()),
        pa.field("received", INSTANT, nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("late_window", pa.int64(), nullable=False),
        pa.field("identity", pa.binary(16), nullable=False),
        pa.field("values", VALUES, nullable=False),
        pa.field("texts", TEXTS, nullable=False),
        pa.field("event", pa.string(), nullable=False),
    ]
)
"""`partition`, `offset` and `index` are an event's position; `late_window` is what its sender raised the late window to
(microseconds, 0: not raised); `identity` is the hash of subject, source and id; `values` and `texts` are what meters
read of it (`exact.py`); `event` is the JSON as it came."""

_NOTHING: Final = Notes({})
_EPOCH: Final = date(1970, 1, 1)


class Part(NamedTuple):
    """The events of one day, in order of customer, time, offset and index; `columns` as `SCHEMA` says."""

    day: date
    table: Any


def events_table(partition: int, records: Sequence[Record], notes: Notes = _NOTHING) -> Any:
    """The valid events of consecutive records in the order of the log; what is no event is listed in `rejected`.

    `notes` says what to note of them for computing again.
    """
    if not records:
        return SCHEMA.empty_table()
    arrived = arrivals(records, notes.extractor, 0)
    batch, positions = arrived.batch, arrived.positions
    hashes = identities(batch.subjects, batch.sources, batch.ids)
    columns = [
        pa.array(batch.subjects, pa.string()),
        pa.array(batch.time, pa.int64()).cast(INSTANT),
        pa.array(batch.types, pa.string()),
        pa.array(batch.sources, pa.string()),
        pa.array(batch.ids, pa.string()),
        pa.array(batch.subscriptions, pa.string()),
        pa.array(arrived.received, pa.int64()).cast(INSTANT),
        pa.array(np.full(len(positions), partition, dtype=np.int32)),
        pa.array(positions >> INDEX_BITS),
        pa.array((positions & INDEX_MAX).astype(np.int32)),
        pa.array(arrived.late_window),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(positions), [None, pa.py_buffer(hashes)]),
        *notes.columns(batch),
        None,
    ]
    if batch.valid.all():
        columns[-1] = pa.array(arrived.raws, pa.binary()).view(pa.string())
        return pa.table(columns, schema=SCHEMA)
    # Only valid events are surely UTF-8.
    raws = [raw if valid else b"" for raw, valid in zip(arrived.raws, batch.valid.tolist(), strict=True)]
    columns[-1] = pa.array(raws, pa.binary()).view(pa.string())
    return pa.table(columns, schema=SCHEMA).filter(pa.array(batch.valid))


def by_day(table: Any) -> Iterator[Part]:
    """The rows of a table by the day of their time (UTC), oldest first, each day in the order of files."""
    days = times_of(table) // DAY
    order = np.lexsort((*_file_order(table), days))
    days = days[order]
    for rows in np.split(order, np.flatnonzero(np.diff(days)) + 1):
        if len(rows):
            yield Part(_EPOCH + timedelta(int(times_of(table.slice(int(rows[0]), 1))[0] // DAY)), table.take(rows))


def in_order(table: Any) -> Any:
    """The rows of one day in the order of files."""
    return table.take(np.lexsort(_file_order(table)))


def times_of(table: Any, name: str = "time") -> Indices:
    """A column of instants: int64[n], microseconds."""
    return np.asarray(table[name].cast(pa.int64()).combine_chunks().to_numpy(zero_copy_only=False), dtype=np.int64)


def positions_of(table: Any) -> Indices:
    """The positions of the rows (`window.position_of`): int64[n]."""
    offsets = table["offset"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    found: Indices = offsets << INDEX_BITS | table["index"].combine_chunks().to_numpy(zero_copy_only=False)
    return found


def identities_of(table: Any) -> bytes:
    """The identities of the rows, 16 bytes each."""
    column = table["identity"].combine_chunks()
    data = column.buffers()[1]
    if data is None or len(column) == 0:
        return b""
    first = 16 * column.offset
    return bytes(memoryview(data)[first : first + 16 * len(column)])


def codes_of(table: Any, name: str) -> tuple[Indices, list[str]]:
    """A column of texts as codes (int64[n]) and the texts that they stand for."""
    encoded = table[name].combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def _file_order(table: Any) -> tuple[Indices, ...]:
    """Keys for `lexsort`, the first one last: customer, time, position."""
    codes, texts = codes_of(table, "customer")
    rank = np.empty(len(texts), dtype=np.int64)
    rank[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    return positions_of(table), times_of(table), rank[codes] if len(texts) else codes
