"""From valid events to acknowledged messages: a customer's partition, one message for many events.

Requests that arrive while the log answers an earlier one wait together and go together, so the log's cost is shared by
as many events as arrive meanwhile, and a lone request waits for nobody. Memory is bounded by a budget: beyond it, the
next request is told to come again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, NamedTuple

from metering.clock import Clock
from metering.errors import LogUnavailable
from metering.ingest.budget import Budget
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


class Part:
    """Events of one request that lie together in one message."""

    __slots__ = ("_request", "bytes", "events", "position")

    def __init__(self, request: "_Request", events: list[Valid], count: int) -> None:
        self.events = events
        self.bytes = count
        self.position: Position | None = None
        """Where they lie; None if the log has not acknowledged them."""
        self._request = request

    def let_go(self) -> None:
        """The log has answered: tell the request when this was the last of its parts."""
        self._request.left -= 1
        if not self._request.left:
            self._request.answered.set()


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
        self._waiting: defaultdict[_Lane, list[Part]] = defaultdict(list)
        self._appends: set[asyncio.Task[None]] = set()

    async def publish(self, events: Sequence[Valid], late_window: int | None) -> list[Part]:
        """Append events; answers their parts, each with its position or, where the log did not answer in time, None.

        late_window: in microseconds, if it was raised for these. Raises `Overloaded` before anything is sent.
        """
        if not events:
            return []
        groups: defaultdict[int, list[Valid]] = defaultdict(list)
        partitions = self._log.partitions
        for event in events:
            groups[_partition_of(event[1], partitions)].append(event)
        request = _Request()
        parts = {partition: list(self._parts(request, group)) for partition, group in groups.items()}
        made = [part for group in parts.values() for part in group]
        self._budget.take(sum([part.bytes for part in made]))
        request.left = len(made)
        for partition, group in parts.items():
            self._waiting[_Lane(partition, late_window)] += group
        self._append_next()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await request.answered.wait()
        return made

    def _parts(self, request: _Request, events: list[Valid]) -> Iterator[Part]:
        """One customer's partition's events in as many parts as they need messages: mostly one."""
        sizes = [len(raw) + 1 for _, _, raw in events]
        size = sum(sizes)
        if size <= self._payload_max and len(events) <= MESSAGE_EVENTS_MAX:
            yield Part(request, events, size)
            return
        begin = size = 0
        for end, more in enumerate(sizes):
            if size + more > self._payload_max or end - begin == MESSAGE_EVENTS_MAX:
                yield Part(request, events[begin:end], size)
                begin, size = end, 0
            size += more
        yield Part(request, events[begin:], size)

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
        messages, carried = list[Message](), list[list[Part]]()
        for lane, parts in waiting.items():
            headers = self._headers(received, lane.late_window)
            for load in self._loads(parts):
                messages.append(Message(lane.partition, load[0].events[0][1].encode(), _payload(load), headers))
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

    def _loads(self, parts: list[Part]) -> Iterable[list[Part]]:
        """Parts that fit into one message each."""
        load, size, events = list[Part](), 0, 0
        for part in parts:
            if load and (size + part.bytes > self._payload_max or events + len(part.events) > MESSAGE_EVENTS_MAX):
                yield load
                load, size, events = [], 0, 0
            load.append(part)
            size += part.bytes
            events += len(part.events)
        yield load

    def _headers(self, received: int, late_window: int | None) -> tuple[tuple[str, bytes], ...]:
        headers = []
        if self._clock.settable or not self._log.keeps_time:
            headers.append(("received", b"%d" % received))
        if late_window is not None:
            headers.append(("late-window", b"%d" % late_window))
        return tuple(headers)

    def _let_go(self, carried: list[list[Part]]) -> None:
        for load in carried:
            for part in load:
                self._budget.give(part.bytes)
                part.let_go()

    async def close(self) -> None:
        """Wait for what is on its way; the log answers within 5 seconds."""
        while self._appends:
            await asyncio.wait(self._appends)


def _payload(load: list[Part]) -> bytes:
    """One event as it is, several as a JSON array."""
    raws = [raw for part in load for _, _, raw in part.events]
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
