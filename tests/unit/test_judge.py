"""Who counts: on its customer's partition, new, and on time, in this order of precedence (spec 2.2-2.5)."""

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from metering.dedup.window import Window
from metering.stream.arrivals import arrivals
from metering.stream.judge import Judged, expiry, judge
from metering.stream.log import Record
from metering.usage.meters import Meters
from schemas.instants import DAY, HOUR, Instant
from schemas.outcome import Outcome

NOW = Instant.parse("2026-01-10T10:30:00Z")
WINDOW = 35 * DAY
EXTRACTOR = Meters().extractor


def event(number: int, time: int | None = None, n: Any = 1, subject: str = "acme") -> bytes:
    body: dict[str, Any] = {"specversion": "1.0", "id": f"e{number}", "source": "app", "type": "call"}
    if time is not None:
        body["time"] = str(Instant(time))
    return json.dumps({**body, "subject": subject, "data": {"n": n}}).encode()


def judged(window: Window, *raws: bytes, at: int = NOW, offset: int = 0) -> Judged:
    """A batch of one event a message; customers whose key begins with `far` belong elsewhere."""
    records = [Record(offset + row, at, raw) for row, raw in enumerate(raws)]
    return judge(arrivals(records, EXTRACTOR, WINDOW), window, lambda customer: not customer.startswith("far"))


def remember(window: Window, found: Judged) -> None:
    """What the checkpoint does once it is committed."""
    window.add(found.entries, int(expiry(found.arrivals, found.counted).max(initial=NOW)))


@pytest.mark.parametrize(
    ("time", "outcome"),
    [
        pytest.param(NOW + HOUR, Outcome.ACCEPTED, id="an hour ahead"),
        pytest.param(NOW + HOUR + 1, Outcome.TIME_IN_FUTURE, id="a microsecond more"),
        pytest.param(NOW - WINDOW, Outcome.ACCEPTED, id="the window back"),
        pytest.param(NOW - WINDOW - 1, Outcome.TIME_TOO_OLD, id="a microsecond before it"),
        pytest.param(None, Outcome.ACCEPTED, id="no time"),
    ],
)
def test_time_counts_to_the_microsecond(time: int | None, outcome: Outcome) -> None:
    found = judged(Window(), event(1, time))
    assert +found.outcomes == {outcome: 1}
    assert [one.code for one in found.refused] == ([] if outcome is Outcome.ACCEPTED else [outcome])


def test_first_counts_and_later_ones_are_copies_whatever_the_batch() -> None:
    window = Window()
    first = judged(window, event(1), event(2), event(1))
    remember(window, first)
    second = judged(window, event(2), event(3), event(1), offset=10)
    assert (first.counted.tolist(), second.counted.tolist()) == ([0, 1], [1])
    assert first.outcomes + second.outcomes == {Outcome.ACCEPTED: 3, Outcome.DUPLICATE: 3}


def test_other_bytes_under_a_taken_identity_wait_for_a_comparison_with_the_first() -> None:
    window = Window()
    remember(window, judged(window, event(1), offset=5))
    found = judged(window, event(1, n=2), event(1), offset=6)
    assert found.conflicts.tolist() == [0]
    assert found.first.tolist() == [5 << 20]
    assert +found.outcomes == {Outcome.DUPLICATE: 1}


def test_identity_comes_before_time_and_a_refused_time_takes_no_identity() -> None:
    window = Window()
    old = event(1, NOW - WINDOW - 1)
    found = judged(window, old, event(1), old)
    assert [one.code for one in found.refused] == [Outcome.TIME_TOO_OLD]
    assert found.counted.tolist() == [1]
    assert found.conflicts.tolist() == [2]  # seen by then: not too old, but a copy or a conflict


def test_events_of_other_partitions_are_forwarded_and_judged_there() -> None:
    found = judged(Window(), event(1, subject="far1"), event(2), event(3, NOW + DAY, subject="far2"))
    assert found.forward.tolist() == [0, 2]
    assert found.counted.tolist() == [1]
    assert not found.refused


def test_invalid_event_is_listed_with_its_bytes_and_takes_no_identity() -> None:
    raw = event(1).replace(b"1.0", b"0.3")
    found = judged(Window(), raw, event(1))
    (refused,) = found.refused
    assert (refused.code, refused.payload, refused.customer) == (Outcome.EVENT_INVALID, raw, None)
    assert found.counted.tolist() == [1]


@pytest.mark.parametrize("seed", range(20), ids=str)
def test_any_split_into_batches_gives_the_same_outcomes_and_identities(seed: int) -> None:
    draw = random.Random(seed)
    times = (None, NOW, NOW - WINDOW - 1, NOW + 2 * HOUR)
    raws = [event(draw.randrange(12), draw.choice(times), draw.randrange(2)) for _ in range(60)]

    def run(*sizes: int) -> tuple[Counter[Outcome], int, list[bytes]]:
        window, outcomes, conflicts, entries, at = Window(), Counter[Outcome](), 0, [], 0
        for size in sizes:
            found = judged(window, *raws[at : at + size], offset=at)
            remember(window, found)
            outcomes += found.outcomes
            conflicts += len(found.conflicts)
            entries += [entry.tobytes() for entry in found.entries]
            at += size
        return outcomes, conflicts, sorted(entries)

    cut = draw.randrange(1, 59)
    assert run(60) == run(cut, 60 - cut) == run(*[1] * 60)


def test_an_identity_is_remembered_for_the_window_and_a_day() -> None:
    found = judged(Window(), event(1))
    assert expiry(found.arrivals, np.array([0])).tolist() == [NOW + WINDOW + DAY]
