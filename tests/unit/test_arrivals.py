"""Whatever bytes a producer writes: each message becomes events or is listed, and nothing is lost in between."""

import json

import numpy as np
import pytest

from metering.dedup.window import place_of
from metering.stream.arrivals import Arrivals, arrivals
from metering.stream.log import Record
from metering.usage.meters import Meters
from rating.events import DEPTH_MAX
from schemas.instants import DAY, Instant
from schemas.outcome import Outcome

NOW = Instant.parse("2026-01-10T10:30:00Z")
WINDOW = 35 * DAY
GOOD = b'{"specversion":"1.0","id":"e1","source":"app","type":"call","subject":"acme","data":{"n":1}}'


def read(*payloads: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> Arrivals:
    """Messages from offset 7 on, as a batch."""
    records = [Record(7 + number, NOW + number, payload, headers) for number, payload in enumerate(payloads)]
    return arrivals(records, Meters().extractor, WINDOW)


def nested(depth: int) -> bytes:
    """A valid event but for how deep its data nests."""
    return GOOD.replace(b'{"n":1}', b'{"n":' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize(
    ("payload", "events", "valid"),
    [
        pytest.param(GOOD, 1, 1, id="one event"),
        pytest.param(b"[" + GOOD + b"," + GOOD + b"]", 2, 2, id="array"),
        pytest.param(b" \n[" + GOOD + b"]", 1, 1, id="array after blanks"),
        pytest.param(b" " + GOOD, 1, 1, id="event after a blank"),
        pytest.param(b"[]", 0, 0, id="empty array"),
        pytest.param(b"[" + GOOD + b',3,"x",null]', 4, 1, id="array with other things"),
        pytest.param(b"[[" + GOOD + b"]]", 1, 0, id="array of arrays"),
        pytest.param(GOOD.replace(b"acme", b"ac\xffme"), 1, 0, id="invalid UTF-8"),
        pytest.param(GOOD.replace(b"acme", b"ac\\u0000me"), 1, 0, id="NUL in a name"),
        pytest.param(GOOD.replace(b"acme", b"ac\\ud800me"), 1, 0, id="lone surrogate in a name"),
        pytest.param(nested(30), 1, 1, id="30 levels"),
        pytest.param(nested(DEPTH_MAX + 1), 1, 0, id="deeper than allowed"),
        pytest.param(nested(10_000), 1, 0, id="10,000 levels"),
        pytest.param(b"{", 1, 0, id="cut off"),
        pytest.param(b"{}", 1, 0, id="no attribute"),
    ],
)
def test_payload_becomes_so_many_events_of_which_so_many_are_valid(payload: bytes, events: int, valid: int) -> None:
    found = read(payload)
    assert not found.unusable
    assert len(found.raws) == len(found.batch) == events
    assert int(found.batch.valid.sum()) == valid


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(None, "tombstone", id="tombstone"),
        pytest.param(b"", "no JSON", id="empty"),
        pytest.param(b"[" + GOOD, "no JSON", id="array cut off"),
        pytest.param(b"\x00\x01", "no JSON", id="binary"),
        pytest.param(b"[NaN]", "no JSON", id="bare NaN"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, "too deep", id="10,000 arrays"),
    ],
)
def test_message_without_events_is_listed_with_its_bytes_and_the_others_go_on(
    payload: bytes | None, reason: str
) -> None:
    found = read(GOOD, payload, GOOD)
    assert [(one.offset, one.place, one.code, one.payload) for one in found.unusable] == [
        (8, 0, Outcome.EVENT_INVALID, payload or b"")
    ]
    assert reason in found.unusable[0].reason
    assert [place_of(position) for position in found.positions.tolist()] == [(7, 0), (9, 0)]
    assert (found.first_offset, found.next_offset) == (7, 10)


def test_positions_and_receipts_are_those_of_each_events_message() -> None:
    array = b"[" + b",".join([GOOD] * 3) + b"]"
    found = read(GOOD, array, b"[]", GOOD)
    assert [place_of(position) for position in found.positions.tolist()] == [(7, 0), (8, 0), (8, 1), (8, 2), (10, 0)]
    assert found.received.tolist() == [NOW, NOW + 1, NOW + 1, NOW + 1, NOW + 3]
    assert np.all(np.diff(found.positions) > 0)
    assert found.batch.time.tolist() == found.received.tolist()


@pytest.mark.parametrize(
    ("value", "window"),
    [
        pytest.param(str(90 * DAY).encode(), 90 * DAY, id="raised"),
        pytest.param(b"1", WINDOW, id="never lowered"),
        pytest.param(b"-1", WINDOW, id="no number"),
    ],
)
def test_late_window_of_a_backfill_holds_for_all_events_of_its_message(value: bytes, window: int) -> None:
    found = read(b"[" + GOOD + b"," + GOOD + b"]", headers=(("other", b"x"), ("late-window", value)))
    assert found.late_window.tolist() == [window, window]


def test_events_of_an_array_keep_their_own_bytes() -> None:
    spaced = json.dumps(json.loads(GOOD), indent=1).encode()
    assert read(b"[ " + GOOD + b" , " + spaced + b" ]").raws == [GOOD, spaced]
