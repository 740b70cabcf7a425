"""The archive of events, from outside: looked up through a running engine, checked and rebuilt with the commands."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from metering.embedded import EmbeddedPostgres

METER = {"event_type": "call", "aggregation": "sum", "value": "data.n"}
PLAN = {
    "currency": "USD",
    "period": "month",
    "align": "calendar",
    "charges": {"api": {"meter": "calls", "price": {"model": "per_unit", "unit": "2"}}},
}


def event(number: int) -> dict[str, Any]:
    """Without a time: it is that of the receipt."""
    fixed = {"specversion": "1.0", "source": "app", "type": "call", "subject": "acme"}
    return {**fixed, "id": f"e{number}", "data": {"n": number}}


def metering(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on the data of a stopped `metering up`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}
    return subprocess.run(
        [sys.executable, "-m", "metering", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env=kept | {"METERING_DATA_DIR": str(folder)},
    )  # fmt: skip


async def tamper(folder: Path, sql: str) -> None:
    """Change the data behind the engine's back."""
    async with EmbeddedPostgres(folder) as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute(sql)
        await connection.close()


async def test_events_are_looked_up_checked_and_rebuilt(up: Callable[..., Any]) -> None:
    engine = up()
    engine.call("POST", "/v1/catalog", {"meters": {"calls": METER}, "plans": {"pro": PLAN}})
    engine.call("PUT", "/v1/customers/acme", {"currency": "USD"})
    engine.call("POST", "/v1/subscriptions", {"id": "s1", "customer": "acme", "plan": "pro"})
    engine.call("POST", "/v1/events", [event(number) for number in range(1, 11)])

    def fate() -> Any:
        return engine.call("GET", "/v1/event?subject=acme&source=app&id=e3")

    engine.until(lambda: fate().get("outcome") == "accepted", 20, "event e3 is accepted")
    assert fate()["meters"][0]["value"] == "3"
    assert [charge["subscription"] for charge in fate()["charges"]] == ["s1"]
    listed = engine.call("GET", "/v1/events?customer=acme&limit=100")
    assert sorted(item["event"]["id"] for item in listed["items"]) == sorted(f"e{number}" for number in range(1, 11))
    assert engine.stop() == 0

    data = engine.folder / "data"
    right = metering(data, "rebuild", "--check")
    assert (right.returncode, right.stdout.splitlines()[-1]) == (0, "everything is as it was computed"), right
    await tamper(data, "UPDATE usage SET quantity = quantity + 5; UPDATE accrual SET quantity = 0, numerator = 0")
    wrong = metering(data, "rebuild", "--check", "--json")
    assert wrong.returncode == 1, wrong
    found = [one for report in json.loads(wrong.stdout) for one in report["differences"]]
    assert {(one["customer"], one["computed"]["quantity"]) for one in found if "charge" in one} == {("acme", "55")}
    rebuilt = metering(data, "rebuild")
    assert (rebuilt.returncode, rebuilt.stdout) == (0, "1 customers rebuilt\n"), rebuilt
    assert metering(data, "rebuild", "--check").returncode == 0

    engine.start()
    balance = engine.call("GET", "/v1/customers/acme/balance")
    assert balance["accrued"] == "110"


async def test_archiver_without_a_database_says_what_to_name(open_folder: Path) -> None:
    told = metering(open_folder, "archiver")
    assert told.returncode == 2
    assert "METERING_POSTGRES" in told.stderr
