"""Apache Kafka for tests: what the engine's other tests rely on holds."""

from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from metering.embedded import EmbeddedError
from metering.testing import kafka as module
from metering.testing.kafka import ApacheKafka, ensure_jars

MakeTopic = Callable[..., Awaitable[str]]
ROUNDS_MAX = 100
LONG_AGO_MS = 1_000_000_000_000


async def receive(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Read `count` values of partition 0 from its beginning."""
    settings = {"enable_auto_commit": False, "auto_offset_reset": "none"}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, **settings) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        found: list[bytes] = []
        for _ in range(ROUNDS_MAX):
            batches = await consumer.getmany(timeout_ms=100)
            found += [record.value for record in batches.get(partition, [])]
            if len(found) >= count:
                return found
    pytest.fail(f"only {len(found)} of {count} records came")


async def test_records_carry_the_time_of_their_appending(kafka: ApacheKafka, make_topic: MakeTopic) -> None:
    topic = await make_topic(kafka)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        sent = await producer.send_and_wait(topic, b"x", timestamp_ms=LONG_AGO_MS)
    assert sent.timestamp_type == 1
    assert sent.timestamp > LONG_AGO_MS


async def test_idempotent_producer_is_served(kafka: ApacheKafka, make_topic: MakeTopic) -> None:
    topic = await make_topic(kafka, 2)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, enable_idempotence=True) as producer:
        sent = [await producer.send_and_wait(topic, b"x", partition=0) for _ in range(3)]
    assert [record.offset for record in sent] == [0, 1, 2]


async def test_unknown_topic_is_not_made_by_asking(kafka: ApacheKafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=500) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.partitions_for("nobody-made-this")


async def test_refused_topic_is_an_error_with_the_brokers_reason(kafka: ApacheKafka) -> None:
    with pytest.raises(EmbeddedError, match="refused topic 'bad name'"):
        await kafka.create_topic("bad name", 1)


async def test_killed_kafka_starts_again_with_its_records_at_the_same_address(kafka: ApacheKafka) -> None:
    async with ApacheKafka(heap_mb=256) as own:
        address = own.bootstrap
        await own.create_topic("t", 1)
        async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
            for number in range(5):
                await producer.send_and_wait("t", b"%d" % number)
        own.kill()
        await own.start()
        assert own.bootstrap == address
        assert await receive(address, "t", 5) == [b"0", b"1", b"2", b"3", b"4"]


def test_jars_in_the_cache_are_not_fetched_again(kafka: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert list(ensure_jars().glob(f"kafka_2.13-{module.VERSION}.jar"))


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    reason = module.missing()
    assert reason == "Apache Kafka 4.4.0 needs java and mvn on the PATH"
    with pytest.raises(EmbeddedError, match="install a JDK and Maven"):
        ApacheKafka().open()
