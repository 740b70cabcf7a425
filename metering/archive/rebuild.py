"""Compute a partition's usage and totals again from its events, and compare with what is kept, or replace it.

The events are those of the archive and, from its end to the partition's committed offset, of the log. What is kept is
read in one transaction together with that offset, so both sides mean the same events while the system runs.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.archive import accepted
from metering.archive.compare import Difference, differences, unverifiable
from metering.archive.explain import Evidence, explain
from metering.archive.files import read_file
from metering.archive.place import Place
from metering.archive.recompute import COLUMNS, Usage, add, usage_of
from metering.archive.rows import INSTANT, events_table
from metering.archive.snapshot import Snapshot, owner_of, take_snapshot
from metering.archive.source import parts
from metering.clock import Clock
from metering.dedup.window import ENTRY, INDEX_BITS
from metering.errors import ArchiveUnavailable
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.rater.rederive import rederive
from metering.stream.log import Log
from metering.stream.partition import lock
from metering.subscriptions.accounts import Accounts
from metering.usage import store as usage_store
from metering.usage.fold import Bucket
from rating.fixed import Indices
from schemas.instants import DAY, Instant

TRIES: Final = 3
CUSTOMERS_AT_ONCE: Final = 200
"""Replaced in one transaction, which holds their partition."""
ALWAYS: Final = (int(Instant.parse("1900-01-01T00:00:00Z")), int(Instant.parse("9999-01-01T00:00:00Z")))


class Asked(NamedTuple):
    """Which part: of one customer (None: all), of usage in [start, end), full hours in microseconds."""

    customer: str | None = None
    start: int = ALWAYS[0]
    end: int = ALWAYS[1]

    @property
    def whole(self) -> bool:
        """Whether the usage of all times is asked for, so that totals can be compared too."""
        return (self.start, self.end) == ALWAYS


class Report(NamedTuple):
    """A partition up to `next_offset`: events that counted, buckets compared, buckets older than the archive, and what
    differs."""

    partition: int
    next_offset: int
    events: int
    buckets: int
    unchecked: int
    found: Sequence[Difference]


class Moved(Exception):
    """What a computation was made for has changed meanwhile: make it again."""


class Rebuilder:
    """Checks and replaces partitions."""

    def __init__(self, pool: asyncpg.Pool, log: Log, place: Place, clock: Clock, late_window: int) -> None:
        """`late_window` in microseconds (spec 2.4), as the workers have it."""
        self._pool = pool
        self._log = log
        self._place = place
        self._clock = clock
        self._late_window = late_window

    async def check(self, partition: int, asked: Asked) -> Report | None:
        """Compare; None for a partition of which nothing was read yet. Changes nothing."""
        for _ in range(TRIES):
            snapshot = await self._snapshot(partition, asked)
            if snapshot is None:
                return None
            try:
                evidence, usage = await self._computed(snapshot, asked)
            except FileNotFoundError:
                continue  # Merged away after it was listed.
            found = differences(snapshot, usage, asked.start, asked.end, totals=asked.whole)
            if found:
                evidence = evidence._replace(taken=await self._taken(snapshot), now=self._clock.now())
                found = await asyncio.to_thread(explain, found, evidence)
            old = unverifiable(snapshot)
            return Report(partition, snapshot.next_offset, len(evidence.chosen), len(usage), len(old), found)
        raise ArchiveUnavailable("the archive's files change faster than they can be read; try again")

    async def replace(self, partition: int, asked: Asked) -> int:
        """Put what is computed in the place of what is kept, customer by customer; how many customers that were.

        The system may run: each transaction holds the partition, takes up what was committed meanwhile, and makes the
        worker read what it knows anew. Usage older than the archive stays as it is.
        """
        for _ in range(TRIES):
            snapshot = await self._snapshot(partition, asked)
            if snapshot is None:
                return 0
            try:
                _, usage = await self._computed(snapshot, asked)
                customers = sorted({place.customer for place in (*usage, *snapshot.usage)})
                for first in range(0, len(customers), CUSTOMERS_AT_ONCE):
                    await self._replace(snapshot, usage, customers[first : first + CUSTOMERS_AT_ONCE], asked)
            except (FileNotFoundError, Moved):
                continue
            return len(customers)
        raise ArchiveUnavailable("what is rebuilt changes faster than it can be computed; try again")

    async def _snapshot(self, partition: int, asked: Asked) -> Snapshot | None:
        async with connection(self._pool) as lent, lent.transaction(isolation="repeatable_read", readonly=True):
            return await take_snapshot(
                lent, self._log.identity, partition, self._log.partitions, self._clock.now(), asked.customer
            )

    async def _computed(self, snapshot: Snapshot, asked: Asked) -> tuple[Evidence, Usage]:
        """What the events up to the snapshot's offset come to, and what is known of these events."""
        tail = await self._tail(snapshot.partition, max(snapshot.archived, snapshot.begin), snapshot.next_offset)
        if asked.customer is not None:
            tail = [table.filter(pc.field("customer") == asked.customer) for table in tail]
        return await asyncio.to_thread(self._compute, snapshot, asked, tail)

    async def _tail(self, partition: int, first: int, end: int) -> list[Any]:
        return [events_table(partition, records) async for records, _ in parts(self._log, partition, first, end)]

    def _compute(self, snapshot: Snapshot, asked: Asked, tail: list[Any]) -> tuple[Evidence, Usage]:
        mine = None if asked.customer is None else pc.field("customer") == asked.customer
        could: list[accepted.Arrived] = []
        everything: list[Indices] = []
        paths = [file.path for file in snapshot.files]
        for table in (*(read_file(self._place, path, mine, accepted.COLUMNS) for path in paths), *tail):
            found, positions = accepted.arrived(table, snapshot.partition, self._log.partitions, self._late_window)
            could.append(found)
            everything.append(positions)
        chosen = accepted.accepted(accepted.together(could))
        usage: Usage = {}
        inside = (pc.field("time") >= pa.scalar(asked.start, INSTANT)) & (
            pc.field("time") < pa.scalar(asked.end, INSTANT)
        )
        wanted = inside if mine is None else inside & mine
        for file in snapshot.files:
            begins = int(Instant.parse(f"{file.day}T00:00:00Z"))
            if begins < asked.end and begins + DAY > asked.start:
                filters = mine if asked.whole else wanted
                table = read_file(self._place, file.path, filters, COLUMNS)
                events = partial(self._events, file.path, filters)
                usage_of(table, chosen, snapshot.meters, snapshot.cuts, usage, events)
        for table in tail:
            usage_of(table.filter(inside), chosen, snapshot.meters, snapshot.cuts, usage)
        positions = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *everything]))
        return Evidence(snapshot, self._place, tail, chosen, positions, self._late_window), usage

    def _events(self, path: str, filters: Any) -> Any:
        """The JSON of the rows of a file, in their order."""
        return read_file(self._place, path, filters, ["event"])["event"]

    async def _taken(self, snapshot: Snapshot) -> Indices:
        """The positions of the events whose identities are remembered, rising."""
        async with connection(self._pool) as lent:
            return await _taken(lent, snapshot.partition, 0, snapshot.next_offset - 1)

    async def _replace(self, snapshot: Snapshot, usage: Usage, customers: list[str], asked: Asked) -> None:
        """Replace the usage and totals of some customers in one transaction."""
        partition = snapshot.partition

        async def steps(lent: asyncpg.Connection) -> None:
            await lock(lent, partition)
            now = self._clock.now()
            accounts = await Accounts().load_many(lent, customers)
            for key, account in accounts.items():
                if list(owner_of(account, now).cuts) != list(snapshot.cuts(key)):
                    raise Moved
            mine = frozenset(customers)
            old = unverifiable(snapshot)
            new: Usage = {
                place: amount for place, amount in usage.items() if place.customer in mine and place not in old
            }
            state = await lent.fetchrow(queries().look_up_partition, partition)
            since = await self._since(lent, snapshot, state["next_offset"], customers, asked)
            for place, amount in since.items():
                if place not in old:
                    add(new, Bucket(*place, *amount))
            await lent.execute(
                queries().usage_of_customers_dropped,
                customers,
                snapshot.begin,
                Instant(asked.start).moment(),
                Instant(asked.end).moment(),
            )
            await usage_store.add(lent, [Bucket(*place, *amount) for place, amount in new.items()])
            for account in accounts.values():
                await rederive(lent, account, now)

        await transaction(self._pool, steps)

    async def _since(
        self, lent: asyncpg.Connection, snapshot: Snapshot, end: int, customers: list[str], asked: Asked
    ) -> Usage:
        """The usage of what was committed after the snapshot: the events that took their identity since."""
        usage: Usage = {}
        if end == snapshot.next_offset:
            return usage
        chosen = await _taken(lent, snapshot.partition, snapshot.next_offset, end - 1)
        chosen = chosen[chosen >= snapshot.next_offset << INDEX_BITS]
        inside = (pc.field("time") >= pa.scalar(asked.start, INSTANT)) & (
            pc.field("time") < pa.scalar(asked.end, INSTANT)
        )
        wanted = inside & pc.field("customer").isin(customers)
        for table in await self._tail(snapshot.partition, snapshot.next_offset, end):
            usage_of(table.filter(wanted), chosen, snapshot.meters, snapshot.cuts, usage)
        return usage


async def _taken(lent: asyncpg.Connection, partition: int, first: int, last: int) -> Indices:
    """The positions of remembered identities taken at offsets first to last (and of their checkpoints), rising."""
    rows = await lent.fetch(queries().seen_between, partition, first, last)
    columns = [np.frombuffer(row["keys"], dtype="<u8").reshape(-1, ENTRY // 8)[:, 3] for row in rows]
    return np.sort(np.concatenate([np.zeros(0, dtype="<u8"), *columns]).astype(np.int64))
