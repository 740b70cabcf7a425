"""What is to be sent, in order: first what lies on disk, then what is in memory. Lives in one event loop."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from metering.client.buffer import Batch, Buffer, Limits
from metering.client.spool import Segment, Spool
from schemas.instants import Instant

T = TypeVar("T")
_LOG: Final = logging.getLogger("metering.client")


class Entry:
    """A batch that waits: in memory, or as a segment on disk."""

    __slots__ = ("count", "events", "number", "segment", "size", "taken")

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.count = count
        self.events: list[bytes] | None = None
        self.size = 0
        """Bytes in memory; 0 if it lies on disk only."""
        self.segment: Segment | None = None
        self.taken = False
        """Whether it is being sent just now: then nothing is added to it."""


class Outbox:
    """The entries, and the spool under them if there is one."""

    def __init__(self, buffer: Buffer, limits: Limits, spool: Spool | None) -> None:
        self._buffer = buffer
        self._limits = limits
        self._spool = spool
        # One thread: what is done to the disk is done in order, also if the task that asked for it is cancelled.
        self._disk = ThreadPoolExecutor(1, "metering-spool") if spool is not None else None
        self._turn = asyncio.Lock()
        self._entries: deque[Entry] = deque()
        self.filled = asyncio.Event()
        self.spooled = 0
        """Events that were put on disk so far."""

    def __len__(self) -> int:
        return len(self._entries)

    def has_up_to(self, number: int) -> bool:
        """Whether an entry of this number, or of one before it, waits."""
        return bool(self._entries) and self._entries[0].number <= number

    @property
    def waiting(self) -> int:
        """Events."""
        return sum(entry.count for entry in list(self._entries))

    async def open(self, now: Instant) -> None:
        """Open the spool and take over what processes that are gone have left. `OSError` if it cannot be used."""
        if self._spool is not None:
            await self._do(self._spool.open, now)
            await self._take_over(self._spool)

    async def adopt(self) -> None:
        """Take over what processes have left that are gone since; only while nothing waits, so that order is kept."""
        if self._spool is not None and not self._entries:
            try:
                await self._take_over(self._spool)
            except OSError as error:
                _LOG.error("the spool: %s", error)

    async def _take_over(self, spool: Spool) -> None:
        for segment in await self._do(spool.adopt):
            entry = Entry(0, segment.count)
            entry.segment = segment
            self._entries.append(entry)
        if self._entries:
            self.filled.set()

    def add(self, batches: Sequence[Batch]) -> None:
        """Batches from the buffer, behind what waits."""
        for number, events, size in batches:
            entry = Entry(number, len(events))
            entry.events, entry.size = events, size
            self._entries.append(entry)
        if self._entries:
            self.filled.set()

    async def first(self) -> tuple[Entry, list[bytes]]:
        """The first entry and its events, once there is one; it is taken until `done` or `untake`."""
        while True:
            if not self._entries:
                self.filled.clear()
                await self.filled.wait()
            async with self._turn:
                entry = self._entries[0]
                entry.taken = True
                if entry.events is not None:
                    return entry, entry.events
                assert self._spool is not None
                assert entry.segment is not None
                try:
                    return entry, await self._do(self._spool.read, entry.segment)
                except OSError as error:
                    _LOG.error("%s cannot be read, its %d events are not sent: %s", entry.segment, entry.count, error)
                    self._entries.popleft()

    async def done(self, entry: Entry, refused: Sequence[bytes]) -> None:
        """The first entry was answered: forget it, but keep what was refused."""
        async with self._turn:
            if self._spool is not None:
                if refused:
                    await self._try(lambda spool: spool.refuse(refused))
                if (segment := entry.segment) is not None:
                    await self._try(lambda spool: spool.remove(segment))
            self._buffer.give_back(entry.size)
            assert self._entries[0] is entry
            self._entries.popleft()

    async def settle(self) -> None:
        """Put everything in memory on disk, as far as there is room; without a spool it stays where it is."""
        if self._spool is None:
            return
        async with self._turn:
            before: Entry | None = None
            for entry in list(self._entries):
                if entry.segment is None:
                    try:
                        merged = await self._put(before, entry)
                    except OSError as error:
                        _LOG.error("events stay in memory, they cannot be spooled: %s", error)
                        return
                    if merged:
                        continue
                before = entry

    async def _put(self, before: Entry | None, entry: Entry) -> bool:
        """Put an entry on disk: behind the one before it if that is small, then the two are one."""
        assert self._spool is not None
        assert entry.events is not None
        events, count, size = entry.events, entry.count, entry.size
        if before is not None and before.segment is not None and self._fits(before, entry):
            await self._do(self._spool.append, before.segment, events)
            before.number, before.count = entry.number, before.count + count
            self._entries.remove(entry)
        else:
            entry.segment = await self._do(self._spool.write, events)
        self.spooled += count
        entry.events, entry.size = None, 0
        self._buffer.give_back(size)
        return entry.segment is None

    def _fits(self, before: Entry, entry: Entry) -> bool:
        small = before.segment is not None and before.segment.size + entry.size <= self._limits.bytes
        return small and not before.taken and not entry.taken and before.count + entry.count <= self._limits.events

    def in_memory(self) -> list[bytes]:
        """The events that are nowhere else."""
        return [event for entry in self._entries if entry.segment is None for event in entry.events or ()]

    async def close(self) -> None:
        """Leave what is on disk to the next process."""
        if self._spool is not None and self._disk is not None:
            await self._try(Spool.close)
            self._disk.shutdown(wait=False)

    def abandon(self) -> None:
        """In a forked child: everything here is the parent's."""
        if self._spool is not None:
            self._spool.abandon()

    async def _try(self, work: Callable[[Spool], None]) -> None:
        assert self._spool is not None
        try:
            await self._do(work, self._spool)
        except OSError as error:
            _LOG.error("the spool: %s", error)

    async def _do(self, work: Callable[..., T], *arguments: object) -> T:
        """Do it in the spool's own thread: a disk may be slow."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
