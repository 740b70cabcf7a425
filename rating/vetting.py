"""What a typed decoder lets pass, looked for in a whole batch of events at once (spec 2.3)."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rating.events import LONG, clean, unsound
from rating.fixed import Indices, Mask
from rating.times import instants


class Names(NamedTuple):
    """The names of n events, in the order in which `Batch` has them."""

    ids: list[str]
    sources: list[str]
    types: list[str]
    subjects: list[str]
    subscriptions: list[str | None]


def names_of(events: list[Any]) -> Names:
    """The names in the decoder's structs."""
    return Names(
        [event.id for event in events],
        [event.source for event in events],
        [event.type for event in events],
        [event.subject for event in events],
        [event.subscription for event in events],
    )


def mark_unsound(raws: Sequence[bytes], valid: Mask) -> None:
    """Mark what a decoder does not see where it skips: bad UTF-8, NULs, deep nesting (`events.unsound`).

    One look at the whole batch says whether events must be looked at one by one.
    """
    everything = b"".join(raws)
    odd = not everything.isascii() or (b"\\" in everything and b"\\u0000" in everything)
    if odd or max(map(len, raws), default=0) > LONG:
        for row, raw in enumerate(raws):
            if odd or len(raw) > LONG:
                valid[row] &= unsound(raw) is None


def mark_unclean(names: Names, valid: Mask) -> None:
    """Mark events with control characters in their names, or blanks at the edges; the batch at once."""
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


def times_of(events: list[Any], received: Indices, valid: Mask) -> Indices:
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
