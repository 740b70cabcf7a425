"""Exact columns beside the JSON: what the meters in force read of each event, so that computing again parses nothing.

`values` maps a path to the number that stands there, null where none is acceptable (spec 1.2); `texts` maps a path to
its text (spec 3.1). A path that is absent was not read when the event was archived: then its JSON says it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rating.extract import Batch, Extractor, Metered
from rating.fixed import Column, Indices
from schemas.meter import Meter

PLACES: Final = 12
DECIMAL: Final = pa.decimal128(38, PLACES)
VALUES: Final = pa.map_(pa.string(), DECIMAL)
TEXTS: Final = pa.map_(pa.string(), pa.string())
_WORD: Final = (1 << 64) - 1
_VALUE, _TEXT = "value", "text"


class Notes:
    """What is written: an extractor of every path that some meters read."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self.meters = dict(meters)
        wanted: dict[str, Meter] = {}
        for meter in meters.values():
            kind = meter.event_type
            if meter.value is not None and meter.aggregation != "unique":
                wanted[f"{_VALUE}\n{kind}\n{meter.value}"] = Meter(
                    event_type=kind, aggregation="sum", value=meter.value
                )
            for path in (*meter.where, *meter.dimensions.values()):
                reads = Meter(event_type=kind, aggregation="count", dimensions={_TEXT: path})
                wanted[f"{_TEXT}\n{kind}\n{path}"] = reads
        self.extractor = Extractor(wanted)

    def columns(self, batch: Batch) -> tuple[Any, Any]:
        """The columns `values` and `texts` of a batch that `extractor` has read."""
        values: list[tuple[Indices, str, Any]] = []
        texts: list[tuple[Indices, str, Any]] = []
        for metered in self.extractor.meter(batch):
            kind, _, path = metered.meter.split("\n", 2)
            if kind == _VALUE and metered.values is not None:
                values.append((metered.rows, path, _decimals(metered.values)))
                refused = np.array([row for row, _ in metered.rejected], dtype=np.int64)
                values.append((refused, path, pa.nulls(len(refused), DECIMAL)))
            else:
                found = pa.array([combination[0] for combination in metered.combinations], pa.string())
                texts.append((metered.rows, path, found.take(pa.array(metered.code))))
        return _maps(len(batch), values, DECIMAL), _maps(len(batch), texts, pa.string())


class Noted:
    """What is read: the notes of a table."""

    def __init__(self, table: Any) -> None:
        self._rows = len(table)
        self._values = _Items(table["values"])
        self._texts = _Items(table["texts"])

    def meter(self, key: str, meter: Meter, rows: Indices) -> Metered | None:
        """What a meter takes of these rows, which are of its type; None where the notes do not have it all."""
        if meter.aggregation == "unique":
            return None
        here = rows
        for path, allowed in meter.where.items():
            code, texts = self._texts.coded(path, here, self._rows)
            if code is None:
                return None
            passed = np.array([text in allowed for text in texts], dtype=np.bool_)
            here = here[passed[code]] if len(texts) else here
        values = None
        if meter.aggregation != "count" and meter.value is not None:
            items = self._values.of(meter.value, here, self._rows)
            if items is None:
                return None
            known = items.is_valid().to_numpy(zero_copy_only=False)
            here, values = here[known], _column(items.drop_null())
        code = np.zeros(len(here), dtype=np.int64)
        combinations: list[tuple[str, ...]] = [()]
        named: list[list[str]] = []
        for path in meter.dimensions.values():
            more, texts = self._texts.coded(path, here, self._rows)
            if more is None:
                return None
            code = code * max(1, len(texts)) + more
            named.append(texts)
        if named:
            distinct, code = np.unique(code, return_inverse=True)
            combinations = [_unfold(int(one), named) for one in distinct.tolist()]
        return Metered(key, here, values, None, code, combinations, [])


class _Items:
    """A column of maps, taken apart."""

    def __init__(self, column: Any) -> None:
        maps = column.combine_chunks()
        offsets = maps.offsets.to_numpy()
        first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
        self._items = maps.items.slice(first, last - first)
        keys = maps.keys.slice(first, last - first).dictionary_encode()
        self._key = keys.indices.to_numpy(zero_copy_only=False)
        self._keys: list[str] = keys.dictionary.to_pylist()
        self._row = np.repeat(np.arange(len(maps)), np.diff(offsets))

    def of(self, path: str, rows: Indices, count: int) -> Any:
        """The items at a path of these rows; None if one of them has no such key."""
        if path not in self._keys:
            return None if len(rows) else self._items.slice(0, 0)
        items = np.flatnonzero(self._key == self._keys.index(path))
        place = np.full(count, -1, dtype=np.int64)
        place[self._row[items]] = items
        wanted = place[rows]
        return None if (wanted < 0).any() else self._items.take(pa.array(wanted))

    def coded(self, path: str, rows: Indices, count: int) -> tuple[Indices | None, list[str]]:
        """The same as codes and the texts that they stand for."""
        items = self.of(path, rows, count)
        if items is None:
            return None, []
        encoded = items.dictionary_encode()
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def _unfold(code: int, named: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The texts that a combined code stands for."""
    found: list[str] = []
    for texts in reversed(named):
        code, place = divmod(code, max(1, len(texts)))
        found.append(texts[place])
    return tuple(reversed(found))


def _maps(count: int, parts: Sequence[tuple[Indices, str, Any]], kind: Any) -> Any:
    """A column of maps from items by row and key; the keys of a row are in order."""
    keys = sorted({path for _, path, _ in parts})
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(rows for rows, _, _ in parts)])
    codes = np.repeat([keys.index(path) for _, path, _ in parts], [len(rows) for rows, _, _ in parts]).astype(np.int64)
    order = np.lexsort((codes, rows))
    items = pa.concat_arrays([pa.nulls(0, kind), *(item for _, _, item in parts)]).take(pa.array(order))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    names = pa.array(keys, pa.string()).take(pa.array(codes[order]))
    return pa.MapArray.from_arrays(pa.array(offsets), names, items)


def _decimals(values: Column) -> Any:
    """A column as decimals of `PLACES` places."""
    numbers = values.rescale(PLACES).values
    if numbers.dtype == object:
        return pa.array(Column(numbers, PLACES).decimals(), DECIMAL)
    words = np.column_stack([numbers, numbers >> 63]).astype("<i8")
    return pa.Array.from_buffers(DECIMAL, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(words))])


def _column(items: Any) -> Column:
    """Decimals without nulls as a column, at the smallest scale that keeps it all."""
    if len(items) == 0:
        return Column.zeros(0)
    words = np.frombuffer(items.buffers()[1], dtype="<i8", count=2 * len(items), offset=16 * items.offset).reshape(
        -1, 2
    )
    low, high = words[:, 0], words[:, 1]
    if not (high == low >> 63).all():
        whole = [(left << 64) + (right & _WORD) for right, left in words.tolist()]
        return Column.of_ints(whole, PLACES)
    for places in (0, 3, 6, 9):
        one = 10 ** (PLACES - places)
        if not (low % one).any():
            return Column(low // one, places)
    return Column(low.copy(), PLACES)
