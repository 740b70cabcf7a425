"""Events by hand: form, names, lateness, content, payloads (spec 2)."""

import json
from typing import Any

import numpy as np
import pytest

from rating.events import (
    DEPTH_MAX,
    NotJson,
    content_key,
    in_future,
    lateness,
    read_event,
    same_content,
    split_batch,
    too_old,
    why_invalid,
)
from schemas.event import Event
from schemas.instants import DAY, HOUR
from schemas.outcome import Outcome

GOOD: dict[str, Any] = {"specversion": "1.0", "id": "e1", "source": "app", "type": "call", "subject": "acme"}


def event(**changes: Any) -> bytes:
    """An event with some attributes changed; `...` takes one out."""
    return json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"time": None, "data": None, "subscription": None},
        {"time": "2026-01-01T00:00:00+05:45", "data": {"n": 1}, "subscription": "s1"},
        {"id": "x" * 255, "subject": "a b"},
        {"id": "Zoë", "subject": "日本"},
        {"traceparent": 5, "datacontenttype": "application/json"},
    ],
    ids=["least", "nulls-are-absent", "all", "longest", "beyond-ascii", "other-attributes"],
)
def test_cloud_event_is_read(changes: dict[str, Any]) -> None:
    raw = event(**changes)
    found = read_event(raw)
    assert isinstance(found, Event)
    assert why_invalid(raw) is None
    assert found.id == changes.get("id", "e1")
    assert json.loads(bytes(found.data)) == (changes.get("data") or {})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"id": ...}, "id"),
        ({"id": ""}, "length"),
        ({"id": "x" * 256}, "length"),
        ({"id": 5}, "str"),
        ({"id": None}, "str"),
        ({"subject": " acme"}, "blank at an edge"),
        ({"subject": "acme\u00a0"}, "blank at an edge"),
        ({"source": "a\tb"}, "control character"),
        ({"type": "a\x85b"}, "control character"),
        ({"subscription": ""}, "length"),
        ({"subscription": 7}, "str"),
        ({"specversion": ...}, "specversion"),
        ({"specversion": "0.3"}, "0.3"),
        ({"specversion": 1.0}, "enum value of `'1.0'`|str"),
        ({"time": 1767225600000}, "str"),
        ({"time": "1767225600000"}, "not a time"),
        ({"time": "2026-01-01T00:00:00"}, "not a time"),
        ({"time": "2026-02-30T00:00:00Z"}, "not a time"),
        ({"time": ""}, "not a time"),
        ({"data": []}, "not a JSON object"),
        ({"data": "x"}, "not a JSON object"),
        ({"data": {"x": "a\x00b"}}, "NUL"),
        ({"data": {"x": "\ud800"}}, "."),
    ],
)
def test_event_of_another_form_is_invalid_and_says_why(changes: dict[str, Any], why: str) -> None:
    raw = event(**changes)
    assert read_event(raw) is Outcome.EVENT_INVALID
    with pytest.raises(ValueError, match=why):
        raise ValueError(why_invalid(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"5",
        b"null",
        b"[]",
        b"{",
        event() + b"}",
        event().replace(b"e1", b"\xff"),
        event(data={"n": 1}).replace(b"1}", b"NaN}"),
    ],
    ids=["empty", "number", "null", "list", "cut", "more", "no-utf8", "nan"],
)
def test_other_bytes_are_invalid(raw: bytes) -> None:
    assert read_event(raw) is Outcome.EVENT_INVALID


def test_bad_utf8_and_nul_are_found_where_no_meter_looks() -> None:
    assert why_invalid(event(data={"x": "?"}).replace(b"?", b"\xff")) is not None
    assert why_invalid(event(data={"x": "\\u0000"})) is None  # an escaped backslash, then digits
    assert why_invalid(event(data={"x": "\x00"})) == "the event holds a NUL character"


