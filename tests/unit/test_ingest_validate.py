"""Events to outcomes at the gateway (spec 2.1, 2.3, 2.4)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.ingest.body import BodyUnreadable, Sent, split_body
from metering.ingest.validate import EVENT_BYTES_MAX, Judged, judge
from rating.events import why_invalid
from schemas.instants import DAY, HOUR, Instant, instant_text
from schemas.outcome import Outcome

NOW = Instant.parse("2026-01-05T10:00:00Z")
WINDOW = 35 * DAY


def event(**changes: Any) -> dict[str, Any]:
    """A valid event, changed; None takes an attribute away."""
    good = {
        "specversion": "1.0",
        "id": "e1",
        "source": "app",
        "type": "llm.call",
        "subject": "acme",
        "time": "2026-01-05T09:59:59Z",
        "data": {"tokens": 5},
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def judged(*events: Any) -> Judged:
    """The outcomes of a JSON array of events."""
    return judge(split_body(json.dumps(events).encode(), "application/json", ()), NOW, WINDOW)


def codes(*events: Any) -> list[str]:
    """Their codes."""
    return [outcome.outcome.value for outcome in judged(*events).outcomes]


def test_good_events_go_to_the_log_as_they_came() -> None:
    body = b'[ {"specversion":"1.0","id":"1","source":"s","type":"t","subject":"acme", "x": [1], "data":{"v":1.0}} ]'
    result = judge(split_body(body, "application/json", ()), NOW, WINDOW)
    assert result.valid == [(0, "acme", body[2:-2])]
    assert [(o.index, o.id, o.source, o.outcome) for o in result.outcomes] == [(0, "1", "s", "queued")]


def test_bad_event_costs_the_others_nothing() -> None:
    result = judged(event(id="a"), event(id=" b"), 7, event(id="d", time="2027-01-01T00:00:00Z"), event(id="e"))
    assert [o.outcome.value for o in result.outcomes] == [
        "queued",
        "event_invalid",
        "event_invalid",
        "time_in_future",
        "queued",
    ]
    assert [o.index for o in result.outcomes] == [0, 1, 2, 3, 4]
    assert [index for index, _, _ in result.valid] == [0, 4]
    assert result.outcomes[1].id == " b"
    assert result.outcomes[2].id is None
    assert all(o.detail for o in result.outcomes if o.outcome is not Outcome.QUEUED)


@pytest.mark.parametrize("attribute", ["id", "source", "type", "subject"])
@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (None, False),
        ("", False),
        ("x" * 255, True),
        ("x" * 256, False),
        (" x", False),
        ("x ", False),
        ("x\u00a0", False),
        ("a b", True),
        ("a\nb", False),
        ("a\x7fb", False),
        ("a\u0085b", False),
        ("a\u0000b", False),
        ("customer-🦊", True),
        ("מפתח", True),
        (5, False),
        (["x"], False),
    ],
    ids=lambda value: repr(value)[:12] if not isinstance(value, bool) else "",
)
def test_names_are_texts_without_controls_and_blanks_at_the_edges(attribute: str, value: Any, fits: bool) -> None:
    assert codes(event(**{attribute: value}), event()) == ["queued" if fits else "event_invalid", "queued"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"specversion": "0.3"}, "event_invalid"),
        ({"specversion": None}, "event_invalid"),
        ({"time": None}, "queued"),
        ({"time": "2026-01-05"}, "event_invalid"),
        ({"time": "2026-01-05T10:00:00"}, "event_invalid"),
        ({"time": 1767607200}, "event_invalid"),
        ({"time": 1767607200000}, "event_invalid"),
        ({"time": "2026-01-05T10:00:60Z"}, "event_invalid"),
        ({"time": "2026-02-30T10:00:00Z"}, "event_invalid"),
        ({"time": "2026-01-05T10:00:00.Z"}, "event_invalid"),
        ({"time": "2026-01-05T10:00:00.\u0661Z"}, "event_invalid"),
        ({"time": "2026-01-05t11:00:00.123456789+01:00"}, "queued"),
        ({"time": "2026-01-05T11:00:00Z"}, "queued"),
        ({"time": "2026-01-05T11:00:00.0000009Z"}, "queued"),
        ({"time": "2026-01-05T11:00:00.000001Z"}, "time_in_future"),
        ({"time": "2026-01-05T12:00:00.000001+01:00"}, "time_in_future"),
        ({"time": "2025-12-01T10:00:00Z"}, "queued"),
        ({"time": "2025-12-01T09:59:59.999999Z"}, "time_too_old"),
        ({"time": "0001-01-01T00:00:00Z"}, "time_too_old"),
        ({"data": None}, "queued"),
        ({"data": []}, "event_invalid"),
        ({"data": "text"}, "event_invalid"),
        ({"data": {"v": "a\u0000"}}, "event_invalid"),
        ({"data": {"v": "\\u0000"}}, "queued"),
        ({"data": {"v": "\ud800"}}, "event_invalid"),
        ({"data": {"v": None, "w": "NaN"}}, "queued"),
        ({"subscription": "s1"}, "queued"),
        ({"subscription": ""}, "event_invalid"),
        ({"subscription": "s "}, "event_invalid"),
        ({"extra": {"kept": True}}, "queued"),
    ],
    ids=str,
)
def test_event_gets_its_code(changes: dict[str, Any], code: str) -> None:
    assert codes(event(**changes), event()) == [code, "queued"]
    assert codes(event(**changes)) == [code]


def test_raised_window_lets_old_events_in() -> None:
    sent = split_body(json.dumps([event(time="2023-11-16T18:17:03.979960Z")]).encode(), "application/json", ())
    assert judge(sent, NOW, WINDOW).outcomes[0].outcome is Outcome.TIME_TOO_OLD
    assert judge(sent, NOW, 4 * 365 * DAY).outcomes[0].outcome is Outcome.QUEUED


def test_event_beyond_its_size_is_refused_alone() -> None:
    big = event(data={"v": "x" * EVENT_BYTES_MAX})
    assert codes(event(), big) == ["queued", "event_invalid"]


def test_deep_event_is_refused_alone() -> None:
    deep = '{"a":' * 200 + "1" + "}" * 200
    body = f'[{json.dumps(event())},{json.dumps(event())[:-1]},"x":{deep}}}]'.encode()
    result = judge(split_body(body, "application/json", ()), NOW, WINDOW)
    assert [o.outcome.value for o in result.outcomes] == ["queued", "event_invalid"]
    assert "nests" in str(result.outcomes[1].detail)


def test_line_that_is_no_json_is_refused_alone() -> None:
    lines = json.dumps(event()).encode() + b'\n{"v": NaN}\n' + b"\xff\xfe\n" + json.dumps(event()).encode()
    result = judge(split_body(lines, "application/x-ndjson", ()), NOW, WINDOW)
    assert [o.outcome.value for o in result.outcomes] == ["queued", "event_invalid", "event_invalid", "queued"]


def test_last_of_a_key_that_occurs_twice_counts() -> None:
    raw = json.dumps(event())[:-1] + ', "subject": "other"}'
    result = judge(split_body(f"[{raw}]".encode(), "application/json", ()), NOW, WINDOW)
    assert result.valid[0][1] == "other"


BODIES = st.binary(max_size=200) | st.text(alphabet='[]{},:"\\ud8null0.idsourcetypesubjectspecversion1 \n').map(
    str.encode
)


@given(st.lists(BODIES, max_size=5).map(b"\n".join), st.sampled_from(["application/json", "application/x-ndjson"]))
def test_any_bytes_give_an_outcome_for_each_event(body: bytes, content_type: str) -> None:
    try:
        sent = split_body(body, content_type, ())
    except BodyUnreadable:
        return
    result = judge(sent, NOW, WINDOW)
    assert [o.index for o in result.outcomes] == list(range(len(sent.raws)))
    assert {o.outcome for o in result.outcomes} <= {Outcome.QUEUED, Outcome.EVENT_INVALID}


NAMES = st.text(max_size=4) | st.sampled_from(
    ["", " ", "a b", "x" * 255, "x" * 256, "\x00", "é", "🦊", "a\u2028", "\u3000a"]
)
TIMES = st.none() | st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.text(max_size=25)
EVENTS = st.fixed_dictionaries(
    {"id": NAMES, "source": NAMES, "type": NAMES, "subject": NAMES, "specversion": st.sampled_from(["1.0", "1.1"])},
    optional={"time": TIMES, "subscription": NAMES | st.none(), "data": st.dictionaries(NAMES, NAMES) | st.none()},
)


@given(st.lists(EVENTS, max_size=4))
def test_events_read_at_once_and_one_by_one_end_the_same(events: list[dict[str, Any]]) -> None:
    sent = split_body(json.dumps(events).encode(), "application/json", ())
    at_once, alone = judge(sent, NOW, WINDOW), judge(Sent(sent.raws, None), NOW, WINDOW)
    assert at_once == alone
    for raw, outcome in zip(sent.raws, at_once.outcomes, strict=True):
        assert (outcome.outcome is Outcome.EVENT_INVALID) == (why_invalid(raw) is not None)


@given(
    st.integers(-3 * HOUR, 3 * HOUR).map(lambda off: NOW + off) | st.integers(-2, 2).map(lambda off: NOW - WINDOW + off)
)
def test_time_is_judged_to_the_microsecond(time: int) -> None:
    code = "queued"
    if time > NOW + HOUR:
        code = "time_in_future"
    if time < NOW - WINDOW:
        code = "time_too_old"
    assert codes(event(time=instant_text(time)), event()) == [code, "queued"]
