"""Events of a scenario as they arrive (spec 2), and what a scenario says of them (spec 10)."""

from typing import Any

import pytest

from rating.simulate import simulate
from schemas.codec import to_tree
from schemas.documents import load_document
from schemas.scenario import read_scenario

HEAD = """
name: test
now: "2026-03-01T02:00:00Z"
settings: {late_window: 5d}
meters:
  calls: {event_type: call, aggregation: sum, value: data.n}
  seen: {event_type: call, aggregation: unique, value: data.n}
plans: {p: {currency: USD, period: month, charges: {api: {meter: calls, price: {model: per_unit, unit: "1"}}}}}
customers: {acme: {currency: USD}, globex: {currency: USD}}
timeline:
  - {at: "2026-02-01T00:00:00Z", subscribe: {id: s1, customer: acme, plan: p}}
"""


def run(*timeline: str) -> dict[str, Any]:
    text = HEAD + "\n".join(f"  - {{{entry}}}" for entry in timeline)
    tree: dict[str, Any] = to_tree(simulate(read_scenario(load_document(text, "test.yaml"))))
    return tree


def sent(*events: str, received: str = "2026-02-10T00:00:00Z") -> str:
    return f'at: "{received}", events: [{", ".join(f"{{{event}}}" for event in events)}]'


def event(name: str, n: str = "1", subject: str = "acme", more: str = "", time: str = "2026-02-09T00:00:00Z") -> str:
    return f'id: {name}, type: call, subject: {subject}, time: "{time}", data: {{n: {n}{more}}}'


def quantity(tree: dict[str, Any]) -> str:
    return str(tree["invoices"][0]["lines"][0]["quantity"]) if tree["invoices"] else "0"


def test_repeats_count_once_and_conflicts_are_told_apart() -> None:
    tree = run(sent(event("e"), event("e", "1.0"), event("e", "2"), event("e", more=", m: x")))
    found = tree["events"]
    assert (found["accepted"], found["duplicate"], found["duplicate_conflict"]) == (1, 1, 2)
    assert quantity(tree) == "1"


def test_identity_is_looked_at_before_the_time() -> None:
    tree = run(sent(event("e")), sent(event("e"), received="2026-02-20T00:00:00Z"))
    assert (tree["events"]["duplicate"], tree["events"]["rejected"]) == (1, ())


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("2026-02-10T01:00:00.000001Z", "time_in_future"),
        ("2026-02-10T01:00:00Z", None),
        ("2026-02-05T00:00:00Z", None),
        ("2026-02-04T23:59:59.999999Z", "time_too_old"),
    ],
    ids=["over-an-hour-ahead", "an-hour-ahead", "at-the-window", "before-the-window"],
)
def test_time_is_within_the_window(time: str, code: str | None) -> None:
    found = [rejected["code"] for rejected in run(sent(event("e", time=time)))["events"]["rejected"]]
    assert found == ([] if code is None else [code])


def test_event_refused_for_its_time_does_not_take_its_identity() -> None:
    old = event("e", "5", time="2026-02-01T00:00:00Z")
    tree = run(sent(old), sent(event("e", "7"), received="2026-02-11T00:00:00Z"))
    assert quantity(tree) == "7"
    assert tree["events"]["accepted"] == 1


def test_refusals_come_in_the_order_of_arrival_then_of_meters() -> None:
    tree = run(sent(event("e1", "[1]"), event('" e2"'), event("e3", "null"), event("e4", '"x"')))
    found = [(each["id"], each["meter"], each["code"]) for each in tree["events"]["rejected"]]
    assert found == [
        ("e1", "calls", "value_not_numeric"),
        ("e1", "seen", "value_not_numeric"),
        (" e2", None, "event_invalid"),
        ("e3", "calls", "value_missing"),
        ("e3", "seen", "value_missing"),
        ("e4", "calls", "value_not_numeric"),
    ]
    assert tree["events"]["accepted"] == 3


def test_event_too_broken_to_name_is_listed_without_a_name() -> None:
    (found,) = run(sent("id: 5, type: call, subject: acme"))["events"]["rejected"]
    assert (found["id"], found["source"], found["code"]) == (None, "test", "event_invalid")


def test_type_that_no_meter_wants_is_accepted_and_unmatched() -> None:
    found = run(sent("id: e, type: other, subject: acme"))["events"]
    assert (found["accepted"], found["unmatched"]) == (1, 1)


def test_void_takes_the_effect_away_and_keeps_the_identity() -> None:
    void = 'at: "2026-02-11T00:00:00Z", void: {id: e}'
    tree = run(
        sent(event("e", "5"), event("f", "2")), void, void, sent(event("e", "5"), received="2026-02-12T00:00:00Z")
    )
    assert quantity(tree) == "2"
    assert (tree["refused"], tree["events"]["duplicate"]) == ((), 1)


@pytest.mark.parametrize(
    ("void", "code"),
    [
        ("{id: nothing}", "unknown_event"),
        ("{id: e, source: other}", "unknown_event"),
        ("{id: later}", "unknown_event"),
        ("{id: e}", "ambiguous_identity"),
        ("{id: e, subject: globex}", None),
        ("{id: e, subject: initech}", "unknown_event"),
    ],
    ids=["unknown", "other-source", "not-arrived-yet", "of-two-customers", "of-one-of-them", "of-nobody"],
)
def test_void_is_refused_unless_it_names_one_event(void: str, code: str | None) -> None:
    tree = run(
        sent(event("e"), event("e", subject="globex")),
        f'at: "2026-02-11T00:00:00Z", void: {void}',
        sent(event("later"), received="2026-02-12T00:00:00Z"),
    )
    assert [refused["code"] for refused in tree["refused"]] == ([] if code is None else [code])
    assert all(refused["act"] == "void" for refused in tree["refused"])


def test_entries_after_now_do_not_happen() -> None:
    tree = run(sent(event("e"), received="2026-03-01T02:00:00.000001Z"))
    assert tree["events"]["accepted"] == 0
