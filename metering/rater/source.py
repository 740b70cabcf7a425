"""The table `accrual`, read as the quantities that billing asks for: a row a total, however much usage is in it."""

from collections.abc import Iterable, Mapping, Sequence

import asyncpg

from metering.postgres.queries import queries
from metering.usage.fold import combination_of
from metering.usage.source import quantity_of
from rating.account import Account
from rating.segments import segments_between
from rating.usage import Combination, Quantity, UsageRequest
from schemas.instants import Instant

Segment = tuple[str, str, str, int]
"""Customer, subscription, charge, start of the segment."""


class AccrualUsage:
    """`rating.usage.UsageSource` over rated totals: it knows whole segments, asked for to their end or to now."""

    def __init__(self, segments: Mapping[UsageRequest, Segment], rows: Iterable[asyncpg.Record]) -> None:
        """`segments` of `segments_of` can be asked for; `rows` have the columns of the query `accruals_of`."""
        self._totals: dict[Segment, dict[Combination, Quantity]] = {}
        for row in rows:
            segment = (row["customer"], row["subscription"], row["charge"], Instant.of(row["segment_start"]))
            combination = combination_of(row["dimensions"])
            quantity = quantity_of(row["quantity"], row["events"])
            self._totals.setdefault(segment, {})[combination] = quantity
        self._segments = segments

    @classmethod
    async def load(
        cls, connection: asyncpg.Connection, accounts: Sequence[Account], since: int, until: int
    ) -> "AccrualUsage":
        """Read what will be asked for."""
        rows = await connection.fetch(queries().accruals_of, [account.key for account in accounts])
        return cls(segments_of(accounts, since, until), rows)

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        """See `UsageSource`; `KeyError` for a span that is no segment."""
        return [self._quantities(request) for request in requests]

    def _quantities(self, request: UsageRequest) -> dict[Combination, Quantity]:
        totals = self._totals.get(self._segments[_key(request)], {})
        if not request.by and not totals:
            return {(): Quantity(0)}
        return {combination: totals[combination] for combination in sorted(totals)}


def segments_of(accounts: Iterable[Account], since: int, until: int) -> dict[UsageRequest, Segment]:
    """The segments of accounts that overlap [since, until), by what is asked for (`_key`)."""
    found = {}
    for account in accounts:
        for segment in segments_between(account, since, until):
            key = _key(segment.request())
            found[key] = (account.key, segment.subscription.id, segment.charge, segment.start)
    return found


def _key(request: UsageRequest) -> UsageRequest:
    """The request without its end: a segment is known by its start, whether it is asked for whole or as far as now."""
    return UsageRequest(
        customer=request.customer,
        subscription=request.subscription,
        named_only=request.named_only,
        meter=request.meter,
        start=request.start,
        end=0,
        full_period=0,
        where=request.where,
        by=request.by,
    )
