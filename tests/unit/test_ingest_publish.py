"""Events to messages: partitions, sizes, headers, time-outs, and what several requests share."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.clock import Clock, SettableClock, SystemClock
from metering.errors import LogUnavailable
from metering.ingest import publish as publishing
from metering.ingest.budget import Budget, Overloaded
from metering.ingest.publish import Publisher, decode_position, encode_position
from metering.ingest.validate import Valid
from metering.stream.log import Message, Position
from metering.testing.broker import MemoryLog
from schemas.ids import partition_of
from schemas.instants import Instant

NOW = Instant.parse("2026-01-05T10:00:00Z")
PARTITIONS = 4


class SlowLog(MemoryLog):
    """A log that answers when it is told to, and counts its appends."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, PARTITIONS)
        self.sent: list[list[Message]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()

    async def append(self, messages: Sequence[Message]) -> list[Position | None]:
        self.sent.append(list(messages))
        self.begun.set()
        await self.open.wait()
        return await super().append(messages)


def events(*names: str, subject: str = "acme") -> list[Valid]:
    """Valid events of one customer."""
    return [(index, subject, b'{"id":"%s"}' % name.encode()) for index, name in enumerate(names)]


async def placed(made: Publisher, sent: list[Valid], late_window: int | None = None) -> list[Position | None]:
    """Publish; where each event lies, in the order sent."""
    found: dict[int, Position | None] = {}
    for part in await made.publish(sent, late_window):
        found |= {index: part.position for index, _, _ in part.events}
    return [found[index] for index, _, _ in sent]


def publisher(log: MemoryLog, clock: Clock | None = None, bytes_max: int = 1_000_000) -> tuple[Publisher, Budget]:
    """A publisher with its budget."""
    budget = Budget(bytes_max)
    return Publisher(log, clock or SystemClock(), budget), budget


async def test_events_lie_on_the_partition_of_their_customer_in_their_order() -> None:
    log = SlowLog(SystemClock())
    made, budget = publisher(log)
    names = [f"customer-{number % 7}🦊" for number in range(50)]
    sent = [(index, name, b"%d" % index) for index, name in enumerate(names)]
    positions = await placed(made, sent)
    for (_, name, raw), position in zip(sent, positions, strict=True):
        assert position is not None
        assert position.partition == partition_of(name, PARTITIONS)
        (record,) = await log.read(position.partition, position.offset, position.offset)
        assert record.payload is not None
        assert msgspec.json.decode(raw) in msgspec.json.decode(record.payload)
    assert len(log.sent) == 1
    assert len(log.sent[0]) == len({position.partition for position in positions if position})
    for message in log.sent[0]:
        numbers = msgspec.json.decode(message.payload)
        assert numbers == sorted(numbers)
    assert budget.taken == 0


async def test_lone_event_is_a_message_as_it_came() -> None:
    log = SlowLog(SystemClock())
    await placed(publisher(log)[0], [(0, "acme", b'{"id": 1.0}')])
    assert log.sent[0][0].payload == b'{"id": 1.0}'
    assert log.sent[0][0].key == b"acme"
    assert log.sent[0][0].headers == ()


async def test_settable_clock_and_raised_window_are_written_into_headers() -> None:
    log = SlowLog(SettableClock(NOW))
    await placed(publisher(log, SettableClock(NOW))[0], events("a"), 77)
    assert log.sent[0][0].headers == (("received", b"%d" % NOW), ("late-window", b"77"))


async def test_log_that_keeps_no_time_is_told_it() -> None:
    log = SlowLog(SystemClock())
    log.keeps_time = False
    await placed(publisher(log)[0], events("a"))
    assert [name for name, _ in log.sent[0][0].headers] == ["received"]


async def test_requests_that_wait_together_go_together() -> None:
    log = SlowLog(SystemClock())
    made, _ = publisher(log)
    log.open.clear()
    first = [asyncio.create_task(placed(made, events(f"f{n}"))) for n in range(publishing.APPENDS_MAX)]
    await log.begun.wait()
    later = [asyncio.create_task(placed(made, events(f"l{n}", f"m{n}"))) for n in range(20)]
    backfill = asyncio.create_task(placed(made, events("old"), 77))
    await asyncio.sleep(0)
    log.open.set()
    await asyncio.gather(*first)
    positions = [position for answer in await asyncio.gather(*later) for position in answer]
    assert None not in positions
    assert len(set(positions)) == 1
    assert (await backfill)[0] not in positions
    assert sum(len(messages) for messages in log.sent) <= 4


async def test_message_never_exceeds_the_logs_size() -> None:
    log = SlowLog(SystemClock())
    made, budget = publisher(log, bytes_max=10_000_000)
    sent = [(index, "acme", b'"' + b"x" * 300_000 + b'"') for index in range(10)]
    positions = await placed(made, sent)
    assert [len(message.payload) <= log.message_bytes_max for message in log.sent[0]] == [True] * 4
    assert [position.offset for position in positions if position] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert budget.taken == 0


async def test_more_events_than_a_message_may_have_are_several_messages() -> None:
    log = SlowLog(SystemClock())
    positions = await placed(publisher(log)[0], [(index, "acme", b"1") for index in range(25_000)])
    assert [len(msgspec.json.decode(message.payload)) for message in log.sent[0]] == [10_000, 10_000, 5_000]
    assert len(set(positions)) == 3


async def test_log_that_is_away_leaves_all_unknown_and_recovers() -> None:
    log = SlowLog(SystemClock())
    made, budget = publisher(log)
    log.away = True
    assert await placed(made, events("a", "b")) == [None, None]
    assert budget.taken == 0
    log.away = False
    assert None not in await placed(made, events("a", "b"))


async def test_partition_without_an_answer_leaves_its_events_unknown_only() -> None:
    log = SlowLog(SystemClock())
    here, there = "acme", next(f"c{n}" for n in range(99) if partition_of(f"c{n}", 4) != partition_of("acme", 4))
    log.lost_answers = frozenset({partition_of(there, 4)})
    positions = await placed(publisher(log)[0], [(0, here, b"1"), (1, there, b"2"), (2, here, b"3")])
    assert [position is None for position in positions] == [False, True, False]


async def test_log_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "ANSWER_SECONDS", 0.05)
    log = SlowLog(SystemClock())
    made, budget = publisher(log)
    log.open.clear()
    assert await placed(made, events("a")) == [None]
    assert budget.taken > 0
    log.open.set()
    await made.close()
    assert budget.taken == 0


