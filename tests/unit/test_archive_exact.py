"""What is noted beside the JSON comes to the very usage that the JSON comes to, whatever stands in the events."""

import json
import random
from typing import Any

import numpy as np
import pytest

from metering.archive.exact import Notes
from metering.archive.meters import MeterTimes, Since
from metering.archive.recompute import Usage, usage_of
from metering.archive.rows import events_table, positions_of
from metering.stream.log import Record
from schemas.instants import Instant
from schemas.meter import Meter

NOW = Instant.parse("2026-01-10T10:30:00Z")
METERS = {
    "tokens": Meter(
        event_type="call",
        aggregation="sum",
        value="data.n",
        dimensions={"model": "data.model", "place": "data.at.place"},
    ),
    "calls": Meter(event_type="call", aggregation="count", where={"data.ok": ("true",), "source": ("app", "web")}),
    "bytes": Meter(event_type="load", aggregation="sum", value="data.n"),
    "loads": Meter(event_type="load", aggregation="count", dimensions={"who": "data.model"}),
}
VALUES: list[Any] = [
    0,
    3,
    -7,
    0.1,
    12.5,
    "4",
    "0.000000000001",
    999999999999999999,
    -5,
    None,
    "many",
    True,
    "1e400",
    {},
    [],
]


def records(seed: int, count: int = 300) -> list[Record]:
    """Events of all kinds, some in arrays, some that are none."""
    draw = random.Random(seed)
    raws = []
    for number in range(count):
        data = {"n": draw.choice(VALUES), "model": draw.choice(["a", "b", None, 1.50]), "ok": draw.choice([True, "no"])}
        if draw.random() < 0.3:
            data = {"at": {"place": draw.choice(["here", "there"])}, **data}
        if draw.random() < 0.1:
            del data["n"]
        event = {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": draw.choice(["app", "web", "else"]),
            "type": draw.choice(["call", "load", "other"]),
            "subject": draw.choice(["acme", "zoë"]),
            "time": f"2026-01-09T{draw.randrange(3):02}:{draw.randrange(60):02}:00Z",
            "data": data,
        }
        if draw.random() < 0.1:
            event["subscription"] = "s1"
        raws.append(json.dumps(event if draw.random() > 0.05 else {"no": "event"}).encode())
    halves = b"[" + b",".join(raws[: count // 2]) + b"]"
    return [Record(0, NOW, halves), *(Record(1 + n, NOW, raw) for n, raw in enumerate(raws[count // 2 :]))]


def computed(table: Any, meters: MeterTimes, *, parse: bool) -> Usage:
    """Usage of all rows; without `parse` the JSON may not be asked for."""
    usage: Usage = {}

    def refuse() -> Any:
        raise AssertionError("the notes should have had it all")

    usage_of(table, np.sort(positions_of(table)), meters, lambda _: (), usage, None if parse else refuse)
    return usage


@pytest.mark.parametrize("seed", range(20), ids=str)
def test_notes_come_to_what_the_json_comes_to(seed: int) -> None:
    read, meters = records(seed), MeterTimes(METERS, [])
    noted = computed(events_table(0, read, Notes(METERS)), meters, parse=False)
    parsed = computed(events_table(0, read), meters, parse=True)
    assert noted == parsed
    assert {place.meter for place in noted} == set(METERS)


def test_meter_that_was_not_noted_is_read_from_the_json() -> None:
    read, meters = records(1), MeterTimes(METERS, [])
    some = events_table(0, read, Notes({"tokens": METERS["tokens"]}))
    assert computed(some, meters, parse=True) == computed(events_table(0, read), meters, parse=True)


def test_definition_counts_from_its_offset_on() -> None:
    read = records(2)
    before, after = METERS["bytes"], Meter(event_type="load", aggregation="sum", value="data.other")
    changed = MeterTimes({"bytes": after}, [Since("bytes", 0, before), Since("bytes", 1, after)])
    first = computed(events_table(0, read[:1]), MeterTimes({"bytes": before}, []), parse=True)
    assert computed(events_table(0, read), changed, parse=True) == first


def test_sums_beyond_64_bits_are_exact() -> None:
    meter = {"m": Meter(event_type="call", aggregation="sum", value="data.n")}
    fixed = {"specversion": "1.0", "source": "app", "type": "call", "subject": "acme", "time": "2026-01-09T10:00:00Z"}
    values = ["999999999999999999", "999999999999999999.000000000001", "-0.000000000001"]
    read = [
        Record(n, NOW, json.dumps({**fixed, "id": f"e{n}", "data": {"n": value}}).encode())
        for n, value in enumerate(values)
    ]
    (amount,) = computed(events_table(0, read, Notes(meter)), MeterTimes(meter, []), parse=False).values()
    assert str(amount.quantity) == "1999999999999999998.000000000000"
