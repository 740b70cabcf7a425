"""The archiver on a log in memory, a real Postgres and real files: each event once, whatever is interrupted."""

import asyncio
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow.parquet as pq
import pytest

from metering.archive import archiver as archiving
from metering.archive import merge
from metering.archive.archiver import Archiver
from metering.archive.files import File
from metering.archive.place import Folder
from metering.archive.store import ArchiveStore
from metering.clock import SettableClock
from metering.errors import ArchiveUnavailable, StoreUnavailable
from metering.stream.log import Message, Record
from metering.testing.broker import MemoryLog
from schemas.ids import partition_of
from schemas.instants import Instant

NOW = Instant.parse("2026-01-10T10:30:00Z")


class World:
    """A log whose messages are all committed, and a folder."""

    def __init__(self, pool: asyncpg.Pool, folder: Path, partitions: int = 2) -> None:
        self.clock = SettableClock(NOW)
        self.pool = pool
        self.folder = folder
        self.log = MemoryLog(self.clock, partitions)

    async def send(self, *payloads: tuple[str, bytes]) -> None:
        """Append messages (customer, payload), and say that they are committed."""
        await self.log.append([Message(partition_of(key, self.log.partitions), b"", raw) for key, raw in payloads])
        for partition, end in (await self.log.ends()).items():
            await self.pool.execute(
                "INSERT INTO partition_state (partition, log_id, next_offset) VALUES ($1, $2, $3)"
                " ON CONFLICT (partition) DO UPDATE SET next_offset = $3",
                partition,
                self.log.identity,
                end,
            )

    async def events(self, count: int, first: int = 0, **changes: Any) -> None:
        """Events of two customers, two days."""
        await self.send(*(event(number, **changes) for number in range(first, first + count)))

    def archiver(self, place: Any = None, owner: str = "a") -> Archiver:
        return Archiver(self.log, ArchiveStore(self.pool), place or Folder(self.folder), self.clock, owner=owner)

    def rows(self) -> list[dict[str, Any]]:
        """Every row of every file, in the order of files."""
        return [row for path in self.files() for row in pq.ParquetFile(path).read().to_pylist()]

    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.parquet"))

    def digests(self) -> dict[str, str]:
        """All that lies in the folder, by content."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


def event(number: int, **changes: Any) -> tuple[str, bytes]:
    subject = f"c{number % 2}"
    body = {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "app",
        "type": "call",
        "subject": subject,
        "time": f"2026-01-{9 + number % 3 // 2:02}T10:00:{number % 60:02}Z",
        "data": {"n": number},
        **changes,
    }
    return body["subject"], json.dumps(body).encode()


@pytest.fixture
def world(pool: asyncpg.Pool, tmp_path: Path) -> World:
    return World(pool, tmp_path / "archive")


@pytest.fixture
def small_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts of some events each."""
    monkeypatch.setattr(archiving, "CUT_EVENTS", 5)
    monkeypatch.setattr("metering.archive.source.FIRST_RECORDS", 3)
    monkeypatch.setattr("metering.archive.source.PART_RECORDS", 3)


async def test_events_are_archived_once_with_their_bytes_and_places(world: World) -> None:
    await world.events(40)
    assert await world.archiver().step(all_now=True)
    assert not await world.archiver().step(all_now=True)
    rows = world.rows()
    sent = dict(event(number)[::-1] for number in range(40))
    assert {row["event"].encode(): row["customer"] for row in rows} == sent
    assert len(rows) == 40
    places = {(row["partition"], row["offset"], row["index"]) for row in rows}
    ends = await world.log.ends()
    assert places == {(partition, offset, 0) for partition, end in ends.items() for offset in range(end)}
    assert await world.pool.fetchval("SELECT sum(events) FROM archive_file") == 40


async def test_files_are_by_day_and_sorted_by_customer_and_time(world: World) -> None:
    await world.events(40)
    await world.archiver().step(all_now=True)
    for path in world.files():
        table = pq.ParquetFile(path).read().to_pylist()
        assert {f"date={row['time'].date().isoformat()}" for row in table} == {path.parent.parent.name}
        assert {f"bucket={row['partition']:04}" for row in table} == {path.parent.name}
        order = [(row["customer"], row["time"], row["offset"], row["index"]) for row in table]
        assert order == sorted(order)


async def test_columns_have_statistics_and_identities_a_bloom_filter(world: World) -> None:
    await world.events(10)
    await world.archiver().step(all_now=True)
    metadata = pq.ParquetFile(world.files()[0]).metadata
    columns = {column["path_in_schema"]: column for column in metadata.to_dict()["row_groups"][0]["columns"]}
    assert columns["customer"]["statistics"] is not None
    assert columns["event"]["statistics"] is None
    assert columns["event"]["compression"] == "ZSTD"
    place = metadata.schema.to_arrow_schema().get_field_index("id")
    assert metadata.row_group(0).column(place).bloom_filter_length


async def test_message_of_many_events_and_what_is_no_event_are_told_apart(world: World) -> None:
    many = b"[" + b",".join(event(number)[1] for number in (2, 4, 6)) + b", 5]"
    await world.send(("c0", many), ("c0", b"not json"), ("c0", b'{"id": ""}'), event(8))
    await world.archiver().step(all_now=True)
    assert [(row["id"], row["index"]) for row in sorted(world.rows(), key=lambda row: row["id"])] == [
        ("e2", 0),
        ("e4", 1),
        ("e6", 2),
        ("e8", 0),
    ]


