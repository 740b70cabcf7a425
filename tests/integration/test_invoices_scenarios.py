"""The live system equals the simulator: scenarios played through the HTTP API give the same invoices and balances."""

from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from metering.testing.engine import run_engine
from metering.testing.live import Live, not_playable
from rating.simulate import simulate
from schemas.codec import to_json
from schemas.documents import load_document
from schemas.scenario import Scenario, read_scenario

PROJECT = Path(__file__).parents[2]
GOLDEN = sorted((PROJECT / "tests" / "golden").glob("*.yaml"))
BESIDE = sorted((PROJECT.parent / "shared" / "scenarios").glob("*.yaml"))


def scenario_of(path: Path) -> Scenario:
    return read_scenario(load_document(path.read_text(), path.name))


@pytest.mark.parametrize("path", [*GOLDEN, *BESIDE], ids=lambda path: path.stem)
async def test_scenario_played_live_equals_the_simulator(pool: asyncpg.Pool, path: Path) -> None:
    scenario = scenario_of(path)
    if reason := not_playable(scenario):
        pytest.skip(reason)
    expected = msgspec.json.decode(to_json(simulate(scenario)))
    first = min((entry.at for entry in scenario.timeline), default=scenario.now)
    settings = scenario.settings
    async with run_engine(pool, first, grace=settings.grace, late_window=settings.late_window) as engine:
        live = Live(engine, scenario)
        await live.play()
        assert live.refused == expected["refused"]
        assert await live.invoices() == expected["invoices"]
        assert await live.balances() == {key: comparable(one) for key, one in expected["balances"].items()}


def comparable(balance: dict[str, Any]) -> dict[str, Any]:
    balance.pop("as_of", None)
    return balance
