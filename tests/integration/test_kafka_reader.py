"""What only Apache Kafka can do to a reader: transactions, tombstones, codecs, deletions, damage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from metering.clock import SystemClock
from metering.errors import OffsetLost
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Message, Record
from metering.testing.kafka import ApacheKafka

MakeTopic = Callable[..., Awaitable[str]]


class Topic:
    """A log of one partition, read from its beginning by one reader."""

    def __init__(self, server: ApacheKafka, name: str) -> None:
        self.server = server
        self.name = name
        self.log = KafkaLog(server.bootstrap, name, clock=SystemClock(), group=None)
        self.reader = self.log.reader()

    async def begin(self, offset: int = 0) -> None:
        """Start reading there."""

        async def assigned(partitions: frozenset[int]) -> dict[int, int]:
            return dict.fromkeys(partitions, offset)

        async def revoked(partitions: frozenset[int]) -> None:
            pass

        await self.reader.start(assigned, revoked)

    async def read_to(self, end: int) -> list[Record]:
        """Records until the next one to read is `end`."""
        found: list[Record] = []
        async with asyncio.timeout(20):
            while not found or found[-1].offset + 1 < end:
                found += (await self.reader.poll(100, 0.2)).get(0, [])
        return found


@pytest.fixture
async def topic(kafka: ApacheKafka, make_topic: MakeTopic) -> AsyncIterator[Topic]:
    """A topic of its own."""
    made = Topic(kafka, await make_topic(kafka, 1))
    await made.log.start()
    yield made
    await made.reader.stop()
    await made.log.stop()


async def test_aborted_transaction_is_not_read_and_markers_hold_nobody_up(topic: Topic) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=topic.server.bootstrap, transactional_id=topic.name)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic.name, b"kept", partition=0)
    await producer.begin_transaction()
    await producer.send_and_wait(topic.name, b"aborted", partition=0)
    await producer.abort_transaction()
    await producer.stop()
    await topic.begin()
    end = (await topic.log.ends())[0]
    assert end == 4
    records = await topic.read_to(end)
    assert [(record.offset, record.payload) for record in records] == [(0, b"kept"), (3, b"[]")]
    await topic.log.append([Message(0, b"k", b"next")])
    assert [(record.offset, record.payload) for record in await topic.read_to(end + 1)] == [(4, b"next")]


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"], ids=str)
async def test_every_codec_is_read(topic: Topic, codec: str | None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=topic.server.bootstrap, compression_type=codec)
    await producer.start()
    sent = [await producer.send(topic.name, b'{"n":%d}' % number, partition=0) for number in range(10)]
    await asyncio.gather(*sent)
    await producer.stop()
    await topic.begin()
    assert [record.payload for record in await topic.read_to(10)] == [b'{"n":%d}' % number for number in range(10)]


async def test_tombstone_is_a_record_without_a_payload(topic: Topic) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=topic.server.bootstrap)
    await producer.start()
    for value in (b"event", None, b"event"):
        await producer.send_and_wait(topic.name, value, key=b"k", partition=0)
    await producer.stop()
    await topic.begin()
    assert [record.payload for record in await topic.read_to(3)] == [b"event", None, b"event"]


async def test_receipt_is_the_brokers_time_whatever_the_producer_says(topic: Topic) -> None:
    before = SystemClock().now()
    producer = AIOKafkaProducer(bootstrap_servers=topic.server.bootstrap)
    await producer.start()
    headers = [("received", b"5")]
    await producer.send_and_wait(topic.name, b"event", partition=0, timestamp_ms=1_000, headers=headers)
    await producer.stop()
    await topic.begin()
    (record,) = await topic.read_to(1)
    assert before - 1_000_000 < record.received < SystemClock().now() + 1_000_000
    assert topic.log.keeps_time


async def test_records_deleted_before_they_were_read_are_an_error_not_a_gap(topic: Topic) -> None:
    await topic.log.append([Message(0, b"k", b"%d" % number) for number in range(10)])
    await topic.begin()
    assert len(await topic.read_to(10)) == 10
    topic.reader.pause(frozenset({0}))
    await topic.log.append([Message(0, b"k", b"%d" % number) for number in range(10)])
    await delete_before(topic, 15)
    topic.reader.resume(frozenset({0}))
    with pytest.raises(OffsetLost, match="holds offsets 15 to 19, the next to read is 10") as lost:
        await topic.read_to(20)
    assert lost.value.partition == 0


async def test_offset_deleted_before_the_start_is_an_error(topic: Topic) -> None:
    await topic.log.append([Message(0, b"k", b"%d" % number) for number in range(10)])
    await delete_before(topic, 5)
    await topic.begin(3)
    with pytest.raises(OffsetLost, match="holds offsets 5 to 9, the next to read is 3"):
        await topic.read_to(10)


async def delete_before(topic: Topic, offset: int) -> None:
    """Delete records, as a broker's retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=topic.server.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic.name, 0): RecordsToDelete(before_offset=offset)})
    await admin.close()


async def test_topic_made_anew_has_another_identity(kafka: ApacheKafka, make_topic: MakeTopic) -> None:
    name = await make_topic(kafka, 2)
    log = KafkaLog(kafka.bootstrap, name, clock=SystemClock())
    await log.start()
    await log.stop()
    first = log.identity
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([name])
    await admin.close()
    async with asyncio.timeout(20):
        while log.identity == first:
            await log.start()
            await log.stop()
    cluster, topic_id = log.identity.split("/")
    assert first.split("/")[0] == cluster
    assert len(topic_id) == 32
    assert log.keeps_time
