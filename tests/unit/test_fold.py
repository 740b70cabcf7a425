"""Events into buckets: where each begins, and that no split of a batch changes what they add up to."""

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.dedup.window import position_of
from metering.usage.fold import Bucket, Cuts, combination_of, dimensions_text, fold, only
from metering.usage.meters import Meters
from schemas.codec import convert
from schemas.instants import HOUR, Instant
from schemas.meter import Meter

METER = {"event_type": "call", "aggregation": "sum", "value": "data.n", "dimensions": {"model": "data.model"}}
METERS = Meters({"calls": convert(METER, Meter)})
NOON = Instant.parse("2026-01-10T12:00:00Z")


def event(subject: str, time: int, n: Any = 1, model: str = "x", **more: Any) -> bytes:
    body = {"specversion": "1.0", "id": "e", "source": "app", "type": "call", "subject": subject}
    return json.dumps({**body, "time": str(Instant(time)), "data": {"n": n, "model": model}, **more}).encode()


def buckets(raws: list[bytes], cuts: Cuts = lambda _: (), first_offset: int = 0) -> list[Bucket]:
    """What the events, one a message, add."""
    received = np.full(len(raws), NOON, dtype=np.int64)
    batch = METERS.extractor.read(raws, received)
    positions = np.array([position_of(first_offset + row, 0) for row in range(len(raws))], dtype=np.int64)
    (metered,) = METERS.extractor.meter(batch) or [None]
    return [] if metered is None else fold("sum", metered, batch, positions, cuts)


def summed(parts: list[Bucket]) -> dict[tuple[Any, ...], tuple[Decimal, int, int, int]]:
    """Buckets by key, added as the table adds them."""
    sums: dict[tuple[Any, ...], tuple[Decimal, int, int, int]] = defaultdict(lambda: (Decimal(0), 0, 2**60, -1))
    for one in parts:
        quantity, events, first, last = sums[one[:5]]
        ends = (min(first, one.first_offset), max(last, one.last_offset))
        sums[one[:5]] = (quantity + one.quantity, events + one.events, *ends)
    return dict(sums)


def test_events_of_an_hour_are_one_bucket_with_their_range_of_offsets() -> None:
    raws = [event("acme", NOON, "0.1"), event("acme", NOON + HOUR - 1, "0.2"), event("acme", NOON + HOUR, 5)]
    assert buckets(raws, first_offset=40) == [
        Bucket("acme", "calls", NOON, ("x",), "", Decimal("0.3"), 2, 40, 41),
        Bucket("acme", "calls", NOON + HOUR, ("x",), "", Decimal(5), 1, 42, 42),
    ]


def test_what_differs_in_customer_combination_or_subscription_is_kept_apart() -> None:
    raws = [event("a", NOON), event("b", NOON), event("a", NOON, model="y"), event("a", NOON, subscription="s1")]
    assert len({one[:5] for one in buckets(raws)}) == len(buckets(raws)) == 4


def test_a_cut_begins_a_bucket_at_its_very_microsecond_for_its_customer_only() -> None:
    cut = NOON + 20 * 60_000_000 + 1
    raws = [event(who, time) for who in ("acme", "globex") for time in (cut - 1, cut, NOON + HOUR)]
    found = buckets(raws, lambda who: (cut,) if who == "acme" else ())
    assert sorted((one.customer, one.start, one.events) for one in found) == [
        ("acme", NOON, 1),
        ("acme", cut, 1),
        ("acme", NOON + HOUR, 1),
        ("globex", NOON, 2),
        ("globex", NOON + HOUR, 1),
    ]


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "UTC"], ids=str)
def test_local_days_are_sums_of_whole_buckets_where_their_midnights_are_cuts(zone: str) -> None:
    local = Instant(NOON).moment().astimezone(ZoneInfo(zone)).replace(hour=0, minute=0)
    midnight = Instant.of(local)
    raws = [event("acme", midnight + offset) for offset in range(-HOUR, HOUR + 1, HOUR // 12)]
    found = buckets(raws, lambda _: (midnight,) if midnight % HOUR else ())
    assert sum(one.events for one in found if one.start >= midnight) == 13
    assert sum(one.events for one in found if one.start < midnight) == 12


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(["a", "b"]),
        st.integers(0, 3).map(lambda hours: NOON - hours * HOUR // 2 - 1),
        st.sampled_from([1, "0.000000000001", "-7.5", "999999999999999999"]),
        st.sampled_from(["x", "", "é"]),
    ),
    min_size=1,
    max_size=12,
)


@given(EVENTS, st.integers(0, 12), st.integers(-3 * HOUR, 0))
def test_any_split_of_a_batch_gives_the_same_buckets(raws: list[bytes], at: int, cut: int) -> None:
    def cuts(customer: str) -> tuple[int, ...]:
        return (NOON + cut,) if customer == "a" else ()

    parts = buckets(raws[:at], cuts) + buckets(raws[at:], cuts, first_offset=len(raws[:at]))
    assert summed(parts) == summed(buckets(raws, cuts))


def test_only_keeps_values_with_their_rows() -> None:
    raws = [event("acme", NOON, n) for n in (1, 2, 4)]
    batch = METERS.extractor.read(raws, np.full(3, NOON, dtype=np.int64))
    (metered,) = METERS.extractor.meter(batch)
    kept = only(metered, np.array([True, False, True]))
    (bucket,) = fold("sum", kept, batch, np.arange(3, dtype=np.int64) << 20, lambda _: ())
    assert (bucket.quantity, bucket.events, bucket.first_offset, bucket.last_offset) == (Decimal(5), 2, 0, 2)


def test_combinations_come_back_from_their_text() -> None:
    for combination in ((), ("",), ("a", 'b"\\'), ("é\u2028", "[")):
        assert combination_of(dimensions_text(combination)) == combination
