"""The golden files themselves: readable, small, named, in the table, and equal to the oracle."""

import re
from pathlib import Path

import pytest
from oracle.document import load
from oracle.scenario import differences, run

from schemas.documents import load_document
from schemas.scenario import check_scenario, read_scenario

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*.yaml"))


def test_table_names_every_golden_file_and_no_other() -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", (GOLDEN / "README.md").read_text()))
    assert {path.stem for path in FILES} == named


def test_golden_files_are_many() -> None:
    assert len(FILES) >= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_is_small_and_without_faults(path: Path) -> None:
    text = path.read_text()
    document = load_document(text, path.name)
    assert [fault for fault in check_scenario(document) if "bills the same usage" not in fault.message] == []
    scenario = read_scenario(document)
    assert scenario.name == path.stem
    assert scenario.expect
    assert text.count("\n") <= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_oracle_finds_what_was_worked_out_by_hand(path: Path) -> None:
    document = load(path)
    assert differences(document["expect"], run(document)) == []
