"""Accounts: which acts are refused, and with which code (spec 4.4, 10)."""

import pytest

from rating.account import Account, Book, fold
from rating.catalog import Catalog
from rating.overlap import overlapping
from schemas.act import Act, Cancel, Change, Coupon, Entry, Grant, OneOff, Subscribe
from schemas.customer import Customer
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.numbers import Number
from schemas.outcome import Refusal
from schemas.plan import Period, Plan, UsageCharge
from schemas.price import PerUnit

UNIT = PerUnit(unit=Number(1))
MONTH = Period("month")


def at(text: str) -> Instant:
    return Instant.parse(f"{text}T00:00:00Z")


def plan(where: dict[str, tuple[str, ...]] | None = None, currency: str = "USD") -> Plan:
    charge = UsageCharge(meter="m", price=UNIT, where=where or {})
    return Plan(currency=currency, period=MONTH, charges={"use": charge})


@pytest.fixture
def book() -> Book:
    return Book({"acme": Customer(currency="USD"), "globex": Customer(currency="USD")})


@pytest.fixture
def catalog() -> Catalog:
    meters = {"m": Meter(event_type="e", aggregation="count", dimensions={"cloud": "data.cloud"})}
    plans = {
        "all": plan(),
        "aws": plan({"cloud": ("aws",)}),
        "gcp": plan({"cloud": ("gcp", "x")}),
        "euro": plan(currency="EUR"),
        "none": Plan(currency="USD", period=MONTH, charges={}),
    }
    return Catalog(meters, plans)


def sub(name: str, plan: str, customer: str = "acme", **more: object) -> Subscribe:
    return Subscribe(id=name, customer=customer, plan=plan, **more)  # type: ignore[arg-type]


REFUSED: list[tuple[str, Act, Refusal | None]] = [
    ("unknown-customer", sub("s9", "none", "nobody"), Refusal.UNKNOWN_CUSTOMER),
    ("unknown-customer-of-a-grant", Grant(id="g", customer="nobody", amount=Number(1)), Refusal.UNKNOWN_CUSTOMER),
    ("unknown-customer-before-unknown-plan", sub("s9", "nothing", "nobody"), Refusal.UNKNOWN_CUSTOMER),
    ("unknown-plan", sub("s9", "nothing"), Refusal.UNKNOWN_PLAN),
    ("unknown-version", sub("s9", "none@2"), Refusal.UNKNOWN_PLAN),
    ("unknown-plan-before-subscription-exists", sub("s1", "nothing"), Refusal.UNKNOWN_PLAN),
    ("unknown-subscription", Change(subscription="s9"), Refusal.UNKNOWN_SUBSCRIPTION),
    ("unknown-subscription-of-a-one-off", OneOff(id="o", amount=Number(1), subscription="s9"),
     Refusal.UNKNOWN_SUBSCRIPTION),
    ("subscription-exists-at-another-customer", sub("s1", "none", "globex"), Refusal.SUBSCRIPTION_EXISTS),
    ("other-currency", Change(subscription="s1", plan="euro"), Refusal.CURRENCY_MISMATCH),
    ("billed-twice", sub("s9", "aws"), Refusal.USAGE_BILLED_TWICE),
    ("billed-twice-back-dated", sub("s9", "all", start=at("2025-12-01")), Refusal.USAGE_BILLED_TWICE),
    ("named-is-exempt", sub("s9", "aws", events="named"), None),
    ("of-another-customer", sub("s9", "aws", "globex"), None),
    ("without-usage", sub("s9", "none"), None),
    ("one-off-of-a-customer", OneOff(id="o", amount=Number(1), customer="acme"), None),
    ("coupon", Coupon(id="c", customer="acme", percent=Number(10)), None),
]  # fmt: skip


