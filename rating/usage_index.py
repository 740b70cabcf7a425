"""The events of one meter in sorted columns: where a customer's events of a span lie, for many requests at once."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from rating.fixed import Column, Indices, Mask

NOBODY: Final = -1
"""The code of events that name no subscription."""

UNKNOWN: Final = -2
"""The code of a name that no event has."""


class UsageIndex:
    """n events of one meter, sorted by block, time and arrival; int64[n] unless said otherwise.

    A block is a customer's events, or with `by_combination` those of one customer and combination (levels are looked
    up backwards, so each combination's events lie together). `combination` is a code of `combinations` (texts of the
    meter's dimensions), `named` of the subscription that an event names, `values` a column or None.
    """

    def __init__(
        self,
        *,
        customers: list[str],
        named: list[str | None],
        combinations: list[tuple[str, ...]],
        combination: Indices,
        time: Indices,
        arrival: Indices,
        received: Indices,
        voided: Indices,
        values: Column | None,
        by_combination: bool,
    ) -> None:
        self._customers: dict[str, int] = {}
        codes = self._customers
        customer = np.array([codes.setdefault(name, len(codes)) for name in customers], dtype=np.int64)
        self._named: dict[str | None, int] = {None: NOBODY}
        names = self._named
        named_code = np.array([names.setdefault(name, len(names)) for name in named], dtype=np.int64)
        self.combinations = combinations
        key = customer * max(len(combinations), 1) + combination if by_combination else customer
        order = np.lexsort((arrival, time, key))
        self.combination, self.named = combination[order], named_code[order]
        self.time, self.arrival = time[order], arrival[order]
        self.received, self.voided = received[order], voided[order]
        self.values = None if values is None else values.take(order)
        key, customer = key[order], customer[order]
        self.block_start = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else key
        self.block_combination = self.combination[self.block_start]
        self._first_block = np.searchsorted(customer[self.block_start], np.arange(len(codes) + 1))
        self._times, rank = np.unique(self.time, return_inverse=True)
        block = np.repeat(np.arange(len(self.block_start)), np.diff(self.block_start, append=len(key)))
        self._key = block * (len(self._times) + 1) + rank

    def customer_codes(self, customers: Sequence[str]) -> Indices:
        """The code of each customer, `UNKNOWN` where it has no events; without `by_combination` it is its block."""
        return np.array([self._customers.get(name, UNKNOWN) for name in customers], dtype=np.int64)

    def named_codes(self, subscriptions: Sequence[str]) -> Indices:
        """The code of each subscription, `UNKNOWN` where no event names it."""
        return np.array([self._named.get(name, UNKNOWN) for name in subscriptions], dtype=np.int64)

    def blocks_of(self, customer: Indices) -> tuple[Indices, Indices]:
        """The first block of each customer, and the one after its last."""
        there = np.where(customer >= 0, customer, 0)
        low, high = self._first_block[there], self._first_block[np.minimum(there + 1, len(self._first_block) - 1)]
        return low, np.where(customer >= 0, high, low)

    def ranges(self, block: Indices, start: Indices, end: Indices) -> tuple[Indices, Indices]:
        """Where in its block each span start <= t < end begins and ends; empty for an unknown block."""
        up = len(self._times) + 1
        low = np.searchsorted(self._key, block * up + np.searchsorted(self._times, start))
        high = np.searchsorted(self._key, block * up + np.searchsorted(self._times, end))
        return low, np.where(block >= 0, np.maximum(low, high), low)

    def level(self, rows: Indices) -> Column:
        """The values of some rows; none where the meter has no values."""
        return Column.zeros(len(rows)) if self.values is None else self.values.take(rows)

    def select(
        self, dimensions: list[str], where: tuple[tuple[str, tuple[str, ...]], ...], by: tuple[str, ...]
    ) -> tuple[Mask, Indices, list[tuple[str, ...]]]:
        """For each combination whether a charge's filter lets it pass, and its index into the list of what `by` keeps.

        The list is sorted by text; a dimension that the meter does not have is the empty text.
        """
        place = {name: index for index, name in enumerate(dimensions)}

        def text(combination: tuple[str, ...], name: str) -> str:
            return combination[place[name]] if name in place else ""

        allowed = [all(text(one, name) in texts for name, texts in where) for one in self.combinations]
        kept = [tuple(text(one, name) for name in by) for one in self.combinations]
        table = sorted(set(kept)) or [()]
        code = {combination: index for index, combination in enumerate(table)}
        codes = np.array([code[combination] for combination in kept], dtype=np.int64)
        return np.array(allowed, dtype=np.bool_), codes, table


def flat_ranges(low: Indices, high: Indices) -> tuple[Indices, Indices]:
    """All rows of n ranges low <= row < high, each beside the index of its range."""
    lengths = high - low
    owner = np.repeat(np.arange(len(low), dtype=np.int64), lengths)
    before = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner), dtype=np.int64) - before[owner] + low[owner]
