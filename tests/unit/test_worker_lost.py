"""A worker whose log lost what one partition has to read next."""

import asyncio
from typing import cast

from metering.clock import SystemClock
from metering.observe.metrics import STREAM_STOPPED
from metering.stream.lane import Lane
from metering.stream.log import Message, Record
from metering.stream.worker import Worker
from metering.testing.broker import MemoryLog


class NotedLane:
    """A lane that begins at offset 0, keeps what it is offered, and ends when it is told."""

    full = False
    next_offset = 0

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.came = asyncio.Event()
        self.finished = asyncio.Event()

    async def take(self) -> int:
        return 0

    def offer(self, records: list[Record]) -> None:
        self.records += records
        self.came.set()

    async def run(self) -> None:
        await self.finished.wait()

    def finish(self) -> None:
        self.finished.set()

    def unreported(self) -> int | None:
        return None


async def test_lost_offset_stops_its_partition_and_the_others_go_on() -> None:
    log = MemoryLog(SystemClock(), partitions=2)
    await log.append([Message(0, b"a", b"1"), Message(0, b"a", b"2"), Message(1, b"b", b"3")])
    log.trim(0, before=1)
    lanes = {partition: NotedLane() for partition in range(2)}
    worker = Worker(log, lambda partition: cast(Lane, lanes[partition]), SystemClock())
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(10):
        await lanes[0].finished.wait()
        await log.append([Message(1, b"b", b"4")])
        while len(lanes[1].records) < 2:
            lanes[1].came.clear()
            await lanes[1].came.wait()
    assert lanes[0].records == []
    assert [record.payload for record in lanes[1].records] == [b"3", b"4"]
    assert STREAM_STOPPED.labels(0)._value.get() == 1
    assert not running.done()
    worker.stop()
    await running
