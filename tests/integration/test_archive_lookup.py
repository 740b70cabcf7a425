"""Looking events up over HTTP: in the archive, in the tail of the log, and what became of them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from metering.archive import merge
from metering.archive.http import routes
from metering.archive.reading import EventReader
from metering.testing.api import serve_api
from metering.testing.archived import ArchivedWorld
from metering.testing.archived import usage_event as event


class World(ArchivedWorld):
    """With the routes."""

    def __init__(self, pool: asyncpg.Pool, folder: Path) -> None:
        super().__init__(pool, folder)
        self.reader = EventReader(pool, self.log, self.place)
        self.api: Any = None

    async def fate(self, event_id: str, subject: str = "acme") -> Any:
        answer = await self.api.get(f"/v1/event?subject={subject}&source=app&id={event_id}")
        assert answer.status == 200, answer
        return answer.tree

    async def ids(self, **parameters: Any) -> list[str]:
        """Ids of `GET /v1/events`, all pages."""
        found: list[str] = []
        parameters = {"customer": "acme", **parameters}
        while True:
            text = "&".join(f"{name.rstrip('_')}={value}" for name, value in parameters.items())
            answer = await self.api.get(f"/v1/events?{text}")
            assert answer.status == 200, answer
            found += [item["event"]["id"] for item in answer.tree["items"]]
            if answer.tree["next"] is None:
                return found
            parameters["cursor"] = answer.tree["next"]


@pytest.fixture
async def world(pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    made = World(pool, tmp_path)
    await made.know()
    async with serve_api(pool, made.clock, made.log, routes(pool, made.reader)) as api:
        made.api = api
        yield made


async def test_event_is_found_wherever_it_lies(world: World) -> None:
    await world.send(event(1))
    queued = await world.fate("e1")
    assert (queued["outcome"], queued["meters"]) == ("queued", [])
    await world.commit()
    in_log = await world.fate("e1")
    await world.archive()
    world.log.trim(0, 1)
    archived = await world.fate("e1")
    assert in_log == archived
    assert archived["outcome"] == "accepted"
    assert archived["event"] == event(1)
    assert archived["position"] == {"partition": 0, "offset": 0, "index": 0}
    assert archived["meters"] == [
        {
            "meter": "calls",
            "outcome": "accepted",
            "value": "3",
            "dimensions": {"model": "large"},
            "hour": "2026-01-09T10:00:00Z",
        }
    ]
    assert archived["charges"] == [
        {
            "subscription": "s1",
            "charge": "api",
            "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
            "dimensions": {},
            "lines": [],
        }
    ]


async def test_fates_that_are_no_acceptance_are_told(world: World) -> None:
    await world.send(
        event(1),
        event(1),
        event(1, data={"n": 4}),
        event(2, time="2025-01-01T00:00:00Z"),
        event(3, data={"n": "many"}),
        event(4, type="other"),
    )
    await world.commit()
    await world.archive()
    first = await world.fate("e1")
    assert first["outcome"] == "accepted"
    assert [repeat["outcome"] for repeat in first["repeats"]] == ["duplicate", "duplicate_conflict"]
    assert (await world.fate("e2"))["outcome"] == "time_too_old"
    refused = await world.fate("e3")
    assert (refused["outcome"], refused["charges"]) == ("accepted", [])
    assert refused["meters"] == [{"meter": "calls", "outcome": "value_not_numeric"}]
    assert (await world.fate("e4"))["meters"] == []


async def test_event_on_a_final_invoice_names_the_line(world: World) -> None:
    await world.send(event(1))
    await world.commit()
    await world.pool.execute(
        "INSERT INTO invoice (id, customer, subscription, currency, status, seller, number, issued_at, finalize_at,"
        " period_start, period_end) VALUES ('i1', 'acme', 's1', 'USD', 'final', 'default', 7, '2026-02-01Z',"
        " '2026-02-01Z', '2026-01-01Z', '2026-02-01Z')"
    )
    await world.pool.execute(
        "INSERT INTO invoice_line (invoice, position, charge, kind, amount, dimensions, period_start, period_end)"
        " VALUES ('i1', 1, 'api', 'usage', 6, '{}', '2026-01-01Z', '2026-02-01Z')"
    )
    assert (await world.fate("e1"))["charges"][0]["lines"] == [
        {"invoice": "i1", "number": 7, "line": 1, "kind": "usage"}
    ]


async def test_event_that_never_came_is_not_found(world: World) -> None:
    await world.send(event(1))
    await world.commit()
    await world.archive()
    for parameters in ("subject=acme&source=app&id=e2", "subject=other&source=app&id=e1"):
        answer = await world.api.get(f"/v1/event?{parameters}")
        assert (answer.status, answer.tree["code"]) == (404, "not_found")
    answer = await world.api.get("/v1/event?source=app&id=e1")
    assert (answer.status, answer.tree["parameter"]) == (400, "subject")


@pytest.mark.parametrize("archived", [0, 5, 12], ids=["log", "both", "archive"])
async def test_events_of_a_customer_come_in_order_of_time(world: World, archived: int) -> None:
    events = [
        event(number, "acme" if number % 3 else "other", type="call" if number % 4 else "x") for number in range(12)
    ]
    await world.send(*events[:archived])
    if archived:
        await world.commit()
        await world.archive()
    await world.send(*events[archived:])
    mine = sorted((one for one in events if one["subject"] == "acme"), key=lambda one: one["time"])
    every = [one["id"] for one in mine]
    assert await world.ids() == every
    assert await world.ids(limit=2) == every
    assert await world.ids(type="x") == [one["id"] for one in mine if one["type"] == "x"]
    assert await world.ids(from_="2026-01-09T00:00:00Z") == [i["id"] for i in mine if i["time"] >= "2026-01-09"]
    assert await world.ids(to="2026-01-09T10:00:05Z") == [i["id"] for i in mine if i["time"] < "2026-01-09T10:00:05"]


async def test_file_merged_away_after_it_was_listed_is_found_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "FILES_MIN", 100)
    for number in (1, 3, 5):
        await world.send(event(number))
        await world.commit()
        await world.archive()
    monkeypatch.setattr(merge, "FILES_MIN", 1)
    listed: Callable[..., Any] = world.reader._listed
    calls = 0

    async def stale(*arguments: Any) -> Any:
        nonlocal calls
        found = await listed(*arguments)
        if not calls:
            await world.archive()
        calls += 1
        return found

    monkeypatch.setattr(world.reader, "_listed", stale)
    assert (await world.fate("e1"))["outcome"] == "accepted"
    assert calls > 1
