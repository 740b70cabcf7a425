"""Who counts: of a batch's events, which are on their customer's partition, new, and on time (pure; spec 2.2-2.5)."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from metering.dedup.window import Mask, Sorted, Window, Words, place_of
from metering.stream.arrivals import Arrivals, Refused
from rating.events import in_future, why_invalid
from rating.fixed import Indices
from schemas.ids import contents, identities
from schemas.instants import DAY
from schemas.outcome import Outcome

_WHY = {
    Outcome.TIME_IN_FUTURE: "its time is more than 1 hour after it was received",
    Outcome.TIME_TOO_OLD: "its time is before the late window; a backfill may raise the window",
    Outcome.DUPLICATE_CONFLICT: "its identity was seen before with other content; the first counts",
    Outcome.VALUE_MISSING: "the meter's value is absent or null",
    Outcome.VALUE_NOT_NUMERIC: "the meter's value is no number",
    Outcome.VALUE_NOT_FINITE: "the meter's value is not finite",
    Outcome.VALUE_OUT_OF_RANGE: "the meter's value is 10^18 or more in magnitude",
    Outcome.VALUE_TOO_PRECISE: "the meter's value has more than 12 decimal places",
}


class Judged(NamedTuple):
    """A batch and what becomes of its events.

    `counted` int64[m]: rows that count. `entries` uint64[m, 4]: their identities, as `seen` keeps them. `forward` rows
    belong to another partition. `conflicts` are rows of a seen identity with other bytes, `first` the positions of the
    events that took it: only reading those tells whether the content differs. `refused` and `outcomes` are complete but
    for those, and for the values that a meter refuses.
    """

    arrivals: Arrivals
    counted: Indices
    entries: Words
    forward: Indices
    conflicts: Indices
    first: Indices
    refused: list[Refused]
    outcomes: Counter[Outcome]


def judge(arrivals: Arrivals, window: Window, ours: Callable[[str], bool]) -> Judged:
    """Decide for every event; `ours` tells whether a customer belongs to the partition. Changes nothing."""
    batch = arrivals.batch
    refused = list(arrivals.unusable)
    outcomes: Counter[Outcome] = Counter({Outcome.EVENT_INVALID: len(refused)} if refused else {})
    for row in batch.invalid().tolist():
        refused.append(refuse(arrivals, row, Outcome.EVENT_INVALID, why_invalid(arrivals.raws[row]) or "unreadable"))
        outcomes[Outcome.EVENT_INVALID] += 1
    owned = {subject: ours(subject) for subject in set(batch.subjects)}
    here = np.array([owned[subject] for subject in batch.subjects], dtype=np.bool_)
    rows = np.flatnonzero(batch.valid & here)
    future = in_future(batch.time[rows], arrivals.received[rows])
    old = batch.time[rows] < arrivals.received[rows] - arrivals.late_window[rows]
    hashes, content = _hashes(arrivals, rows)
    found = window.sort_out(hashes, content, arrivals.positions[rows], ~(future | old))
    _late(arrivals, rows, found, future, refused, outcomes)
    again = found.first >= 0
    outcomes[Outcome.DUPLICATE] += int(np.count_nonzero(again & found.same_bytes))
    counted = rows[found.takes]
    outcomes[Outcome.ACCEPTED] += len(counted)
    differs = again & ~found.same_bytes
    places = arrivals.positions[rows].astype(np.uint64)
    entries = np.column_stack([hashes, content, places])[found.takes]
    return Judged(
        arrivals,
        counted,
        entries,
        np.flatnonzero(batch.valid & ~here),
        rows[differs],
        found.first[differs],
        refused,
        outcomes,
    )


def _late(
    arrivals: Arrivals,
    rows: Indices,
    found: Sorted,
    future: Mask,
    refused: list[Refused],
    outcomes: Counter[Outcome],
) -> None:
    """List what is neither new nor seen: its time kept it out."""
    for place in np.flatnonzero(~found.takes & (found.first < 0)).tolist():
        code = Outcome.TIME_IN_FUTURE if future[place] else Outcome.TIME_TOO_OLD
        refused.append(refuse(arrivals, int(rows[place]), code))
        outcomes[code] += 1


def refuse(arrivals: Arrivals, row: int, code: Outcome, reason: str = "", meter: str = "") -> Refused:
    """One event as it is listed."""
    batch = arrivals.batch
    known = bool(batch.valid[row])
    position = int(arrivals.positions[row])
    offset, index = place_of(position)
    return Refused(
        offset,
        index,
        meter,
        code,
        reason or _WHY[code],
        int(arrivals.received[row]),
        batch.subjects[row] if known else None,
        batch.sources[row] if known else None,
        batch.ids[row] if known else None,
        arrivals.raws[row],
    )


def expiry(arrivals: Arrivals, rows: Indices) -> Indices:
    """Until when the identities of these rows are remembered at least: int64[m], microseconds (spec 2.2)."""
    return arrivals.received[rows] + arrivals.late_window[rows] + DAY


def _hashes(arrivals: Arrivals, rows: Indices) -> tuple[Words, Words]:
    """Identities as uint64[m, 2] and the raw events' hashes as uint64[m]."""
    batch, raws = arrivals.batch, arrivals.raws
    subjects, sources, ids = batch.subjects, batch.sources, batch.ids
    if len(rows) < len(raws):
        picked = rows.tolist()
        subjects, sources, ids = [[names[row] for row in picked] for names in (subjects, sources, ids)]
        raws = [raws[row] for row in picked]
    hashes = np.frombuffer(identities(subjects, sources, ids), dtype="<u8").reshape(-1, 2)
    return hashes, np.frombuffer(contents(raws), dtype="<u8")
