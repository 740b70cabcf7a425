"""Events: any bytes have a verdict, the column reader and the single reader agree, and both agree with the oracle."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import events as oracle
from oracle.catalog import Meter as TheirMeter
from oracle.meters import at_path, wants
from oracle.numbers import Number as Literal
from oracle.numbers import text_of
from oracle.times import parse_instant

from rating.events import content_key, read_event, same_content, split_batch, why_invalid
from rating.extract import Extractor
from rating.leaves import number_of
from schemas.event import Event
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.outcome import Outcome

RECEIVED = 1_767_225_600_000_000
METERS = {
    "sum": Meter(event_type="call", aggregation="sum", value="data.n", dimensions={"m": "data.m", "deep": "data.a.b"}),
    "odd": Meter(event_type="call", aggregation="unique", value="data.n", where={"data.m": ("x", "", "1")}),
    "all": Meter(event_type="other", aggregation="count", dimensions={"from": "source", "zone": "zone"}),
}
NAMES = st.one_of(
    st.sampled_from(
        ["a", "é", "x y", "", " x", "x ", "x\n", "\x85x", "x\u00a0", "x\u200b", "a" * 255, "a" * 256, "|", "| a"]
    ),
    st.text(max_size=4),
)
TIMES = st.one_of(
    st.none(),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "+05:45"),
    st.sampled_from(
        [
            "2026-02-29T00:00:00Z",
            "2024-02-29T23:59:59.9999999Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01t00:00:00z",
            "1900-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-1-01T00:00:00Z",
            "2026-01-01T00:00:00+24:00",
            "9999-12-31T23:59:59-01:00",
            "٢٠٢٦-01-01T00:00:00Z",
            "1767225600000",
            "0001-01-01T00:00:00+00:01",
            "2026-01-01T00:00:0/Z",
            "2026-01-01T0:000:00Z",
            "2026-13-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
        ]
    ),
    st.just("2026-01-01 00:00:00Z"),
)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,14})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).map(Literal)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.sampled_from(["x", "1", "1.0", "NaN", "", "é"]))
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abmn"), inner, max_size=3)
)
DATA = st.one_of(st.dictionaries(st.sampled_from("abmn"), TREES, max_size=4), TREES)
EVENTS = st.fixed_dictionaries(
    {
        "id": NAMES,
        "source": st.sampled_from(["s", "t"]),
        "type": st.sampled_from(["call", "other", "none"]),
        "subject": st.just("c"),
        "specversion": st.sampled_from(["1.0", "1.0", "1.0", "0.3"]),
    },
    optional={"time": TIMES, "subscription": st.one_of(st.none(), NAMES), "data": DATA, "zone": SCALARS},
)


def written(tree: Any) -> str:
    """JSON in which numbers stay as they were drawn."""
    match tree:
        case Literal():
            return str(tree)
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{written(value)}" for key, value in tree.items()) + "}"
        case list():
            return "[" + ",".join(map(written, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False)


def received(raws: Sequence[bytes]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    return np.full(len(raws), RECEIVED, dtype=np.int64)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(tree=EVENTS)
def test_event_is_valid_where_the_oracle_says_so(tree: dict[str, Any]) -> None:
    raw = written(tree).encode()
    event = read_event(raw)
    nul = "\x00" in tree["id"] or "\x00" in (tree.get("subscription") or "")
    assert isinstance(event, Event) == (oracle.is_valid(tree) and not nul)
    assert (why_invalid(raw) is None) == isinstance(event, Event)
    if isinstance(event, Event) and event.time is not None:
        assert Instant.parse(event.time).moment() == parse_instant(event.time)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(trees=st.lists(EVENTS, max_size=6))
def test_batch_reads_every_event_as_it_is_read_alone(trees: list[dict[str, Any]]) -> None:
    raws = [written(tree).encode() for tree in trees]
    batch = Extractor(METERS).read(raws, received(raws))
    for row, raw in enumerate(raws):
        event = read_event(raw)
        assert bool(batch.valid[row]) == isinstance(event, Event)
        if isinstance(event, Event):
            found = batch.ids[row], batch.sources[row], batch.types[row], batch.subjects[row], batch.subscriptions[row]
            assert found == (event.id, event.source, event.type, event.subject, event.subscription)
            assert batch.time[row] == (RECEIVED if event.time is None else Instant.parse(event.time))
    split = split_batch(b"[" + b",".join(raws) + b"]")
    assert split == raws
    assert set(batch.invalid().tolist()) == {
        row for row, raw in enumerate(raws) if read_event(raw) is Outcome.EVENT_INVALID
    }


@settings(max_examples=200, deadline=None, print_blob=True)
@given(trees=st.lists(EVENTS, max_size=6))
def test_meters_take_what_the_oracle_takes(trees: list[dict[str, Any]]) -> None:
    good = [tree for tree in trees if isinstance(read_event(written(tree).encode()), Event)]
    raws = [written(tree).encode() for tree in good]
    extractor = Extractor(METERS)
    batch = extractor.read(raws, received(raws))
    found = {part.meter: part for part in extractor.meter(batch)}
    for key, meter in METERS.items():
        where = tuple((path, frozenset(texts)) for path, texts in meter.where.items())
        theirs = TheirMeter(key, meter.event_type, meter.aggregation, meter.value, meter.unit, where, ())
        paths = (*meter.where, *meter.dimensions.values())
        scalar = [not any(isinstance(at_path(tree, path), dict | list) for path in paths) for tree in good]
        wanted = [row for row, tree in enumerate(good) if wants(theirs, Happened(tree)) or not scalar[row]]
        part = found.get(key)
        taken = [] if part is None else [*part.rows.tolist(), *(row for row, _ in part.rejected)]
        assert {row for row in taken if scalar[row]} == {row for row in wanted if scalar[row]}
        if part is None:
            continue
        for place, row in enumerate(part.rows.tolist()):
            texts = part.combinations[part.code[place]]
            expected = [text_of(at_path(good[row], path)) for path in meter.dimensions.values()]
            assert list(texts) == expected or not scalar[row]
            if part.texts is not None:
                assert part.texts[place] == text_of(at_path(good[row], "data.n"))
        for row, outcome in part.rejected:
            if meter.aggregation == "sum":
                leaf = at_path(good[row], "data.n")
                assert number_of(str(leaf) if isinstance(leaf, Literal) else leaf) == outcome


class Happened:
    """What the oracle's meters look at."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.time = Instant(0).moment()


