"""From valid events to acknowledged messages: a customer's partition, one message for many events.

Requests that arrive while the log answers an earlier one wait together and go together, so the log's cost is shared by
as many events as arrive meanwhile, and a lone request waits for nobody. Memory is bounded by a budget: beyond it, the
next request is told to come again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, NamedTuple

from metering.clock import Clock
from metering.errors import LogUnavailable
from metering.ingest.validate import Valid
from metering.stream.log import Log, Message, Position
from schemas.ids import partition_of

ANSWER_SECONDS: Final = 4.5
"""After so long a request is answered, with what is known then (design 7: within 5 s)."""

APPENDS_MAX: Final = 2
"""Appends at once. One is on its way while the next is prepared; more would only be smaller."""

MESSAGE_EVENTS_MAX: Final = 10_000
"""Events of one message: their places must fit into 16 bits, and readers take a message whole."""

OVERHEAD_BYTES: Final = 2_048
"""Of a message, beyond its payload: key (at most 255 characters), headers, and what the log adds."""

_partition_of = lru_cache(maxsize=100_000)(partition_of)


class Overloaded(Exception):
    """More bytes are on their way than the budget allows: come again in a moment."""


class Budget:
    """Bytes that may be on their way at a time."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.taken = 0

    def take(self, count: int) -> None:
        """Account for bytes that are held from now on; `Overloaded` if there is no room for them."""
        if self.taken + count > self._bytes_max:
            raise Overloaded(f"{self.taken:,} bytes are on their way; {self._bytes_max:,} are the most at a time")
        self.taken += count

    def give(self, count: int) -> None:
        """Account for bytes that are let go."""
        self.taken -= count

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A share that is given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.give(share.taken)


class Share:
    """What one request holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, count: int) -> None:
        """See `Budget.take`."""
        self._budget.take(count)
        self.taken += count


class _Part:
    """The events of one request that go into one message."""

    __slots__ = ("bytes", "key", "position", "raws", "request")

    def __init__(self, request: "_Request", key: bytes) -> None:
        self.request = request
        self.key = key
        self.raws: list[bytes] = []
        self.bytes = 0
        self.position: Position | None = None


class _Request:
    """A request that waits for its parts."""

    __slots__ = ("answered", "left")

    def __init__(self) -> None:
        self.left = 0
        self.answered = asyncio.Event()


class _Lane(NamedTuple):
    """What may share a message."""

    partition: int
    late_window: int | None


class Publisher:
    """Appends the events of many requests to the log."""

    def __init__(self, log: Log, clock: Clock, budget: Budget) -> None:
        self._log = log
        self._clock = clock
        self._budget = budget
        self._payload_max = log.message_bytes_max - OVERHEAD_BYTES
        self._waiting: defaultdict[_Lane, list[_Part]] = defaultdict(list)
        self._appends: set[asyncio.Task[None]] = set()

    async def publish(self, events: Sequence[Valid], late_window: int | None) -> list[Position | None]:
        """Where each event lies, in the order given; None where the log has not acknowledged it in time.

        late_window: in microseconds, if it was raised for these. Raises `Overloaded` before anything is sent.
        """
        self._budget.take(sum([len(raw) for _, _, raw in events]))
        request, parts = _Request(), list[_Part]()
        open_parts: dict[int, _Part] = {}
        part_of: list[_Part] = []
        partitions = self._log.partitions
        for _, subject, raw in events:
            partition = _partition_of(subject, partitions)
            part = open_parts.get(partition)
            if part is None or part.bytes + len(raw) >= self._payload_max or len(part.raws) == MESSAGE_EVENTS_MAX:
                part = open_parts[partition] = _Part(request, subject.encode())
                parts.append(part)
                self._waiting[_Lane(partition, late_window)].append(part)
            part.raws.append(raw)
            part.bytes += len(raw) + 1
            part_of.append(part)
        if not parts:
            return []
        request.left = len(parts)
        self._append_next()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await request.answered.wait()
        except TimeoutError:
            pass
        return [part.position for part in part_of]

    def _append_next(self) -> None:
        if self._waiting and len(self._appends) < APPENDS_MAX:
            # What else is ready in this turn of the event loop goes along: the task takes it when it begins.
            task = asyncio.create_task(self._append())
            self._appends.add(task)
            task.add_done_callback(self._appended)

    def _appended(self, task: asyncio.Task[None]) -> None:
        self._appends.discard(task)
        self._append_next()
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "an append failed", "exception": error})

    async def _append(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        received = self._clock.now()
        messages, carried = list[Message](), list[list[_Part]]()
        for lane, parts in waiting.items():
            headers = self._headers(received, lane.late_window)
            for load in self._loads(parts):
                messages.append(Message(lane.partition, load[0].key, _payload(load), headers))
                carried.append(load)
        try:
            if not messages:
                return
            positions = await self._log.append(messages)
            for load, position in zip(carried, positions, strict=True):
                for part in load:
                    part.position = position
        except LogUnavailable:
            pass  # No position: unknown. The request says so.
        finally:
            self._let_go(carried)

    def _loads(self, parts: list[_Part]) -> Iterable[list[_Part]]:
        """Parts that fit into one message each."""
        load, size, events = list[_Part](), 0, 0
        for part in parts:
            if load and (size + part.bytes > self._payload_max or events + len(part.raws) > MESSAGE_EVENTS_MAX):
                yield load
                load, size, events = [], 0, 0
            load.append(part)
            size += part.bytes
            events += len(part.raws)
        yield load

    def _headers(self, received: int, late_window: int | None) -> tuple[tuple[str, bytes], ...]:
        headers = []
        if self._clock.settable or not self._log.keeps_time:
            headers.append(("received", b"%d" % received))
        if late_window is not None:
            headers.append(("late-window", b"%d" % late_window))
        return tuple(headers)

    def _let_go(self, carried: list[list[_Part]]) -> None:
        for load in carried:
            for part in load:
                self._budget.give(part.bytes - len(part.raws))
                part.raws.clear()
                part.request.left -= 1
                if not part.request.left:
                    part.request.answered.set()

    async def close(self) -> None:
        """Wait for what is on its way; the log answers within 5 seconds."""
        while self._appends:
            await asyncio.wait(self._appends)


def _payload(load: list[_Part]) -> bytes:
    """One event as it is, several as a JSON array."""
    raws = [raw for part in load for raw in part.raws]
    return raws[0] if len(raws) == 1 else b"[" + b",".join(raws) + b"]"


def encode_position(positions: Iterable[Position]) -> str:
    """The text that stands for all these positions: per partition the last, as `3:1042,5:7`."""
    last: dict[int, int] = {}
    for partition, offset in positions:
        last[partition] = max(offset, last.get(partition, 0))
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(last.items()))


def decode_position(text: str) -> list[Position]:
    """What `encode_position` wrote; `ValueError` for anything else."""
    positions = []
    for pair in text.split(",") if text else []:
        partition, colon, offset = pair.partition(":")
        if not (colon and _is_number(partition) and _is_number(offset)):
            raise ValueError(f"{text[:80]!r} is no position such as 3:1042,5:7")
        positions.append(Position(int(partition), int(offset)))
    return positions


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
