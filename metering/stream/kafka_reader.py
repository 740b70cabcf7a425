"""Reading a Kafka log as one member of the consumer group.

Kafka decides who reads which partition; where to begin is decided by the offsets in Postgres. aiokafka rebalances in a
background task, also while `poll` waits, and may begin to fetch at the group's own offset before the callback has
answered. So `poll` hands out nothing of a partition before its `seek`, and nothing across a rebalance.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
)

from metering.clock import Clock
from metering.errors import LogUnavailable, OffsetLost
from metering.stream.kafka_records import flat
from metering.stream.log import Assigned, Record, Revoked
from metering.stream.polled_reader import offset_lost

SESSION_MS: Final = 30_000
"""A member that is silent for so long has lost its partitions; above any pause of the event loop."""

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 3.0
CORRUPT_READS_MAX: Final = 3
"""A damaged record is read again so many times: the damage may be the network's."""

STALL_SECONDS: Final = 10.0
"""Without a record for so long the log is asked whether there should be one: a fetch task can end unnoticed."""


class Fetchable(Protocol):
    """What a reader needs of its log."""

    partitions: int

    def consumer(self, **settings: Any) -> AIOKafkaConsumer:
        """A consumer that skips and commits nothing by itself."""
        ...

    async def ends(self) -> dict[int, int]:
        """Per partition the offset that the next message will get."""
        ...


