"""From bytes to columns by hand: filters, values and their codes, dimensions, what no meter wants (spec 1.2, 3)."""

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from rating.extract import Extractor, Metered
from rating.times import instants
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.outcome import Outcome

RECEIVED = int(Instant.parse("2026-01-05T00:00:00Z"))


def event(data: Any = None, **changes: Any) -> bytes:
    base = {"specversion": "1.0", "id": "e", "source": "app", "type": "call", "subject": "acme"}
    return json.dumps({**base, **({} if data is None else {"data": data}), **changes}).encode()


def metered(meter: Meter, raws: list[bytes]) -> Metered:
    extractor = Extractor({"m": meter})
    batch = extractor.read(raws, np.full(len(raws), RECEIVED))
    assert not len(batch.invalid())
    return extractor.meter(batch)[0]


def total(**changes: Any) -> Meter:
    return Meter(**{"event_type": "call", "aggregation": "sum", "value": "data.n", **changes})


def codes(raws: list[str]) -> list[str | None]:
    """The code of each value of `n`, given as JSON; None where it is accepted."""
    found = metered(total(), [event({"n": 1}).replace(b'"n": 1', f'"n": {raw}'.encode()) for raw in raws])
    rejected = dict(found.rejected)
    return [rejected[row].value if row in rejected else None for row in range(len(raws))]


def test_values_are_refused_by_the_first_code_that_fits() -> None:
    assert codes(["1", "null", '"x"', "true", "{}", "[1]", '""']) == [None, "value_missing", *["value_not_numeric"] * 5]
    assert codes(['"NaN"', '"-inf"', '"+Infinity"', '"sNaN"', '".nan"']) == ["value_not_finite"] * 5
    assert (
        codes(["1e18", "-1e18", "1" + "0" * 30, "1" * 5000, '"1e400"', "1e999999999999"]) == ["value_out_of_range"] * 6
    )
    assert (
        codes(["999999999999999999.999999999999", "1.0000000000000000", "0e99", '"-.5"', '"+5"', '"1E-12"'])
        == [None] * 6
    )
    assert codes(["1e-13", "0.0000000000001", "1e-999999999999"]) == ["value_too_precise"] * 3
    assert codes(['"1_0"', '" 1"', '"1,0"', '"\u0661"', '"1."', '"0x1"', '"--1"']) == ["value_not_numeric"] * 7


def test_absent_value_is_missing_and_counts_for_a_count() -> None:
    raws = [event(), event({"n": 2}), event({"m": 2})]
    assert metered(total(), raws).rejected == [(0, Outcome.VALUE_MISSING), (2, Outcome.VALUE_MISSING)]
    assert metered(Meter(event_type="call", aggregation="count"), raws).rows.tolist() == [0, 1, 2]


def test_values_of_all_forms_make_one_exact_column() -> None:
    raws = [event({"n": value}) for value in (1500, "12.5", "-0.000000000001", 999_999_999_999_999_999)]
    raws.append(event({"n": 0}).replace(b'"n": 0', b'"n": 0.1e1'))
    found = metered(total(), raws)
    assert found.values is not None
    expected = [1500, Fraction("12.5"), Fraction("-0.000000000001"), 999_999_999_999_999_999, 1]
    assert found.values.fractions() == expected
    assert found.values.values.dtype == object


def test_filter_compares_texts_of_numbers_booleans_and_what_is_missing() -> None:
    data = [{"x": 1}, {"x": "1"}, {"x": "1.0"}, {"x": True}, {"x": None}, {}, {"x": {"y": 1}}, {"x": ""}]
    raws = [event(one) for one in data] + [event().replace(b'"acme"', b'"acme", "data": {"x": 1.0}')]

    def kept(*texts: str) -> list[int]:
        meter = Meter(event_type="call", aggregation="count", where={"data.x": texts})
        return metered(meter, raws).rows.tolist()  # type: ignore[no-any-return]

    assert kept("1") == [0, 1, 8]
    assert kept("1.0") == [2]
    assert kept("true") == [3]
    assert kept("") == [4, 5, 6, 7]
    assert kept() == []