async def test_error_of_the_log_is_not_lost_and_answers_the_request() -> None:
    log = SlowLog(SystemClock())
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    async def broken(messages: Sequence[Message]) -> list[Position | None]:
        raise ValueError("broken")

    log.append = broken  # type: ignore[method-assign]
    assert await placed(publisher(log)[0], events("a")) == [None]
    await asyncio.sleep(0)
    assert [str(error) for error in told] == ["broken"]


async def test_budget_that_is_used_up_refuses_the_next_request() -> None:
    log = SlowLog(SystemClock())
    made, budget = publisher(log, bytes_max=30)
    log.open.clear()
    first = asyncio.create_task(placed(made, events("abcdefghij")))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await placed(made, events("abcdefghij"))
    log.open.set()
    assert None not in await first
    assert budget.taken == 0
    assert None not in await placed(made, events("abcdefghij"))


async def test_nothing_to_send_sends_nothing() -> None:
    log = SlowLog(SystemClock())
    log.away = True
    assert await placed(publisher(log)[0], []) == []
    with pytest.raises(LogUnavailable):
        await log.append([])


POSITIONS = st.builds(Position, st.integers(0, 2**31 - 1), st.integers(0, 2**53))


@given(st.lists(POSITIONS))
def test_position_text_keeps_the_last_offset_of_each_partition(positions: list[Position]) -> None:
    last = {partition: max(o for p, o in positions if p == partition) for partition, _ in positions}
    assert dict(decode_position(encode_position(positions))) == last


@pytest.mark.parametrize("text", ["3", "3:", ":1", "3:1,", "a:1", "3:-1", "3:1;4:2", "٣:1", "3:" + "9" * 30, " 3:1"])
def test_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        decode_position(text)
