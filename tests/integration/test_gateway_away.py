"""The gateway while its log is away: an answer within 5 seconds, and on by itself afterwards (design 7)."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from metering.clock import SystemClock
from metering.embedded import EmbeddedBroker
from metering.errors import LogUnavailable
from metering.ingest.http import Gateway, routes
from metering.stream.kafka_log import KafkaLog
from metering.stream.log import Log
from metering.stream.postgres_log import PostgresLog
from metering.testing.kafka import ApacheKafka

Client = TestClient[web.Request, web.Application]
MakeTopic = Callable[..., Awaitable[str]]
ANSWER_SECONDS = 5.0
RECOVERY_SECONDS = 60.0


@pytest.fixture(scope="module")
def victim(kafka: ApacheKafka) -> Iterator[ApacheKafka]:
    """An Apache Kafka that may be hurt; `kafka` says whether there can be one."""
    assert kafka.bootstrap
    with ApacheKafka() as server:
        yield server
        server.kill()  # After what it went through an orderly stop takes long.


@asynccontextmanager
async def gateway(log: Log) -> AsyncIterator[Client]:
    """A gateway before a log, without keys."""
    await log.start()
    made = Gateway(log, SystemClock())
    app = web.Application()
    app.add_routes(routes(made))
    async with TestClient(TestServer(app)) as client:
        yield client
        await made.close()
    started = time.monotonic()
    await log.stop()
    assert time.monotonic() - started < 8


async def send(client: Client, first: int) -> tuple[int, Any]:
    """Send 20 events of 20 customers; status and answer."""
    events = [
        {"specversion": "1.0", "id": f"e{n}", "source": "s", "type": "t", "subject": f"c{n}"}
        for n in range(first, first + 20)
    ]
    headers = {"Content-Type": "application/json"}
    async with client.post("/v1/events", data=json.dumps(events).encode(), headers=headers) as response:
        return response.status, msgspec.json.decode(await response.read())


async def refused_in_time(client: Client, rounds: int = 1) -> None:
    """Requests while the log is away, five at once."""
    for _ in range(rounds):
        started = time.monotonic()
        answers = await asyncio.gather(*(send(client, 20) for _ in range(5)))
        assert time.monotonic() - started < ANSWER_SECONDS
        for status, answer in answers:
            assert status == 503
            assert {outcome["outcome"] for outcome in answer["outcomes"]} <= {"queued", "unknown"}


async def taken_again(client: Client) -> None:
    """Sent again until the log takes it."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while (await send(client, 60))[0] != 202:
            pass


async def ids_in(log: Log) -> list[str]:
    """The ids of all events in the log."""
    ids = []
    for partition, end in (await log.ends()).items():
        for record in await log.read(partition, 0, end - 1):
            assert record.payload is not None
            payload = msgspec.json.decode(record.payload)
            ids += [event["id"] for event in (payload if isinstance(payload, list) else [payload])]
    return ids


async def test_kafka_that_hangs_is_503_in_time_and_then_goes_on(victim: ApacheKafka, make_topic: MakeTopic) -> None:
    log = KafkaLog(victim.bootstrap, await make_topic(victim, 4), clock=SystemClock())
    async with gateway(log) as client:
        assert (await send(client, 0))[0] == 202
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            await refused_in_time(client, rounds=2)
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        await taken_again(client)
        ids = await ids_in(log)
        assert {f"e{n}" for n in (*range(20), *range(60, 80))} <= set(ids)


async def test_kafka_that_was_killed_is_503_in_time_and_then_goes_on(victim: ApacheKafka) -> None:
    log = KafkaLog(victim.bootstrap, "usage.events", clock=SystemClock(), partitions=4)
    async with gateway(log) as client:
        assert (await send(client, 0))[0] == 202
        await asyncio.to_thread(victim.kill)
        await refused_in_time(client)
        await victim.start()
        await taken_again(client)
        ids = await ids_in(log)
        assert {f"e{n}" for n in (*range(20), *range(60, 80))} <= set(ids)


async def test_log_stops_in_time_while_kafka_hangs(victim: ApacheKafka, make_topic: MakeTopic) -> None:
    log = KafkaLog(victim.bootstrap, await make_topic(victim, 4), clock=SystemClock())
    try:
        async with gateway(log) as client:
            assert (await send(client, 0))[0] == 202
            os.kill(victim.pid, signal.SIGSTOP)
            assert (await send(client, 20))[0] == 503
    finally:
        os.kill(victim.pid, signal.SIGCONT)


async def test_embedded_broker_that_hangs_is_503_in_time_and_then_goes_on() -> None:
    async with EmbeddedBroker() as broker:
        log = KafkaLog(broker.bootstrap, "usage.events", clock=SystemClock(), partitions=4, group=None, embedded=True)
        async with gateway(log) as client:
            assert (await send(client, 0))[0] == 202
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                await refused_in_time(client)
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            await taken_again(client)
            assert {f"e{n}" for n in (*range(20), *range(60, 80))} <= set(await ids_in(log))


async def test_postgres_log_that_is_locked_is_503_in_time_and_then_goes_on(pool: asyncpg.Pool) -> None:
    log = PostgresLog(pool, clock=SystemClock(), partitions=4)
    async with gateway(log) as client:
        assert (await send(client, 0))[0] == 202
        async with pool.acquire() as other:
            blocked = other.transaction()
            await blocked.start()
            await other.execute("LOCK TABLE log_message IN ACCESS EXCLUSIVE MODE")
            await refused_in_time(client)
            await blocked.rollback()
        await taken_again(client)
        assert {f"e{n}" for n in (*range(20), *range(60, 80))} <= set(await ids_in(log))


async def test_log_without_a_broker_does_not_start() -> None:
    log = KafkaLog("127.0.0.1:1", "usage.events", clock=SystemClock())
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
        await log.start()
    await log.stop()