@pytest.mark.parametrize("depth", [DEPTH_MAX - 1, DEPTH_MAX + 1, 5000, 200_000])
def test_nesting_has_a_limit_that_no_stack_decides(depth: int) -> None:
    raw = event(data={"x": "?", "y": "[[{" * DEPTH_MAX}).replace(b'"?"', b"[" * (depth - 2) + b"]" * (depth - 2))
    assert isinstance(read_event(raw), Event) == (depth <= DEPTH_MAX)


def test_of_a_key_that_occurs_twice_the_last_counts() -> None:
    found = read_event(event()[:-1] + b', "id": "e2"}')
    assert isinstance(found, Event)
    assert found.id == "e2"


@pytest.mark.parametrize(
    ("time", "outcome"),
    [
        (100 * DAY + HOUR, None),
        (100 * DAY + HOUR + 1, Outcome.TIME_IN_FUTURE),
        (65 * DAY, None),
        (65 * DAY - 1, Outcome.TIME_TOO_OLD),
    ],
    ids=["an-hour-ahead", "a-microsecond-more", "at-the-window", "a-microsecond-before"],
)
def test_time_is_judged_against_receipt_to_the_microsecond(time: int, outcome: Outcome | None) -> None:
    received, window = 100 * DAY, 35 * DAY
    assert lateness(time, received, window) is outcome
    column, arrived = np.array([time]), np.array([received])
    assert in_future(column, arrived).tolist() == [outcome is Outcome.TIME_IN_FUTURE]
    assert too_old(column, arrived, window).tolist() == [outcome is Outcome.TIME_TOO_OLD]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"data": {"b": 2, "a": 1.0}}, True),
        ({"data": {"a": 1, "b": 20e-1}}, True),
        ({"time": "2026-01-01T01:00:00.000+01:00"}, True),
        ({"traceparent": "x"}, True),
        ({"data": {"a": "1", "b": 2}}, False),
        ({"data": {"a": True, "b": 2}}, False),
        ({"data": {"a": 1, "b": 2, "c": None}}, False),
        ({"data": ...}, False),
        ({"time": ...}, False),
        ({"time": "2026-01-01T00:00:01Z"}, False),
        ({"type": "other"}, False),
        ({"subscription": "s1"}, False),
    ],
    ids=["order", "exponent", "offset", "other-attribute", "text", "boolean", "null-key", "no-data", "no-time", "time",
         "type", "subscription"],
)  # fmt: skip
def test_content_is_type_time_subscription_and_data(changes: dict[str, Any], same: bool) -> None:
    base = {"time": "2026-01-01T00:00:00Z", "data": {"a": 1, "b": 2}}
    assert same_content(event(**base), event(**{**base, **changes})) == same


def test_absent_data_is_empty_and_numbers_beyond_any_float_keep_their_value() -> None:
    assert same_content(event(), event(data={}))
    assert same_content(event(data={}), event(data=None))
    long = b"1" + b"0" * 5000
    exponent, other = event(data={"a": 1}), event(data={"a": 1}).replace(b"1}", long[:-1] + b"1}")
    assert content_key(exponent.replace(b"1}", b"1e5000}")) == content_key(exponent.replace(b"1}", long + b"}"))
    assert content_key(other) != content_key(exponent.replace(b"1}", long + b"}"))


def test_payload_is_one_event_or_an_array_and_a_bad_event_costs_only_itself() -> None:
    assert split_batch(b' {"a": 1} ') == [b'{"a": 1}']
    assert split_batch(b'[{"a":1}, 5 ,"\xff", {"b":[2]}]') == [b'{"a":1}', b"5", b'"\xff"', b'{"b":[2]}']
    assert split_batch(b"[]") == []


@pytest.mark.parametrize(
    "payload", [b"", b"{", b'[{"a":NaN}]', b"[" * 100_000, b"{} {}", b"\xef\xbb\xbf{}"],
    ids=["empty", "cut", "nan", "deep", "two", "bom"],
)  # fmt: skip
def test_payload_that_is_no_json_is_refused_whole(payload: bytes) -> None:
    with pytest.raises(NotJson):
        split_batch(payload)
