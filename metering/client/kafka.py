"""The way straight to Kafka, past the gateway: `Metering(Kafka("broker:9092"), source="checkout")`.

The topic is the engine's, made by it; the record's key is the customer, on the partition that Java's default
partitioner (murmur2) gives it, so that a customer's events lie where the engine expects them. Written means: by every
replica in sync (`acks=all`), and without copies by the producer's own retries where the broker knows idempotent
producers. `received` goes along as a header, for topics that do not note the time of appending: only there it is read.
What the gateway would have refused is refused by the worker: such an event is acknowledged here, and listed under
`GET /v1/rejected`.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.codec import has_lz4
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    UnknownError,
    UnsupportedVersionError,
)

from metering.client.transport import Away, Fate, fate, subject_of
from metering.clock import Clock, SystemClock
from schemas.ids import partition_of
from schemas.outcome import Outcome

ANSWER_SECONDS: Final = 10.0
REQUEST_MS: Final = 5_000
MESSAGE_BYTES_MAX: Final = 900_000
"""Of the events of one record; brokers take 1,048,588 bytes with what is around them."""

STOP_SECONDS: Final = 2.0
NOT_IDEMPOTENT: Final = (UnknownError, UnsupportedVersionError, ClusterAuthorizationFailedError)
"""What a broker says that knows no idempotent producers, or allows none."""

SYSTEM: Final = SystemClock()
_LOG: Final = logging.getLogger("metering.client")


class Kafka:
    """A transport; see `metering.client.transport`."""

    def __init__(
        self, bootstrap: str, topic: str = "usage.events", *, clock: Clock = SYSTEM, **settings: object
    ) -> None:
        """bootstrap: `host:port,…`. settings: more for every client of aiokafka, as `security_protocol="SASL_SSL"`."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._clock = clock
        self._settings: dict[str, Any] = {"request_timeout_ms": REQUEST_MS, **settings}
        self._producer: AIOKafkaProducer | None = None
        self._partitions = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Nothing to do yet: the first `send` connects, so that a broker that is away stops nobody."""

    async def send(self, events: Sequence[bytes]) -> list[Fate]:
        """See `Transport.send`: one record a partition, or a few if it would be too large."""
        named = [(subject_of(event), event) for event in events]
        try:
            # An idempotent producer never gives up by itself.
            async with asyncio.timeout(ANSWER_SECONDS):
                producer = await self._connected()
                received = [("received", b"%d" % self._clock.now())]
                answers = [
                    await producer.send(self._topic, payload, key, partition, headers=received)
                    for partition, key, payload in self._records(
                        [(subject, event) for subject, event in named if subject]
                    )
                ]
                await asyncio.gather(*answers)
        except (KafkaError, TimeoutError, OSError) as error:
            self._let_go()
            raise Away(f"Kafka at {self._bootstrap} did not acknowledge: {error!r}") from error
        except asyncio.CancelledError:
            self._let_go()
            raise
        return [
            fate(event, Outcome.QUEUED) if subject else fate(event, Outcome.EVENT_INVALID, "it has no subject")
            for subject, event in named
        ]

    def _records(self, events: Sequence[tuple[str, bytes]]) -> Iterator[tuple[int, bytes, bytes]]:
        """Partition, key and payload of each record: the events of one partition in their order."""
        groups: defaultdict[int, list[tuple[str, bytes]]] = defaultdict(list)
        for subject, event in events:
            groups[partition_of(subject, self._partitions)].append((subject, event))
        for partition, group in groups.items():
            begin = size = 0
            for end, (_, event) in enumerate(group):
                if end > begin and size + len(event) > MESSAGE_BYTES_MAX:
                    yield _record(partition, group[begin:end])
                    begin, size = end, 0
                size += len(event) + 1
            yield _record(partition, group[begin:])

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            await self._require_topic()
            try:
                self._producer = await self._start_producer(idempotent=True)
            except NOT_IDEMPOTENT as error:
                _LOG.warning("the broker refuses idempotent producers (%r): its retries may leave copies", error)
                self._producer = await self._start_producer(idempotent=False)
            self._partitions = len(await self._producer.partitions_for(self._topic))
        return self._producer

    async def _require_topic(self) -> None:
        """A broker might make a topic that is only asked for, with too few partitions and without append times."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, **self._settings)
        try:
            await admin.start()
            if self._topic not in await admin.list_topics():
                raise Away(f"{self._bootstrap} has no topic {self._topic}: start the engine first", misconfigured=True)
        finally:
            await admin.close()

    async def _start_producer(self, *, idempotent: bool) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=idempotent,
            compression_type="lz4" if idempotent and has_lz4() else None,
            **self._settings,
        )
        try:
            await producer.start()
        except BaseException:
            self._close(producer)
            raise
        return producer

    def _let_go(self) -> None:
        """After a failure begin with a new producer: an idempotent one that failed once fails on."""
        if self._producer is not None:
            self._close(self._producer)
            self._producer = None

    def _close(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stop(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def stop(self) -> None:
        """Disconnect, within some seconds whether the broker is there or not."""
        self._let_go()
        if self._closing:
            await asyncio.wait(self._closing)


def _record(partition: int, group: Sequence[tuple[str, bytes]]) -> tuple[int, bytes, bytes]:
    """One event as it is, several as a JSON array; the first one's customer is the key."""
    payload = group[0][1] if len(group) == 1 else b"[" + b",".join([event for _, event in group]) + b"]"
    return partition, group[0][0].encode(), payload


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer; what it has not sent it would go on sending for ever, and the outbox sends it again anyway."""
    held = producer._message_accumulator
    held.fail_all(KafkaConnectionError("the producer was let go"))
    for batch in [batch for batches in held._batches.values() for batch in batches]:
        batch._drain_waiter.exception()  # Nobody waits for it, and asyncio would complain.
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
            return
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer.client.close()
