"""The archive in an object store that speaks S3: the same as in a folder, and what happens while it answers 503."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pyarrow import fs

from metering.archive.place import ObjectStore
from metering.archive.reading import EventReader
from metering.archive.rebuild import Asked, Rebuilder
from metering.errors import ArchiveUnavailable
from metering.testing.archived import LATE_WINDOW, ArchivedWorld, usage_event
from metering.testing.objects import ObjectServer, object_server


class World(ArchivedWorld):
    """The archive lies in an object store."""

    def __init__(self, pool: asyncpg.Pool, folder: Path, server: ObjectServer) -> None:
        super().__init__(pool, folder)
        self.server = server
        files = fs.S3FileSystem(
            access_key="k",
            secret_key="s",
            endpoint_override=server.url,
            scheme="http",
            region="us-east-1",
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
            check_directory_existence_before_creation=False,
        )
        self.place: Any = ObjectStore(files, "bucket/events/")


@pytest.fixture
async def world(pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with object_server() as server:
        made = World(pool, tmp_path, server)
        await made.know()
        yield made


async def test_events_are_archived_found_and_recomputed_in_an_object_store(world: World) -> None:
    await world.send(*(usage_event(number) for number in range(10)))
    await world.commit()
    await world.archive()
    world.log.trim(0, 10)
    assert all(name.startswith("bucket/events/date=2026-01-0") for name in world.server.objects)
    found = await EventReader(world.pool, world.log, world.place).find("acme", "app", "e3")
    assert found["id"].to_pylist() == ["e3"]
    report = await Rebuilder(world.pool, world.log, world.place, world.clock, LATE_WINDOW).check(0, Asked())
    assert report is not None
    assert (report.events, report.found) == (10, [])


async def test_store_that_answers_503_delays_the_archive_and_loses_nothing(world: World) -> None:
    await world.send(*(usage_event(number) for number in range(10)))
    await world.commit()
    world.server.away = True
    with pytest.raises(ArchiveUnavailable):
        await world.archive()
    assert world.server.refused
    assert await world.pool.fetchval("SELECT count(*) FROM archive_file") == 0
    reader = EventReader(world.pool, world.log, world.place)
    assert len(await reader.find("acme", "app", "e3")) == 1  # still in the log
    world.server.away = False
    await world.archive()
    assert await world.pool.fetchval("SELECT sum(events) FROM archive_file") == 10
    world.server.away = True
    with pytest.raises(ArchiveUnavailable):
        await reader.find("acme", "app", "e3")
