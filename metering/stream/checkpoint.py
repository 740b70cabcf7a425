"""The checkpoint of a partition: identities, usage, totals, rejections and the offset in one transaction (design 3).

The steps are numbered as in `metering/stream/README.md` and `docs/internals/checkpoint.md`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import asyncpg
import numpy as np

from metering.clock import Clock
from metering.dedup import store as seen
from metering.dedup.window import Window
from metering.errors import Fenced
from metering.invoices.late import late_arrivals, mark_due
from metering.observe import metrics
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.rater.rater import Rated, Rater
from metering.stream import outcomes as outcome_store
from metering.stream.arrivals import Arrivals, Refused, arrivals
from metering.stream.conflicts import settle
from metering.stream.forward import forward
from metering.stream.judge import Judged, expiry, judge, refuse
from metering.stream.log import Log, Record
from metering.stream.partition import Held, hold, take
from metering.subscriptions.accounts import Accounts
from metering.usage import store as usage
from metering.usage.fold import Bucket, fold
from metering.usage.meters import Meters
from rating.fixed import Indices
from schemas.ids import partition_of
from schemas.instants import SECOND
from schemas.outcome import Outcome

PARTITIONS_KNOWN_MAX = 1_000_000
"""Customers whose partition is remembered before all are worked out again."""


class Done(NamedTuple):
    """What a committed transaction leaves to be remembered."""

    held: Held
    rated: Rated
    outcomes: Counter[Outcome]
    run: seen.Run
    again: bool


class Checkpoint:
    """One partition's state, and the transaction that moves it on."""

    def __init__(
        self,
        partition: int,
        log: Log,
        pool: asyncpg.Pool,
        clock: Clock,
        accounts: Accounts,
        *,
        owner: str,
        late_window: int,
    ) -> None:
        """`owner` names this process in `partition_state`; `late_window` in microseconds (spec 2.4)."""
        self.partition = partition
        self._log = log
        self._pool = pool
        self._clock = clock
        self._owner = owner
        self._late_window = late_window
        self._held = Held(0, 0, 0)
        self._window = Window()
        self._run = seen.Run()
        self._meters = Meters()
        self._rater = Rater(accounts)
        self._partitions: dict[str, int] = {}

    @property
    def next_offset(self) -> int:
        """The offset up to which everything is committed."""
        return self._held.next_offset

    async def take(self) -> int:
        """Own the partition: fence who owned it before, learn what it remembers; the offset to read from."""
        async with connection(self._pool) as lent:
            self._held = await take(lent, self.partition, self._log.identity, self._owner)
            self._window, self._run = await seen.load(lent, self.partition, self._clock.now()), seen.Run()
            self._meters = await Meters.load(lent)
        self._rater.forget()
        metrics.STREAM_STOPPED.labels(self.partition).set(0)
        metrics.DEDUP_IDENTITIES.labels(self.partition).set(len(self._window))
        return self._held.next_offset

    def decode(self, records: Sequence[Record]) -> Arrivals:
        """Read the records into columns; may run while the batch before is committed."""
        with metrics.STREAM_STAGE_SECONDS.labels("decode").time():
            return arrivals(records, self._meters.extractor, self._late_window)

    async def judge(self, arrived: Arrivals) -> Judged:
        """Decide which events count; the batch before must be committed."""
        with metrics.STREAM_STAGE_SECONDS.labels("dedup").time():
            judged = judge(arrived, self._window, self._ours)
        return await settle(self._log, self.partition, judged)

    async def forward(self, judged: Judged) -> Judged:
        """Append what belongs to other partitions there; `forward` of the answer are the rows not acknowledged yet.

        Raises `LogUnavailable` when none was acknowledged.
        """
        return await forward(self._log, judged)

    async def commit(self, judged: Judged) -> None:
        """Move the partition on by one batch, then remember it.

        Raises `Fenced` when another owner went on, `StoreUnavailable` when Postgres is away: nothing was changed, or
        `landed` says that it was.
        """
        try:
            with metrics.STREAM_STAGE_SECONDS.labels("commit").time():
                done = await transaction(self._pool, lambda lent: self._steps(lent, judged))
        except BaseException:
            self._rater.forget()
            raise
        self._remember(judged, done)

    async def landed(self, judged: Judged) -> bool:
        """Whether a commit whose answer was lost is in; if so it is remembered as if it had answered."""
        async with connection(self._pool) as lent:
            row = await lent.fetchrow(queries().look_up_partition, self.partition)
        if row is None or row["epoch"] != self._held.epoch:
            raise Fenced(f"partition {self.partition} has another owner")
        if row["next_offset"] != judged.arrivals.next_offset:
            return False
        held = self._held._replace(next_offset=row["next_offset"])
        self._remember(judged, Done(held, Rated(), Counter(), seen.Run(), again=False))
        return True

    async def _steps(self, lent: asyncpg.Connection, judged: Judged) -> Done:
        """Steps 1 to 7; the caller commits."""
        # 1 lock the row; the epoch and the offset must be ours
        held = await hold(lent, self.partition, self._held.epoch)
        if held.next_offset != self._held.next_offset:
            raise Fenced(f"partition {self.partition} is at {held.next_offset}, ours is {self._held.next_offset}")
        # 2 if the catalog version moved, drop what was known of meters, accounts and totals; then meter and rate
        again = held.catalog_version != self._held.catalog_version
        if again:
            self._rater.forget()
            await self._reload_meters(lent)
        judged = self._read_again(judged)
        arrived, counted = judged.arrivals, judged.counted
        if len(counted):
            times = arrived.batch.time[counted]
            customers = {arrived.batch.subjects[row] for row in counted.tolist()}
            await self._rater.prepare(lent, customers, int(times.min()), int(times.max()) + 1)
        buckets, refused, outcomes = self._meter(judged)
        with metrics.STREAM_STAGE_SECONDS.labels("rate").time():
            rated = self._rater.rate(buckets, self._meters)
        # 3 identities
        expires = expiry(arrived, counted)
        run = await seen.insert(lent, self.partition, arrived.first_offset, judged.entries, expires, self._run)
        # 4 usage
        await usage.add(lent, buckets)
        # 5 totals; usage of what has ended may make an invoice of its own
        await self._rater.put(lent, rated)
        if len(counted) and (widest := int(arrived.late_window[counted].max())) > self._late_window:
            await lent.execute(queries().raise_late_window, widest)  # invoices look back as far from now on
        if rated.ends:
            await mark_due(lent, late_arrivals(rated.ends, arrived.batch.subjects, _times(arrived, counted)))
        # 6 what was refused, and the counts of outcomes
        await outcome_store.insert_rejected(lent, self.partition, refused)
        await outcome_store.count(lent, self.partition, outcomes)
        # 7 the offset
        await lent.execute(queries().advance_partition, self.partition, arrived.next_offset)
        return Done(Held(held.epoch, arrived.next_offset, held.catalog_version), rated, outcomes, run, again)

    def _meter(self, judged: Judged) -> tuple[list[Bucket], list[Refused], Counter[Outcome]]:
        """The buckets of the events that count, and all that is refused, values included."""
        arrived = judged.arrivals
        refused, outcomes = list(judged.refused), Counter(judged.outcomes)
        outcomes[Outcome.UNMATCHED] += int(np.count_nonzero(arrived.batch.type_code[judged.counted] < 0))
        buckets: list[Bucket] = []
        with metrics.STREAM_STAGE_SECONDS.labels("meter").time():
            for metered in self._meters.extractor.meter(arrived.batch, judged.counted):
                aggregation = self._meters.aggregation(metered.meter)
                buckets += fold(aggregation, metered, arrived.batch, arrived.positions, self._rater.cuts)
                for row, code in metered.rejected:
                    refused.append(refuse(arrived, row, code, meter=metered.meter))
                    outcomes[code] += 1
        return buckets, refused, outcomes

    async def _reload_meters(self, lent: asyncpg.Connection) -> None:
        """Take the meters that are in force now, if they are others."""
        meters = await Meters.load(lent)
        if not meters.same_as(self._meters):
            self._meters = meters

    def _read_again(self, judged: Judged) -> Judged:
        """Read the batch anew if that was done for other meters: before they changed, or while that was found out."""
        arrived, extractor = judged.arrivals, self._meters.extractor
        if arrived.extractor is extractor:
            return judged
        batch = extractor.read(arrived.raws, arrived.received)
        return judged._replace(arrivals=arrived._replace(batch=batch, extractor=extractor))

    def _remember(self, judged: Judged, done: Done) -> None:
        """After the commit: what is in memory is what is committed."""
        self._held, self._run = done.held, done.run
        for rows, until in seen.by_window(expiry(judged.arrivals, judged.counted)):
            self._window.add(judged.entries[rows], until)
        self._window.forget(self._clock.now())
        self._rater.settle(done.rated)
        self._tell(judged, done)

    def _tell(self, judged: Judged, done: Done) -> None:
        """The metrics of one checkpoint."""
        arrived = judged.arrivals
        for code, events in done.outcomes.items():
            metrics.STREAM_EVENTS.labels(code.value).inc(events)
        metrics.STREAM_CHECKPOINTS.labels("rated_again" if done.again else "committed").inc()
        metrics.STREAM_CHECKPOINT_EVENTS.observe(len(arrived.raws))
        metrics.DEDUP_IDENTITIES.labels(self.partition).set(len(self._window))
        if len(arrived.received):
            age = (self._clock.now() - int(arrived.received[-1])) / SECOND
            metrics.STREAM_AGE.labels(self.partition).set(age)

    def _ours(self, customer: str) -> bool:
        known = self._partitions.get(customer)
        if known is None:
            if len(self._partitions) > PARTITIONS_KNOWN_MAX:
                self._partitions.clear()
            known = self._partitions[customer] = partition_of(customer, self._log.partitions)
        return known == self.partition


def _times(arrived: Arrivals, rows: Indices) -> Iterator[tuple[int, int, int]]:
    """Row, time and receipt of events."""
    return zip(rows.tolist(), arrived.batch.time[rows].tolist(), arrived.received[rows].tolist(), strict=True)