class KafkaReader(ConsumerRebalanceListener):  # type: ignore[misc]
    """See `log.Reader`. `group=None`: the one reader owns every partition, nobody else may read."""

    def __init__(
        self,
        log: Fetchable,
        topic: str,
        clock: Clock,
        group: str | None,
        member: str | None = None,
        session_ms: int = SESSION_MS,
    ) -> None:
        """`member` and `session_ms`: see `KafkaLog`."""
        self._log = log
        self._topic = topic
        self._clock = clock
        self._group = group
        self._membership = {"group_id": group, "group_instance_id": member, "session_timeout_ms": session_ms}
        self._consumer: AIOKafkaConsumer | None = None
        self._assigned: Assigned
        self._revoked: Revoked
        self._next: dict[int, int] = {}
        self._paused: set[int] = set()
        self._joined = asyncio.Event()
        self._owned = asyncio.Event()
        self._failure: BaseException | None = None
        self._lost: list[OffsetLost] = []
        self._generation = 0
        self._corrupt_reads = 0
        self._record_at = self._asked_at = time.monotonic()

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """See `Reader.start`; returns when the group has given its first partitions, at most `START_SECONDS` later."""
        self._assigned, self._revoked = assigned, revoked
        group = {} if self._group is None else self._membership
        self._consumer = self._log.consumer(fetch_max_wait_ms=100, **group)
        if self._group is not None:
            self._consumer.subscribe([self._topic], listener=self)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._consumer.start()
                if self._group is None:
                    here = [self._here(partition) for partition in range(self._log.partitions)]
                    self._consumer.assign(here)
                    await self.on_partitions_assigned(here)
                await self._joined.wait()
        except (KafkaError, TimeoutError) as error:
            await self.stop()
            raise LogUnavailable(f"the group of readers of {self._topic} could not be joined: {error!r}") from error
        self._raise_failure()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka at the beginning of a rebalance: everything is let go, for a while or for ever."""
        self._generation += 1
        lost = frozenset(self._next)
        self._next.clear()
        self._paused.clear()
        self._owned.clear()
        if lost:
            await self._guarded(lambda: self._revoked(lost))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka at the end of a rebalance; what goes wrong here is raised by the next `poll`."""
        gained = frozenset(partition.partition for partition in assigned)
        if gained:
            await self._guarded(lambda: self._take(gained))
        self._joined.set()

    async def _take(self, gained: frozenset[int]) -> None:
        offsets = await self._assigned(gained)
        here = [self._here(partition) for partition in gained]
        assert self._consumer is not None
        begins = await self._consumer.beginning_offsets(here)
        ends = await self._log.ends()
        for partition in gained:
            begin, end = begins[self._here(partition)], ends[partition]
            offset = offsets.get(partition)
            if offset is not None and begin <= offset <= end:
                self._consumer.seek(self._here(partition), offset)
                self._next[partition] = offset
                continue
            if offset is not None:
                self._lost.append(offset_lost(partition, offset, begin, end))
            self._leave_alone(partition, begin)
        self._record_at = time.monotonic()
        self._owned.set()

    def _leave_alone(self, partition: int, somewhere: int) -> None:
        """Held, but not read: aiokafka wants a position all the same."""
        assert self._consumer is not None
        self._next.pop(partition, None)
        self._consumer.seek(self._here(partition), somewhere)
        self._consumer.pause(self._here(partition))

    async def _guarded(self, action: Callable[[], Any]) -> None:
        """aiokafka only logs what a callback raises; here it reaches `poll`."""
        try:
            await action()
        except Exception as error:
            self._failure = error
            self._owned.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            if not self._next:
                self._owned.clear()
            if isinstance(failure, KafkaError):
                raise LogUnavailable(f"Kafka did not say where to begin: {failure!r}") from failure
            raise failure

    async def poll(self, records_max: int, wait_s: float) -> dict[int, list[Record]]:
        """See `Reader.poll`. Also raises what a callback raised, and `LogUnavailable` where fetching stands still."""
        self._raise_failure()
        consumer = self._consumer
        if consumer is None:
            raise LogUnavailable("the reader is not started: call start() first")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._owned.wait()
        self._raise_failure()
        if self._lost:
            raise self._lost.pop()
        if not self._next:
            return {}
        generation = self._generation
        got = await self._fetched(consumer, records_max, wait_s)
        if generation != self._generation:
            for here in got:
                if here.partition in self._next:
                    consumer.seek(here, self._next[here.partition])
            return {}
        polled = {}
        for here, records in got.items():
            if here.partition in self._next:
                polled[here.partition] = flat(records)
                self._next[here.partition] = polled[here.partition][-1].offset + 1
        if polled:
            self._record_at = time.monotonic()
            return polled
        await self._watch(consumer)
        return await self._passed_over(consumer)

    async def _passed_over(self, consumer: AIOKafkaConsumer) -> dict[int, list[Record]]:
        """An empty message where the log ends in what is no message: the marker of a transaction, or an aborted one.

        So whoever waits until everything before the log's end is committed does not wait for ever.
        """
        passed = {}
        for partition, offset in self._next.items():
            position = await self._position(consumer, partition)
            if position is not None and position > offset:
                passed[partition] = [Record(position - 1, self._clock.now(), b"[]")]
        self._next |= {partition: records[0].offset + 1 for partition, records in passed.items()}
        return passed

    async def _position(self, consumer: AIOKafkaConsumer, partition: int) -> int | None:
        """How far aiokafka has read; None while it does not know."""
        with contextlib.suppress(IllegalStateError, TimeoutError):
            async with asyncio.timeout(1):
                position: int = await consumer.position(self._here(partition))
                return position
        return None

    async def _fetched(
        self, consumer: AIOKafkaConsumer, records_max: int, wait_s: float
    ) -> dict[TopicPartition, list[list[Record]]]:
        """What aiokafka has, whole batches, so at most a fetch of each partition.

        It waits without a limit while the group rebalances, hence the time-out around it.
        """
        try:
            async with asyncio.timeout(wait_s + 1):
                got = await consumer.getmany(timeout_ms=int(wait_s * 1_000), max_records=records_max)
        except (TimeoutError, NoOffsetForPartitionError):
            return {}  # No offset: a partition before its `seek`.
        except OffsetOutOfRangeError as error:
            for here in error.args[0]:
                self._lost.append(await self._out_of_range(consumer, here.partition))
            return {}
        except RecordTooLargeError as error:
            raise OffsetLost(
                f"{self._topic}: the next record cannot be had: {error}; see docs/howto/operate.md"
            ) from error
        except CorruptRecordException as error:
            self._corrupt_reads += 1
            if self._corrupt_reads >= CORRUPT_READS_MAX:
                raise OffsetLost(f"{self._topic}: a record is damaged: {error}; see docs/howto/operate.md") from error
            return {}
        except KafkaError as error:
            raise LogUnavailable(f"{self._topic} cannot be read: {error!r}") from error
        if got:
            self._corrupt_reads = 0
        return got  # type: ignore[no-any-return]

    async def _out_of_range(self, consumer: AIOKafkaConsumer, partition: int) -> OffsetLost:
        """The error of a partition whose next offset the broker does not have; it is read no more."""
        here = self._here(partition)
        begin = (await consumer.beginning_offsets([here]))[here]
        lost = offset_lost(partition, self._next.get(partition, 0), begin, (await self._log.ends())[partition])
        self._leave_alone(partition, begin)
        return lost

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Raise `LogUnavailable` if records wait in the log and none has come for a long time."""
        now = time.monotonic()
        if now - max(self._record_at, self._asked_at) < STALL_SECONDS:
            return
        self._asked_at = now
        try:
            ends = await self._log.ends()
        except LogUnavailable:
            return  # Away is not stalled: aiokafka connects again.
        for partition in [partition for partition in self._next if partition not in self._paused]:
            position = await self._position(consumer, partition)
            if position is not None and position < ends[partition] and now - self._record_at > STALL_SECONDS:
                raise LogUnavailable(
                    f"partition {partition} of {self._topic} stands at {position} of {ends[partition]} for"
                    f" {now - self._record_at:.0f} s: start the reader again"
                )

    def pause(self, partitions: frozenset[int]) -> None:
        """See `Reader.pause`."""
        self._paused |= partitions & self._next.keys()
        self._each(partitions, "pause")

    def resume(self, partitions: frozenset[int]) -> None:
        """See `Reader.resume`."""
        self._paused -= partitions
        self._each(partitions, "resume")

    def _each(self, partitions: frozenset[int], action: str) -> None:
        assert self._consumer is not None
        for partition in partitions & self._next.keys():
            with contextlib.suppress(IllegalStateError):
                getattr(self._consumer, action)(self._here(partition))

    async def report(self, offsets: dict[int, int]) -> None:
        """See `Reader.report`; what cannot be told is told the next time."""
        ours = {self._here(partition): offset for partition, offset in offsets.items() if partition in self._next}
        if self._group is not None and self._consumer is not None and ours:
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._consumer.commit(ours)

    async def stop(self) -> None:
        """See `Reader.stop`."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        await self.on_partitions_revoked(())
        await stop_client(consumer)

    def _here(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)


async def stop_client(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client of aiokafka within some `STOP_SECONDS`, whether the broker is there or not.

    A producer would wait for ever to send what it holds: that is given up, and unacknowledged for its senders. A task
    of its own, because a consumer stopped before its first turn of the event loop trips over a task that never began.
    """
    if isinstance(client, AIOKafkaProducer):
        held = client._message_accumulator
        held.fail_all(KafkaConnectionError("the log was stopped"))
        for batch in [batch for batches in held._batches.values() for batch in batches]:
            batch._drain_waiter.exception()  # Nobody waits for it, and asyncio would complain.
    stopping = asyncio.create_task(client.stop())
    await asyncio.wait([stopping], timeout=STOP_SECONDS)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait([stopping], timeout=STOP_SECONDS)
        await (client.client if isinstance(client, AIOKafkaProducer) else client._client).close()
    with contextlib.suppress(KafkaError, asyncio.CancelledError):
        await stopping