def test_filtered_events_are_not_refused_for_their_value() -> None:
    found = metered(total(where={"data.ok": ("true",)}), [event({"ok": False, "n": "x"}), event({"ok": True, "n": 3})])
    assert (found.rows.tolist(), found.rejected) == ([1], [])


def test_dimensions_are_coded_in_order_of_first_sight() -> None:
    meter = total(dimensions={"model": "data.m", "from": "source", "deep": "data.a.b"})
    raws = [event({"n": 1, "m": "x"}), event({"n": 1, "m": 7, "a": {"b": 1.5}}), event({"n": 1, "m": "x", "a": 3})]
    found = metered(meter, raws)
    assert found.combinations == [("x", "app", ""), ("7", "app", "1.5")]
    assert found.code.tolist() == [0, 1, 0]


def test_unique_takes_any_scalar_as_text() -> None:
    meter = Meter(event_type="call", aggregation="unique", value="data.u")
    values: list[Any] = ["a", 1, True, "", None, {}, [], "NaN"]
    found = metered(meter, [event({"u": value}) for value in values] + [event()])
    assert found.texts == ["a", "1", "true", "", "NaN"]
    assert found.rejected == [(4, Outcome.VALUE_MISSING), (5, Outcome.VALUE_NOT_NUMERIC),
                              (6, Outcome.VALUE_NOT_NUMERIC), (8, Outcome.VALUE_MISSING)]  # fmt: skip


def test_attributes_beside_data_are_reached() -> None:
    meter = Meter(event_type="call", aggregation="count", dimensions={"zone": "zone", "id": "id", "in": "ext.a"})
    found = metered(meter, [event(zone="eu", ext={"a": 1}), event(id="f")])
    assert found.combinations == [("eu", "e", "1"), ("", "f", "")]


def test_batch_says_who_what_and_when() -> None:
    extractor = Extractor({"m": total(), "n": Meter(event_type="call", aggregation="count")})
    raws = [
        event({"n": 1}, time="2026-01-04T10:00:00.1234567Z"),
        b"{",
        event(type="other", subject="Zoë", subscription="s1"),
        event({"n": 2}, id=" x"),
        event({"n": 3}, time="2026-01-04T12:00:00+02:00", id="f"),
        event({"n": 3}, time="yesterday"),
    ]
    batch = extractor.read(raws, np.full(len(raws), RECEIVED))
    assert batch.invalid().tolist() == [1, 3, 5]
    assert batch.unmatched().tolist() == [2]
    assert (batch.ids[4], batch.subjects[2], batch.subscriptions[2], batch.ids[1]) == ("f", "Zoë", "s1", "")
    noon = int(Instant.parse("2026-01-04T10:00:00Z"))
    assert batch.time[[0, 2, 4]].tolist() == [noon + 123_456, RECEIVED, noon]
    parts = extractor.meter(batch, np.array([2, 4]))
    assert [(part.meter, part.rows.tolist()) for part in parts] == [("m", [4]), ("n", [4])]


def test_empty_batch_and_no_meters_have_nothing() -> None:
    extractor = Extractor({})
    batch = extractor.read([], np.zeros(0, dtype=np.int64))
    assert (len(batch), extractor.meter(batch)) == (0, [])
    assert Extractor({}).read([event()], np.array([RECEIVED])).unmatched().tolist() == [0]


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T23:59:59.9999999Z",
        "1970-01-01T00:00:00z",
        "0001-01-01T00:00:00.1Z",
        "9999-12-31t23:59:59.999999Z",
        "2026-03-29T02:30:00-11:59",
        "1900-03-01T00:00:00Z",
    ],
)
def test_times_in_columns_are_those_read_one_by_one(text: str) -> None:
    found, known = instants([text, "2026-02-29T00:00:00Z", text])
    assert known.tolist() == [True, False, True]
    assert found.tolist() == [int(Instant.parse(text)), 0, int(Instant.parse(text))]
