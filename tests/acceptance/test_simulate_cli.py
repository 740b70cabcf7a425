"""`metering simulate` as a person calls it: files, folders, --json, --check, --explain, wrong files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metering.__main__ import run

GOOD = """
name: good
now: "2026-02-01T02:00:00Z"
meters: {calls: {event_type: call, aggregation: sum, value: data.n}}
plans: {p: {currency: USD, period: month, charges: {api: {meter: calls, price: {model: per_unit, unit: "0.10"}}}}}
customers: {acme: {currency: USD}}
timeline:
  - {at: "2026-01-01T00:00:00Z", subscribe: {id: s1, customer: acme, plan: p}}
  - {at: "2026-01-05T00:00:00Z", events: [
      {id: e, type: call, subject: acme, time: "2026-01-05T00:00:00Z", data: {n: 12}}]}
expect:
  invoices: [{total: "1.20"}]
"""
DIFFERS = GOOD.replace('total: "1.20"', 'total: "1.30"').replace("name: good", "name: differs")
WRONG = GOOD.replace("model: per_unit", "model: per_unti")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "differs.yml").write_text(DIFFERS)
    (tmp_path / "notes.txt").write_text("no scenario")
    return tmp_path


def test_json_of_one_file_is_its_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--json", str(folder / "good.yaml")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"invoices", "balances", "events", "refused"}
    (invoice,) = result["invoices"]
    assert invoice == {
        "subscription": "s1",
        "customer": "acme",
        "currency": "USD",
        "status": "final",
        "number": 1,
        "issued": "2026-02-01T00:00:00Z",
        "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        "lines": [
            {
                "charge": "api",
                "kind": "usage",
                "quantity": "12",
                "amount": "1.20",
                "dimensions": {},
                "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
            }
        ],
        "subtotal": "1.20",
        "tax": "0.00",
        "credits": "0.00",
        "total": "1.20",
        "due": "1.20",
    }


def test_json_of_a_folder_is_one_line_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(folder), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["differs.yml", "good.yaml"]
    assert all(line["result"]["invoices"][0]["total"] == "1.20" for line in lines)


def test_check_that_holds_ends_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--check", str(folder / "good.yaml")]) == 0
    assert capsys.readouterr().out == "1 of 1 scenarios hold\n"


def test_check_says_what_differs_and_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "differs.yml: invoices[0].total: expected '1.30', got '1.20'" in out
    assert out.endswith("1 of 2 scenarios hold\n")


def test_wrong_file_says_where_and_how_to_mend_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = folder / "wrong.yaml"
    wrong.write_text(WRONG)
    assert run(["simulate", "--check", str(folder / "good.yaml"), str(wrong)]) == 2
    said = capsys.readouterr()
    assert f"{wrong}:5:" in said.err
    assert "plans.p.charges.api.price" in said.err
    assert "per_unit" in said.err
    assert said.out.endswith("1 of 2 scenarios hold\n")


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe", b""], ids=["no-yaml", "no-utf-8", "empty"])
def test_file_that_is_no_document_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    assert run(["simulate", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(tmp_path / "nothing.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_folder_without_scenarios_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(tmp_path)]) != 0
    assert "holds no scenario" in capsys.readouterr().err


def test_without_flags_invoices_and_balances_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", str(folder / "good.yaml")]) == 0
    out = capsys.readouterr().out
    assert "invoice 1: acme, s1" in out
    assert "1.20" in out
    assert "balances" in out


def test_explain_shows_the_arithmetic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--explain", "--json", str(folder / "good.yaml")]) == 0
    (invoice,) = json.loads(capsys.readouterr().out)["invoices"]
    assert invoice["lines"][0]["explain"] == "12 x 0.10 = 1.20"
    assert run(["simulate", "--explain", str(folder / "good.yaml")]) == 0
    assert "12 x 0.10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("redirected", "piped", "status"),
    [("", "| true", 0), (">&-", "", 0), (">&- 2>&- <&-", "", 0), (">/dev/full", "", 1)],
    ids=["reader_gone", "stdout_closed", "all_closed", "disk_full"],
)
@pytest.mark.parametrize("arguments", [["simulate"], ["simulate", "--json"]], ids=["shown", "json"])
def test_output_that_nobody_takes_ends_without_a_trace(
    folder: Path, redirected: str, piped: str, status: int, arguments: list[str]
) -> None:
    line = f'{{ {sys.executable} -m metering "$@" {redirected}; echo "status $?" >&2; }} {piped}'
    ended = subprocess.run(
        ["sh", "-c", line, "sh", *arguments, str(folder / "good.yaml")], capture_output=True, text=True, timeout=60
    )
    *said, last = ended.stderr.splitlines()
    assert last == f"status {status}"
    assert len(said) == status, said
