"""The statements of the stream on tables in memory, for simulations: what commits, commits at once and whole.

A `MemoryStore` takes the place of a pool. Each process has its `Link`: it decides how long a statement takes, whether
its connection is lost on the way, and whether the process still lives.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from metering.postgres.queries import queries
from schemas.instants import Instant


class Link(Protocol):
    """What lies between a process and the store."""

    async def pass_over(self, what: str) -> None:
        """Wait as long as `what` takes. Raises `ConnectionResetError` where the connection is lost on the way."""
        ...

    def losing(self) -> bool:
        """Whether the answer to a commit that went well is lost."""
        ...


class Row(dict[str, Any]):
    """A row as asyncpg gives it: iterates over its values."""

    def __iter__(self) -> Any:
        return iter(self.values())


class Tables:
    """What is committed, and who holds which partition's row."""

    def __init__(self, meters: dict[str, Any]) -> None:
        self.meters = meters
        self.partition_state: dict[int, dict[str, Any]] = {}
        self.seen: list[tuple[int, int, Instant, bytes]] = []
        self.usage: dict[tuple[Any, ...], tuple[Any, int]] = {}
        self.accrual: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.rejected: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.outcomes: Counter[str] = Counter()
        self.locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)


class MemoryStore:
    """A pool for one process."""

    def __init__(self, tables: Tables, link: Link) -> None:
        self._tables = tables
        self._link = link
        self._lent: set[MemoryConnection] = set()

    async def acquire(self, timeout: float) -> "MemoryConnection":  # noqa: ASYNC109 - asyncpg's name
        """A new connection."""
        await self._link.pass_over("acquire")
        lent = MemoryConnection(self._tables, self._link)
        self._lent.add(lent)
        return lent

    async def release(self, lent: "MemoryConnection") -> None:
        """Take it back; what it has not committed is gone."""
        lent.terminate()
        self._lent.discard(lent)

    def drop(self) -> None:
        """The process is dead: the server ends its connections."""
        for lent in self._lent:
            lent.terminate()
        self._lent.clear()


