"""The servers that tests run against. Each is started once a session, and only if a test asks for it.

| fixture | gives | scope |
|---|---|---|
| `postgres_server` | an embedded Postgres (0.7 s), one for each xdist worker: sharing would save little | session |
| `database` | the address of a fresh migrated database (20 ms) | test |
| `pool` | a pool on that database | test |
| `broker` | the embedded broker; no Java (50 ms) | session |
| `kafka` | Apache Kafka (4 s); skipped where java or mvn is missing, unless METERING_REQUIRE_KAFKA=1 | session |
| `make_topic` | `await make_topic(broker, partitions=3)`: the name of a new topic, on either of them | test |

A test that asks for `kafka` gets the marker `kafka`. Under xdist each worker has servers of its own:
pytest-xdist 3.8 does not see the groups of `--dist loadgroup` with pytest 9.2.
"""

import asyncio
import itertools
import os
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import asyncpg
import pytest

from metering.embedded import EmbeddedBroker, EmbeddedPostgres
from metering.postgres.migrate import migrate
from metering.postgres.pool import create_pool
from metering.testing import kafka as apache

T = TypeVar("T")
TEMPLATE = "migrated_template"
NUMBERS = itertools.count(1)


class MakeTopic(Protocol):
    """`await make_topic(server, partitions)`: make a topic of a name that is nobody else's, and return the name."""

    async def __call__(
        self, server: EmbeddedBroker | apache.ApacheKafka, partitions: int = 1, **configs: str
    ) -> str: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need Apache Kafka, so that `-m 'not kafka'` leaves them out."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


def run(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end in a thread, so that the event loop of the tests is not touched."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """An embedded Postgres with the template of all test databases."""
    with EmbeddedPostgres(durable=False) as server:
        run(_execute(server.dsn_of("postgres"), f"CREATE DATABASE {TEMPLATE}"))
        run(migrate(server.dsn_of(TEMPLATE)))
        yield server


@pytest.fixture
async def database(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """The address of a database of this test's own, migrated and empty."""
    name, admin = f"test_{next(NUMBERS)}", postgres_server.dsn_of("postgres")
    await _execute(admin, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield postgres_server.dsn_of(name)
    await _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on this test's database."""
    made = await create_pool(database, size=5)
    yield made
    await made.close()


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """The embedded broker."""
    with EmbeddedBroker() as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[apache.ApacheKafka]:
    """Apache Kafka."""
    if (reason := apache.missing()) is not None:
        if os.environ.get("METERING_REQUIRE_KAFKA") == "1":
            pytest.fail(f"{reason}, and METERING_REQUIRE_KAFKA=1 forbids to skip")
        pytest.skip(reason)
    with apache.ApacheKafka() as server:
        yield server


@pytest.fixture
def make_topic() -> MakeTopic:
    """Make topics on `broker` or `kafka`; they go with their server."""

    async def make(server: EmbeddedBroker | apache.ApacheKafka, partitions: int = 1, **configs: str) -> str:
        name = f"test-{uuid.uuid4()}"
        await server.create_topic(name, partitions, **configs)
        return name

    return make


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
