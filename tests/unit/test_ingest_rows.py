"""Rows of files to events."""

import json
from typing import Any

import pytest

from metering.errors import ConfigurationError
from metering.ingest.rows import RowInvalid, RowMapper, Times, parse_mapping

MAPPING = ("subject==code", "type==llm.request", "time=TIMESTAMP", "data.context_tokens=ContextTokens")


def mapped(cells: dict[str, str], *pairs: str, times: Times | None = None) -> dict[str, Any]:
    """The event of row 7 of usage.csv."""
    mapper = RowMapper(parse_mapping(pairs or MAPPING), times or Times(), "usage.csv")
    event: dict[str, Any] = json.loads(mapper.from_cells(7, cells))
    return event


def test_row_of_a_trace_is_an_event_with_its_file_and_number_as_id() -> None:
    event = mapped({"TIMESTAMP": "2023-11-16 18:17:03.9799600", "ContextTokens": "4808", "GeneratedTokens": "10"})
    assert event == {
        "specversion": "1.0",
        "id": "usage.csv:7",
        "source": "import",
        "subject": "code",
        "type": "llm.request",
        "time": "2023-11-16T18:17:03.97996Z",
        "data": {"context_tokens": "4808"},
    }


@pytest.mark.parametrize(
    "text", ["0.1", "1.0", "1e3", "00501", "9007199254740993", "0.1000000000000000055511"], ids=str
)
def test_cell_is_kept_digit_by_digit(text: str) -> None:
    assert mapped({"v": text}, "data.deep.v=v")["data"] == {"deep": {"v": text}}


def test_empty_cell_is_absent() -> None:
    event = mapped({"v": "", "w": "x", "s": ""}, "data.v=v", "data.w=w", "subscription=s")
    assert event["data"] == {"w": "x"}
    assert "subscription" not in event


@pytest.mark.parametrize(
    ("zone", "form", "text", "expected"),
    [
        ("UTC", None, "2023-11-16 18:17:03.9999999", "2023-11-16T18:17:03.999999Z"),
        ("UTC", None, "2023-11-16T18:17", "2023-11-16T18:17:00Z"),
        ("UTC", None, "2023-11-16T18:17:03+01:00", "2023-11-16T17:17:03Z"),
        ("Europe/Amsterdam", None, "2026-07-01 00:30:00", "2026-06-30T22:30:00Z"),
        ("Europe/Amsterdam", None, "2026-07-01T00:30:00Z", "2026-07-01T00:30:00Z"),
        ("Europe/Amsterdam", None, "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
        ("Asia/Kathmandu", "%d/%m/%Y %H:%M", "31/01/2026 05:45", "2026-01-31T00:00:00Z"),
        ("UTC", "unix", "1700158623.97996", "2023-11-16T18:17:03.97996Z"),
        ("UTC", "unix_ms", "1700158623979", "2023-11-16T18:17:03.979Z"),
    ],
)
def test_time_is_read_in_its_zone_and_cut_to_the_microsecond(
    zone: str, form: str | None, text: str, expected: str
) -> None:
    assert mapped({"t": text}, "time=t", times=Times(zone, form))["time"] == expected


@pytest.mark.parametrize("form", [None, "%d/%m/%Y", "unix", "unix_ms"])
@pytest.mark.parametrize("text", ["yesterday", "2026-02-30 10:00:00", "NaN", "1e99999"])
def test_time_that_is_none_makes_the_row_invalid(form: str | None, text: str) -> None:
    with pytest.raises(RowInvalid, match="time"):
        mapped({"t": text}, "time=t", times=Times(form=form))


def test_json_values_keep_their_literals_and_paths_reach_inside() -> None:
    mapper = RowMapper(
        parse_mapping(
            ["subject=who.key", "type==t", "id=n", "time=at", "data.v=usage.v", "data.w=usage.w", "data.x=no"]
        ),
        Times(),
        "usage.jsonl",
    )
    line = b'{"who": {"key": "acme"}, "n": "e1", "at": "2026-01-01T00:00:00Z", "usage": {"v": 1.10, "w": [1e3, null]}}'
    raw = mapper.from_json(3, line)
    assert b'"data":{"v":1.10,"w":[1e3, null]}' in raw
    assert json.loads(raw)["subject"] == "acme"
    assert json.loads(raw)["id"] == "e1"


def test_json_line_without_a_mapping_is_the_event_itself() -> None:
    assert RowMapper({}, Times(), "f").from_json(1, b'{"id": "x",  "v": 1.0}') == b'{"id": "x",  "v": 1.0}'


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b'{"a": NaN}', b'{"who": 5}', b"\xff"], ids=str)
def test_json_line_that_is_no_such_object_is_an_invalid_row(line: bytes) -> None:
    mapper = RowMapper(parse_mapping(["subject=who.key"]), Times(), "f")
    with pytest.raises(RowInvalid, match="JSON object"):
        mapper.from_json(1, line)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["subject"], "field=column"),
        (["subject="], "field=column"),
        (["subject=="], "field=column"),
        (["subjct=a"], "did you mean 'subject'"),
        (["data=a"], "no field"),
        (["data..x=a"], "no field"),
        (["id=a", "id=b"], "twice"),
        (["data.x=a", "data.x.y=b"], "hold others"),
    ],
    ids=str,
)
def test_mapping_that_is_wrong_is_named(pairs: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_mapping(pairs)


def test_column_that_is_missing_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'TIMESTAMP'"):
        RowMapper(parse_mapping(["time=TIMESTMP"]), Times(), "f").check_columns(["TIMESTAMP", "ContextTokens"])


def test_zone_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="Mars/Base"):
        Times("Mars/Base")
