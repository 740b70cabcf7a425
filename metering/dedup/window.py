"""The identities that a partition remembers, and which events of a batch are new (spec 2.2)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.instants import DAY

Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

ENTRY = 32
"""Bytes of a remembered identity: hash (16), hash of the raw event (8), position (8)."""

INDEX_BITS = 20
INDEX_MAX = (1 << INDEX_BITS) - 1
"""The greatest index of an event in its message."""

_FILTER_BITS_EACH = 16
_NOWHERE = np.iinfo(np.int64).max


class Sorted(NamedTuple):
    """Which of n events are new, in the order of arrival.

    `takes` marks those that take their identity now. `first` is the position of the event that took it before,
    or -1 (also where the time keeps an event from taking a free one). `same_bytes` tells where both raw events are
    equal byte for byte.
    """

    takes: Mask
    first: npt.NDArray[np.int64]
    same_bytes: Mask


def position_of(offset: int, index: int) -> int:
    """The place of an event: its message's offset and its index in the message, in one number."""
    return offset << INDEX_BITS | index


def place_of(position: int) -> tuple[int, int]:
    """The offset and the index of a position."""
    return position >> INDEX_BITS, position & INDEX_MAX


class _Run:
    """Entries sorted by hash; all forgotten at the same instant."""

    __slots__ = ("columns",)

    def __init__(self, columns: Words) -> None:
        self.columns = columns
        """uint64[4, n]: both words of the hash, content, position; sorted by the first word."""

    def __len__(self) -> int:
        return int(self.columns.shape[1])

    def find(self, high: Words, low: Words) -> npt.NDArray[np.int64]:
        """The row of each hash, or -1."""
        mine_high, mine_low = self.columns[0], self.columns[1]
        rows = np.searchsorted(mine_high, high)
        inside = rows < len(mine_high)
        found = np.full(len(high), -1, np.int64)
        at = rows[inside]
        equal = mine_high[at] == high[inside]
        hit = equal & (mine_low[at] == low[inside])
        found[inside] = np.where(hit, at, -1)
        for row in np.flatnonzero(inside)[equal & ~hit]:  # two hashes that share 64 bits: look through the few
            place = int(rows[row])
            while place < len(mine_high) and mine_high[place] == high[row]:
                if mine_low[place] == low[row]:
                    found[row] = place
                    break
                place += 1
        return found


class Window:
    """What one partition remembers."""

    def __init__(self) -> None:
        self._days: dict[int, list[_Run]] = {}
        self._count = 0
        self._make_filter(1 << 16)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self._bits.nbytes + sum(run.columns.nbytes for runs in self._days.values() for run in runs)

    def _make_filter(self, bits: int) -> None:
        self._mask = np.uint64(bits - 1)
        self._bits = np.zeros(bits >> 3, np.uint8)
        for runs in self._days.values():
            for run in runs:
                self._mark(run.columns[0], run.columns[1])

    def _mark(self, high: Words, low: Words) -> None:
        for word in (high, low):
            slot = word & self._mask
            bit = np.uint8(1) << (slot & np.uint64(7)).astype(np.uint8)
            np.bitwise_or.at(self._bits, slot >> np.uint64(3), bit)

    def _maybe(self, high: Words, low: Words) -> npt.NDArray[np.int64]:
        """Rows of hashes of which both bits are set: with 16 bits an identity or more, one new one in 70 at most."""
        rows = np.flatnonzero(self._marked(high))
        return rows[self._marked(low[rows])]

    def _marked(self, word: Words) -> Mask:
        slot = word & self._mask
        byte = self._bits[slot >> np.uint64(3)]
        marked: Mask = (byte >> (slot & np.uint64(7)).astype(np.uint8)) & 1 == 1
        return marked

    def sort_out(self, hashes: Words, content: Words, positions: npt.NDArray[np.int64], on_time: Mask) -> Sorted:
        """Tell new events from seen ones; changes nothing.

        `hashes` is uint64[n, 2], `content` uint64[n], `positions` int64[n] ascending, `on_time` bool[n] (spec 2.2: the
        identity is looked at first, an event that is too old or too new does not take it).
        """
        n = len(positions)
        high, low = np.ascontiguousarray(hashes[:, 0]), np.ascontiguousarray(hashes[:, 1])
        first = np.full(n, -1, np.int64)
        same = np.zeros(n, np.bool_)
        self._look_up(high, low, content, first, same)
        open_rows = np.flatnonzero(first < 0)
        takes = np.zeros(n, np.bool_)
        if len(open_rows) == 0:
            return Sorted(takes, first, same)
        order = open_rows[np.lexsort((open_rows, low[open_rows], high[open_rows]))]
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
        if fresh.all():
            takes[open_rows] = on_time[open_rows]
            return Sorted(takes, first, same)
        starts = np.flatnonzero(fresh)
        group = np.cumsum(fresh) - 1
        owner_row = np.minimum.reduceat(np.where(on_time[order], order, _NOWHERE), starts)[group]
        takes[order[owner_row == order]] = True
        later = order > owner_row
        rows, owners = order[later], owner_row[later]
        first[rows] = positions[owners]
        same[rows] = content[rows] == content[owners]
        return Sorted(takes, first, same)

    def _look_up(self, high: Words, low: Words, content: Words, first: npt.NDArray[np.int64], same: Mask) -> None:
        left = self._maybe(high, low)
        left = left[np.argsort(high[left])]  # neighbours are found in the same cache lines: three times as fast
        for day in sorted(self._days, reverse=True):  # most copies come soon after the first
            for run in self._days[day]:
                if len(left) == 0:
                    return
                found = run.find(high[left], low[left])
                hit = found >= 0
                rows, at = left[hit], found[hit]
                first[rows] = run.columns[3][at].astype(np.int64)
                same[rows] = run.columns[2][at] == content[rows]
                left = left[~hit]

    def add(self, entries: Words, expires: int) -> None:
        """Remember entries (uint64[n, 4], new and distinct) until `expires` (microseconds), or up to a day longer."""
        if len(entries) == 0:
            return
        columns = np.ascontiguousarray(entries.T)
        columns = np.ascontiguousarray(columns[:, np.argsort(columns[0], kind="stable")])
        runs = self._days.setdefault(day_of(expires), [])
        runs.append(_Run(columns))
        while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
            runs[-2:] = [_merge(runs[-2], runs[-1])]
        self._count += len(entries)
        if self._count * _FILTER_BITS_EACH > len(self._bits) * 8:
            self._make_filter(1 << (self._count * _FILTER_BITS_EACH * 2 - 1).bit_length())
        else:
            self._mark(columns[0], columns[1])

    def forget(self, now: int) -> None:
        """Drop the days that ended before `now`."""
        gone = [day for day in self._days if day * DAY <= now]
        for day in gone:
            self._count -= sum(len(run) for run in self._days.pop(day))
        if gone:
            self._make_filter(len(self._bits) * 8)


def day_of(expires: int) -> int:
    """The day at whose beginning an identity with this expiry is forgotten: the first midnight (UTC) not before it."""
    return -(-expires // DAY)


def _merge(older: _Run, newer: _Run) -> _Run:
    """Both runs as one: the newer is put between the rows of the older."""
    place = np.searchsorted(older.columns[0], newer.columns[0])
    return _Run(np.insert(older.columns, place, newer.columns, axis=1))
