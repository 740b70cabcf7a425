"""Files of events: their names, how they are written, and how their rows are read back."""

from datetime import date
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from metering.archive.identities import find_rows, index_path, make_index
from metering.archive.place import Place
from metering.archive.rows import SCHEMA, identities_of
from metering.errors import ArchiveDamaged, ArchiveUnavailable

ROW_GROUP: Final = 16_384
"""Rows of a group: what a look-up decodes (a few milliseconds)."""
DICTIONARIES: Final = [
    *("customer", "type", "source", "subscription", "partition", "late_window"),
    *("values.key_value.key", "texts.key_value.key", "texts.key_value.value"),
]
ZSTD_LEVEL: Final = 1
"""Level 3 is a third slower and a twentieth smaller."""


class File(NamedTuple):
    """A file as `archive_file` lists it: events of one day from offsets `first_offset` to before `next_offset`."""

    log_id: str
    partition: int
    day: date
    first_offset: int
    next_offset: int
    path: str
    events: int


def path_of(log_id: str, partition: int, day: date, first_offset: int, next_offset: int) -> str:
    """The name of a file: the same cut always has the same one.

    The customer bucket is the partition: a customer's events all lie in one.
    """
    log = blake2b(log_id.encode(), digest_size=4).hexdigest()
    name = f"{log}-{partition:04}-{first_offset:016}-{next_offset:016}"
    return f"date={day.isoformat()}/bucket={partition:04}/{name}.parquet"


def write_file(place: Place, path: str, table: Any) -> None:
    """Write events that are in the order of files, with their index; equal events give equal bytes."""
    place.write(index_path(path), make_index(identities_of(table)))
    sink = pa.BufferOutputStream()
    plain = [name for name in SCHEMA.names if name not in ("event", "identity", "values", "texts")]
    with pq.ParquetWriter(
        sink,
        SCHEMA,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=DICTIONARIES,
        write_statistics=plain,
        bloom_filter_options={"id": {"ndv": ROW_GROUP, "fpp": 0.01}},
        sorting_columns=[pq.SortingColumn(SCHEMA.get_field_index(name)) for name in ("customer", "time")],
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP)
    place.write(path, sink.getvalue())


def read_file(place: Place, path: str, filters: Any = None, columns: list[str] | None = None) -> Any:
    """The rows of a file that pass `filters` (a `pyarrow.compute` expression); groups that have none are not decoded.

    Raises `ArchiveDamaged` for what is no whole file of events, `FileNotFoundError` for one that was merged away.
    """
    with place.open(path) as file:
        try:
            return pq.read_table(file, filters=filters, columns=columns, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(place, path, error) from error


def size_of(place: Place, path: str) -> int:
    """The bytes of a file's rows before they are packed, by its footer."""
    with place.open(path) as file:
        try:
            metadata = pq.ParquetFile(file).metadata
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(place, path, error) from error
        return sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))


def read_identity(place: Place, path: str, identity: bytes) -> Any:
    """The rows of a file that have this identity; reads the groups of those rows only."""
    rows = find_rows(place.open(index_path(path)), identity)
    if not rows:
        return SCHEMA.empty_table()
    with place.open(path) as file:
        try:
            parquet = pq.ParquetFile(file)
            groups = sorted({row // ROW_GROUP for row in rows})
            table = parquet.read_row_groups(groups, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(place, path, error) from error
    return table.filter(pa.array([found == identity for found in table["identity"].to_pylist()]))


def _unreadable(place: Place, path: str, error: Exception) -> ArchiveDamaged | ArchiveUnavailable:
    """What an error of reading means: an object store may go away while a file is read, a folder does not."""
    if place.remote and isinstance(error, OSError):
        return ArchiveUnavailable(f"{path} cannot be read from the object store: {error}")
    return ArchiveDamaged(f"the archive's file {path} cannot be read: {error}; see docs/howto/operate.md")
