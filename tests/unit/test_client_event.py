"""What a product says as bytes: exact numbers, refused floats, and what the service would refuse refused at once."""

import enum
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.client.event import event_bytes, time_text
from rating.events import checked_event
from schemas.instants import Instant
from schemas.numbers import Number, plain_text

NOW = "2026-01-05T10:00:00Z"


class Size(enum.StrEnum):
    """A text of a class of its own."""

    LARGE = "large"


def written(data: Any) -> dict[str, Any]:
    """Data as it is sent, numbers as their literal text."""
    raw = event_bytes("e1", "app", "llm.call", "acme", NOW, data)
    checked_event(raw)
    tree = json.loads(raw, parse_int=Decimal, parse_float=lambda text: f"float {text}")
    data_sent: dict[str, Any] = tree["data"]
    return data_sent


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1500, Decimal(1500)),
        (2**63, Decimal(2**63)),
        (-(10**17), Decimal(-(10**17))),
        (Decimal("0.1"), "0.1"),
        (Decimal("1E+2"), "100"),
        (Decimal("-1.500"), "-1.5"),
        (Decimal("-0"), "0"),
        (Decimal("123456789012345678.123456789012"), "123456789012345678.123456789012"),
        ("1.0", "1.0"),
        (Size.LARGE, "large"),
        (True, True),
        (None, None),
        ([1, (Decimal("0.5"),)], [Decimal(1), ["0.5"]]),
        ({"a": {"b": "c"}}, {"a": {"b": "c"}}),
    ],
    ids=str,
)
def test_value_is_written_exactly(value: Any, expected: Any) -> None:
    assert written({"v": value}) == {"v": expected}


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**17), max_value=10**17))
def test_any_decimal_keeps_its_value(value: Decimal) -> None:
    assert Number.parse(written({"v": value})["v"]) == value
    assert written({"v": value})["v"] == plain_text(value)


@pytest.mark.parametrize(
    ("data", "where"),
    [({"v": 0.1}, "data.v"), ({"a": [1, {"b": 2.0}]}, "data.a[1].b"), ({"v": float("nan")}, "data.v")],
    ids=["plain", "deep", "nan"],
)
def test_float_is_refused_with_its_place_and_the_way_out(data: Any, where: str) -> None:
    with pytest.raises(TypeError) as raised:
        written(data)
    assert str(raised.value).startswith(f"{where} is the float")
    assert "decimal.Decimal" in str(raised.value)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"v": Decimal("NaN")}, ValueError),
        ({"v": Decimal("Infinity")}, ValueError),
        ({"v": Decimal(10**18)}, ValueError),
        ({"v": Decimal(1) / 3}, ValueError),
        ({"v": Decimal("1E-999999")}, ValueError),
        ({"v": "a\0b"}, ValueError),
        ({"v": "\ud800"}, ValueError),
        ({"v": "x" * 300_000}, ValueError),
        ({"v": b"bytes"}, TypeError),
        ({"v": datetime(2026, 1, 1, tzinfo=UTC)}, TypeError),
        ({1: "v"}, TypeError),
        ([1], TypeError),
    ],
    ids=["nan", "infinity", "large", "third", "tiny", "nul", "surrogate", "long", "bytes", "datetime", "key", "list"],
)
def test_data_that_the_service_would_refuse_is_refused(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        written(data)


def test_data_that_holds_itself_is_refused() -> None:
    data: dict[str, Any] = {}
    data["v"] = [data]
    with pytest.raises(ValueError, match="nests"):
        written(data)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "a\x7f", "x" * 256], ids=repr)
@pytest.mark.parametrize("place", range(4), ids=["id", "source", "type", "subject"])
def test_name_that_the_service_would_refuse_is_refused(name: str, place: int) -> None:
    names = ["e1", "app", "llm.call", "acme"]
    names[place] = name
    with pytest.raises(ValueError):
        event_bytes(names[0], names[1], names[2], names[3], NOW, {})


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime(2026, 1, 5, 11, 0, 0, 250_000, timezone(timedelta(hours=1))), "2026-01-05T10:00:00.25Z"),
        ("2026-01-05T11:00:00+01:00", NOW),
        (Instant.parse(NOW), NOW),
    ],
    ids=["datetime", "text", "instant"],
)
def test_time_is_written_in_utc(time: Any, expected: str) -> None:
    assert time_text(time) == expected


@pytest.mark.parametrize(
    ("time", "error"),
    [
        (datetime(2026, 1, 5, tzinfo=UTC).replace(tzinfo=None), ValueError),
        ("2026-01-05", ValueError),
        (1_767_607_200, TypeError),
    ],
    ids=["naive", "date", "seconds"],
)
def test_time_without_an_offset_is_refused(time: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        time_text(time)


def test_client_imports_nothing_heavy_and_nothing_of_the_engine() -> None:
    listing = "import sys, metering.client, metering.client.web; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    roots = {name.split(".")[0] for name in loaded}
    assert not roots & {"numpy", "rating", "asyncpg", "aiokafka", "prometheus_client", "yaml", "structlog", "jinja2"}
    ours = {name for name in loaded if name.startswith("metering.")}
    assert {name for name in ours if not name.startswith("metering.client")} == {"metering.clock"}
