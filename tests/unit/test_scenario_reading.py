"""Scenario files: the timeline as acts, events as bytes, and faults of what happens when."""

import json
import textwrap

import pytest

from schemas.act import Change, Coupon, Grant, OneOff, Subscribe
from schemas.catalog import read_part
from schemas.codec import convert, to_tree
from schemas.documents import Document, load_document
from schemas.faults import DocumentError
from schemas.instants import DAY, HOUR, Instant
from schemas.numbers import Number
from schemas.plan import Plan
from schemas.scenario import Events, PlanVersion, Void, check_scenario, read_scenario

HEAD = "now: 2026-02-01T00:00:00Z\nplans: {p: {currency: USD, period: month, charges: {seats: {recurring: 9}}}}\n"


def load(text: str) -> Document:
    return load_document(textwrap.dedent(text), "scenario.yaml")


def timeline(*entries: str) -> Document:
    return load(HEAD + "timeline:\n" + "\n".join(f"  - {entry}" for entry in entries))


def test_scenario_is_read_in_the_order_of_time() -> None:
    scenario = read_scenario(
        timeline(
            "{at: 2026-01-02T00:00:00Z, subscribe: {id: s, customer: a, plan: p, quantities: {seats: 3}}}",
            "{at: 2026-01-01T01:00:00+01:00, void: {id: e}}",
            "{at: 2026-01-01T00:00:00Z, plan: {key: q, currency: USD, period: month, charges: {}}}",
            "{at: 2026-01-03T00:00:00Z, change: {subscription: s, quantities: {seats: '0.50'}, when: at_period_end}}",
        )
    )
    assert [happening.what for happening in scenario.timeline] == [
        Void(id="e"),
        PlanVersion(key="q", plan=Plan(currency="USD", period=scenario.plans["p"].period, charges={})),
        Subscribe(id="s", customer="a", plan="p", quantities={"seats": Number(3)}),
        Change(subscription="s", quantities={"seats": Number("0.5")}, when="at_period_end"),
    ]
    assert scenario.timeline[0].at == Instant.parse("2026-01-01T00:00:00Z")
    assert (scenario.settings.grace, scenario.settings.late_window) == (HOUR, 35 * DAY)
    assert (scenario.name, scenario.expect) == ("scenario.yaml", None)


def test_events_become_json_with_their_literals_and_defaults() -> None:
    entry = (
        "{at: 2026-01-02T00:00:00Z, events: ["
        "{id: e1, type: call, subject: a, data: {n: 0.10, s: '0.10', t: true, z: null, l: [1e3, .5], x: {y: é}}},"
        " {id: 7, source: app, specversion: '0.3'}, 5]}"
    )
    first = (
        b'{"specversion":"1.0","source":"test","id":"e1","type":"call","subject":"a","data":'
        b'{"n":0.10,"s":"0.10","t":true,"z":null,"l":[1e3,0.5],"x":{"y":"\\u00e9"}}}'
    )
    assert read_scenario(timeline(entry)).timeline[0].what == Events(
        raw=(
            first,
            b'{"specversion":"0.3","source":"app","id":7}',
            b"5",
        )
    )


def test_expectation_is_a_plain_tree() -> None:
    document = load(HEAD + 'expect: {invoices: [{number: 1, total: "5.00", tax: 1.50}], refused: []}')
    assert read_scenario(document).expect == {
        "invoices": [{"number": 1, "total": "5.00", "tax": "1.50"}],
        "refused": [],
    }


AT = "at: 2026-01-01T00:00:00Z"

FAULTS = {
    "two things in one entry": (
        f"{{{AT}, void: {{id: e}}, cancel: {{subscription: s}}}}",
        "timeline[0]: an entry is one thing, this is void and cancel",
    ),
    "nothing in an entry": (f"{{{AT}}}", "timeline[0]: it does not say what happens"),
    "unknown act": (f"{{{AT}, void: {{id: e}}, subscrib: {{}}}}", "timeline[0].subscrib: there is no field 'subscrib'"),
    "no instant": ("{void: {id: e}}", "timeline[0]: the field 'at' is missing"),
    "no offset": (
        "{at: 2026-01-01T00:00:00, void: {id: e}}",
        "timeline[0].at: '2026-01-01T00:00:00' is not a time with an",
    ),
    "no plan": (f"{{{AT}, subscribe: {{id: s, customer: a}}}}", "timeline[0].subscribe: the field 'plan' is missing"),
    "negative seats": (
        f"{{{AT}, subscribe: {{id: s, customer: a, plan: p, quantities: {{seats: -1}}}}}}",
        "timeline[0].subscribe.quantities.seats: -1 is below 0",
    ),
    "change of nothing": (f"{{{AT}, change: {{subscription: s}}}}", "timeline[0].change: neither plan nor quantities"),
    "coupon of both": (
        f"{{{AT}, coupon: {{customer: a, id: c, percent: 10, amount: 5}}}}",
        "timeline[0].coupon: percent and amount are both given",
    ),
    "coupon of neither": (
        f"{{{AT}, coupon: {{customer: a, id: c}}}}",
        "timeline[0].coupon: neither percent nor amount",
    ),
    "coupon beyond 100": (
        f"{{{AT}, coupon: {{customer: a, id: c, percent: 100.5}}}}",
        "timeline[0].coupon.percent: 100.5 is beyond 100",
    ),
    "coupon for no invoice": (
        f"{{{AT}, coupon: {{customer: a, id: c, percent: 10, periods: 0}}}}",
        "timeline[0].coupon.periods: 0 is below 1",
    ),
    "grant in no currency": (
        f"{{{AT}, grant: {{customer: a, id: g, amount: 5, currency: US}}}}",
        "timeline[0].grant.currency: 'US' is no currency",
    ),
    "grant below 0": (
        f"{{{AT}, grant: {{customer: a, id: g, amount: -5}}}}",
        "timeline[0].grant.amount: -5 is below 0",
    ),
    "one-off of nobody": (
        f"{{{AT}, one_off: {{id: o, amount: 5}}}}",
        "timeline[0].one_off: neither subscription nor cust",
    ),
    "id with a blank": (
        f"{{{AT}, cancel: {{subscription: 's '}}}}",
        "timeline[0].cancel.subscription: a key has no blanks",
    ),
    "plan without key": (
        f"{{{AT}, plan: {{currency: USD, period: month, charges: {{}}}}}}",
        "timeline[0].plan: the field 'key' is missing",
    ),
    "plan with a fault": (
        f"{{{AT}, plan: {{key: p, currency: USD, period: month, charges: {{a: {{meter: m, price: 1}}}}}}}}",
        "timeline[0].plan.charges.a.meter: there is no meter 'm'; none is defined",
    ),
    "events that are no list": (
        f"{{{AT}, events: {{id: e}}}}",
        "timeline[0].events: expected a list of events, got a map",
    ),
}


