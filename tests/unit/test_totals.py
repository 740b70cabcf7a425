"""Which totals a piece of usage belongs to, and what they come to (spec 4.3, 4.4, 5)."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

from metering.rater.totals import Key, Sum, gather, rated
from metering.subscriptions.accounts import Written, unfolded
from metering.usage.pieces import Piece
from rating.catalog import Catalog
from rating.segments import ChargeSegment, segments_between
from schemas.codec import convert
from schemas.instants import DAY, Instant
from schemas.meter import Meter
from schemas.plan import Plan

START = Instant.parse("2026-01-01T00:00:00Z")
METER = {"event_type": "call", "aggregation": "sum", "value": "data.n", "dimensions": {"model": "data.model"}}
GRADUATED = {"model": "graduated", "tiers": [{"up_to": "10", "unit": "2", "flat": "1"}, {"up_to": None, "unit": "0.5"}]}
DIMENSIONS = {"calls": ("model",)}


def segments(charges: dict[str, Any], **more: Any) -> list[ChargeSegment]:
    """The usage segments of a customer with one subscription, of January 2026."""
    catalog = Catalog({"calls": convert(METER, Meter)})
    catalog.add("pro", convert({"currency": "USD", "period": {"unit": "month"}, "charges": charges}, Plan), 0)
    act = {"act": "subscribe", "id": "s1", "customer": "acme", "plan": "pro@1", **more}
    account = unfolded(catalog, Written("acme", '{"currency": "USD"}', f"{int(START)} {json.dumps(act)}", 1))
    return list(segments_between(account, START, START + 31 * DAY))


def charge(price: Any = GRADUATED, **more: Any) -> dict[str, Any]:
    return {"kind": "usage", "meter": "calls", "price": price, **more}


def piece(quantity: str, model: str = "x", day: int = 0, named: str = "", events: int = 1) -> Piece:
    return Piece("calls", START + day * DAY, (model,), named, Decimal(quantity), events)


def totals(charges: dict[str, Any], *pieces: Piece, **more: Any) -> dict[Key, tuple[Sum, Fraction]]:
    """Everything that the pieces come to."""
    sums: dict[Key, Sum] = {}
    touched = gather("acme", segments(charges, **more), pieces, DIMENSIONS, sums)
    return {one.key: (one.sum, Fraction(one.numerator) / one.divisor) for one in rated(touched, sums)}


def test_pieces_of_a_segment_add_up_and_are_rated_once() -> None:
    found = totals({"api": charge()}, piece("4", "x"), piece("7.5", "y", day=30, events=3))
    key = Key("acme", "s1", "api", START, ())
    assert found == {key: (Sum(4, Decimal("11.5")), Fraction("21.75"))}  # 1 + 10 x 2 + 1.5 x 0.5


def test_charge_by_a_dimension_has_a_total_for_each_value() -> None:
    found = totals({"api": charge(by=["model"])}, piece("1", "x"), piece("2", "y"), piece("4", "x"))
    assert {key.combination: (total.quantity, amount) for key, (total, amount) in found.items()} == {
        ("x",): (Decimal(5), Fraction(11)),
        ("y",): (Decimal(2), Fraction(5)),
    }


def test_piece_counts_for_every_charge_whose_filter_it_passes() -> None:
    charges = {"all": charge(), "some": charge(where={"model": ["x"]}), "none": charge(where={"model": ["z"]})}
    assert {key.charge for key in totals(charges, piece("1"))} == {"all", "some"}


def test_piece_at_the_end_of_a_segment_belongs_to_the_next() -> None:
    assert totals({"api": charge()}, piece("1", day=31), piece("1", day=-1)) == {}


def test_usage_that_names_a_subscription_counts_for_no_other() -> None:
    pieces = piece("1"), piece("2", named="s1"), piece("4", named="s2")
    ((every, _),) = totals({"api": charge()}, *pieces).values()
    ((named, _),) = totals({"api": charge()}, *pieces, events="named").values()
    assert (every.quantity, named.quantity) == (Decimal(3), Decimal(2))


def test_value_without_a_price_is_a_total_of_nothing_that_says_so() -> None:
    price = {"model": "by_value", "dimension": "model", "cases": {"x": {"model": "per_unit", "unit": "1"}}}
    sums: dict[Key, Sum] = {}
    touched = gather("acme", segments({"api": charge(price)}), [piece("3", "x"), piece("3", "y")], DIMENSIONS, sums)
    found = {one.key.combination: (one.numerator, one.unpriced) for one in rated(touched, sums)}
    assert found == {("x",): (Decimal(3), False), ("y",): (Decimal(0), True)}


def test_sums_beyond_28_digits_and_prices_that_do_not_terminate_stay_exact() -> None:
    big = "999999999999999999.000000000001"
    found = totals({"api": charge({"model": "per_unit", "unit": "1", "per": "3"})}, *[piece(big)] * 3, piece(big))
    ((total, amount),) = found.values()
    assert total.quantity == Decimal("3999999999999999996.000000000004")
    assert amount == Fraction(total.quantity) / 3


def test_order_of_pieces_changes_nothing() -> None:
    pieces = [piece(quantity, model, day) for quantity in ("0.1", "7", "-2") for model in "xy" for day in (0, 3)]
    charges = {"a": charge(), "b": charge(by=["model"])}
    assert totals(charges, *pieces) == totals(charges, *reversed(pieces))
