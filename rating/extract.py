"""From event bytes to columns (spec 1.2, 3.1, 3.4): the one way in which the stream and the simulator read events.

`Extractor` is made for a set of meters: it reads of each event only the attributes, and of its data only the keys that
meters of its type name. `read` gives a `Batch` (who, what, when); `meter` then gives each meter its rows, values and
dimensions, for the rows that are still wanted after duplicates and late events were dropped. What an event costs does
not grow with meters of other types.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
from msgspec import UNSET

from rating.events import Written, checked_event
from rating.fixed import Column, Indices, Mask
from rating.leaves import Rejected, column_of, distinct_texts_of, texts_of
from rating.vetting import mark_unclean, mark_unsound, names_of, times_of
from schemas.event import Name
from schemas.meter import Meter

_NAMES: Final = {"id", "source", "type", "subject", "subscription", "time", "specversion", "data"}
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Leaves = list[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """n events in columns; rows are indices into the list that was read.

    `valid` bool[n]: of the others only the bytes are known, their texts are empty. `time` and `received` int64[n] in
    microseconds; `time` is `received` where the event has none. `type_code` int64[n] is negative where no meter wants
    the type. `subscriptions` has None where an event names none. `events` and `data` are the decoders' structs.
    """

    valid: Mask
    ids: list[str]
    sources: list[str]
    types: list[str]
    subjects: list[str]
    subscriptions: list[str | None]
    time: Indices
    received: Indices
    type_code: Indices
    events: list[Any]
    data: list[Any]

    def __len__(self) -> int:
        return len(self.ids)

    def invalid(self) -> Indices:
        """Rows to reject as `event_invalid` (spec 2.3)."""
        return np.flatnonzero(~self.valid)

    def unmatched(self) -> Indices:
        """Rows of valid events whose type no meter wants (spec 2.5)."""
        return np.flatnonzero(self.valid & (self.type_code < 0))


@dataclass(frozen=True, slots=True, eq=False)
class Metered:
    """What a batch has for one meter: m accepted rows.

    `rows` int64[m] (rising indices into the batch), `values` for aggregations of numbers, `texts` (m of them) for
    `unique`, neither for `count`. `code` int64[m] is each row's index into `combinations`: the texts of the meter's
    dimensions, in the meter's order. `rejected` are rows refused for this meter, with the code of spec 1.2.
    """

    meter: str
    rows: Indices
    values: Column | None
    texts: list[str] | None
    code: Indices
    combinations: list[tuple[str, ...]]
    rejected: Rejected


class Extractor:
    """Reads events for a set of meters, by key."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        by_type: dict[str, dict[str, Meter]] = {}
        for key, meter in meters.items():
            by_type.setdefault(meter.event_type, {})[key] = meter
        self._types = {event_type: _Type(code, found) for code, (event_type, found) in enumerate(by_type.items())}
        self._other = _Type(-1, {})
        extra = sorted({path.split(".")[0] for meter in meters.values() for path in _paths_of(meter)} - _NAMES)
        self._extra = {name: f"x{index}" for index, name in enumerate(extra)}
        self._event = _struct("Event", self._extra)
        self._decode = msgspec.json.Decoder(self._event, float_hook=Written).decode
        self._nothing = self._event("", "", "", "", "1.0")

    def read(self, raws: Sequence[bytes], received: Indices) -> Batch:
        """The batch in these bytes, one event each; `received` int64[n] in microseconds."""
        valid = np.ones(len(raws), dtype=np.bool_)
        get, other = self._types.get, self._other
        try:
            events: list[Any] = list(map(self._decode, raws))
            data = [get(event.type, other).decode(event.data) for event in events]
        except _UNREADABLE:
            pairs = [self._read_alone(row, raw, valid) for row, raw in enumerate(raws)]
            events, data = [event for event, _ in pairs], [found for _, found in pairs]
        names = names_of(events)
        mark_unsound(raws, valid)
        mark_unclean(names, valid)
        time = times_of(events, received, valid)
        if not valid.all():
            for row in np.flatnonzero(~valid).tolist():
                events[row], data[row] = self._nothing, None
            names = names_of(events)
        code = np.array([get(event_type, other).code for event_type in names.types], dtype=np.int64)
        code[~valid] = -1
        return Batch(valid, *names, time, np.asarray(received, dtype=np.int64), code, events, data)

    def meter(self, batch: Batch, rows: Indices | None = None) -> list[Metered]:
        """What each meter gets of these rows of the batch (rising; None: all), in the order of types and meters."""
        wanted = np.arange(len(batch), dtype=np.int64) if rows is None else rows
        codes = batch.type_code[wanted]
        metered = []
        for kind in self._types.values():
            of_type = wanted[codes == kind.code]
            if len(of_type):
                found = _Found(kind, self._extra, _at(batch.events, of_type), _at(batch.data, of_type))
                metered += [_metered(key, meter, found, of_type) for key, meter in kind.meters.items()]
        return metered

    def _read_alone(self, row: int, raw: bytes, valid: Mask) -> tuple[Any, Any]:
        """One event of a batch in which some event does not decode; an invalid one is marked and left empty."""
        try:
            event = self._decode(raw)
            return event, self._types.get(event.type, self._other).decode(event.data)
        except _UNREADABLE:
            pass
        try:
            checked_event(raw)
        except ValueError:
            valid[row] = False
            return self._nothing, None
        # valid, with a whole number that is too long for an int
        tree = json.loads(raw, parse_int=Written, parse_float=Written)
        event = self._event(*(tree[name] for name in ("id", "source", "type", "subject", "specversion")))
        event.time, event.subscription = tree.get("time"), tree.get("subscription")
        for name, attribute in self._extra.items():
            setattr(event, attribute, tree.get(name, UNSET))
        return event, self._types.get(event.type, self._other).of_tree(tree.get("data"))


