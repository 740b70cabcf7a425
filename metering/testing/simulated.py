"""A world in one event loop, drawn from one seed: time that jumps, a broker whose group errs, processes that die.

The same seed gives the same run. Time is the loop's: it stands while anything can be done, then jumps to the next
timer.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from metering.clock import SystemClock
from metering.errors import LogUnavailable
from metering.stream.log import Assigned, Message, Position, Record, Revoked
from schemas.instants import Instant

START: Final = Instant.parse("2026-01-10T10:30:00Z")
DELAYS_S: Final = (0.0, 0.0, 0.0, 0.001, 0.005, 0.02, 0.02, 0.1, 1.0)
"""How long what passes between a process and the world may take: now and then long."""
FAULTS: Final = 0.02
"""How often something is lost on the way, unless all is calm."""
TAKEN_MAX: Final = 40
"""Records that a poll gives of a partition at most."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__()

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._virtual_s

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            if not self._scheduled:  # type: ignore[attr-defined]
                raise RuntimeError("every task waits for something that will never come")
            self._virtual_s = max(self._virtual_s, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class VirtualClock(SystemClock):
    """The clock of the world: the loop's time, from `START` on."""

    def now(self) -> Instant:
        """The present instant."""
        return Instant(START + int(asyncio.get_running_loop().time() * 1e6))


class Process:
    """A process as the world sees it: what it asks for takes time, may be lost, and ends with it."""

    def __init__(self, name: str, draw: random.Random) -> None:
        self.name = name
        self.dead = False
        self.calm = False
        self._draw = draw
        self._awake = asyncio.Event()
        self._awake.set()

    async def pass_over(self, what: str) -> None:
        """See `metering.testing.store.Link`. A dead process is cancelled wherever it asks for something."""
        await VirtualClock().sleep(self._draw.choice(DELAYS_S))
        while not self._awake.is_set() and not self.dead:
            await self._awake.wait()
        if self.dead:
            raise asyncio.CancelledError
        if not self.calm and self._draw.random() < FAULTS:
            raise ConnectionResetError(f"{what} was lost")

    def losing(self) -> bool:
        """See `metering.testing.store.Link`."""
        return not self.calm and self._draw.random() < FAULTS * 2

    def pause(self) -> None:
        """Stand still, as a machine that swaps does."""
        self._awake.clear()

    def resume(self) -> None:
        """Go on, knowing nothing of what happened meanwhile."""
        self._awake.set()

    def kill(self) -> None:
        """Die: nothing of it reaches the world from now on."""
        self.dead = True
        self._awake.set()


class Broker:
    """The records of all partitions, and the group of their readers."""

    def __init__(self, partitions: int, draw: random.Random) -> None:
        self.records: list[list[Record]] = [[] for _ in range(partitions)]
        self.members: list[BrokerReader] = []
        self.draw = draw

    async def rebalance(self, polite: bool) -> None:
        """Give every partition to a member drawn by lot; who is not told, or does not answer in time, reads on."""
        live = [reader for reader in self.members if not reader.process.dead]
        if not live:
            return
        target = {partition: self.draw.choice(live) for partition in range(len(self.records))}
        for reader in live:
            lost = frozenset(partition for partition in reader.held if target[partition] is not reader)
            if lost and (polite or self.draw.random() < 0.7):
                telling = asyncio.create_task(reader.lose(lost))
                await asyncio.wait([telling], timeout=60 if polite else self.draw.choice((0.0, 0.1, 5.0)))
        for reader in live:
            gained = frozenset(partition for partition, owner in target.items() if owner is reader) - reader.held
            if gained:
                await asyncio.wait([asyncio.create_task(reader.gain(gained))], timeout=60)


class BrokerLog:
    """The log as one process sees it. Appends may be lost, or written although their answer is lost."""

    keeps_time = True
    message_bytes_max = 1_000_000

    def __init__(self, broker: Broker, process: Process) -> None:
        self.identity = "simulated"
        self.partitions = len(broker.records)
        self._broker = broker
        self._process = process
        self._clock = VirtualClock()

    async def _pass(self, what: str) -> None:
        try:
            await self._process.pass_over(what)
        except ConnectionResetError as error:
            raise LogUnavailable(str(error)) from error

    async def start(self) -> None:
        """Nothing to connect to."""

    async def append(self, messages: Sequence[Message]) -> list[Position | None]:
        """See `Log.append`."""
        await self._pass("append")
        positions: list[Position | None] = []
        for message in messages:
            records = self._broker.records[message.partition]
            written = not self._process.losing()
            if written:
                positions.append(Position(message.partition, len(records)))
                records.append(Record(len(records), self._clock.now(), message.payload, message.headers))
            if not written or self._process.losing():
                positions[len(positions) - written :] = [None]
        await self._pass("acknowledgement")
        return positions

    async def ends(self) -> dict[int, int]:
        """See `Log.ends`."""
        await self._pass("ends")
        return {partition: len(records) for partition, records in enumerate(self._broker.records)}

    async def begins(self) -> dict[int, int]:
        """See `Log.begins`."""
        return dict.fromkeys(range(self.partitions), 0)

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        """See `Log.read`."""
        await self._pass("read")
        return self._broker.records[partition][first : last + 1]

    def reader(self) -> "BrokerReader":
        """See `Log.reader`."""
        return BrokerReader(self._broker, self._process)

    async def stop(self) -> None:
        """Nothing to disconnect from."""


class BrokerReader:
    """See `log.Reader`; which partitions it holds is what it was last told."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.process = process
        self.held: set[int] = set()
        self._broker = broker
        self._next: dict[int, int] = {}
        self._paused: set[int] = set()
        self._failure: Exception | None = None
        self._telling = asyncio.Lock()

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """Join; the next rebalance gives something."""
        self._assigned, self._revoked = assigned, revoked
        self._broker.members.append(self)

    async def gain(self, partitions: frozenset[int]) -> None:
        """Tell it what it has; nothing twice."""
        async with self._telling:
            partitions -= self.held
            self.held |= partitions
            try:
                self._next |= await self._assigned(partitions)
            except Exception as error:
                self._failure = error

    async def lose(self, partitions: frozenset[int]) -> None:
        """Tell it what it has no more."""
        async with self._telling:
            partitions &= self.held
            self.held -= partitions
            self._paused -= partitions
            for partition in partitions:
                self._next.pop(partition, None)
            await self._revoked(partitions)

    async def poll(self, records_max: int, wait_s: float) -> dict[int, list[Record]]:
        """See `Reader.poll`: of some partitions some records."""
        try:
            await self.process.pass_over("poll")
        except ConnectionResetError as error:
            raise LogUnavailable(str(error)) from error
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        draw, polled = self._broker.draw, {}
        for partition, offset in self._next.items():
            records = self._broker.records[partition][offset : offset + draw.randint(1, TAKEN_MAX)]
            if records and partition not in self._paused and draw.random() < 0.7:
                polled[partition] = records
        for partition, records in polled.items():
            self._next[partition] += len(records)
        if not polled:
            await VirtualClock().sleep(wait_s)
        return polled

    def pause(self, partitions: frozenset[int]) -> None:
        """See `Reader.pause`."""
        self._paused |= partitions

    def resume(self, partitions: frozenset[int]) -> None:
        """See `Reader.resume`."""
        self._paused -= partitions

    async def report(self, offsets: dict[int, int]) -> None:
        """Nobody asks."""

    async def stop(self) -> None:
        """Leave."""
        if self in self._broker.members:
            self._broker.members.remove(self)
        await self.lose(frozenset(self.held))
