"""A worker process for tests that kill it: `python stream_worker.py BOOTSTRAP TOPIC DSN MEMBER`; SIGTERM stops it."""

import asyncio
import signal
import sys

import uvloop

from metering.clock import SystemClock
from metering.postgres.pool import create_pool
from metering.stream.checkpoint import Checkpoint
from metering.stream.kafka_log import KafkaLog
from metering.stream.lane import Lane
from metering.stream.worker import Worker
from metering.subscriptions.accounts import Accounts
from metering.supervisor import Supervisor
from schemas.instants import DAY

SESSION_MS = 6_000
"""The least that a broker allows, so that the tests need not wait long for a member that is dead."""


async def work(bootstrap: str, topic: str, dsn: str, member: str) -> None:
    """Run one worker as the engine does, until SIGTERM."""
    clock = SystemClock()
    pool = await create_pool(dsn, size=6)
    log = KafkaLog(bootstrap, topic, clock=clock, member=member, session_ms=SESSION_MS)
    await log.start()
    accounts = Accounts()

    def lane(partition: int) -> Lane:
        return Lane(Checkpoint(partition, log, pool, clock, accounts, owner=member, late_window=35 * DAY), clock)

    supervisor = Supervisor({"worker": lambda: Worker(log, lane, clock)})
    supervisor.start()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    failed = asyncio.create_task(supervisor.failed())
    await asyncio.wait({failed, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        failed.result()
    await supervisor.stop()
    await log.stop()
    await pool.close()


if __name__ == "__main__":
    uvloop.run(work(*sys.argv[1:]))
