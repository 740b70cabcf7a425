"""What is kept of a partition at one instant: its position, its usage and totals, and what they depend on."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import asyncpg

from metering.archive.files import File
from metering.archive.meters import MeterTimes
from metering.archive.recompute import Amount, Place, Usage
from metering.archive.store import archived, files_of
from metering.postgres.queries import queries
from metering.rater.rederive import AHEAD, BEGIN
from metering.rater.totals import Key
from metering.subscriptions.accounts import Accounts
from metering.usage.fold import combination_of
from rating.account import Account
from rating.segments import ChargeSegment, segments_between
from schemas.ids import partition_of
from schemas.instants import HOUR, Instant

CUSTOMERS_AT_ONCE = 1_000


class Worth(NamedTuple):
    """A rated total as it is kept."""

    events: int
    quantity: Fraction
    amount: Fraction


class Owner(NamedTuple):
    """A customer's charges: its segments, and the instants that are no full hours at which its buckets end."""

    segments: Sequence[ChargeSegment]
    cuts: Sequence[int]


NOBODY = Owner((), ())


class Snapshot(NamedTuple):
    """A partition at `next_offset`: `usage` and `totals` are what all messages before it came to.

    The archive has offsets `begin` to before `archived`, in `files`; the log has the rest.
    """

    partition: int
    next_offset: int
    begin: int
    archived: int
    files: Sequence[File]
    usage: Usage
    totals: Mapping[Key, Worth]
    owners: Mapping[str, Owner]
    meters: MeterTimes

    def cuts(self, customer: str) -> Sequence[int]:
        """Where buckets of a customer end though the hour does not."""
        return self.owners.get(customer, NOBODY).cuts


async def take_snapshot(
    lent: asyncpg.Connection, log_id: str, partition: int, partitions: int, now: int, customer: str | None = None
) -> Snapshot | None:
    """Read it all, of one customer or of all; the caller's transaction sees one instant. None: nothing was read yet."""
    states = {row["partition"]: row for row in await lent.fetch(queries().committed_offsets)}
    state = states.get(partition)
    if state is None or state["log_id"] != log_id:
        return None
    mine = {one.partition: one for one in await archived(lent) if one.log_id == log_id}.get(partition)
    begin, end = (0, 0) if mine is None else (mine.first_offset, mine.next_offset)
    files = [file for file in await files_of(lent, partition) if file.log_id == log_id]
    keys = [customer] if customer is not None else await _customers(lent, partition, partitions)
    usage: Usage = {}
    totals: dict[Key, Worth] = {}
    owners: dict[str, Owner] = {}
    accounts = Accounts()
    for first in range(0, len(keys), CUSTOMERS_AT_ONCE):
        some = keys[first : first + CUSTOMERS_AT_ONCE]
        for row in await lent.fetch(queries().usage_of_customers, some):
            usage[_place(row)] = Amount(row["quantity"], row["events"], row["first_offset"], row["last_offset"])
        for row in await lent.fetch(queries().accruals_of, some):
            totals[_key(row)] = _worth(row)
        owners |= {key: owner_of(account, now) for key, account in (await accounts.load_many(lent, some)).items()}
    meters = await MeterTimes.load(lent, partition)
    return Snapshot(partition, state["next_offset"], begin, end, files, usage, totals, owners, meters)


def owner_of(account: Account, now: int) -> Owner:
    """What an account is charged for, as far as its totals go."""
    segments = list(segments_between(account, BEGIN, now + AHEAD))
    edges = {edge for segment in segments for edge in (segment.start, segment.end) if edge % HOUR}
    return Owner(segments, sorted(edges))


async def _customers(lent: asyncpg.Connection, partition: int, partitions: int) -> list[str]:
    """The customers of a partition: those that are known, and those that only have usage."""
    rows = await lent.fetch(queries().customers_with_usage)
    return [row["key"] for row in rows if partition_of(row["key"], partitions) == partition]


def _place(row: asyncpg.Record) -> Place:
    start = int(Instant.of(row["bucket"]))
    return Place(row["customer"], row["meter"], start, combination_of(row["dimensions"]), row["named"])


def _key(row: asyncpg.Record) -> Key:
    start = int(Instant.of(row["segment_start"]))
    return Key(row["customer"], row["subscription"], row["charge"], start, combination_of(row["dimensions"]))


def _worth(row: asyncpg.Record) -> Worth:
    return Worth(row["events"], Fraction(row["quantity"]), Fraction(row["numerator"]) / Fraction(row["divisor"]))
