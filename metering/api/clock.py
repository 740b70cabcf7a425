"""The settable clock and the reset: only there when the engine runs with `--clock`."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from metering.api.answers import answer_json
from metering.api.body import query, read_body
from metering.api.problem import Problem
from metering.api.scopes import needs
from metering.clock import SettableClock
from schemas.http import ClockBody, Code, ResetBody, Scope
from schemas.instants import Instant

Settle = Callable[[], Awaitable[bool]]
"""Do all that has fallen due by now; whether it was done in time."""
Reset = Callable[[Instant], Awaitable[None]]
"""Drop all data, start a new log, put the clock to an instant."""


def routes(clock: SettableClock, settle: Settle, reset: Reset) -> list[web.RouteDef]:
    """`/v1/clock` and `/v1/reset`."""

    async def get_clock(request: web.Request) -> web.Response:
        query(request)
        return answer_json({"now": clock.now()})

    async def post_clock(request: web.Request) -> web.Response:
        """Move the clock, then do what has fallen due: `settled` says whether all of it is done."""
        query(request)
        body = await read_body(request, ClockBody)
        try:
            clock.set(body.now)
        except ValueError as error:
            raise Problem(409, Code.CLOCK_BACKWARD, "Conflict", str(error)) from None
        return answer_json({"now": clock.now(), "settled": await settle()})

    async def post_reset(request: web.Request) -> web.Response:
        """Begin anew; keys stay."""
        query(request)
        body = await read_body(request, ResetBody)
        await reset(clock.now() if body.now is None else body.now)
        return answer_json({"now": clock.now()})

    return [
        web.get("/v1/clock", get_clock),
        web.post("/v1/clock", needs(Scope.ADMIN, post_clock)),
        web.post("/v1/reset", needs(Scope.ADMIN, post_reset)),
    ]
