"""The client straight to Kafka: the engine's log reads what it wrote, on the customer's partition, once."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from metering.client import Metering
from metering.client.kafka import Kafka
from metering.clock import SystemClock
from metering.embedded import EmbeddedBroker
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Record
from metering.testing.kafka import ApacheKafka
from schemas.ids import partition_of

MakeTopic = Callable[..., Awaitable[str]]
SOON = 30.0
PARTITIONS = 4


async def records(bootstrap: str, topic: str, *, embedded: bool) -> dict[int, list[Record]]:
    """What lies in the topic, read as the engine does."""
    log = KafkaLog(bootstrap, topic, clock=SystemClock(), partitions=PARTITIONS, embedded=embedded)
    await log.start()
    try:
        return {
            partition: await log.read(partition, 0, end - 1) for partition, end in (await log.ends()).items() if end
        }
    finally:
        await log.stop()


def events_of(found: list[Record]) -> list[Any]:
    """The events of records, in order."""
    trees = [msgspec.json.decode(record.payload or b"") for record in found]
    return [event for tree in trees for event in (tree if isinstance(tree, list) else [tree])]


async def check(bootstrap: str, topic: str, *, embedded: bool) -> None:
    """Send 500 events of 20 customers, and find them."""
    before = SystemClock().now()
    async with Metering(Kafka(bootstrap, topic), source="app", interval=0.05, batch_events=100) as metering:
        sent = [(metering.count("t", f"customer-{n % 20}", n=n), f"customer-{n % 20}") for n in range(500)]
        assert await metering.flush(SOON)
        assert metering.counters.sent == 500
    found = await records(bootstrap, topic, embedded=embedded)
    for partition, stored in found.items():
        events = events_of(stored)
        assert {partition_of(event["subject"], PARTITIONS) for event in events} == {partition}
        assert [event["id"] for event in events] == [
            event_id for event_id, subject in sent if partition_of(subject, PARTITIONS) == partition
        ]
        assert all(before <= record.received <= SystemClock().now() for record in stored)
        assert all([name for name, _ in record.headers] == ["received"] for record in stored)
    assert sum(len(events_of(stored)) for stored in found.values()) == 500
    assert sum(map(len, found.values())) <= 30


async def test_embedded_broker_without_idempotence_gets_everything(
    broker: EmbeddedBroker, make_topic: MakeTopic
) -> None:
    await check(broker.bootstrap, await make_topic(broker, PARTITIONS), embedded=True)


async def test_apache_kafka_gets_everything(kafka: ApacheKafka, make_topic: MakeTopic) -> None:
    topic = await make_topic(kafka, PARTITIONS, **{"message.timestamp.type": "LogAppendTime"})
    await check(kafka.bootstrap, topic, embedded=False)


async def test_events_above_a_record_s_size_go_in_several(broker: EmbeddedBroker, make_topic: MakeTopic) -> None:
    topic = await make_topic(broker, PARTITIONS)
    async with Metering(Kafka(broker.bootstrap, topic), interval=0.05) as metering:
        ids = [metering.count("t", "acme", text="x" * 200_000) for _ in range(12)]
        assert await metering.flush(SOON)
    (found,) = (await records(broker.bootstrap, topic, embedded=True)).values()
    assert [event["id"] for event in events_of(found)] == ids
    assert len(found) >= 3


async def test_line_of_a_spool_that_is_no_event_stops_nobody(
    broker: EmbeddedBroker, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = await make_topic(broker, PARTITIONS)
    (tmp_path / "00000000000000000001.dead.jsonl").write_bytes(b'{"no": "event"}\n5\n')
    async with Metering(Kafka(broker.bootstrap, topic), spool=tmp_path) as metering:
        event_id = metering.count("t", "acme")
        assert await metering.flush(SOON)
        assert (metering.counters.sent, metering.counters.refused) == (1, 2)
    (found,) = (await records(broker.bootstrap, topic, embedded=True)).values()
    assert [event["id"] for event in events_of(found)] == [event_id]
    assert (tmp_path / "refused.jsonl").read_bytes() == b'{"no": "event"}\n5\n'


async def test_topic_that_is_not_there_is_waited_for_and_not_made(
    broker: EmbeddedBroker, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = f"{await make_topic(broker)}-later"
    async with Metering(Kafka(broker.bootstrap, topic), interval=0.05, spool=tmp_path) as metering:
        event_id = metering.count("t", "acme")
        async with asyncio.timeout(SOON):
            while not metering.counters.retries:
                await asyncio.sleep(0.01)
        log = KafkaLog(broker.bootstrap, topic, clock=SystemClock(), partitions=PARTITIONS, embedded=True)
        await log.start()  # The engine makes its topic.
        assert await metering.flush(SOON)
        await log.stop()
    (found,) = (await records(broker.bootstrap, topic, embedded=True)).values()
    assert [event["id"] for event in events_of(found)] == [event_id]


async def test_broker_that_hangs_and_goes_on_loses_nothing(tmp_path: Path) -> None:
    async with EmbeddedBroker() as server:
        log = KafkaLog(server.bootstrap, "usage.events", clock=SystemClock(), partitions=PARTITIONS, embedded=True)
        await log.start()
        await log.stop()
        async with Metering(Kafka(server.bootstrap), interval=0.05, spool=tmp_path) as metering:
            ids = {metering.count("t", "acme")}
            assert await metering.flush(SOON)
            os.kill(server.pid, signal.SIGSTOP)
            try:
                ids |= {metering.count("t", f"c{n}") for n in range(20)}
                async with asyncio.timeout(SOON):
                    while metering.counters.spooled < 20:
                        await asyncio.sleep(0.01)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert await metering.flush(SOON)
        found = await records(server.bootstrap, "usage.events", embedded=True)
        assert {event["id"] for stored in found.values() for event in events_of(stored)} == ids


async def test_broker_that_is_not_there_ends_in_time(tmp_path: Path) -> None:
    async with Metering(Kafka("127.0.0.1:1"), interval=0.01, spool=tmp_path) as metering:
        metering.count("t", "acme")
        async with asyncio.timeout(SOON):
            while not metering.counters.spooled:
                await asyncio.sleep(0.01)
            await metering.close(0.5)
    assert metering.counters.dropped == 0
    assert list(tmp_path.glob("*.jsonl"))
