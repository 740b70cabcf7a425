"""The rater of a partition: knows the accounts and totals of the customers that it meets, and rates what is touched."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import asyncpg

from metering.observe import metrics
from metering.rater.store import load_sums, put_totals
from metering.rater.totals import Key, Sum, Total, gather, rated
from metering.subscriptions.accounts import Accounts
from metering.usage.fold import Bucket
from metering.usage.meters import Meters
from metering.usage.pieces import Piece
from rating.account import Account
from rating.segments import ChargeSegment, segments_between
from rating.subscription import FOREVER
from schemas.instants import DAY, HOUR

CUSTOMERS_MAX = 100_000
"""Customers of whom a partition knows accounts and totals before it forgets all and reads those it meets again."""

AHEAD = 2 * DAY
"""How far beyond the present segments are worked out at once (microseconds)."""


class Rated(NamedTuple):
    """What a checkpoint rated: totals to be written, sums to be remembered once they are.

    `ends`: by customer the first end of a subscription whose totals were touched, where an end is known.
    """

    totals: Sequence[Total] = ()
    sums: Mapping[Key, Sum] = MappingProxyType({})
    ends: Mapping[str, int] = MappingProxyType({})


class _Known(NamedTuple):
    """A customer's usage segments that overlap [since, until), and the cuts that are no full hours."""

    since: int
    until: int
    segments: Sequence[ChargeSegment]
    cuts: Sequence[int]


_NOBODY = _Known(-(2**62), 2**62, (), ())
"""A customer that is not known yet: metered under its key, rated when it appears (spec 2.5)."""


class Rater:
    """Accounts and totals of the customers of one partition, as far as they were needed."""

    def __init__(self, accounts: Accounts) -> None:
        """`accounts` reads them; it may be shared by partitions."""
        self._stored = accounts
        self._accounts: dict[str, Account] = {}
        self._known: dict[str, _Known] = {}
        self._sums: dict[Key, Sum] = {}

    async def prepare(self, connection: asyncpg.Connection, customers: Collection[str], since: int, until: int) -> None:
        """Know what these customers are charged for in [since, until), and their totals so far."""
        if len(self._known) > CUSTOMERS_MAX:
            self.forget()
        new = [customer for customer in customers if customer not in self._known]
        if new:
            accounts = await self._stored.load_many(connection, new)
            self._accounts |= accounts
            self._known |= {customer: _NOBODY for customer in new if customer not in accounts}
        wider: list[str] = []
        for customer in customers:
            known = self._known.get(customer)
            if known is None or known.since > since or known.until < until:
                wider.append(customer)
                self._known[customer] = known_of(self._accounts[customer], since - DAY, until + AHEAD)
        # The sums of all that is known, or a total would begin again at 0.
        self._sums |= await load_sums(connection, wider, since - DAY)

    def cuts(self, customer: str) -> Sequence[int]:
        """Where buckets of a prepared customer end though the hour does not: rising, microseconds."""
        return self._known[customer].cuts

    def rate(self, buckets: Sequence[Bucket], meters: Meters) -> Rated:
        """The totals that these buckets touch, with the buckets in them. Remembers nothing: see `settle`."""
        pieces: dict[str, list[Piece]] = {}
        for bucket in buckets:
            if self._known[bucket.customer].segments:
                piece = Piece(*bucket[1:7])
                pieces.setdefault(bucket.customer, []).append(piece)
        sums: dict[Key, Sum] = {}
        touched: dict[Key, ChargeSegment] = {}
        dimensions = {bucket.meter: meters.dimensions(bucket.meter) for bucket in buckets}
        for customer, mine in pieces.items():
            touched |= gather(customer, self._known[customer].segments, mine, dimensions, sums)
        for key, added in sums.items():
            if (before := self._sums.get(key)) is not None:
                sums[key] = before.plus(*added)
        ends: dict[str, int] = {}
        for key, segment in touched.items():
            if (end := segment.subscription.end) != FOREVER:
                ends[key.customer] = min(end, ends.get(key.customer, FOREVER))
        return Rated(rated(touched, sums), sums, ends)

    async def put(self, connection: asyncpg.Connection, made: Rated) -> None:
        """Write the totals."""
        await put_totals(connection, made.totals)
        metrics.RATER_TOTALS.inc(len(made.totals))
        metrics.RATER_UNPRICED.inc(sum(total.unpriced for total in made.totals))

    def settle(self, made: Rated) -> None:
        """Remember sums once they are committed."""
        self._sums |= made.sums

    def forget(self) -> None:
        """Drop everything: it is read again when it is needed."""
        self._accounts.clear()
        self._known.clear()
        self._sums.clear()


def known_of(account: Account, since: int, until: int) -> _Known:
    """What an account is charged for in [since, until)."""
    segments = list(segments_between(account, since, until))
    edges = {edge for segment in segments for edge in (segment.start, segment.end) if edge % HOUR}
    return _Known(since, until, segments, sorted(edges))
