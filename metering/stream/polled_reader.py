"""Reading a log that has no groups of its own (Postgres, or memory): leases say who reads which partition.

Each reader asks every second how many there are and holds its fair share; what is too much it lets go, after `revoked`,
what is free it takes. A lease that is lost unnoticed does no harm: the epoch in `partition_state` fences its reader.
"""

import asyncio
import contextlib
import time
from typing import Final, Protocol

from metering.clock import Clock
from metering.errors import LogUnavailable, OffsetLost
from metering.stream.log import Assigned, Record, Revoked

SHARE_SECONDS: Final = 1.0
"""Between two looks at who else reads."""

WAIT_SECONDS: Final = 0.05
"""Between two looks for new records, unless the log itself tells of one."""


class Leases(Protocol):
    """Who reads which partition; every call may raise `LogUnavailable`, and then nothing is held any more."""

    async def members(self) -> int:
        """How many read, this one included: the first call joins."""
        ...

    async def claim(self, partition: int) -> bool:
        """Take the partition; False if another has it."""
        ...

    async def release(self, partition: int) -> None:
        """Let another have it."""
        ...

    async def leave(self) -> None:
        """Let everything go. Never raises."""
        ...


class Polled(Protocol):
    """What a reader needs of its log."""

    partitions: int
    appended: asyncio.Event
    """Set by whoever appends in this process."""

    async def bounds(self) -> dict[int, tuple[int, int]]:
        """Per partition the first offset that it holds, and the next one to be given."""
        ...

    async def fetch(self, wanted: dict[int, int], records_max: int) -> dict[int, list[Record]]:
        """Records from the offset wanted on, in order, `fair_part` of each; only partitions that have some."""
        ...


def fair_part(records_max: int, wanted: dict[int, int]) -> int:
    """How many records one partition may give, so that no partition waits behind a full one."""
    return max(1, records_max // max(1, len(wanted)))


def offset_lost(partition: int, offset: int, begin: int, end: int) -> OffsetLost:
    """The error of a partition that holds other offsets than the next one to read."""
    return OffsetLost(
        f"partition {partition} of the log holds offsets {begin} to {end - 1}, the next to read is {offset};"
        " see docs/howto/operate.md",
        partition,
    )


class PolledReader:
    """See `log.Reader`. The callbacks are awaited in a background task, also while `poll` waits, as Kafka does it."""

    def __init__(self, log: Polled, leases: Leases, clock: Clock) -> None:
        self._log = log
        self._leases = leases
        self._clock = clock
        self._assigned: Assigned
        self._revoked: Revoked
        self._held: set[int] = set()
        self._next: dict[int, int] = {}
        self._lost: list[OffsetLost] = []
        self._paused: set[int] = set()
        self._failure: Exception | None = None
        self._sharing: asyncio.Task[None] | None = None

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """See `Reader.start`; what is free is held on return."""
        self._assigned, self._revoked = assigned, revoked
        try:
            await self._share()
        except BaseException:
            await self._leases.leave()
            raise
        self._sharing = asyncio.create_task(self._keep_sharing())

    async def _keep_sharing(self) -> None:
        while self._failure is None:
            await self._clock.sleep(SHARE_SECONDS)
            try:
                await self._share()
            except LogUnavailable:
                await self._lose(frozenset(self._held))
                await self._leases.leave()
            except Exception as error:
                self._failure = error

    async def _share(self) -> None:
        most = -(-self._log.partitions // await self._leases.members())
        if surplus := frozenset(sorted(self._held)[most:]):
            await self._lose(surplus)
            for partition in surplus:
                await self._leases.release(partition)
            return
        gained: list[int] = []
        for partition in range(self._log.partitions):
            if len(self._held) + len(gained) == most:
                break
            if partition not in self._held and await self._leases.claim(partition):
                gained.append(partition)
        if gained:
            try:
                await self._take(frozenset(gained))
            except Exception:
                for partition in gained:
                    await self._leases.release(partition)
                raise

    async def _take(self, gained: frozenset[int]) -> None:
        offsets = await self._assigned(gained)
        self._held |= gained
        bounds = await self._log.bounds()
        for partition, offset in offsets.items():
            begin, end = bounds[partition]
            if begin <= offset <= end:
                self._next[partition] = offset
            else:
                self._lost.append(offset_lost(partition, offset, begin, end))

    async def _lose(self, lost: frozenset[int]) -> None:
        self._held -= lost
        self._paused -= lost
        for partition in lost:
            self._next.pop(partition, None)
        if lost:
            await self._revoked(lost)

    async def poll(self, records_max: int, wait_s: float) -> dict[int, list[Record]]:
        """See `Reader.poll`. Raises what a callback raised; a log that is away has no records."""
        deadline = time.monotonic() + wait_s
        while True:
            if self._lost:
                raise self._lost.pop()
            if self._failure is not None:
                raise self._failure
            self._log.appended.clear()
            wanted = {partition: offset for partition, offset in self._next.items() if partition not in self._paused}
            with contextlib.suppress(LogUnavailable):
                if wanted and (polled := self._still_ours(wanted, await self._log.fetch(wanted, records_max))):
                    return polled
            left = deadline - time.monotonic()
            if left <= 0:
                return {}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, WAIT_SECONDS)):
                    await self._log.appended.wait()

    def _still_ours(self, wanted: dict[int, int], fetched: dict[int, list[Record]]) -> dict[int, list[Record]]:
        """What was fetched for partitions that nobody took or paused meanwhile; moves on behind it."""
        ours = {}
        for partition, records in fetched.items():
            if self._next.get(partition) != wanted[partition] or partition in self._paused:
                continue
            if records[0].offset != wanted[partition]:
                del self._next[partition]
                self._lost.append(offset_lost(partition, wanted[partition], records[0].offset, records[-1].offset + 1))
                continue
            self._next[partition] = records[-1].offset + 1
            ours[partition] = records
        return ours

    def pause(self, partitions: frozenset[int]) -> None:
        """See `Reader.pause`."""
        self._paused |= partitions & self._next.keys()

    def resume(self, partitions: frozenset[int]) -> None:
        """See `Reader.resume`."""
        self._paused -= partitions

    async def report(self, offsets: dict[int, int]) -> None:
        """Nothing to tell: whoever can see this log sees `partition_state` too."""

    async def stop(self) -> None:
        """See `Reader.stop`."""
        if self._sharing is not None:
            self._sharing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sharing
            self._sharing = None
        await self._lose(frozenset(self._held))
        await self._leases.leave()
