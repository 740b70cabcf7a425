"""The rating core computes what the golden scenarios expect, each worked out by hand, and those beside the project."""

from pathlib import Path

import pytest

from rating.simulate import simulate
from schemas.codec import to_tree
from schemas.compare import differences
from schemas.documents import load_document
from schemas.scenario import read_scenario

HERE = Path(__file__).parent
BESIDE = Path(__file__).parents[3] / "shared" / "scenarios"
GOLDEN = sorted(HERE.glob("*.yaml"))
OTHERS = sorted(BESIDE.glob("*.yaml"))


def missed(path: Path) -> list[str]:
    scenario = read_scenario(load_document(path.read_text(), path.name))
    assert scenario.expect, f"{path.name} expects nothing"
    return [str(difference) for difference in differences(scenario.expect, to_tree(simulate(scenario)))]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_scenario_holds(path: Path) -> None:
    assert missed(path) == []


@pytest.mark.skipif(not OTHERS, reason="no folder of scenarios beside the project")
def test_every_scenario_beside_the_project_holds() -> None:
    found = {path.name: missed(path) for path in OTHERS}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_golden_scenarios_are_found() -> None:
    assert len(GOLDEN) >= 60
