"""The pure parts of catalog, accounts and invoices: differences, requests sent again, ids, details, pages."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from metering.api.answers import decode_cursor, encode_cursor
from metering.api.body import parse_document, read_struct
from metering.api.problem import Problem
from metering.api.scopes import allows
from metering.catalog.stored import PlanVersion, Stored, difference, fixed_meters, not_live
from metering.invoices.detail import from_detail, id_of, to_detail
from metering.invoices.html import grouped
from metering.invoices.late import late_arrivals
from metering.subscriptions.acts import pinned, same_request
from rating.billed import Invoice, InvoiceLine
from rating.catalog import Catalog
from rating.line import LineHead
from rating.period import Span
from schemas.act import Change, Grant, Subscribe
from schemas.customer import Customer
from schemas.http import Scope
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.numbers import Number
from schemas.plan import Period, Plan, RecurringCharge, UsageCharge
from schemas.price import PerUnit

COUNT = Meter(event_type="call", aggregation="count", dimensions={"a": "data.a", "b": "data.b"})
FEE = RecurringCharge(recurring=PerUnit(unit=Number(5)))
USAGE = UsageCharge(meter="calls", price=PerUnit(unit=Number(1)))
PLAN = Plan(currency="USD", period=Period("month"), charges={"fee": FEE, "calls": USAGE})
STORED = Stored(3, {"calls": COUNT}, {"pro": (PlanVersion("pro", 1, Instant(0), PLAN),)})


def test_difference_of_what_is_stored_is_empty() -> None:
    found = difference(STORED, {"calls": COUNT}, {"pro": PLAN})
    assert found.empty
    assert (found.meters.unchanged, found.plans.unchanged) == (("calls",), {"pro": 1})


def test_difference_counts_another_order_of_charges_as_a_change() -> None:
    turned = msgspec.structs.replace(PLAN, charges={"calls": USAGE, "fee": FEE})
    assert turned == PLAN
    found = difference(STORED, {}, {"pro": turned, "new": PLAN})
    assert (found.plans.changed, found.plans.added) == ({"pro": 2}, {"new": 1})


@pytest.mark.parametrize(
    ("changed", "fixed"),
    [
        ({"value": None, "event_type": "other"}, []),
        ({"dimensions": {"b": "data.b", "a": "data.a"}}, ["calls"]),
        ({"dimensions": {"a": "data.x", "b": "data.b"}}, []),
        ({"aggregation": "sum", "value": "data.n"}, ["calls"]),
    ],
    ids=["type", "order", "path", "aggregation"],
)
def test_meter_is_fixed_in_what_its_usage_is_kept_by(changed: dict[str, Any], fixed: list[str]) -> None:
    assert fixed_meters(STORED, {"calls": msgspec.structs.replace(COUNT, **changed)}) == fixed


def test_charge_on_a_stored_meter_that_is_not_live_is_named() -> None:
    known = {"calls": Meter(event_type="call", aggregation="max", value="data.n")}
    (said,) = not_live({}, known, {"pro": PLAN})
    assert said.startswith("plans.pro.charges.calls")


def test_act_gets_the_version_in_force_and_is_recognised_when_sent_again() -> None:
    catalog = Catalog({"calls": COUNT}, {"pro": PLAN})
    asked = Subscribe(id="s", customer="c", plan="pro")
    stored = pinned(catalog, asked)
    assert stored == Subscribe(id="s", customer="c", plan="pro@1")
    assert same_request(asked, stored)
    assert same_request(stored, stored)
    assert not same_request(Subscribe(id="s", customer="c", plan="pro@2"), stored)
    assert not same_request(Subscribe(id="s", customer="c", plan="pro", events="named"), stored)
    assert not same_request(Change(subscription="s", plan="pro"), stored)
    assert pinned(catalog, Change(subscription="s", quantities={"fee": Number(2)})).plan is None  # type: ignore[union-attr]


def test_numbers_of_a_request_are_compared_by_value() -> None:
    one = Grant(customer="c", id="g", amount=Number.parse("5.0"))
    assert same_request(one, Grant(customer="c", id="g", amount=Number.parse("5")))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1234567.80", "1\u202f234\u202f567.80"),
        ("-0.05", "\u22120.05"),
        ("999", "999"),
        ("0.000000000001", "0.000000000001"),
        (
            "123456789012345678901234567890",
            "123\u202f456\u202f789\u202f012\u202f345\u202f678\u202f901\u202f234\u202f567\u202f890",
        ),
    ],
    ids=["thousands", "negative", "small", "tiny", "huge"],
)
def test_amount_on_a_page_is_grouped_and_exact(text: str, shown: str) -> None:
    assert grouped(text) == shown


def test_invoice_is_the_same_after_it_was_kept() -> None:
    head = LineHead(
        subscription="s",
        charge="c",
        kind="usage",
        quantity=Fraction(1, 3),
        dimensions=(("b", "2"), ("a", "1")),
        start=Instant(5),
        end=7,
        segment=5,
    )
    line = InvoiceLine(head, 10**21, discount=-3, period=5)
    invoice = Invoice(
        key="s@7",
        customer="é",
        currency="USD",
        issued=7,
        period=Span(5, 7),
        subscription="s",
        lines=(line,),
        subtotal=10**21,
        tax=-1,
        credits=2,
        coupons=("x",),
        grants=(("g #2", 2),),
    )
    assert from_detail(msgspec.json.decode(to_detail(invoice))) == invoice


def test_ids_of_customers_and_issues_do_not_run_together() -> None:
    assert id_of("a", "bc@1") != id_of("ab", "c@1")
    assert id_of("a", "b@1") == id_of("a", "b@1")
    assert len(id_of("a" * 255, "b@1")) == len("inv_") + 24


@pytest.mark.parametrize("key", [("é🚀",), (1, "x"), (-1, -1, -1, "")], ids=["text", "pair", "four"])
def test_cursor_comes_back_as_it_was_given(key: tuple[Any, ...]) -> None:
    assert decode_cursor({"cursor": encode_cursor(key)}, tuple(type(part) for part in key)) == list(key)


@pytest.mark.parametrize("text", ["", "é", "WzFd", "bnVsbA", "W1sxXV0", "=", "W" * 9], ids=str)
def test_cursor_that_we_never_gave_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        decode_cursor({"cursor": text}, (str,))
    assert (refused.value.status, refused.value.code) == (400, "parameter_invalid")


@pytest.mark.parametrize(
    ("scope", "may"),
    [("ingest", {"ingest"}), ("read", {"read"}), ("write", {"read", "write"}), ("admin", set(Scope))],
    ids=["ingest", "read", "write", "admin"],
)
def test_scope_implies_what_the_table_says(scope: str, may: set[str]) -> None:
    assert {wanted for wanted in Scope if allows(frozenset({scope}), wanted)} == may


def test_usage_is_late_only_if_it_is_of_before_the_end_and_arrived_after() -> None:
    subjects = ["a", "a", "b", "a", "c"]
    rows = [(0, 5, 9), (1, 5, 12), (2, 5, 20), (3, 11, 30), (4, 5, 40)]
    assert late_arrivals({"a": 10, "c": 10}, subjects, rows) == {"a": 12, "c": 40}


def test_all_faults_of_a_body_are_named_at_once() -> None:
    document = parse_document('{"currency": "usd", "tax": [], "timezone": 5}', "body.json")
    with pytest.raises(Problem) as refused:
        read_struct(document, Customer)
    assert {fault["path"] for fault in refused.value.extra["faults"]} == {"currency", "tax", "timezone"}
