"""What every log keeps: in memory, in Postgres, in the embedded broker and in Apache Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from metering.clock import Clock, SettableClock, SystemClock
from metering.errors import OffsetLost
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Log, Message, Position, Reader, Record
from metering.stream.postgres_log import PostgresLog
from metering.testing.broker import MemoryLog
from schemas.instants import DAY, Instant

NOW = Instant.parse("2026-01-05T10:00:00Z")
PARTITIONS = 4
KAFKA = pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.xdist_group("kafka")])
KINDS = ["memory", "postgres", "embedded", KAFKA]
GROUPED = ["memory", "postgres", KAFKA]  # The embedded broker is read by one reader that owns everything.
SERVERS = {"memory": "tmp_path", "postgres": "pool", "embedded": "broker", "kafka": "kafka"}
Opened = Callable[[Clock], Awaitable[Log]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which log."""
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, kind: str) -> Any:
    """Where it is kept."""
    return request.getfixturevalue(SERVERS[kind])


@pytest.fixture
async def opened(kind: str, server: Any, make_topic: Callable[..., Awaitable[str]]) -> AsyncIterator[Opened]:
    """`await opened(clock)`: a started log of `PARTITIONS` partitions, the same each time."""
    logs: list[Log] = []
    memory = MemoryLog(SystemClock(), PARTITIONS)
    topic = await make_topic(server, PARTITIONS) if kind in ("embedded", "kafka") else ""

    async def open_log(clock: Clock) -> Log:
        log: Log = memory
        if kind == "memory":
            memory._clock = clock
        elif kind == "postgres":
            log = PostgresLog(server, clock=clock, partitions=PARTITIONS)
        else:
            group = topic if kind == "kafka" else None
            log = KafkaLog(server.bootstrap, topic, clock=clock, group=group, embedded=kind == "embedded")
        await log.start()
        logs.append(log)
        return log

    yield open_log
    for log in logs:
        await log.stop()


def message(partition: int, payload: bytes, *headers: tuple[str, bytes]) -> Message:
    """A message of some customer."""
    return Message(partition, b"acme", payload, headers)


class Held:
    """The callbacks of a reader: begins at the offsets told, notes what it holds."""

    def __init__(self, offsets: dict[int, int] | None = None) -> None:
        self.offsets = offsets or {}
        self.partitions: set[int] = set()
        self.lost: list[int] = []

    async def assigned(self, partitions: frozenset[int]) -> dict[int, int]:
        """Answer where to begin."""
        self.partitions |= partitions
        return {partition: self.offsets.get(partition, 0) for partition in partitions}

    async def revoked(self, partitions: frozenset[int]) -> None:
        """Let go."""
        self.partitions -= partitions
        self.lost += partitions


async def poll_until(reader: Reader, count: int, seconds: int = 20) -> dict[int, list[Record]]:
    """Poll until `count` records came."""
    found: dict[int, list[Record]] = {}
    async with asyncio.timeout(seconds):
        while sum(map(len, found.values())) < count:
            for partition, records in (await reader.poll(1_000, 0.2)).items():
                found.setdefault(partition, []).extend(records)
    return found


async def test_messages_appended_are_read_in_order_from_the_offset_wanted(opened: Opened) -> None:
    log = await opened(SystemClock())
    first = await log.append([message(1, b"a"), message(3, b"b"), message(1, b"c")])
    second = await log.append([message(1, b"d")])
    assert first == [Position(1, 0), Position(3, 0), Position(1, 1)]
    assert second == [Position(1, 2)]
    assert await log.ends() == {0: 0, 1: 3, 2: 0, 3: 1}
    held, reader = Held({1: 1}), log.reader()
    await reader.start(held.assigned, held.revoked)
    found = await poll_until(reader, 3)
    assert held.partitions == {0, 1, 2, 3}
    assert [(record.offset, record.payload) for record in found[1]] == [(1, b"c"), (2, b"d")]
    assert [(record.offset, record.payload) for record in found[3]] == [(0, b"b")]
    later = await log.append([message(0, b"e")])
    assert (await poll_until(reader, 1))[0][0].payload == b"e"
    assert later == [Position(0, 0)]
    await reader.report({0: 1, 1: 3})
    await reader.stop()
    assert sorted(held.lost) == [0, 1, 2, 3]


