"""From event bytes to columns (spec 1.2, 3.1, 3.4): the one way in which the stream and the simulator read events.

`Extractor` is made for a set of meters: its decoder reads of each event only the attributes and the keys of `data` that
some meter names. `read` gives a `Batch` (who, what, when); `meter` then gives each meter its rows, values and
dimensions, for the rows that are still wanted after duplicates and late events were dropped. What an event costs does
not grow with meters of other types.
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET

from rating.events import LONG, Written, checked_event, clean, unsound
from rating.fixed import Column, Indices, Mask
from rating.leaves import Rejected, column_of, distinct_texts_of, texts_of
from rating.times import instants
from schemas.event import Name
from schemas.meter import Meter

_NAMES: Final = ("id", "source", "type", "subject", "subscription", "time", "specversion")
Leaves = list[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """n events in columns; rows are indices into the list that was read.

    `valid` bool[n]: of the others only the bytes are known, their texts are empty. `time` and `received` int64[n] in
    microseconds; `time` is `received` where the event has none. `type_code` int64[n] is negative where no meter wants
    the type. `subscriptions` has None where an event names none. `events` are the decoder's structs.
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
        self._meters: dict[str, list[tuple[str, Meter]]] = {}
        for key, meter in meters.items():
            self._meters.setdefault(meter.event_type, []).append((key, meter))
        self._codes = {event_type: code for code, event_type in enumerate(self._meters)}
        paths = {path for meter in meters.values() for path in _paths_of(meter)}
        keys = sorted({path[5:].split(".")[0] for path in paths if path.startswith("data.")})
        extra = sorted({path.split(".")[0] for path in paths} - {"data", *_NAMES})
        self._keys = {key: f"k{index}" for index, key in enumerate(keys)}
        self._extra = {name: f"x{index}" for index, name in enumerate(extra)}
        self._data = _struct("Data", self._keys)
        self._event = _struct("Event", self._extra, self._data)
        self._decode = msgspec.json.Decoder(self._event, float_hook=Written).decode
        self._nothing = self._event("", "", "", "", "1.0")
        self._empty = self._data()

    def read(self, raws: Sequence[bytes], received: Indices) -> Batch:
        """The batch in these bytes, one event each; `received` int64[n] in microseconds."""
        valid = np.ones(len(raws), dtype=np.bool_)
        try:
            events: list[Any] = list(map(self._decode, raws))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            events = [self._decode_alone(row, raw, valid) for row, raw in enumerate(raws)]
        names = _names(events)
        _mark_unsound(raws, valid)
        _mark_unclean(names, valid)
        time = _times(events, received, valid)
        if not valid.all():
            for row in np.flatnonzero(~valid).tolist():
                events[row] = self._nothing
            names = _names(events)
        get = self._codes.get
        code = np.array([get(event_type, -1) for event_type in names.types], dtype=np.int64)
        code[~valid] = -1
        return Batch(valid, *names, time, np.asarray(received, dtype=np.int64), code, events)

    def meter(self, batch: Batch, rows: Indices | None = None) -> list[Metered]:
        """What each meter gets of these rows of the batch (rising; None: all), in the order of types and meters."""
        wanted = np.arange(len(batch), dtype=np.int64) if rows is None else rows
        codes = batch.type_code[wanted]
        metered = []
        for event_type, meters in self._meters.items():
            of_type = wanted[codes == self._codes[event_type]]
            if len(of_type):
                picked = of_type.tolist()
                events = batch.events if len(picked) == len(batch) else [batch.events[row] for row in picked]
                found = _Found(self, events)
                metered += [_metered(key, meter, found, of_type) for key, meter in meters]
        return metered

    def leaves(self, path: str, events: list[Any]) -> Leaves:
        """What stands at a path in each event (`leaves.py`)."""
        head, *below = path.split(".")
        if head == "data" and below:
            attribute = self._keys[below[0]]
            leaves = [getattr(event.data or self._empty, attribute) for event in events]
            return _walk(leaves, below[1:])
        if head == "data":
            return [UNSET if event.data is None else {} for event in events]
        return _walk([getattr(event, self._extra.get(head, head)) for event in events], below)

    def _decode_alone(self, row: int, raw: bytes, valid: Mask) -> Any:
        """One event of a batch in which some event does not decode; an invalid one is marked and left empty."""
        try:
            return self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._read_slowly(row, raw, valid)

    def _read_slowly(self, row: int, raw: bytes, valid: Mask) -> Any:
        """An event that the typed decoder refuses: invalid, or valid with a whole number too long for an int."""
        try:
            checked_event(raw)
        except ValueError:
            valid[row] = False
            return self._nothing
        tree = json.loads(raw, parse_int=Written, parse_float=Written)
        event = self._event(*(tree[name] for name in ("id", "source", "type", "subject", "specversion")))
        event.time, event.subscription = tree.get("time"), tree.get("subscription")
        for name, attribute in self._extra.items():
            setattr(event, attribute, tree.get(name, UNSET))
        event.data = self._data(**{k: (tree.get("data") or {}).get(name, UNSET) for name, k in self._keys.items()})
        return event


