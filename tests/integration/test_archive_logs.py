"""The archive is the same over both logs that keep what they take: the table of Postgres, and Apache Kafka."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow.parquet as pq

from metering.archive.archiver import Archiver
from metering.archive.place import Folder
from metering.archive.reading import EventReader
from metering.archive.store import ArchiveStore
from metering.clock import SystemClock
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Log, Message
from metering.stream.postgres_log import PostgresLog
from metering.stream.trim import Trimmer
from schemas.ids import partition_of
from schemas.instants import DAY

CLOCK = SystemClock()


def event(number: int) -> tuple[str, bytes]:
    subject = f"c{number % 5}"
    fixed = {"specversion": "1.0", "source": "app", "type": "call", "time": "2026-01-09T10:00:00Z"}
    return subject, json.dumps({**fixed, "id": f"e{number}", "subject": subject}).encode()


async def committed(pool: asyncpg.Pool, log: Log) -> None:
    """Say that a worker has committed all that is in the log."""
    for partition, end in (await log.ends()).items():
        await pool.execute(
            "INSERT INTO partition_state (partition, log_id, next_offset) VALUES ($1, $2, $3)"
            " ON CONFLICT (partition) DO UPDATE SET next_offset = $3",
            partition,
            log.identity,
            end,
        )


async def archived_and_found(pool: asyncpg.Pool, log: Log, folder: Path) -> None:
    """Archive some events, append more, and find them all."""
    sent = [event(number) for number in range(50)]
    await log.append([Message(partition_of(key, log.partitions), key.encode(), raw) for key, raw in sent[:40]])
    await committed(pool, log)
    archiver = Archiver(log, ArchiveStore(pool), Folder(folder), CLOCK, owner="test")
    while await archiver.step(all_now=True):
        pass
    rows: list[dict[str, Any]] = [
        row for path in folder.rglob("*.parquet") for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert sorted(row["event"].encode() for row in rows) == sorted(raw for _, raw in sent[:40])
    await log.append([Message(partition_of(key, log.partitions), key.encode(), raw) for key, raw in sent[40:]])
    reader = EventReader(pool, log, Folder(folder))
    for number in (0, 39, 40, 49):
        found = await reader.find(event(number)[0], "app", f"e{number}")
        assert found["event"].to_pylist() == [event(number)[1].decode()]


async def test_table_of_postgres_is_archived_and_then_trimmed(pool: asyncpg.Pool, tmp_path: Path) -> None:
    log = PostgresLog(pool, clock=CLOCK, partitions=3)
    await log.start()
    await archived_and_found(pool, log, tmp_path)
    await committed(pool, log)
    await pool.execute("UPDATE log_message SET appended_at = '2020-01-01Z'")
    await Trimmer(log, pool, CLOCK, 35 * DAY).trim()
    left = await pool.fetchval("SELECT count(*) FROM log_message")
    assert left == 10, "what is committed but not archived stays"


async def test_apache_kafka_is_archived(pool: asyncpg.Pool, kafka: Any, make_topic: Any, tmp_path: Path) -> None:
    topic = await make_topic(kafka, 3)
    log = KafkaLog(kafka.bootstrap, topic, clock=CLOCK, partitions=3)
    await log.start()
    try:
        await archived_and_found(pool, log, tmp_path)
    finally:
        await log.stop()
