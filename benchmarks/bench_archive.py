"""How fast are events archived, found again, and computed again? The control is the plain decoding of the same events.

    python benchmarks/bench_archive.py [--events 1000000] [--new-meter]

One process, one partition, events of about 230 bytes, one a message, of 200 customers over three days.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from metering.archive.archiver import Archiver
from metering.archive.merge import Merger
from metering.archive.place import Folder
from metering.archive.reading import EventReader
from metering.archive.rebuild import Asked, Rebuilder
from metering.archive.store import ArchiveStore
from metering.clock import SettableClock
from metering.embedded import EmbeddedPostgres
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.stream.log import Record
from metering.testing.broker import MemoryLog
from rating.extract import Extractor
from schemas.instants import DAY, Instant

NOW = Instant.parse("2026-01-10T12:00:00Z")
METER = {"event_type": "llm.call", "aggregation": "sum", "value": "data.tokens", "dimensions": {"model": "data.model"}}
LOOK_UPS = 200


def payload(number: int, draw: random.Random) -> bytes:
    """An event as a product service would send it."""
    return (
        b'{"specversion":"1.0","id":"%032x","source":"gateway-%d","type":"llm.call","subject":"customer-%04d",'
        b'"time":"2026-01-%02dT%02d:%02d:%02dZ","data":{"tokens":%d,"model":"%s","region":"eu-west-1"}}'
        % (number * 2654435761, number % 4, draw.randrange(200), 8 + draw.randrange(3), draw.randrange(12),
           draw.randrange(60), draw.randrange(60), draw.randrange(4000), draw.choice([b"large", b"small"]))
    )  # fmt: skip


class Log(MemoryLog):
    """A log that makes its records when they are read: the reading itself costs next to nothing."""

    def __init__(self, clock: SettableClock, count: int, seed: int) -> None:
        super().__init__(clock, 1)
        draw = random.Random(seed)
        self.payloads = [payload(number, draw) for number in range(count)]

    async def ends(self) -> dict[int, int]:
        return {0: len(self.payloads)}

    async def begins(self) -> dict[int, int]:
        return {0: 0}

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        return [Record(offset, NOW, self.payloads[offset]) for offset in range(first, last + 1)]


def commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def contents(folder: Path) -> tuple[int, int]:
    """Bytes and files of events."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in paths), sum(path.suffix == ".parquet" for path in paths)


async def know(pool: asyncpg.Pool) -> None:
    await pool.execute("INSERT INTO meter VALUES ('tokens', $1, $2)", METER, NOW.moment())


async def archiving(pool: asyncpg.Pool, log: Log, folder: Path, clock: SettableClock) -> Archiver:
    count = len(log.payloads)
    await pool.execute(
        "INSERT INTO partition_state (partition, log_id, next_offset) VALUES (0, $1, $2)", log.identity, count
    )
    archiver = Archiver(log, ArchiveStore(pool), Folder(folder), clock, owner="bench")
    merging = 0.0
    started = time.perf_counter()
    while (await ArchiveStore(pool).progress())[0].archived != count:
        await archiver.step(all_now=True)
    took = time.perf_counter() - started
    started = time.perf_counter()
    while await Merger(ArchiveStore(pool), Folder(folder)).merge_one(log.identity, 0):
        pass
    merging = time.perf_counter() - started
    size, files = contents(folder)
    say(what="archive", events=count, seconds=round(took, 2), events_s=round(count / took), files=files,
        merge_seconds=round(merging, 2), bytes_an_event=round(size / count, 1),
        raw_bytes_an_event=round(sum(map(len, log.payloads)) / count, 1),
        rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)  # fmt: skip
    return archiver


async def finding(pool: asyncpg.Pool, log: Log, folder: Path, seed: int) -> None:
    reader = EventReader(pool, log, Folder(folder))
    draw = random.Random(seed)
    times = []
    for number in range(LOOK_UPS):
        event = json.loads(log.payloads[draw.randrange(len(log.payloads))])
        there = number % 2 == 0
        started = time.perf_counter()
        found = await reader.find(event["subject"], event["source"], event["id"] if there else event["id"] + "x")
        times.append(time.perf_counter() - started)
        assert len(found) == there
    times.sort()
    say(what="find by identity", events=len(log.payloads), p50_ms=round(times[LOOK_UPS // 2] * 1e3, 1),
        p99_ms=round(times[LOOK_UPS * 99 // 100] * 1e3, 1))  # fmt: skip


async def rebuilding(pool: asyncpg.Pool, log: Log, folder: Path, clock: SettableClock) -> None:
    rebuilder = Rebuilder(pool, log, Folder(folder), clock, 35 * DAY)
    started = time.perf_counter()
    await rebuilder.replace(0, Asked())
    replaced = time.perf_counter() - started
    started = time.perf_counter()
    report = await rebuilder.check(0, Asked())
    took = time.perf_counter() - started
    assert report is not None
    assert not report.found, "what was just rebuilt must be what is computed"
    say(what="rebuild --check", events=report.events, buckets=report.buckets, seconds=round(took, 2),
        events_s=round(report.events / took), replace_seconds=round(replaced, 2))  # fmt: skip


def control(log: Log) -> None:
    started = time.perf_counter()
    Extractor({}).read(log.payloads[:200_000], [NOW] * len(log.payloads[:200_000]))
    took = time.perf_counter() - started
    say(what="control: decode", events_s=round(len(log.payloads[:200_000]) / took))


async def main(count: int, seed: int, known: bool) -> None:
    say(what="bench_archive", commit=commit(), seed=seed, events=count, meter_known=known)
    clock = SettableClock(NOW)
    log = Log(clock, count, seed)
    control(log)
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedPostgres(durable=False) as server:
            await migrate(server.dsn)
            pool = await create_pool(server.dsn, size=4)
            try:
                if known:
                    await know(pool)
                await archiving(pool, log, Path(folder), clock)
                await finding(pool, log, Path(folder), seed)
                if not known:
                    await know(pool)
                await rebuilding(pool, log, Path(folder), clock)
            finally:
                await pool.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--new-meter", action="store_true", help="make the meter after the events are archived")
    given = parser.parse_args()
    asyncio.run(main(given.events, given.seed, not given.new_meter))