async def test_log_opened_again_is_the_same_log(opened: Opened) -> None:
    one, other = await opened(SystemClock()), await opened(SystemClock())
    assert one.identity == other.identity != ""
    assert one.partitions == other.partitions == PARTITIONS


async def test_range_read_alone_gives_those_records(opened: Opened) -> None:
    log = await opened(SystemClock())
    await log.append([message(2, b"%d" % number) for number in range(10)])
    records = await log.read(2, 3, 6)
    assert [(record.offset, record.payload) for record in records] == [(n, b"%d" % n) for n in range(3, 7)]
    assert await log.read(2, 9, 8) == []
    assert [record.offset for record in await log.read(2, 9, 9)] == [9]


async def test_settable_clock_takes_the_time_of_receipt_from_the_header(opened: Opened) -> None:
    clock = SettableClock(NOW)
    log = await opened(clock)
    await log.append([message(0, b"x", ("received", b"%d" % (NOW - 5)), ("late-window", b"77")), message(0, b"y")])
    told, untold = await log.read(0, 0, 1)
    assert told.received == NOW - 5
    assert dict(told.headers)["late-window"] == b"77"
    assert untold.received == NOW


async def test_machine_clock_takes_the_time_of_receipt_from_the_log(opened: Opened) -> None:
    clock = SystemClock()
    log = await opened(clock)
    before = clock.now()
    await log.append([message(0, b"x", ("received", b"5"))])
    (record,) = await log.read(0, 0, 0)
    if log.keeps_time:
        assert before - 1_000 <= record.received <= clock.now() + 1_000
    else:
        assert record.received == 5


async def test_offset_beyond_the_log_is_lost(opened: Opened) -> None:
    log = await opened(SystemClock())
    await log.append([message(0, b"x")])
    held, reader = Held({0: 7}), log.reader()
    with pytest.raises(OffsetLost, match="partition 0"):
        await started_and_polled(reader, held)
    await reader.stop()


async def started_and_polled(reader: Reader, held: Held) -> None:
    """Errors of the callbacks come with the start or the next poll."""
    await reader.start(held.assigned, held.revoked)
    for _ in range(20):
        await reader.poll(10, 0.5)


async def test_lost_offset_stops_its_partition_and_no_other(opened: Opened) -> None:
    log = await opened(SystemClock())
    await log.append([message(0, b"x"), message(1, b"y")])
    held, reader = Held({0: 7}), log.reader()
    await reader.start(held.assigned, held.revoked)
    found, lost = dict[int, list[Record]](), list[int | None]()
    async with asyncio.timeout(20):
        while not (found and lost):
            try:
                found |= await reader.poll(10, 0.2)
            except OffsetLost as error:
                lost.append(error.partition)
    assert set(found) == {1}
    assert lost == [0]
    await reader.stop()


async def test_partition_that_the_owner_leaves_out_is_held_and_not_read(opened: Opened) -> None:
    log = await opened(SystemClock())
    held, reader = Held(), log.reader()
    asked: list[int] = []

    async def some(partitions: frozenset[int]) -> dict[int, int]:
        asked.extend(partitions)
        return {partition: 0 for partition in partitions if partition != 2}

    await reader.start(some, held.revoked)
    await log.append([message(2, b"no"), message(1, b"yes")])
    assert set(await poll_until(reader, 1)) == {1}
    for _ in range(5):
        assert await reader.poll(10, 0.3) == {}
    assert sorted(asked) == [0, 1, 2, 3]
    await reader.stop()


