"""The topic of a Kafka log: making it, and knowing it again by its identity."""

from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from metering.clock import Clock
from metering.errors import ConfigurationError, LogUnavailable

REPLICAS = 3
"""Copies of a topic made here, if the cluster has that many brokers; one of them may be away."""

TRIES = 20
TRY_AGAIN_S = 0.1
"""How often, and after how long, a topic that was just made is asked for again."""

_EXISTS = 36


class Topic(NamedTuple):
    """What the log needs to know of its topic."""

    identity: str
    """`<cluster id>/<topic id>`: another cluster or a topic made anew has another."""
    partitions: int
    append_time: bool
    """Whether the broker stamps records itself (`message.timestamp.type=LogAppendTime`)."""


async def open_topic(
    bootstrap: str, name: str, partitions: int, retention_ms: int, request_ms: int, embedded: bool, clock: Clock
) -> Topic:
    """Make the topic if there is none, and describe it.

    A topic that exists stays as it is, its number of partitions too. Raises `LogUnavailable` when no broker answers,
    `ConfigurationError` when the topic can neither be found nor made.
    """
    client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id="metering-topic", request_timeout_ms=request_ms)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="metering", request_timeout_ms=request_ms)
    refusal: str | None = None
    try:
        await client.bootstrap()
        await admin.start()
        refusal = await _make(admin, name, partitions, min(REPLICAS, len(client.cluster.brokers())), retention_ms)
        if refusal is not None:
            return await _describe(client, admin, name, embedded)
        for _ in range(TRIES):
            # A topic that was made just now is not known at once to every part of the cluster.
            with suppress(UnknownTopicOrPartitionError):
                return await _describe(client, admin, name, embedded)
            await clock.sleep(TRY_AGAIN_S)
        return await _describe(client, admin, name, embedded)
    except KafkaError as error:
        if refusal is not None:
            raise ConfigurationError(
                f"topic {name} is not at {bootstrap} and could not be made ({refusal}): make it first"
            ) from error
        raise LogUnavailable(f"Kafka at {bootstrap} did not answer about topic {name}: {error}") from error
    finally:
        await admin.close()
        await client.close()


async def _describe(client: AIOKafkaClient, admin: AIOKafkaAdminClient, name: str, embedded: bool) -> Topic:
    """What the cluster says of the topic; `UnknownTopicOrPartitionError` if it does not know it."""
    answer = await client.send(client.get_random_node(), _TopicIdRequest(name))
    (code, _, topic_id, _, found, *_), *_ = answer.topics
    if code:
        raise for_code(code)(f"describing topic {name}")
    append_time = False if embedded else await _append_time(admin, name)
    return Topic(f"{answer.cluster_id}/{topic_id}", len(found), append_time)


async def _make(admin: AIOKafkaAdminClient, name: str, partitions: int, replicas: int, retention_ms: int) -> str | None:
    """Ask for the topic; why the broker refused, or None if the topic is there now."""
    settings = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(retention_ms),
        "min.insync.replicas": str(max(1, replicas - 1)),
    }
    topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, topic_configs=settings)
    answer = await admin.create_topics([topic])
    (_, code, *message), *_ = answer.topic_errors
    if code in (0, _EXISTS):
        return None
    return str(message[0] if message and message[0] else for_code(code).__name__)


async def _append_time(admin: AIOKafkaAdminClient, name: str) -> bool:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    (code, _, _, _, entries), *_ = answer.resources
    if code:
        raise for_code(code)(f"describing the settings of topic {name}")
    return any(key == "message.timestamp.type" and value == "LogAppendTime" for key, value, *_ in entries)


class _Uuid(AbstractType[str]):  # type: ignore[misc]
    """16 bytes, as hexadecimal text."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return bytes.fromhex(value)

    @classmethod
    def decode(cls, data: Any) -> str:
        text: str = data.read(16).hex()
        return text


class _TopicIdResponseV12(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _TopicIdRequestV12(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _TopicIdResponseV12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIdRequest(Request[_TopicIdRequestV12]):  # type: ignore[misc]
    """Metadata, version 12: the first that aiokafka does not have and that carries topic ids (Kafka 2.8 and later)."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_TopicIdRequestV12]) -> _TopicIdRequestV12:
        return request_struct_class([("00" * 16, self._topic, {})], False, False, {})