@pytest.mark.parametrize(("act", "refusal"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_act_is_refused_with_its_code(book: Book, catalog: Catalog, act: Act, refusal: Refusal | None) -> None:
    assert book.add(catalog, at("2026-01-01"), sub("s1", "all")) is None
    assert book.add(catalog, at("2026-01-10"), act) == refusal


def test_refused_act_changes_nothing(book: Book, catalog: Catalog) -> None:
    book.add(catalog, at("2026-01-01"), sub("s1", "all"))
    book.add(catalog, at("2026-01-02"), sub("s2", "aws"))
    assert list(book.accounts["acme"].subscriptions) == ["s1"]


def test_ended_subscription_refuses_acts_from_its_end_on(book: Book, catalog: Catalog) -> None:
    book.add(catalog, at("2026-01-01"), sub("s1", "all"))
    assert book.add(catalog, at("2026-01-05"), Cancel(subscription="s1", when="at_period_end")) is None
    assert book.add(catalog, at("2026-01-31"), OneOff(id="o", amount=Number(1), subscription="s1")) is None
    for act in (
        Change(subscription="s1"),
        Cancel(subscription="s1"),
        OneOff(id="o", amount=Number(1), subscription="s1"),
    ):
        assert book.add(catalog, at("2026-02-01"), act) == Refusal.SUBSCRIPTION_ENDED


def test_usage_after_an_end_is_not_billed_twice(book: Book, catalog: Catalog) -> None:
    book.add(catalog, at("2026-01-01"), sub("s1", "all"))
    book.add(catalog, at("2026-01-05"), Cancel(subscription="s1"))
    assert book.add(catalog, at("2026-01-05"), sub("s2", "all")) is None
    assert book.add(catalog, at("2026-01-06"), sub("s3", "gcp", start=at("2026-01-04"))) == Refusal.USAGE_BILLED_TWICE


def test_change_that_will_overlap_at_the_boundary_is_refused(book: Book, catalog: Catalog) -> None:
    book.add(catalog, at("2026-01-01"), sub("s1", "aws"))
    book.add(catalog, at("2026-01-01"), sub("s2", "gcp"))
    change = Change(subscription="s2", plan="all", when="at_period_end")
    assert book.add(catalog, at("2026-01-05"), change) == Refusal.USAGE_BILLED_TWICE


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ({}, {}, True),
        ({"a": ("x",)}, {}, True),
        ({"a": ("x",)}, {"b": ("y",)}, True),
        ({"a": ("x", "y")}, {"a": ("y",)}, True),
        ({"a": ("x",)}, {"a": ("y",)}, False),
        ({"a": ("x",), "b": ("1",)}, {"a": ("x",), "b": ("2",)}, False),
    ],
    ids=["none", "one-open", "different-dimensions", "shared-value", "disjoint", "disjoint-in-one"],
)
def test_filters_overlap_unless_a_dimension_is_disjoint(
    one: dict[str, tuple[str, ...]], other: dict[str, tuple[str, ...]], overlap: bool
) -> None:
    assert overlapping(one, other) is overlap
    assert overlapping(other, one) is overlap


def test_fold_gives_what_acts_one_by_one_give(catalog: Catalog) -> None:
    one_off = OneOff(id="o", amount=Number(1), customer="acme")
    acts: list[Act] = [sub("s1", "none"), Grant(id="g", customer="acme", amount=Number(5)),
                       Grant(id="g", customer="acme", amount=Number(6)), one_off,
                       Cancel(subscription="s1", when="at_period_end")]  # fmt: skip
    entries = [Entry(at("2026-01-01"), act) for act in acts]
    folded = fold(catalog, "acme", Customer(currency="USD"), entries)
    alone = Account("acme", Customer(currency="USD"))
    for entry in entries:
        alone.add(catalog, entry.at, entry.act)
    assert [given.key for given in folded.grants] == ["g", "g #2"] == [given.key for given in alone.grants]
    assert folded.subscriptions["s1"].end == alone.subscriptions["s1"].end == at("2026-02-01")
    assert [extra.charge.id for extra in folded.one_offs[None]] == ["o"]
