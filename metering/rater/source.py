"""The table `accrual`, read as the quantities that billing asks for: a row a total, however much usage is in it."""

from collections.abc import Iterable, Sequence

import asyncpg

from metering.postgres.queries import queries
from metering.usage.fold import combination_of
from metering.usage.source import quantity_of
from rating.account import Account
from rating.segments import segments_between
from rating.usage import Combination, Quantity, UsageRequest
from schemas.instants import Instant

_Segment = tuple[str, str, str, int]
"""Customer, subscription, charge, start of the segment."""


class AccrualUsage:
    """`rating.usage.UsageSource` over rated totals: it knows whole segments, asked for to their end or to now."""

    def __init__(self, accounts: Iterable[Account], rows: Iterable[asyncpg.Record], since: int, until: int) -> None:
        """`rows` of the query `accruals_of`; segments that overlap [since, until) can be asked for."""
        self._totals: dict[_Segment, dict[Combination, Quantity]] = {}
        for row in rows:
            segment = (row["customer"], row["subscription"], row["charge"], Instant.of(row["segment_start"]))
            combination = combination_of(row["dimensions"])
            quantity = quantity_of(row["quantity"], row["events"])
            self._totals.setdefault(segment, {})[combination] = quantity
        self._segments: dict[UsageRequest, _Segment] = {}
        for account in accounts:
            for found in segments_between(account, since, until):
                key = _key(found.request())
                self._segments[key] = (account.key, found.subscription.id, found.charge, found.start)

    @classmethod
    async def load(
        cls, connection: asyncpg.Connection, accounts: Sequence[Account], since: int, until: int
    ) -> "AccrualUsage":
        """Read what will be asked for."""
        rows = await connection.fetch(queries().accruals_of, [account.key for account in accounts])
        return cls(accounts, rows, since, until)

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        """See `UsageSource`; `KeyError` for a span that is no segment."""
        return [self._quantities(request) for request in requests]

    def _quantities(self, request: UsageRequest) -> dict[Combination, Quantity]:
        totals = self._totals.get(self._segments[_key(request)], {})
        if not request.by and not totals:
            return {(): Quantity(0)}
        return {combination: totals[combination] for combination in sorted(totals)}


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
