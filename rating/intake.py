"""Events of a scenario as they arrive: once, on time, metered, voided (spec 2, 3).

All events are read in one pass of the extractor that the stream uses too; what depends on their order follows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from rating.events import in_future, same_content, too_old
from rating.extract import Batch, Extractor
from rating.fixed import Indices
from rating.memory import ALWAYS, MemoryUsage
from rating.subscription import FOREVER
from rating.usage import UsageSource
from schemas.meter import Meter
from schemas.outcome import Outcome, Refusal
from schemas.result import EventCounts, RejectedEvent

_FALLBACK = msgspec.json.Decoder()


class Intake:
    """The events of a scenario: `usage` for billing, `counts` for the result, and what arrived when."""

    def __init__(self, meters: Mapping[str, Meter], raws: Sequence[bytes], received: Indices, late_window: int) -> None:
        self._raws = raws
        self.usage = MemoryUsage(meters)
        extractor = Extractor(meters)
        batch = self._batch = extractor.read(raws, received)
        self._first: dict[tuple[str, str, str], int] | None = None
        self._by_identity: dict[tuple[str, str], list[str]] | None = None
        self._voids: list[tuple[str, int, int]] = []
        self._voided: set[int] = set()
        self._rejected: list[tuple[int, int, RejectedEvent]] = []
        self._repeats = {Outcome.DUPLICATE: 0, Outcome.DUPLICATE_CONFLICT: 0}
        self._accepted = self._accept(batch, late_window)
        metered = extractor.meter(batch, self._accepted)
        self.usage.add(batch, metered)
        for place, part in enumerate(metered, 1):
            for row, code in part.rejected:
                self._rejected.append((row, place, self._rejection(row, code, part.meter)))
        self._touches: dict[str, tuple[Indices, Indices]] | None = None

    def void(self, at: int, rows_before: int, source: str, identity: str, subject: str | None) -> Refusal | None:
        """Void an event among the first `rows_before` that arrived, from the instant `at` on (2.7)."""
        if self._by_identity is None:
            self._by_identity = {}
            for owner, its_source, its_id in self._seen():
                self._by_identity.setdefault((its_source, its_id), []).append(owner)
        owners = [subject] if subject is not None else self._by_identity.get((source, identity), [])
        found = [self._seen().get((owner, source, identity), rows_before) for owner in owners]
        known = [row for row in found if row < rows_before]
        if len(known) != 1:
            return Refusal.AMBIGUOUS_IDENTITY if known else Refusal.UNKNOWN_EVENT
        row = known[0]
        if row not in self._voided:
            self._voided.add(row)
            self.usage.void(row, at)
            self._voids.append((self._batch.subjects[row], at, int(self._batch.time[row])))
        return None

    def counts(self) -> EventCounts:
        """How the events ended, refusals in the order of their arrival."""
        unmatched = int(np.count_nonzero(self._batch.type_code[self._accepted] < 0))
        return EventCounts(
            accepted=len(self._accepted),
            duplicate=self._repeats[Outcome.DUPLICATE],
            duplicate_conflict=self._repeats[Outcome.DUPLICATE_CONFLICT],
            unmatched=unmatched,
            rejected=tuple(rejection for _, _, rejection in sorted(self._rejected, key=lambda entry: entry[:2])),
        )

    def as_of(self, cutoff: int) -> UsageSource:
        """Usage by the events received and the voids made before an instant."""
        return self.usage.as_of(cutoff)

    def touched(self, customer: str, since: int, until: int = ALWAYS) -> int:
        """The earliest time of a customer's events that arrived or were voided at since <= t < until; FOREVER: none."""
        received, time = self._touches_of(customer)
        low, high = np.searchsorted(received, [since, until])
        return int(time[low:high].min()) if low < high else FOREVER

    def arrivals(self, customer: str, since: int, until: int, before: int) -> list[int]:
        """The instants since <= t <= until at which events earlier than `before` arrived or were voided, rising."""
        received, time = self._touches_of(customer)
        found: list[int] = np.unique(received[(received >= since) & (received <= until) & (time < before)]).tolist()
        return found

    def _accept(self, batch: Batch, late_window: int) -> Indices:
        """The rows that are stored: valid, first of their identity, and on time (2.2: identity is looked at first)."""
        future, old = in_future(batch.time, batch.received), too_old(batch.time, batch.received, late_window)
        refused = future | old | ~batch.valid
        if not refused.any() and len(set(batch.ids)) == len(batch):
            return np.arange(len(batch), dtype=np.int64)
        seen = self._first = {}
        accepted = []
        for row, (key, bad) in enumerate(zip(_keys(batch), refused.tolist(), strict=True)):
            first = seen.get(key) if batch.valid[row] else None
            if first is not None:
                same = same_content(self._raws[first], self._raws[row])
                self._repeats[Outcome.DUPLICATE if same else Outcome.DUPLICATE_CONFLICT] += 1
            elif bad:
                code = Outcome.TIME_IN_FUTURE if future[row] else Outcome.TIME_TOO_OLD
                code = code if batch.valid[row] else Outcome.EVENT_INVALID
                self._rejected.append((row, 0, self._rejection(row, code, None)))
            else:
                seen[key] = row
                accepted.append(row)
        return np.array(accepted, dtype=np.int64)

    def _seen(self) -> dict[tuple[str, str, str], int]:
        """The accepted row of each identity; made when it is first needed where all ids differ."""
        if self._first is None:
            self._first = {key: row for row, key in enumerate(_keys(self._batch))}
        return self._first

    def _rejection(self, row: int, code: Outcome, meter: str | None) -> RejectedEvent:
        source: Any = self._batch.sources[row]
        identity: Any = self._batch.ids[row]
        if code is Outcome.EVENT_INVALID:
            source, identity = _names_of(self._raws[row])
        return RejectedEvent(source=source, id=identity, meter=meter, code=code)

    def _touches_of(self, customer: str) -> tuple[Indices, Indices]:
        if self._touches is None:
            self._touches = self._group_touches()
        nothing = np.zeros(0, dtype=np.int64)
        return self._touches.get(customer, (nothing, nothing))

    def _group_touches(self) -> dict[str, tuple[Indices, Indices]]:
        """By customer the instants of arrivals and voids, rising, and the times of the events concerned."""
        rows = self._accepted
        customers = [self._batch.subjects[row] for row in rows.tolist()] + [owner for owner, _, _ in self._voids]
        received = np.concatenate([self._batch.received[rows], np.array([v[1] for v in self._voids], dtype=np.int64)])
        time = np.concatenate([self._batch.time[rows], np.array([v[2] for v in self._voids], dtype=np.int64)])
        codes: dict[str, int] = {}
        code = np.array([codes.setdefault(name, len(codes)) for name in customers], dtype=np.int64)
        order = np.lexsort((received, code))
        bounds = np.searchsorted(code[order], np.arange(len(codes) + 1)).tolist()
        received, time = received[order], time[order]
        return {
            name: (received[bounds[i] : bounds[i + 1]], time[bounds[i] : bounds[i + 1]]) for name, i in codes.items()
        }


def _keys(batch: Batch) -> Iterator[tuple[str, str, str]]:
    """The identities of a batch, row by row (2.2)."""
    return zip(batch.subjects, batch.sources, batch.ids, strict=True)


def _names_of(raw: bytes) -> tuple[str | None, str | None]:
    """Source and id of an event that is not valid, as far as they can be read."""
    try:
        tree = _FALLBACK.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    names = [tree.get(name) if isinstance(tree, dict) else None for name in ("source", "id")]
    source, identity = (name if isinstance(name, str) else None for name in names)
    return source, identity
