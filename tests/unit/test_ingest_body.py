"""Bodies to events: every content type, and every way in which a body is none."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.ingest.body import EVENTS_MAX, BodyUnreadable, TooManyEvents, TypeUnknown, split_body

ONE, MANY, LINES = "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"
PLAIN = "application/json"


@pytest.mark.parametrize("content_type", [ONE, PLAIN])
def test_object_is_one_event_that_came_alone(content_type: str) -> None:
    sent = split_body(b' {"id": "a"}\n', content_type, ())
    assert sent.raws == [b'{"id": "a"}']
    assert sent.alone


@pytest.mark.parametrize("content_type", [ONE, MANY, PLAIN])
def test_array_gives_each_element_as_it_was_sent(content_type: str) -> None:
    body = b' [ {"b": 1.0, "a":2} , 7,"x" ]'
    sent = split_body(body, content_type, ())
    assert sent.raws == [b'{"b": 1.0, "a":2}', b"7", b'"x"']
    assert sent.whole == body
    assert not sent.alone


def test_empty_array_has_no_events() -> None:
    assert split_body(b"[]", PLAIN, ()).raws == []


def test_lines_are_events_and_blank_lines_are_none() -> None:
    sent = split_body(b'{"id":1}\r\n\n  \n{broken\n{"id":2}', LINES, ())
    assert sent.raws == [b'{"id":1}', b"{broken", b'{"id":2}']
    assert not sent.alone


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"q": ',
        b"NaN",
        b'{"v": NaN}',
        b'[{"v": NaN}]',
        b'[{"v": Infinity}, {"v": 1}]',
        b'[{"a": 1}',
        b'[{"a": 1}]]',
        b'[{"a": 1},]',
        b'[{"a": 1} {"b": 2}]',
        b'[{"a": "\\ud800"}, NaN]',
        b'[{"a": "\\ud800"},, 1]',
        b'["\\ud800]',
        b'["\\"\\"\\"',
        b"\xef\xbb\xbf{}",
        b'[{"a": "\xe9"}]',
        b"\x00\xff",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'["\\ud800",' + b"[" * 100_000 + b"]" * 100_001,
        b'{"a": "\\ud800"}, {}',
        b'["\\ud800", 1]]',
    ],
    ids=lambda body: str(body[:30]),
)
def test_body_that_is_no_json_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BodyUnreadable):
        split_body(body, PLAIN, ())


def test_batch_type_with_an_object_is_refused() -> None:
    with pytest.raises(BodyUnreadable, match="JSON array"):
        split_body(b"{}", MANY, ())


def test_half_a_surrogate_costs_only_its_event() -> None:
    body = b'[{"a": "x,]"}, {"b": "\\ud800 [,"}, {"c": "\\ude00"}, {"d": "\\ud83d\\ude00"}]'
    sent = split_body(body, PLAIN, ())
    assert sent.raws == [b'{"a": "x,]"}', b'{"b": "\\ud800 [,"}', b'{"c": "\\ude00"}', b'{"d": "\\ud83d\\ude00"}']
    assert sent.whole is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[" + b"1," * EVENTS_MAX + b"1]", PLAIN),
        (b"[" + b"1," * 8_000_000 + b"1]", PLAIN),
        (b"[" + b"1," * 8_000_000, PLAIN),
        (b'["\\ud800"' + b",1" * EVENTS_MAX + b"]", PLAIN),
        (b"1\n" * (EVENTS_MAX + 1), LINES),
    ],
    ids=["few", "many", "unfinished", "rescued", "lines"],
)
def test_more_events_than_are_taken_at_once_are_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(TooManyEvents):
        split_body(body, content_type, ())


def test_as_many_events_as_are_taken_at_once_are_split() -> None:
    commas = b"[" + b",".join([b"[" + b"1," * 50 + b"1]"] * EVENTS_MAX) + b"]"
    assert len(split_body(commas, PLAIN, ()).raws) == EVENTS_MAX
    assert len(split_body(b"\n" * 1_000_000 + b"1\n" * EVENTS_MAX, LINES, ()).raws) == EVENTS_MAX


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_other_content_type_is_unknown(content_type: str) -> None:
    with pytest.raises(TypeUnknown, match="application/cloudevents"):
        split_body(b"{}", content_type, ())


HEADERS = (
    ("Host", "x"),
    ("CE-SpecVersion", "1.0"),
    ("ce-id", "e%201"),
    ("ce-source", '"a \\"b\\""'),
    ("ce-type", "llm.call"),
    ("ce-subject", "kundin-%F0%9F%A6%8A"),
    ("ce-myextension", "kept"),
)


def test_binary_mode_makes_the_event_of_its_headers() -> None:
    sent = split_body(b'{"tokens": 1.50}', PLAIN, HEADERS)
    assert sent.alone
    (raw,) = sent.raws
    assert b'"data":{"tokens": 1.50}' in raw
    assert json.loads(raw) == {
        "specversion": "1.0",
        "id": "e 1",
        "source": 'a "b"',
        "type": "llm.call",
        "subject": "kundin-🦊",
        "myextension": "kept",
        "data": {"tokens": 1.5},
    }


def test_binary_mode_without_a_body_has_no_data() -> None:
    (raw,) = split_body(b"", "application/octet-stream", HEADERS).raws
    assert "data" not in json.loads(raw)


def test_binary_mode_cannot_write_beside_its_data() -> None:
    with pytest.raises(BodyUnreadable):
        split_body(b'{},"id":"other"', PLAIN, HEADERS)


@pytest.mark.parametrize(
    ("headers", "content_type", "error"),
    [
        ((*HEADERS, ("ce-id", "2")), PLAIN, BodyUnreadable),
        ((*HEADERS, ("ce-data", "{}")), PLAIN, BodyUnreadable),
        ((*HEADERS, ("ce-no_name", "x")), PLAIN, BodyUnreadable),
        ((*HEADERS, ("ce-bad", "%ff")), PLAIN, BodyUnreadable),
        ((*HEADERS, ("ce-raw", "\udcff")), PLAIN, BodyUnreadable),
        (HEADERS, "text/plain", TypeUnknown),
    ],
    ids=["twice", "data", "name", "percent", "bytes", "type"],
)
def test_binary_mode_that_is_wrong_is_refused(
    headers: tuple[tuple[str, str], ...], content_type: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        split_body(b"{}", content_type, headers)


JSON_LIKE = st.text(alphabet='[]{},:"\\ud8null0. \n')


@given(st.binary() | JSON_LIKE.map(str.encode), st.sampled_from([ONE, MANY, PLAIN, LINES]))
def test_any_bytes_are_events_or_unreadable(body: bytes, content_type: str) -> None:
    try:
        sent = split_body(body, content_type, ())
    except BodyUnreadable:
        return
    assert all(raw in body for raw in sent.raws)


SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def test_lone_event_with_half_a_surrogate_is_an_event() -> None:
    assert split_body(b' {"a": "\\udead"} ', ONE, ()).raws == [b'{"a": "\\udead"}']


@given(st.lists(TREES))
def test_elements_of_any_array_are_found_the_slow_way_too(trees: list[object]) -> None:
    body = b'["\\ud800",' + msgspec.json.encode(trees)[1:] if trees else b'["\\ud800"]'
    assert [json.loads(raw) for raw in split_body(body, PLAIN, ()).raws[1:]] == trees