async def test_second_archiver_after_a_lost_commit_writes_the_same_files(
    world: World, small_cuts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.events(40)
    first = world.archiver()

    async def killed(*_: object) -> bool:
        raise StoreUnavailable("killed between rename and commit")

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveStore, "finish_cut", killed)
        with pytest.raises(StoreUnavailable):
            await first.step(all_now=True)
    left = world.digests()
    assert left
    await world.events(20, first=40)  # what came since does not move the cut
    second = world.archiver(owner="b")
    while await second.step(all_now=True):
        pass
    assert left.items() <= world.digests().items()
    assert sorted(row["id"] for row in world.rows()) == sorted(f"e{number}" for number in range(60))


async def test_two_archivers_at_once_archive_each_event_once(world: World, small_cuts: None) -> None:
    await world.events(200)
    one, other = world.archiver(owner="a"), world.archiver(owner="b")
    for _ in range(30):
        await asyncio.gather(one.step(all_now=True), other.step(all_now=True), return_exceptions=True)
    while await one.step(all_now=True):
        pass
    assert sorted(row["id"] for row in world.rows()) == sorted(f"e{number}" for number in range(200))
    assert await world.pool.fetchval("SELECT sum(events) FROM archive_file") == 200


async def test_recorded_cut_of_another_is_left_alone_until_it_is_old(world: World) -> None:
    await world.events(10)
    await world.archiver().step(all_now=True)
    await world.events(10, first=10)
    await world.pool.execute("UPDATE archive_state SET cut_offset = next_offset + 1, cut_by = 'another'")
    mine = world.archiver(owner="b")
    assert not await mine.step()
    for key in mine._others:
        mine._others[key] -= archiving.TAKE_OVER_SECONDS
    assert await mine.step()


async def test_full_disk_stops_nothing_and_loses_nothing(world: World) -> None:
    await world.events(10)

    class Full(Folder):
        def write(self, path: str, content: Any) -> None:
            raise ArchiveUnavailable("No space left on device")

    with pytest.raises(ArchiveUnavailable):
        await world.archiver(Full(world.folder)).step(all_now=True)
    assert await world.pool.fetchval("SELECT count(*) FROM archive_file") == 0
    while await world.archiver().step(all_now=True):
        pass
    assert len(world.rows()) == 10


async def test_log_that_dropped_events_is_told_and_not_skipped(world: World) -> None:
    await world.events(10)
    await world.archiver().step(all_now=True)
    await world.events(10, first=10)
    for partition, end in (await world.log.ends()).items():
        world.log.trim(partition, end - 1)
    failures = archiving.metrics.ARCHIVE_FAILURES._value.get()
    assert not await world.archiver().step(all_now=True)
    assert archiving.metrics.ARCHIVE_FAILURES._value.get() == failures + 2
    assert len(world.rows()) == 10


async def test_small_files_are_merged_and_hold_the_same_events(
    world: World, small_cuts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.events(100)
    worker = world.archiver()
    with monkeypatch.context() as patch:
        patch.setattr(merge, "FILES_MIN", 1_000)
        while await worker.step(all_now=True):
            pass
    before, rows = len(world.files()), world.rows()
    monkeypatch.setattr(merge, "FILES_MIN", 2)
    while await worker.step(all_now=True):
        pass
    assert len(world.files()) < before / 2
    key = "event"
    assert sorted(row[key] for row in world.rows()) == sorted(row[key] for row in rows)
    assert await world.pool.fetchval("SELECT sum(events) FROM archive_file") == 100
    assert await world.pool.fetchval("SELECT count(*) FROM archive_file") == len(world.files())


async def test_damaged_file_keeps_nothing_from_being_archived(
    world: World, small_cuts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.events(100)
    worker = world.archiver()
    monkeypatch.setattr(merge, "FILES_MIN", 1_000)
    while await worker.step(all_now=True):
        pass
    for path in world.files():
        path.write_bytes(path.read_bytes()[:-10])
    monkeypatch.setattr(merge, "FILES_MIN", 2)
    await world.events(20, first=100)
    for _ in range(20):
        await worker.step(all_now=True)
    assert await world.pool.fetchval("SELECT sum(events) FROM archive_file") == 120


def test_files_are_merged_in_rows_that_are_not_too_large() -> None:
    def file(number: int, events: int) -> File:
        return File("log", 0, date(2026, 1, 1), number, number + 1, str(number), events)

    files = [file(0, 400_000), file(1, 10), file(2, 10), file(3, 10), file(4, 10)]
    assert merge.first_run(files, [1] * 5) == files[1:]
    assert merge.first_run(files, [1, 1, merge.BYTES_MAX, 1, 1]) == files[3:]
    assert len(merge.first_run(files[:2], [1, 1])) < 2


async def test_events_dropped_while_they_are_read_are_not_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.events(10)
    read = world.log.read

    async def late(partition: int, first: int, last: int) -> list[Record]:
        world.log.trim(partition, 2)
        return await read(partition, first, last)

    monkeypatch.setattr(world.log, "read", late)
    assert not await world.archiver().step(all_now=True)
    assert world.files() == []
    assert await world.pool.fetchval("SELECT max(next_offset) FROM archive_state") == 0
