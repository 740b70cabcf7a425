"""Usage in memory equals the oracle: filters, dimensions, named subscriptions, voids, cut-offs, carried levels."""

import json
from datetime import timedelta
from fractions import Fraction
from typing import Any, get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import meters as oracle
from oracle.catalog import Meter as TheirMeter
from oracle.catalog import UsageCharge
from oracle.prices import Price

from rating.extract import Extractor
from rating.memory import MemoryUsage
from rating.usage import UsageRequest
from schemas.instants import SECOND, Instant
from schemas.meter import Aggregation, Meter

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
METERS: dict[str, Meter] = {
    name: Meter(
        event_type="call",
        aggregation=name,
        value=None if name == "count" else "data.n",
        unit="hour" if name == "time_weighted" else None,
        dimensions={"m": "data.m", "k": "data.k"},
    )
    for name in AGGREGATIONS
}
NEVER = 10**9
DIMENSIONS = {"m": "data.m", "k": "data.k"}
EVENTS = st.fixed_dictionaries(
    {
        "customer": st.sampled_from("AB"),
        "time": st.integers(0, 30),
        "received": st.integers(30, 40),
        "n": st.sampled_from(["0", "1", "2.5", "-3", "0.000000000001", "999999999999999999", "x"]),
        "m": st.sampled_from("xy"),
        "k": st.sampled_from("pq"),
        "named": st.sampled_from([None, None, "s1", "s2"]),
        "voided": st.sampled_from([NEVER, NEVER, 35, 45]),
    }
)
WHERE = st.sampled_from([(), (("m", ("x",)),), (("m", ("x", "y")), ("k", ("q",)))])
BY: st.SearchStrategy[tuple[str, ...]] = st.sampled_from([(), ("m",), ("k", "m")])
REQUESTS = st.builds(
    lambda meter, customer, sub, named, start, length, where, by: UsageRequest(
        customer=customer,
        subscription=sub,
        named_only=named,
        meter=meter,
        start=start * SECOND,
        end=(start + length) * SECOND,
        full_period=60 * SECOND,
        where=where,
        by=by,
    ),
    st.sampled_from(AGGREGATIONS),
    st.sampled_from("ABC"),
    st.sampled_from(["s1", "s3"]),
    st.booleans(),
    st.integers(0, 30),
    st.integers(0, 30),
    WHERE,
    BY,
)


class Happened:
    """What the oracle's meters look at."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.tree = {"type": "call", "data": {"n": event["n"], "m": event["m"], "k": event["k"]}}
        self.time = Instant(event["time"] * SECOND).moment()


def loaded(events: list[dict[str, Any]], batches: int) -> MemoryUsage:
    """The events as the stream would bring them, in some batches."""
    extractor, usage = Extractor(METERS), MemoryUsage(METERS)
    size = -(-len(events) // batches) or 1
    for first in range(0, len(events), size):
        part = events[first : first + size]
        raws = [
            json.dumps(
                {
                    "specversion": "1.0",
                    "id": str(first + row),
                    "source": "s",
                    "type": "call",
                    "subject": event["customer"],
                    "time": str(Instant(event["time"] * SECOND)),
                    "subscription": event["named"],
                    "data": {"n": event["n"], "m": event["m"], "k": event["k"]},
                }
            ).encode()
            for row, event in enumerate(part)
        ]
        batch = extractor.read(raws, np.array([event["received"] * SECOND for event in part], dtype=np.int64))
        arrival = usage.add(batch, extractor.meter(batch))
        for row, event in enumerate(part):
            if event["voided"] != NEVER:
                usage.void(arrival + row, event["voided"] * SECOND)
    return usage


def expected(request: UsageRequest, events: list[dict[str, Any]], cutoff: int) -> dict[tuple[str, ...], Fraction]:
    """The oracle's quantities of a request."""
    meter = METERS[request.meter]
    theirs = TheirMeter(
        request.meter, "call", meter.aggregation, meter.value, meter.unit, (), tuple(meter.dimensions.items())
    )
    where = tuple((name, frozenset(texts)) for name, texts in request.where)
    charge = UsageCharge(request.meter, Price("per_unit"), where, request.by, None, None, prorated=False)
    mine = [
        Happened(event)
        for event in events
        if event["customer"] == request.customer
        and event["received"] < cutoff <= event["voided"]
        and event["named"] in ([] if request.named_only else [None]) + [request.subscription]
    ]
    span = Instant(request.start).moment(), Instant(request.end).moment()
    full = span[0], span[0] + timedelta(seconds=60)
    return oracle.quantities(theirs, charge, mine, span, full)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(
    events=st.lists(EVENTS, max_size=14),
    requests=st.lists(REQUESTS, min_size=1, max_size=8),
    cutoff=st.sampled_from([35, 50]),
    batches=st.integers(1, 3),
)
def test_quantities_are_the_oracles(
    events: list[dict[str, Any]], requests: list[UsageRequest], cutoff: int, batches: int
) -> None:
    events.sort(key=lambda event: event["received"])
    found = loaded(events, batches).as_of(cutoff * SECOND).quantities(requests)
    for request, answer in zip(requests, found, strict=True):
        assert {key: quantity.value for key, quantity in answer.items()} == expected(request, events, cutoff)
        assert list(answer) == sorted(answer)
