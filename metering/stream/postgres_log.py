"""The log for those who run no Kafka: a table of messages (design 6), durable and in order."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import msgspec

from metering.clock import Clock
from metering.errors import LogUnavailable, StoreUnavailable
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from metering.stream.log import Message, Position, Reader, Record
from metering.stream.polled_reader import PolledReader, fair_part
from schemas.instants import Instant

ANSWER_SECONDS: Final = 4.0
"""After so long without an answer a message's outcome is unknown; the interface allows 5 seconds."""

FETCH_BYTES: Final = 4 << 20
"""Read at once from a partition, one record at least."""

MEMBER_LOCKS: Final = 0x6D65746D
LEASE_LOCKS: Final = 0x6D65746C
"""Classes of advisory locks: a member of the group of readers; a partition that one of them reads."""


class PostgresLog:
    """Tables `log_partition` and `log_message`. It notes the time of appending itself."""

    keeps_time = True
    message_bytes_max = 1_000_000

    def __init__(self, pool: asyncpg.Pool, *, clock: Clock, partitions: int = 8) -> None:
        """partitions: of the log, if it has to be made; one that exists keeps its number."""
        self.identity = ""
        self.partitions = partitions
        self.appended = asyncio.Event()
        self._pool = pool
        self._clock = clock

    async def start(self) -> None:
        """Make the log if there is none; learn identity and partitions."""
        async with self._connection() as lent:
            await lent.execute(queries().make_log)
            await lent.execute(queries().make_log_partitions, self.partitions)
            row = await lent.fetchrow(queries().describe_log)
        self.identity, self.partitions = row["identity"], row["partitions"]

    async def append(self, messages: Sequence[Message]) -> list[Position | None]:
        """See `Log.append`: one statement, so all of them or none."""
        if not messages:
            return []
        headers = {message.headers: _written(message.headers) for message in messages}
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._connection() as lent:
                rows = await lent.fetch(
                    queries().append_messages,
                    [message.partition for message in messages],
                    [headers[message.headers] for message in messages],
                    [message.payload for message in messages],
                )
        except TimeoutError as error:
            raise LogUnavailable(f"Postgres acknowledged nothing within {ANSWER_SECONDS:g} s") from error
        self.appended.set()
        offsets: dict[int, list[int]] = {}
        for partition, offset in sorted((row["partition"], row["log_offset"]) for row in rows):
            offsets.setdefault(partition, []).append(offset)
        given = {partition: iter(places) for partition, places in offsets.items()}
        return [Position(message.partition, next(given[message.partition])) for message in messages]

    async def ends(self) -> dict[int, int]:
        """See `Log.ends`."""
        return {partition: end for partition, (_, end) in (await self.bounds()).items()}

    async def begins(self) -> dict[int, int]:
        """See `Log.begins`."""
        return {partition: begin for partition, (begin, _) in (await self.bounds()).items()}

    async def bounds(self) -> dict[int, tuple[int, int]]:
        """Per partition the first offset that it holds, and the next one to be given."""
        async with self._connection() as lent:
            rows = await lent.fetch(queries().log_bounds)
        return {
            row["partition"]: (
                row["next_offset"] if row["first_offset"] is None else row["first_offset"],
                row["next_offset"],
            )
            for row in rows
        }

    async def fetch(self, wanted: dict[int, int], records_max: int) -> dict[int, list[Record]]:
        """See `Polled.fetch`; at most `FETCH_BYTES` of a partition."""
        async with self._connection() as lent:
            rows = await lent.fetch(
                queries().fetch_messages,
                list(wanted),
                list(wanted.values()),
                fair_part(records_max, wanted),
                FETCH_BYTES,
            )
        fetched: dict[int, list[Record]] = {}
        for row in rows:
            fetched.setdefault(row["partition"], []).append(self._record(row))
        return fetched

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        """See `Log.read`."""
        async with self._connection() as lent:
            rows = await lent.fetch(queries().read_messages, partition, first, last)
        return [self._record(row) for row in rows]

    def _record(self, row: Any) -> Record:
        headers = () if row["headers"] is None else _read(row["headers"])
        received: int = row["appended"]
        if self._clock.settable:
            received = int(dict(headers).get("received", self._clock.now()))
        return Record(row["log_offset"], received, row["payload"], headers)

    async def trim(self, before_offset: Mapping[int, int], before: Instant) -> None:
        """Forget messages that lie before the offset given for their partition and were appended before `before`."""
        async with self._connection() as lent:
            await lent.execute(
                queries().trim_messages, list(before_offset), list(before_offset.values()), before.moment()
            )

    def reader(self) -> Reader:
        """A member of the group; it keeps one connection for its leases."""
        return PolledReader(self, SessionLeases(self._pool), self._clock)

    async def stop(self) -> None:
        """The pool is whoever's who made it."""

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with connection(self._pool) as lent:
                yield lent
        except StoreUnavailable as error:
            raise LogUnavailable(f"the log is in Postgres, and {error}") from error


class SessionLeases:
    """Leases as advisory locks of one session: they end with it, however it ends."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._session: asyncpg.Connection | None = None

    async def members(self) -> int:
        """See `Leases.members`."""
        if self._session is None:
            try:
                self._session = await self._pool.acquire(timeout=ANSWER_SECONDS)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise LogUnavailable(f"no connection for the leases of the log: {error!r}") from error
            await self._asked(queries().lease_claim, MEMBER_LOCKS, self._session.get_server_pid() & 0x7FFFFFFF)
        members: int = await self._asked(queries().lease_members, MEMBER_LOCKS)
        return members

    async def claim(self, partition: int) -> bool:
        """See `Leases.claim`."""
        return bool(await self._asked(queries().lease_claim, LEASE_LOCKS, partition))

    async def release(self, partition: int) -> None:
        """See `Leases.release`."""
        await self._asked(queries().lease_release, LEASE_LOCKS, partition)

    async def leave(self) -> None:
        """See `Leases.leave`: a connection that goes back to the pool gives up its locks."""
        session, self._session = self._session, None
        if session is not None:
            try:
                await self._pool.release(session)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                session.terminate()

    async def _asked(self, sql: str, *arguments: int) -> Any:
        if self._session is None:
            raise LogUnavailable("the session of the leases is gone")
        try:
            return await self._session.fetchval(sql, *arguments)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            raise LogUnavailable(f"the session of the leases was lost: {error!r}") from error


def _written(headers: tuple[tuple[str, bytes], ...]) -> str:
    return msgspec.json.encode({name: value.decode("ascii") for name, value in headers}).decode()


def _read(headers: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode()) for name, value in msgspec.json.decode(headers, type=dict[str, str]).items())
