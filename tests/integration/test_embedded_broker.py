"""The embedded broker: real clients, our own cluster and no other's, ports and crashes."""

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from metering.embedded import EmbeddedBroker, EmbeddedError
from metering.embedded import broker as module
from metering.embedded.probe import cluster_id
from metering.embedded.process import free_port

MakeTopic = Callable[..., Awaitable[str]]
ROUNDS_MAX = 100


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def send(bootstrap: str, topic: str, values: list[bytes]) -> list[tuple[int, int]]:
    """Produce to partition 0; return (partition, offset) of each."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        sent = [await producer.send_and_wait(topic, value, partition=0) for value in values]
    return [(record.partition, record.offset) for record in sent]


async def receive(bootstrap: str, topic: str, count: int) -> list[tuple[int, bytes]]:
    """Read `count` records of partition 0 from its beginning: (offset, value)."""
    settings = {"enable_auto_commit": False, "auto_offset_reset": "none"}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, **settings) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        found: list[tuple[int, bytes]] = []
        for _ in range(ROUNDS_MAX):
            batches = await consumer.getmany(timeout_ms=100)
            found += [(record.offset, record.value) for record in batches.get(partition, [])]
            if len(found) >= count:
                return found
    pytest.fail(f"only {len(found)} of {count} records came")


async def test_records_sent_come_back_in_order_with_their_offsets(
    broker: EmbeddedBroker, make_topic: MakeTopic
) -> None:
    topic = await make_topic(broker, 3)
    assert await send(broker.bootstrap, topic, [b"a", b"b"]) == [(0, 0), (0, 1)]
    assert await receive(broker.bootstrap, topic, 2) == [(0, b"a"), (1, b"b")]


async def test_topic_has_the_partitions_asked_for_and_may_be_made_twice(
    broker: EmbeddedBroker, make_topic: MakeTopic
) -> None:
    topic = await make_topic(broker, 7)
    await broker.create_topic(topic, 7)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        assert await producer.partitions_for(topic) == set(range(7))


async def test_each_start_is_another_cluster_and_only_ours_is_taken_for_ready() -> None:
    async with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.port is not None
        assert other.port is not None
        assert cluster_id(one.port) == one.cluster
        assert cluster_id(other.port) == other.cluster != one.cluster


async def test_killed_broker_starts_again_empty_at_the_same_address() -> None:
    async with EmbeddedBroker() as broker:
        address, cluster = broker.bootstrap, broker.cluster
        await broker.create_topic("t", 1)
        await send(address, "t", [b"forgotten"])
        broker.kill()
        await broker.start()
        assert broker.bootstrap == address
        assert broker.cluster != cluster
        await broker.create_topic("t", 1)
        assert await send(address, "t", [b"new"]) == [(0, 0)]


def test_stopped_broker_no_longer_answers() -> None:
    with EmbeddedBroker() as broker:
        port = broker.port
        assert port is not None
    assert cluster_id(port) is None


def test_port_that_is_asked_for_is_taken() -> None:
    port = free_port()
    with EmbeddedBroker(port) as broker:
        assert broker.bootstrap == f"127.0.0.1:{port}"


def test_busy_port_that_is_asked_for_is_an_error_with_the_way_out(taken_port: int) -> None:
    with pytest.raises(EmbeddedError, match=f"port {taken_port} of 127.0.0.1 is in use: choose another"):
        EmbeddedBroker(taken_port).open()


def test_port_taken_at_the_last_moment_is_another_port(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter([taken_port, free_port()])
    monkeypatch.setattr(module, "free_port", lambda: next(ports))
    with EmbeddedBroker() as broker:
        assert broker.port not in (None, taken_port)


def test_port_that_another_broker_took_is_not_mistaken_for_ours(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([broker.port, free_port()])
    monkeypatch.setattr(module, "free_port", lambda: next(ports))
    with EmbeddedBroker() as second:
        assert second.port != broker.port
        assert second.port is not None
        assert cluster_id(second.port) == second.cluster


def test_no_free_port_at_all_is_an_error(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_port", lambda: taken_port)
    with pytest.raises(EmbeddedError, match="taken by another program"):
        EmbeddedBroker().open()


def answer(listener: socket.socket, said: bytes) -> None:
    """Take one connection and answer whatever it asks with `said`."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(said)


@pytest.mark.parametrize(
    "said",
    [b"", b"\x00\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x09", b"\x00\x00\x00\x02ab"],
    ids=["nothing", "cut-off", "http", "foreign-correlation", "too-short"],
)
def test_probe_of_something_that_is_no_broker_is_none(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=answer, args=(listener, said))
        answering.start()
        assert cluster_id(listener.getsockname()[1]) is None
        answering.join()