async def test_error_of_a_callback_reaches_the_reader(opened: Opened) -> None:
    log = await opened(SystemClock())
    held, reader = Held(), log.reader()

    async def failing(partitions: frozenset[int]) -> dict[int, int]:
        raise RuntimeError("no")

    held.assigned = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no"):
        await started_and_polled(reader, held)
    await reader.stop()


async def test_paused_partition_waits_and_loses_nothing(opened: Opened) -> None:
    log = await opened(SystemClock())
    held, reader = Held(), log.reader()
    await reader.start(held.assigned, held.revoked)
    reader.pause(frozenset({0}))
    await log.append([message(0, b"waits"), message(1, b"goes")])
    assert set(await poll_until(reader, 1)) == {1}
    assert await reader.poll(10, 0.3) == {}
    reader.resume(frozenset({0}))
    assert [record.payload for record in (await poll_until(reader, 1))[0]] == [b"waits"]
    await reader.stop()


async def test_many_appends_at_once_get_offsets_without_gaps(opened: Opened) -> None:
    log = await opened(SystemClock())
    answers = await asyncio.gather(
        *(log.append([message(n % PARTITIONS, b"%d" % n), message(0, b"z%d" % n)]) for n in range(40))
    )
    positions = [position for answer in answers for position in answer if position is not None]
    assert len(set(positions)) == 80
    assert await log.ends() == {0: 50, 1: 10, 2: 10, 3: 10}
    own, common = answers[5]
    assert own is not None
    assert common is not None
    assert (await log.read(1, own.offset, own.offset))[0].payload == b"5"
    assert (await log.read(0, common.offset, common.offset))[0].payload == b"z5"


async def test_more_bytes_than_one_batch_are_all_appended(opened: Opened) -> None:
    log = await opened(SystemClock())
    big = [message(0, bytes([65 + n]) * 600_000) for n in range(5)]
    assert await log.append(big) == [Position(0, n) for n in range(5)]
    held, reader = Held(), log.reader()
    await reader.start(held.assigned, held.revoked)
    found = await poll_until(reader, 5)
    assert [record.payload for record in found[0]] == [sent.payload for sent in big]
    await reader.stop()


@pytest.mark.parametrize("kind", GROUPED, indirect=True)
async def test_second_reader_takes_its_share_and_gives_it_back(opened: Opened) -> None:
    log = await opened(SystemClock())
    one, other = Held(), Held()
    first, second = log.reader(), log.reader()
    await first.start(one.assigned, one.revoked)
    polling = asyncio.create_task(keep_polling(first))
    starting = asyncio.create_task(second.start(other.assigned, other.revoked))
    await starting
    polling_too = asyncio.create_task(keep_polling(second))
    await until(lambda: len(one.partitions) == len(other.partitions) == 2)
    assert one.partitions | other.partitions == {0, 1, 2, 3}
    polling_too.cancel()
    await second.stop()
    assert not other.partitions
    await until(lambda: one.partitions == {0, 1, 2, 3})
    polling.cancel()
    await first.stop()


async def keep_polling(reader: Reader) -> None:
    """A reader has to poll to stay a member."""
    while True:
        await reader.poll(10, 0.1)


async def until(condition: Callable[[], bool], seconds: int = 30) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
async def test_trimmed_log_forgets_what_is_committed_and_old_only(opened: Opened) -> None:
    log = await opened(SystemClock())
    assert isinstance(log, PostgresLog)
    await log.append([message(0, b"%d" % n) for n in range(5)])
    now = SystemClock().now()
    await log.trim({0: 3}, Instant(now - DAY))
    assert len(await log.read(0, 0, 9)) == 5
    await log.trim({0: 3}, Instant(now + DAY))
    assert [record.offset for record in await log.read(0, 0, 9)] == [3, 4]
    assert (await log.bounds())[0] == (3, 5)
    held, reader = Held({0: 2}), log.reader()
    with pytest.raises(OffsetLost, match="holds offsets 3 to 4"):
        await started_and_polled(reader, held)
    await reader.stop()
