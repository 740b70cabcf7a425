"""The table `usage`, read: as pieces for the rater, and as the quantities that billing asks for."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import asyncpg

from metering.postgres.queries import queries
from metering.usage.fold import combination_of
from metering.usage.meters import Meters
from metering.usage.pieces import EXACT, Piece
from rating.usage import Combination, Quantity, UsageRequest
from schemas.instants import Instant


async def load_pieces(
    connection: asyncpg.Connection, customers: Sequence[str], start: int, end: int
) -> dict[str, list[Piece]]:
    """The buckets of some customers that begin in [start, end), by customer; microseconds."""
    pieces: dict[str, list[Piece]] = {}
    rows = await connection.fetch(queries().usage_between, customers, Instant(start).moment(), Instant(end).moment())
    for row in rows:
        piece = Piece(
            row["meter"],
            Instant.of(row["bucket"]),
            combination_of(row["dimensions"]),
            row["named"],
            row["quantity"],
            row["events"],
        )
        pieces.setdefault(row["customer"], []).append(piece)
    return pieces


class BucketUsage:
    """`rating.usage.UsageSource` over the buckets of some customers: the plain way, for audits and for what is past."""

    def __init__(self, pieces: Mapping[str, Sequence[Piece]], meters: Meters) -> None:
        self._pieces = pieces
        self._meters = meters

    @classmethod
    async def load(
        cls, connection: asyncpg.Connection, customers: Sequence[str], start: int, end: int
    ) -> "BucketUsage":
        """Read what will be asked for."""
        return cls(await load_pieces(connection, customers, start, end), await Meters.load(connection))

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        """See `UsageSource`."""
        return [self._quantities(request) for request in requests]

    def _quantities(self, request: UsageRequest) -> dict[Combination, Quantity]:
        sums: dict[Combination, tuple[Decimal, int]] = {} if request.by else {(): (Decimal(0), 0)}
        names = self._meters.dimensions(request.meter) if request.meter in self._meters else ()
        for piece in self._pieces.get(request.customer, ()):
            if piece.meter != request.meter or not request.start <= piece.start < request.end:
                continue
            if piece.named != request.subscription and (piece.named or request.named_only):
                continue
            values = dict(zip(names, piece.combination, strict=True))
            if all(values.get(name, "") in allowed for name, allowed in request.where):
                combination = tuple(values.get(name, "") for name in request.by)
                quantity, events = sums.get(combination, (Decimal(0), 0))
                sums[combination] = (EXACT.add(quantity, piece.quantity), events + piece.events)
        return {combination: quantity_of(*sums[combination]) for combination in sorted(sums)}


def quantity_of(quantity: Decimal, events: int) -> Quantity:
    """An exact decimal as billing takes it."""
    numerator, denominator = quantity.as_integer_ratio()
    return Quantity(numerator, denominator, events)