class MemoryConnection:
    """One connection, and the transaction on it: what it writes is applied at its commit."""

    def __init__(self, tables: Tables, link: Link) -> None:
        self._tables = tables
        self._link = link
        self._closed = False
        self._begun = False
        self._writes: list[Callable[[], None]] = []
        self._held: list[asyncio.Lock] = []
        self._statements = {getattr(queries(), name): getattr(self, f"_{name}") for name in _STATEMENTS}

    def is_closed(self) -> bool:
        """Whether it was lost."""
        return self._closed

    def terminate(self) -> None:
        """End it, and roll back."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._writes.clear()
        while self._held:
            self._held.pop().release()

    def transaction(self) -> "MemoryConnection":
        """The transaction is the connection."""
        return self

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.commit()
        else:
            await self.rollback()

    async def start(self) -> None:
        """BEGIN"""
        await self.pass_over("begin")
        self._begun = True

    async def rollback(self) -> None:
        """ROLLBACK"""
        self._end()
        self._begun = False

    async def commit(self) -> None:
        """COMMIT; the answer may be lost on the way back."""
        await self.pass_over("commit")
        for write in self._writes:
            write()
        self._end()
        self._begun = False
        if self._link.losing():
            self._closed = True
            raise ConnectionResetError("the answer to a commit was lost")

    async def pass_over(self, what: str) -> None:
        """Let `what` go to the server and back; the connection may be lost on the way."""
        if self._closed:
            raise ConnectionResetError("the connection is closed")
        try:
            await self._link.pass_over(what)
        except ConnectionResetError:
            self.terminate()
            raise
        if self._closed:
            raise ConnectionResetError("the connection is closed")

    async def execute(self, statement: str, *arguments: Any) -> Any:
        """Run a statement."""
        run = self._statements[statement]
        await self.pass_over(run.__name__)
        answer: Awaitable[Any] | Any = run(*arguments)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if not self._begun:
            for write in self._writes:
                write()
            self._end()
        return answer

    fetch = fetchrow = execute

    async def cursor(self, statement: str, *arguments: Any, prefetch: int) -> AsyncIterator[Row]:
        """The rows of a statement, one after the other."""
        for row in await self.execute(statement, *arguments):
            yield row

    async def _lock(self, partition: int) -> None:
        lock = self._tables.locks[partition]
        if lock in self._held:
            return
        await lock.acquire()
        if self._closed:
            lock.release()
            raise ConnectionResetError("the connection was closed while it waited")
        self._held.append(lock)

    async def _take_partition(self, partition: int, log_id: str, owner: str) -> Row:
        await self._lock(partition)
        fresh = {"log_id": log_id, "epoch": 0, "next_offset": 0, "catalog_version": 0}
        row = self._tables.partition_state.setdefault(partition, fresh)
        row |= {"owner": owner, "epoch": row["epoch"] + 1}
        return Row(row)

    async def _hold_partition(self, partition: int) -> Row:
        await self._lock(partition)
        return Row(self._tables.partition_state[partition])

    async def _lock_partition(self, partition: int) -> None:
        await self._lock(partition)
        row = self._tables.partition_state[partition]
        self._writes.append(lambda: row.update(catalog_version=row["catalog_version"] + 1))

    def _look_up_partition(self, partition: int) -> Row:
        return Row(self._tables.partition_state[partition])

    def _advance_partition(self, partition: int, offset: int) -> None:
        row = self._tables.partition_state[partition]
        self._writes.append(lambda: row.update(next_offset=offset))

    def _count_outcomes(self, partition: int, codes: list[str], events: list[int]) -> None:
        counts = dict(zip(codes, events, strict=True))
        self._writes.append(lambda: self._tables.outcomes.update(counts))

    def _insert_rejected(self, partition: int, *columns: list[Any]) -> None:
        rows = {(partition, *row[:3]): row[3:] for row in zip(*columns, strict=True)}
        assert len(rows) == len(columns[0]), "one statement lists an event twice"

        def write() -> None:
            assert not rows.keys() & self._tables.rejected.keys(), "a rejected event is listed twice"
            self._tables.rejected.update(rows)

        self._writes.append(write)

    def _insert_seen(self, partition: int, first_offset: int, expires: Any, count: int, keys: bytes) -> None:
        row = (partition, first_offset, Instant.of(expires), keys)
        self._writes.append(lambda: self._tables.seen.append(row))

    def _load_seen(self, partition: int, now: Any) -> list[Row]:
        rows = [row for row in self._tables.seen if row[0] == partition and row[2] > Instant.of(now)]
        return [Row(expires_at=expires.moment(), keys=keys) for _, _, expires, keys in rows]

    def _expire_seen(self, partition: int, now: Any) -> None:
        kept = [row for row in self._tables.seen if row[0] != partition or row[2] > Instant.of(now)]
        self._writes.append(lambda: self._tables.seen.__setitem__(slice(None), kept))

    def _load_meters(self) -> list[Row]:
        return [Row(key=key, definition=definition) for key, definition in sorted(self._tables.meters.items())]

    def _add_usage(self, *columns: list[Any]) -> None:
        rows = list(zip(*columns, strict=True))
        assert len({row[:5] for row in rows}) == len(rows), "one statement adds to a bucket twice"

        def write() -> None:
            for *key, quantity, events, _, _ in rows:
                had_quantity, had_events = self._tables.usage.get(tuple(key), (0, 0))
                self._tables.usage[tuple(key)] = (had_quantity + quantity, had_events + events)

        self._writes.append(write)

    def _sums_of(self, customers: list[str], since: Any) -> list[Row]:
        names = ("customer", "subscription", "charge", "segment_start", "dimensions")
        return [
            Row(zip(names, key, strict=True), events=value[1], quantity=value[2])
            for key, value in self._tables.accrual.items()
            if key[0] in customers and value[0] > since
        ]

    def _put_totals(self, *columns: list[Any]) -> None:
        rows = {row[:4] + row[5:6]: (row[4], *row[6:]) for row in zip(*columns, strict=True)}
        self._writes.append(lambda: self._tables.accrual.update(rows))


_STATEMENTS = (
    "take_partition",
    "hold_partition",
    "lock_partition",
    "look_up_partition",
    "advance_partition",
    "count_outcomes",
    "insert_rejected",
    "insert_seen",
    "load_seen",
    "expire_seen",
    "load_meters",
    "add_usage",
    "sums_of",
    "put_totals",
)
