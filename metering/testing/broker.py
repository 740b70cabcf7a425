"""A log in memory, for tests: the same contract as the real ones, and switches for what goes wrong."""

import asyncio
import uuid
from collections.abc import Sequence

from metering.clock import Clock
from metering.errors import LogUnavailable
from metering.stream.log import Message, Position, Reader, Record
from metering.stream.polled_reader import PolledReader, fair_part


class MemoryLog:
    """A `Log` of lists. `away`: nothing is acknowledged; `lost_answers`: what was written is not either."""

    def __init__(self, clock: Clock, partitions: int = 4, *, keeps_time: bool = True) -> None:
        self.identity = f"memory/{uuid.uuid4()}"
        self.partitions = partitions
        self.keeps_time = keeps_time
        self.message_bytes_max = 1_000_000
        self.appended = asyncio.Event()
        self.away = False
        self.lost_answers: frozenset[int] = frozenset()
        """Partitions that write, but whose acknowledgement never comes."""
        self._clock = clock
        self._records: list[list[Record]] = [[] for _ in range(partitions)]
        self._begins = [0] * partitions
        self._owners: dict[int, object] = {}
        self._members: set[object] = set()

    async def start(self) -> None:
        """Nothing to connect to."""

    async def append(self, messages: Sequence[Message]) -> list[Position | None]:
        """See `Log.append`."""
        if self.away:
            raise LogUnavailable("the log in memory plays away")
        positions: list[Position | None] = []
        for message in messages:
            records = self._records[message.partition]
            offset = self._begins[message.partition] + len(records)
            records.append(Record(offset, self._received(message), message.payload, message.headers))
            answered = message.partition not in self.lost_answers
            positions.append(Position(message.partition, offset) if answered else None)
        self.appended.set()
        if messages and not any(positions):
            raise LogUnavailable("the log in memory plays deaf")
        return positions

    def _received(self, message: Message) -> int:
        own = self.keeps_time and not self._clock.settable
        return self._clock.now() if own else int(dict(message.headers).get("received", self._clock.now()))

    async def ends(self) -> dict[int, int]:
        """See `Log.ends`."""
        return {partition: end for partition, (_, end) in (await self.bounds()).items()}

    async def begins(self) -> dict[int, int]:
        """See `Log.begins`."""
        return {partition: begin for partition, (begin, _) in (await self.bounds()).items()}

    async def bounds(self) -> dict[int, tuple[int, int]]:
        """Per partition the first offset and the next."""
        return {
            partition: (begin, begin + len(records))
            for partition, (begin, records) in enumerate(zip(self._begins, self._records, strict=True))
        }

    async def fetch(self, wanted: dict[int, int], records_max: int) -> dict[int, list[Record]]:
        """See `Polled.fetch`."""
        if self.away:
            raise LogUnavailable("the log in memory plays away")
        fetched = {}
        for partition, offset in wanted.items():
            first = max(0, offset - self._begins[partition])
            if records := self._records[partition][first : first + fair_part(records_max, wanted)]:
                fetched[partition] = records
        return fetched

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        """See `Log.read`."""
        return [record for record in self._records[partition] if first <= record.offset <= last]

    def tombstone(self, partition: int) -> None:
        """Append a record without a payload, as only a producer of Kafka's own can."""
        offset = self._begins[partition] + len(self._records[partition])
        self._records[partition].append(Record(offset, self._clock.now(), None))
        self.appended.set()

    def trim(self, partition: int, before: int) -> None:
        """Forget the records before an offset."""
        self._records[partition] = [record for record in self._records[partition] if record.offset >= before]
        self._begins[partition] = max(before, self._begins[partition])

    def reader(self) -> Reader:
        """See `Log.reader`."""
        return PolledReader(self, _Leases(self._owners, self._members), self._clock)

    async def stop(self) -> None:
        """Nothing to disconnect from."""


class _Leases:
    """Leases that the readers of one `MemoryLog` share."""

    def __init__(self, owners: dict[int, object], members: set[object]) -> None:
        self._owners = owners
        self._joined = members

    async def members(self) -> int:
        self._joined.add(self)
        return len(self._joined)

    async def claim(self, partition: int) -> bool:
        return self._owners.setdefault(partition, self) is self

    async def release(self, partition: int) -> None:
        if self._owners.get(partition) is self:
            del self._owners[partition]

    async def leave(self) -> None:
        self._joined.discard(self)
        for partition in [partition for partition, owner in self._owners.items() if owner is self]:
            del self._owners[partition]
