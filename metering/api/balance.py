"""`GET /v1/customers/{key}/balance`: what a customer owes now (spec 9)."""

import time
from collections.abc import Sequence
from typing import Final

import asyncpg
from aiohttp import web

from metering.api.answers import answer_json
from metering.api.body import parameter_invalid, path_key, query
from metering.api.problem import Problem
from metering.clock import Clock
from metering.ingest.publish import decode_position
from metering.invoices.owed import OwedReader
from metering.invoices.watermark import Watermarks
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from metering.stream.log import Position
from rating.balance import Owing, balance
from schemas.http import Code
from schemas.invoice import Balance
from schemas.outcome import Refusal

AFTER_SECONDS: Final = 5.0
"""How long a reader waits for the events of `after`."""
AFTER_PAUSE_SECONDS: Final = 0.01
"""Between two looks at the committed offsets."""


class Balances:
    """Reads balances."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, owed: OwedReader, watermarks: Watermarks) -> None:
        self._pool = pool
        self._clock = clock
        self._owed = owed
        self._watermarks = watermarks

    async def read(self, customer: str) -> Balance | None:
        """The balance of a customer now, None if there is no such customer."""
        now = self._clock.now()
        complete = self._watermarks.all()  # read first: what it says of is then in what is read below
        async with connection(self._pool) as lent:
            owed = await self._owed.read(lent, customer, now)
        if owed is None:
            return None
        _, drafted = owed.drafted()
        owing = Owing(
            account=owed.account,
            now=now,
            billed=owed.finals.billed,
            drafted=drafted,
            due=dict(owed.finals.due),
            drafts=owed.drafts,
            late_from=owed.late_from,
            as_of=complete.get(owed.partition),
        )
        return balance(owing, owed.usage)

    async def wait(self, positions: Sequence[Position], seconds: float) -> bool:
        """Wait until the messages at these positions are committed; False if they are not in time."""
        deadline = time.monotonic() + seconds
        while True:
            async with connection(self._pool) as lent:
                rows = await lent.fetch(queries().committed_offsets)
            committed = {row["partition"]: row["next_offset"] for row in rows}
            if all(committed.get(partition, 0) > offset for partition, offset in positions):
                return True
            if time.monotonic() >= deadline:
                return False
            await self._clock.sleep(AFTER_PAUSE_SECONDS)


def routes(balances: Balances) -> list[web.RouteDef]:
    """The balance's route."""

    async def get_balance(request: web.Request) -> web.Response:
        """`?after=<position>` waits until the events of that position are in it, 5 s at most."""
        key = path_key(request, "key")
        parameters = query(request, "after")
        if "after" in parameters:
            try:
                positions = decode_position(parameters["after"])
            except ValueError as error:
                raise parameter_invalid("after", str(error)) from None
            if not await balances.wait(positions, AFTER_SECONDS):
                raise Problem(
                    504,
                    Code.NOT_YET,
                    "Gateway Timeout",
                    f"the events of {parameters['after'][:80]!r} are not in after {AFTER_SECONDS:g} s: ask again",
                    headers={"Retry-After": "1"},
                )
        found = await balances.read(key)
        if found is None:
            raise Problem(404, Refusal.UNKNOWN_CUSTOMER, "Not Found", f"there is no customer {key!r}")
        return answer_json(found)

    return [web.get("/v1/customers/{key}/balance", get_balance)]
