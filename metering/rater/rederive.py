"""Derive a customer's totals anew from its usage: what an act does in its own transaction (design 3)."""

import asyncpg

from metering.postgres.queries import queries
from metering.rater.store import put_totals
from metering.rater.totals import Key, Sum, gather, rated
from metering.usage.meters import Meters
from metering.usage.pieces import Piece
from metering.usage.source import load_pieces
from rating.account import Account
from rating.segments import segments_between
from schemas.instants import DAY, Instant

BEGIN, AHEAD = Instant.parse("0002-01-01T00:00:00Z"), 2 * DAY


async def rederive(connection: asyncpg.Connection, account: Account, now: int) -> None:
    """Replace the customer's rows of `accrual` by what its acts, its usage and the prices give.

    The caller holds the lock of the customer's partition, and has split buckets at new boundaries before.
    """
    meters = await Meters.load(connection)
    pieces: list[Piece] = (await load_pieces(connection, [account.key], BEGIN, now + AHEAD)).get(account.key, [])
    sums: dict[Key, Sum] = {}
    segments = list(segments_between(account, BEGIN, now + AHEAD)) if pieces else []
    dimensions = {piece.meter: meters.dimensions(piece.meter) for piece in pieces}
    touched = gather(account.key, segments, pieces, dimensions, sums)
    await connection.execute(queries().drop_totals, account.key)
    await put_totals(connection, rated(touched, sums))