class _Names(NamedTuple):
    """The names of n events, in the order in which `Batch` has them."""

    ids: list[str]
    sources: list[str]
    types: list[str]
    subjects: list[str]
    subscriptions: list[str | None]


def _names(events: list[Any]) -> _Names:
    """The names in the decoder's structs."""
    return _Names(
        [event.id for event in events],
        [event.source for event in events],
        [event.type for event in events],
        [event.subject for event in events],
        [event.subscription for event in events],
    )


def _mark_unsound(raws: Sequence[bytes], valid: Mask) -> None:
    """Mark what a decoder lets pass where it skips: bad UTF-8, NULs, deep nesting (`events.unsound`).

    One look at the whole batch says whether events must be looked at one by one.
    """
    everything = b"".join(raws)
    odd = not everything.isascii() or (b"\\" in everything and b"\\u0000" in everything)
    if odd or max(map(len, raws), default=0) > LONG:
        for row, raw in enumerate(raws):
            if odd or len(raw) > LONG:
                valid[row] &= unsound(raw) is None


def _mark_unclean(names: _Names, valid: Mask) -> None:
    """Mark events with control characters in their names, or blanks at the edges (spec 2.3); the batch at once."""
    *most, subscriptions = names
    present = [name for name in subscriptions if name is not None]
    joined = "\n".join([*itertools.chain(*most), *present, ""])
    if joined.isascii():
        letters = np.frombuffer(joined.encode(), dtype=np.uint8)
        control, blank = (letters < ord(" ")) | (letters == 0x7F), letters == ord(" ")
        between = len(most) * len(valid) + len(present)
        edges = (blank[:-1] & control[1:]) | (control[:-1] & blank[1:])
        if np.count_nonzero(control) == between and not edges.any() and not blank[:1].any():
            return
    for row, (*required, subscription) in enumerate(zip(*names, strict=True)):
        valid[row] &= all(map(clean, required)) and (subscription is None or clean(subscription))


def _times(events: list[Any], received: Indices, valid: Mask) -> Indices:
    """The events' times, the receipt where there is none; an event whose time is no time is marked."""
    texts = [event.time for event in events]
    sent = [row for row, text in enumerate(texts) if text is not None]
    time = np.array(received, dtype=np.int64)
    if sent:
        found, known = instants(texts if len(sent) == len(texts) else [texts[row] for row in sent])
        rows = np.array(sent, dtype=np.int64)
        time[rows[known]] = found[known]
        valid[rows[~known]] = False
    return time


class _Found:
    """The leaves of some events, found once for each path however many meters name it."""

    def __init__(self, extractor: Extractor, events: list[Any]) -> None:
        self._extractor = extractor
        self._events = events
        self._by_path: dict[str, Leaves] = {}

    def at(self, path: str) -> Leaves:
        """The leaves at a path."""
        if path not in self._by_path:
            self._by_path[path] = self._extractor.leaves(path, self._events)
        return self._by_path[path]


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


def _walk(leaves: Leaves, keys: list[str]) -> Leaves:
    """What stands below each leaf; absent where a leaf is no map or has no such key."""
    for key in keys:
        leaves = [leaf.get(key, UNSET) if isinstance(leaf, dict) else UNSET for leaf in leaves]
    return leaves


def _paths_of(meter: Meter) -> list[str]:
    """Every path that a meter reads."""
    return [*meter.where, *meter.dimensions.values(), *([meter.value] if meter.value is not None else [])]


def _struct(name: Literal["Data", "Event"], keys: dict[str, str], data: Any = None) -> Callable[..., Any]:
    """The struct that decodes an event, or its data, with only these keys; each is UNSET where it is absent."""
    fields: list[Any] = [(attribute, Any, msgspec.field(default=UNSET, name=key)) for key, attribute in keys.items()]
    if data is not None:
        names: list[Any] = [(attribute, Name) for attribute in ("id", "source", "type", "subject")]
        fields = [
            *names,
            ("specversion", Literal["1.0"]),
            ("time", str | None, None),
            ("subscription", Name | None, None),
            ("data", data | None, None),
            *fields,
        ]
    return msgspec.defstruct(name, fields, gc=False)
