"""A catalog that changes while batches are on their way: events are metered by what is in force when they commit."""

import json

import asyncpg

from metering.clock import SettableClock
from metering.stream.checkpoint import Checkpoint
from metering.stream.log import Message
from metering.stream.partition import lock
from metering.subscriptions.accounts import Accounts
from metering.testing.broker import MemoryLog
from schemas.instants import DAY, Instant

NOW = Instant.parse("2026-01-10T10:30:00Z")


async def test_two_batches_decoded_before_a_meter_exists_are_both_metered(pool: asyncpg.Pool) -> None:
    clock = SettableClock(NOW)
    log = MemoryLog(clock, 1)
    checkpoint = Checkpoint(0, log, pool, clock, Accounts(), owner="test", late_window=35 * DAY)
    await checkpoint.take()
    for number in range(2):
        event = {"specversion": "1.0", "id": f"e{number}", "source": "app", "type": "call", "subject": "acme"}
        await log.append([Message(0, b"acme", json.dumps(event).encode())])
    async with pool.acquire() as connection, connection.transaction():
        meter = {"event_type": "call", "aggregation": "count"}
        await connection.execute("INSERT INTO meter VALUES ('calls', $1, $2)", meter, NOW.moment())
        await lock(connection, 0)
    # The second batch is decoded while the first one's commit finds out that the meters are others.
    batches = [checkpoint.decode(await log.read(0, number, number)) for number in range(2)]
    for arrived in batches:
        await checkpoint.commit(await checkpoint.judge(arrived))
    rows = await pool.fetch("SELECT quantity::bigint AS quantity, events FROM usage")
    assert [(row["quantity"], row["events"]) for row in rows] == [(2, 2)]
    counts = await pool.fetch("SELECT code, events FROM outcome WHERE events > 0")
    assert [tuple(row) for row in counts] == [("accepted", 2)]
