"""`GET /v1/event`: one event and its fate. `GET /v1/events`: a customer's events, page by page."""

from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import numpy as np
from aiohttp import web

from metering.api.answers import answer_json, decode_cursor, page, page_size
from metering.api.body import instant_of, parameter_invalid, query
from metering.api.problem import Problem
from metering.archive.fate import fate_of, shown_row
from metering.archive.reading import EventReader, Wanted
from metering.archive.rows import positions_of, times_of
from metering.postgres.pool import connection
from metering.subscriptions.accounts import Accounts
from rating.events import clean
from schemas.http import Code
from schemas.instants import Instant

NAME_LENGTH_MAX: Final = 255
BEGIN: Final = Instant.parse("1900-01-01T00:00:00Z")
END: Final = Instant.of(datetime(9999, 12, 31, tzinfo=UTC))


def routes(pool: asyncpg.Pool, reader: EventReader) -> list[web.RouteDef]:
    """The routes of events that were sent."""
    http = _Events(pool, reader)
    return [web.get("/v1/event", http.get_event), web.get("/v1/events", http.list_events)]


class _Events:
    def __init__(self, pool: asyncpg.Pool, reader: EventReader) -> None:
        self._pool = pool
        self._reader = reader
        self._accounts = Accounts()

    async def get_event(self, request: web.Request) -> web.Response:
        """The event of `?subject=&source=&id=`: its bytes, how it ended, what each meter took, what bills it."""
        parameters = query(request, "subject", "source", "id")
        subject, source, event_id = (_name(parameters, name) for name in ("subject", "source", "id"))
        arrivals = await self._reader.find(subject, source, event_id)
        if len(arrivals) == 0:
            detail = f"no event of {subject!r} with source {source!r} and id {event_id!r} has arrived"
            raise Problem(404, Code.NOT_FOUND, "Not Found", detail)
        async with connection(self._pool) as lent:
            return answer_json(await fate_of(lent, self._accounts, arrivals))

    async def list_events(self, request: web.Request) -> web.Response:
        """The events of `?customer=` that have arrived, of one `?type=`, of a time in [`from`, `to`), by time."""
        parameters = query(request, "customer", "type", "from", "to", "cursor", "limit")
        limit = page_size(parameters)
        start, end = instant_of(parameters, "from") or BEGIN, instant_of(parameters, "to") or END
        if start >= end:
            raise parameter_invalid("to", "must be after 'from'")
        after = decode_cursor(parameters, (int, int))
        if after is not None and not start <= after[0] < end:
            raise parameter_invalid("cursor", "is not one that `next` gave for these parameters")
        since = start if after is None else Instant(after[0])
        wanted = Wanted(_name(parameters, "customer"), parameters.get("type"), since, end)
        found: list[dict[str, Any]] = []
        last: tuple[int, int] | None = None
        async for table in self._reader.search(wanted):
            times, positions = times_of(table), positions_of(table)
            behind = np.arange(len(table))
            if after is not None:
                behind = np.flatnonzero((times > after[0]) | ((times == after[0]) & (positions > after[1])))
            room = limit - len(found)
            rows = behind[:room]
            if len(behind) and not room:
                break
            found += table.take(rows).to_pylist()
            if len(rows):
                last = int(times[rows[-1]]), int(positions[rows[-1]])
            if len(behind) > room:
                break
        else:
            last = None
        return page([shown_row(row) for row in found], last)


def _name(parameters: dict[str, str], name: str) -> str:
    text = parameters.get(name, "")
    if not 1 <= len(text) <= NAME_LENGTH_MAX or not clean(text):
        raise parameter_invalid(name, f"must be 1 to {NAME_LENGTH_MAX} characters without control characters")
    return text