@settings(max_examples=300, deadline=None, print_blob=True)
@given(one=EVENTS, other=EVENTS, data=st.data())
def test_contents_are_equal_where_the_oracle_says_so(
    one: dict[str, Any], other: dict[str, Any], data: st.DataObject
) -> None:
    again = {**one, "data": data.draw(st.sampled_from([one.get("data"), other.get("data")])), "time": other.get("time")}
    trees = [tree for tree in (one, other, again) if isinstance(read_event(written(tree).encode()), Event)]
    for left in trees:
        for right in trees:
            theirs = oracle._content(left) == oracle._content(right)
            assert same_content(written(left).encode(), written(right).encode()) == theirs
            assert (content_key(written(left).encode()) == content_key(written(right).encode())) == theirs


@settings(max_examples=300, deadline=None, print_blob=True)
@given(
    junk=st.lists(st.one_of(st.binary(max_size=40), EVENTS.map(lambda tree: written(tree).encode()[:-1])), max_size=4),
    tree=EVENTS,
    cut=st.integers(0, 200),
)
def test_any_bytes_have_a_verdict(junk: list[bytes], tree: dict[str, Any], cut: int) -> None:
    whole = written(tree).encode()
    raws = [*junk, whole, whole[:cut] + b"\xff" + whole[cut:], whole[:cut] + whole[cut + 1 :]]
    batch = Extractor(METERS).read(raws, received(raws))
    assert batch.valid.tolist() == [isinstance(read_event(raw), Event) for raw in raws]