@pytest.mark.parametrize(("entry", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_of_an_entry_is_found_with_its_path(entry: str, expected: str) -> None:
    document = timeline(entry)
    faults = [str(fault).split(": ", 1)[1] for fault in check_scenario(document)]
    assert len(faults) == 1, faults
    assert faults[0].startswith(expected)
    with pytest.raises(DocumentError):
        read_scenario(document)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("timeline: []", "scenario.yaml:1:1: the field 'now' is missing; write now: ", id="no now"),
        pytest.param(HEAD + "settings: {grace: 1 hour}", "settings.grace: '1 hour' is not a duration", id="duration"),
        pytest.param(
            HEAD + "expects: {}", "expects: there is no field 'expects' here; did you mean 'expect'?", id="field"
        ),
        pytest.param(HEAD + "timeline: {}", "timeline: expected a list, got a map", id="timeline"),
        pytest.param("", "expected a scenario, got nothing (null)", id="empty"),
    ],
)
def test_fault_of_a_scenario_is_found(text: str, expected: str) -> None:
    faults = check_scenario(load(text))
    assert len(faults) == 1, faults
    assert expected in str(faults[0])


def test_doubtful_scenario_is_read_with_warnings() -> None:
    document = timeline(
        "{at: 2026-01-02T00:00:00Z, subscribe: {id: s, customer: a, plan: p, quantities: {seat: 3}}}",
        "{at: 2026-01-01T00:00:00Z, coupon: {customer: a, id: c, percent: 5, charges: [fee]}}",
    )
    assert [
        (fault.severity, fault.place, fault.path, fault.message, fault.fix) for fault in check_scenario(document)
    ] == [
        (
            "warning",
            (4, 86),
            "timeline[0].subscribe.quantities.seat",
            "no plan of this file has a charge 'seat'",
            "did you mean 'seats'?",
        ),
        (
            "warning",
            (5, 10),
            "timeline[1].at",
            "2026-01-01T00:00:00Z is before the entry above it (2026-01-02T00:00:00Z)",
            "it happens in the order of time: move it up",
        ),
        (
            "warning",
            (5, 83),
            "timeline[1].coupon.charges[0]",
            "no plan of this file has a charge 'fee'",
            "known are seats",
        ),
    ]
    assert len(read_scenario(document).timeline) == 2


def test_part_of_a_catalog_is_read_alone() -> None:
    document = load_document('{"customer": "a", "id": "g", "amount": 5.0}', "body.json")
    assert read_part(document, Grant) == Grant(customer="a", id="g", amount=Number(5))
    with pytest.raises(DocumentError, match="neither subscription nor customer"):
        read_part(load_document('{"id": "o", "amount": "5"}', "body.json"), OneOff)
    with pytest.raises(DocumentError, match="beyond 100"):
        read_part(load_document('{"id": "o", "customer": "a", "percent": 200}', "body.json"), Coupon)


def test_tree_of_a_struct_reads_back_as_the_same_struct() -> None:
    text = """\
        currency: USD
        period: quarter
        charges:
          a: {recurring: "9.00", bill: arrears}
          b:
            meter: m
            price: {by_value: {dimension: d, cases: {x: 1}, otherwise: {model: package, size: 5, amount: 1}}}
          c: {meter: m, price: {model: volume, tiers: [{up_to: 5, unit: 1}, {up_to: null, flat: 3}]}, by: [d]}
        """
    plan = read_part(load(text), Plan)
    stored = load_document(json.dumps(to_tree(plan)), "plan.json")
    assert read_part(stored, Plan) == plan
    assert convert(to_tree(plan), Plan) == plan