class _Type:
    """The meters of one event type, and the decoder of the keys of `data` that they read."""

    def __init__(self, code: int, meters: Mapping[str, Meter]) -> None:
        self.code = code
        self.meters = meters
        paths = [path for meter in meters.values() for path in _paths_of(meter) if path.startswith("data.")]
        self.keys = {key: f"k{index}" for index, key in enumerate(sorted({path.split(".")[1] for path in paths}))}
        self._data = _struct("Data", self.keys)
        self.decode = msgspec.json.Decoder(self._data | None, float_hook=Written).decode
        self.empty = self._data()

    def of_tree(self, data: dict[str, Any] | None) -> Any:
        """The struct of data that was decoded otherwise."""
        return None if data is None else self._data(**{k: data.get(name, UNSET) for name, k in self.keys.items()})


class _Found:
    """The leaves of some events of one type, found once for each path however many meters name it."""

    def __init__(self, kind: _Type, extra: dict[str, str], events: list[Any], data: list[Any]) -> None:
        self._kind = kind
        self._extra = extra
        self._events = events
        self._data = data
        self._by_path: dict[str, Leaves] = {}

    def at(self, path: str) -> Leaves:
        """What stands at a path in each event (`leaves.py`)."""
        if path not in self._by_path:
            self._by_path[path] = self._find(*path.split("."))
        return self._by_path[path]

    def _find(self, head: str, *below: str) -> Leaves:
        if head == "data" and below:
            attribute, empty = self._kind.keys[below[0]], self._kind.empty
            return _walk([getattr(empty if data is None else data, attribute) for data in self._data], below[1:])
        if head == "data":
            return [UNSET if data is None else {} for data in self._data]
        return _walk([getattr(event, self._extra.get(head, head)) for event in self._events], below)


def _metered(key: str, meter: Meter, found: _Found, rows: Indices) -> Metered:
    """One meter's share of the events of its type: first the filter, then the value, then the dimensions."""
    here = np.arange(len(rows), dtype=np.int64)
    for path, allowed in meter.where.items():
        texts = texts_of(found.at(path))
        passed = frozenset(allowed)
        here = here[np.array([texts[place] in passed for place in here.tolist()], dtype=np.bool_)]
    values: Column | None = None
    texts_found: list[str] | None = None
    rejected: Rejected = []
    if meter.aggregation != "count" and meter.value is not None:
        leaves = _at(found.at(meter.value), here)
        if meter.aggregation == "unique":
            texts_found, here, rejected = distinct_texts_of(leaves, here)
        else:
            values, here, rejected = column_of(leaves, here)
    code, combinations = _combine(
        [texts_of(_at(found.at(path), here)) for path in meter.dimensions.values()], len(here)
    )
    named = [(int(rows[place]), outcome) for place, outcome in rejected]
    return Metered(key, rows[here], values, texts_found, code, combinations, named)


def _combine(texts: list[list[str]], count: int) -> tuple[Indices, list[tuple[str, ...]]]:
    """Codes of the combinations of some dimensions' texts, and the combinations in order of first sight."""
    if not texts:
        return np.zeros(count, dtype=np.int64), [()]
    codes: dict[Any, int] = {}
    keys: Sequence[Any] = texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))
    code = np.array([codes.setdefault(key, len(codes)) for key in keys], dtype=np.int64)
    return code, [(key,) for key in codes] if len(texts) == 1 else list(codes)


def _at(leaves: Leaves, places: Indices) -> Leaves:
    """The leaves of some places."""
    return leaves if len(places) == len(leaves) else [leaves[place] for place in places.tolist()]


def _walk(leaves: Leaves, keys: Sequence[str]) -> Leaves:
    """What stands below each leaf; absent where a leaf is no map or has no such key."""
    for key in keys:
        leaves = [leaf.get(key, UNSET) if isinstance(leaf, dict) else UNSET for leaf in leaves]
    return leaves


def _paths_of(meter: Meter) -> list[str]:
    """Every path that a meter reads."""
    return [*meter.where, *meter.dimensions.values(), *([meter.value] if meter.value is not None else [])]


def _struct(name: Literal["Data", "Event"], keys: dict[str, str]) -> Any:
    """The struct that decodes an event, or its data, with only these keys; each is UNSET where it is absent.

    An event's data stays undecoded: which of its keys are read depends on the event's type.
    """
    fields: list[Any] = [(attribute, Any, msgspec.field(default=UNSET, name=key)) for key, attribute in keys.items()]
    if name == "Event":
        names: list[Any] = [(attribute, Name) for attribute in ("id", "source", "type", "subject")]
        fields = [
            *names,
            ("specversion", Literal["1.0"]),
            ("time", str | None, None),
            ("subscription", Name | None, None),
            ("data", msgspec.Raw, msgspec.Raw(b"null")),
            *fields,
        ]
    return msgspec.defstruct(name, fields, gc=False)
