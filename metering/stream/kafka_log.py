"""The log in Kafka (design 6): the way for volume, and the reference.

Durable: every replica in sync has a message before it counts (`acks=all`), and a producer's own retries leave no copies
(idempotence). A message whose answer does not come in time is `None`, not lost: it may still be written, so it is sent
again by whoever sent it, and the identities of its events drop the copy.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest

from metering.clock import Clock
from metering.errors import ConfigurationError, LogUnavailable
from metering.stream.kafka_reader import SESSION_MS, KafkaReader, stop_client
from metering.stream.kafka_records import RecordMaker, flat
from metering.stream.kafka_topic import open_topic
from metering.stream.log import Message, Position, Reader, Record

ANSWER_SECONDS: Final = 4.0
"""After so long without an acknowledgement a message's outcome is unknown; the interface allows 5 seconds."""

REQUEST_MS: Final = 3_000
"""After so long an unanswered request is given up and its connection is closed."""

MESSAGE_BYTES_MAX: Final = 1_000_000
"""Of one message with its overhead: brokers take 1,048,588 bytes unless told otherwise."""

FETCH_BYTES: Final = 2 * 1_048_576
"""Fetched at once from a partition; above what a broker takes for one message, so that nothing is too large to read."""


class KafkaLog:
    """A topic. Read the arguments of the constructor for how an embedded broker differs."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        clock: Clock,
        partitions: int = 8,
        retention_days: int = 400,
        group: str | None = "metering",
        member: str | None = None,
        session_ms: int = SESSION_MS,
        embedded: bool = False,
    ) -> None:
        """bootstrap: `host:port,…`. partitions and retention_days: of the topic, if it has to be made.

        group: the consumer group; None: the one reader owns every partition. member: a name that no other reader of the
        group has and that this one keeps over restarts: it gets its partitions back at once, the others do not stop for
        it. session_ms: a reader that is silent for so long has lost its partitions. embedded: the broker is
        `embedded.broker`, which knows no idempotent producers and does not note the time of appending.
        """
        self.identity = ""
        self.partitions = partitions
        self.keeps_time = not embedded
        self.message_bytes_max = MESSAGE_BYTES_MAX
        self._bootstrap = bootstrap
        self._topic = topic
        self._clock = clock
        self._retention_ms = retention_days * 86_400_000
        self._group = group
        self._member = member
        self._session_ms = session_ms
        self._embedded = embedded
        self._producer: AIOKafkaProducer | None = None
        self._finder: AIOKafkaConsumer | None = None
        self._finding = asyncio.Lock()
        self._connecting = asyncio.Lock()
        self._lanes: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._unanswered: dict[int, asyncio.Future[Any]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect, make the topic if there is none. Raises `LogUnavailable` or `ConfigurationError`."""
        codecs = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}
        if absent := [name for name, present in codecs.items() if not present()]:
            raise ConfigurationError(f"no codec for {', '.join(absent)}: install aiokafka[snappy,lz4,zstd]")
        topic = await open_topic(
            self._bootstrap,
            self._topic,
            self.partitions,
            self._retention_ms,
            REQUEST_MS,
            self._embedded,
            self._clock,
        )
        self.identity, self.partitions, self.keeps_time = topic
        self._finder = self.consumer(fetch_max_wait_ms=50)
        try:
            await self._finder.start()
            await self._connected()
        except KafkaError as error:
            await self.stop()
            raise LogUnavailable(f"Kafka at {self._bootstrap} answers no more: {error}") from error

    def consumer(self, **settings: Any) -> AIOKafkaConsumer:
        """A consumer as every reader of this log wants it: its `getmany` answers lists for `flat`, and nothing is
        skipped or committed by itself."""
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_uncommitted" if self._embedded else "read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=REQUEST_MS,
            check_crcs=True,
            key_deserializer=RecordMaker(self._clock),
            **settings,
        )

    async def append(self, messages: Sequence[Message]) -> list[Position | None]:
        """See `Log.append`. One batch of records per partition."""
        positions: list[Position | None] = [None] * len(messages)
        by_partition: dict[int, list[int]] = {}
        for index, message in enumerate(messages):
            by_partition.setdefault(message.partition, []).append(index)
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                producer = await self._connected()
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka at {self._bootstrap} is away: {error!r}") from error
        results = await asyncio.gather(
            *(
                self._append_to(producer, partition, [messages[index] for index in indices], deadline)
                for partition, indices in by_partition.items()
            )
        )
        for (partition, indices), offsets in zip(by_partition.items(), results, strict=True):
            for index, offset in zip(indices, offsets, strict=True):
                positions[index] = None if offset is None else Position(partition, offset)
        if messages and not any(positions):
            raise LogUnavailable(f"Kafka at {self._bootstrap} acknowledged nothing within {ANSWER_SECONDS:g} s")
        return positions

    async def _append_to(
        self, producer: AIOKafkaProducer, partition: int, messages: Sequence[Message], deadline: float
    ) -> list[int | None]:
        """The offset of each message, None from the first that was not acknowledged before the deadline."""
        offsets: list[int | None] = []
        try:
            # One batch of a partition at a time: aiokafka sends no two at once either, and its own queue is not fair.
            async with asyncio.timeout(deadline - time.monotonic()), self._lanes[partition]:
                # What timed out is retried in the background; nothing piles up behind it while the broker is away.
                if (unanswered := self._unanswered.get(partition)) is not None:
                    await asyncio.wait([unanswered])
                while len(offsets) < len(messages):
                    batch = producer.create_batch()
                    for message in messages[len(offsets) :]:
                        headers = list(message.headers)
                        appended = batch.append(timestamp=None, key=message.key, value=message.payload, headers=headers)
                        if appended is None:
                            break
                    count = batch.record_count()
                    if not count:
                        raise ValueError(
                            f"a message of {len(messages[len(offsets)].payload)} bytes is too large for Kafka"
                        )
                    answer = await producer.send_batch(batch, self._topic, partition=partition)
                    self._remember(partition, answer)
                    metadata = await asyncio.shield(answer)
                    if metadata.offset < 0:
                        break  # Written before, by a retry whose place the broker has forgotten.
                    offsets += range(metadata.offset, metadata.offset + count)
        except TimeoutError:
            pass
        except KafkaError:
            self._renew(producer)
        return offsets + [None] * (len(messages) - len(offsets))

    def _remember(self, partition: int, answer: "asyncio.Future[Any]") -> None:
        self._unanswered[partition] = answer

        def forget(done: "asyncio.Future[Any]") -> None:
            if self._unanswered.get(partition) is done:
                del self._unanswered[partition]
            if not done.cancelled():
                done.exception()  # Seen: nobody may be waiting any more.

        answer.add_done_callback(forget)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    # Cheaper for all three: a quarter more events a second through the gateway (measured).
                    compression_type=None if self._embedded else "lz4",
                    enable_idempotence=not self._embedded,
                    max_batch_size=MESSAGE_BYTES_MAX,
                    max_request_size=MESSAGE_BYTES_MAX * self.partitions,
                    request_timeout_ms=REQUEST_MS,
                )
                try:
                    await producer.start()
                except BaseException:
                    self._let_go(producer)
                    raise
                self._producer = producer
            return self._producer

    def _renew(self, failed: AIOKafkaProducer) -> None:
        """After an error of an idempotent producer its later sends fail too: the next append begins with a new one."""
        if self._producer is failed:
            self._producer = None
            self._let_go(failed)

    def _let_go(self, client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
        task = asyncio.create_task(stop_client(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def ends(self) -> dict[int, int]:
        """See `Log.ends`; `LogUnavailable` when Kafka does not say."""
        partitions = [TopicPartition(self._topic, partition) for partition in range(self.partitions)]
        async with self._found() as finder:
            ends = await finder.end_offsets(partitions)
            found = {partition.partition: int(end) for partition, end in ends.items()}
            return await self._embedded_ends(finder, found) if self._embedded else found

    async def begins(self) -> dict[int, int]:
        """See `Log.begins`; `LogUnavailable` when Kafka does not say."""
        partitions = [TopicPartition(self._topic, partition) for partition in range(self.partitions)]
        async with self._found() as finder:
            begins = await finder.beginning_offsets(partitions)
        return {partition.partition: int(begin) for partition, begin in begins.items()}

    async def _embedded_ends(self, finder: AIOKafkaConsumer, found: dict[int, int]) -> dict[int, int]:
        """The embedded broker takes one record per batch for granted; the high-water mark of a fetch is right."""
        wanted = [(partition, end - 1, 1) for partition, end in found.items() if end]
        if not wanted:
            return found
        client = finder._client
        node = client.get_random_node()
        answer = await client.send(node, FetchRequest(0, 0, 1, 0, [(self._topic, wanted)]))
        marks = {partition: mark for _, parts in answer.topics for partition, _, mark, *_ in parts}
        return found | marks

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        """See `Log.read`; `LogUnavailable` when Kafka does not answer."""
        here = TopicPartition(self._topic, partition)
        records: list[Record] = []
        async with self._found() as finder:
            begin = max(first, (await finder.beginning_offsets([here]))[here])
            finder.assign([here])
            finder.seek(here, begin)
            idle_at = time.monotonic() + ANSWER_SECONDS
            while begin <= last and time.monotonic() < idle_at:
                got = flat((await finder.getmany(here, timeout_ms=200)).get(here, []))
                records += [record for record in got if record.offset <= last]
                begin = await finder.position(here)
                if got:
                    idle_at = time.monotonic() + ANSWER_SECONDS
            finder.assign([])
        if begin <= last:
            raise LogUnavailable(f"Kafka did not hand out offsets {begin} to {last} of partition {partition}")
        return records

    @contextlib.asynccontextmanager
    async def _found(self) -> AsyncIterator[AIOKafkaConsumer]:
        """The consumer outside the group, one user at a time."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS * 2), self._finding:
                if self._finder is None:
                    raise LogUnavailable("the log is not started: call start() first")
                yield self._finder
        except (KafkaError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka at {self._bootstrap} does not answer: {error!r}") from error

    def reader(self) -> Reader:
        """A member of the group, or with `group=None` the owner of all partitions."""
        return KafkaReader(self, self._topic, self._clock, self._group, self._member, self._session_ms)

    async def stop(self) -> None:
        """See `Log.stop`."""
        for client in (self._producer, self._finder):
            if client is not None:
                self._let_go(client)
        self._producer = self._finder = None
        if self._closing:
            await asyncio.wait(self._closing)
