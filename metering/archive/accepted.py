"""Which of the events that arrived counted: computed again from the archive's columns (pure; spec 2.2-2.4)."""

from typing import Any, NamedTuple

import numpy as np

from metering.archive.rows import codes_of, identities_of, positions_of, times_of
from metering.dedup.window import Mask, Words, day_of
from rating.events import in_future
from rating.fixed import Indices
from schemas.ids import partition_of
from schemas.instants import DAY

COLUMNS = ["customer", "time", "received", "offset", "index", "late_window", "identity"]
"""What is read of the archive for this."""


class Arrived(NamedTuple):
    """n events of a partition that could count: on their customer's partition, and on time.

    `identity` uint64[n, 2]; `position`, `received` and `until` int64[n]: until when its identity is remembered at least
    (microseconds).
    """

    identity: Words
    position: Indices
    received: Indices
    until: Indices


def arrived(table: Any, partition: int, partitions: int, late_window: int) -> tuple[Arrived, Indices]:
    """The events of a table (`COLUMNS`) that could count, and the positions of all of them."""
    codes, customers = codes_of(table, "customer")
    here = np.array([partition_of(customer, partitions) == partition for customer in customers], dtype=np.bool_)
    time, received, position = times_of(table), times_of(table, "received"), positions_of(table)
    window = np.maximum(times_of(table, "late_window"), late_window)
    could = ~in_future(time, received) & (time >= received - window)
    could &= here[codes] if len(customers) else False
    found = Arrived(_words(table)[could], position[could], received[could], (received + window + DAY)[could])
    return found, position


def together(parts: list[Arrived]) -> Arrived:
    """All of them in one."""
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Arrived(np.zeros((0, 2), dtype=np.uint64), nothing, nothing, nothing)
    return Arrived(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def accepted(events: Arrived) -> Indices:
    """The positions of the events that counted, rising: of an identity the first, and the next once it is forgotten."""
    high = events.identity[:, 0]
    order = np.argsort(high)
    same = high[order[1:]] == high[order[:-1]]
    alone = np.ones(len(order), dtype=np.bool_)
    alone[1:] &= ~same
    alone[:-1] &= ~same
    once, more = order[alone], order[~alone]
    if len(more) == 0:
        return np.sort(events.position)
    order = more[np.lexsort((events.position[more], events.identity[more, 1], high[more]))]
    identity = events.identity[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (identity[1:] != identity[:-1]).any(axis=1)
    takes = first.copy()
    _take_again(events, order, first, takes)
    return np.sort(np.concatenate([events.position[once], events.position[order[takes]]]))


def _take_again(events: Arrived, order: Indices, first: Mask, takes: Mask) -> None:
    """Of identities that came more than once: mark those that came when the one before had been forgotten."""
    owner = 0
    for place in np.flatnonzero(~first).tolist():
        if first[place - 1]:
            owner = place - 1
        if int(events.received[order[place]]) >= day_of(int(events.until[order[owner]])) * DAY:
            takes[place] = True
            owner = place


def among(positions: Indices, chosen: Indices) -> Mask:
    """Which positions are among the chosen ones (rising): bool[n]."""
    if len(chosen) == 0:
        return np.zeros(len(positions), dtype=np.bool_)
    places = np.minimum(np.searchsorted(chosen, positions), len(chosen) - 1)
    found: Mask = chosen[places] == positions
    return found


def _words(table: Any) -> Words:
    """The identities of a table: uint64[n, 2]."""
    return np.frombuffer(identities_of(table), dtype="<u8").reshape(-1, 2)
