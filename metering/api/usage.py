"""`GET /v1/customers/{key}/usage`: what was metered in a span of whole hours."""

from decimal import Decimal
from typing import Any

import asyncpg
from aiohttp import web

from metering.api.answers import answer_json
from metering.api.body import instant_of, parameter_invalid, path_key, query
from metering.api.problem import Problem
from metering.postgres.pool import connection
from metering.usage.meters import Meters
from metering.usage.pieces import EXACT
from metering.usage.source import load_pieces
from schemas.faults import nearest
from schemas.http import Code
from schemas.instants import HOUR, Instant
from schemas.numbers import plain_text


def routes(pool: asyncpg.Pool) -> list[web.RouteDef]:
    """The route of usage."""

    async def get_usage(request: web.Request) -> web.Response:
        """`meter`, `from` and `to` (whole hours), and `group_by`: names of dimensions with commas between them.

        A customer need not be known: its usage is kept under its key (spec 2.5).
        """
        key = path_key(request, "key")
        parameters = query(request, "meter", "from", "to", "group_by")
        start, end = _hour(parameters, "from"), _hour(parameters, "to")
        if start >= end:
            raise parameter_invalid("to", "must be after 'from'")
        async with connection(pool) as lent:
            meters = await Meters.load(lent)
            meter = parameters.get("meter", "")
            if meter not in meters:
                raise Problem(404, Code.NOT_FOUND, "Not Found", f"there is no meter {meter[:255]!r}")
            names = meters.dimensions(meter)
            by = tuple(name for name in parameters.get("group_by", "").split(",") if name)
            for name in by:
                if name not in names:
                    raise parameter_invalid("group_by", f"{meter!r} has no dimension {name!r}; {nearest(name, names)}")
            pieces = (await load_pieces(lent, [key], start, end)).get(key, [])
        groups: dict[tuple[str, ...], tuple[Decimal, int]] = {} if by else {(): (Decimal(0), 0)}
        for piece in pieces:
            if piece.meter == meter:
                values = dict(zip(names, piece.combination, strict=True))
                group = tuple(values[name] for name in by)
                quantity, events = groups.get(group, (Decimal(0), 0))
                groups[group] = (EXACT.add(quantity, piece.quantity), events + piece.events)
        items: list[dict[str, Any]] = [
            {"dimensions": dict(zip(by, group, strict=True)), "quantity": plain_text(quantity), "events": events}
            for group, (quantity, events) in sorted(groups.items())
        ]
        return answer_json({"customer": key, "meter": meter, "from": start, "to": end, "items": items})

    return [web.get("/v1/customers/{key}/usage", get_usage)]


def _hour(parameters: dict[str, str], name: str) -> Instant:
    instant = instant_of(parameters, name)
    if instant is None:
        raise parameter_invalid(name, "is missing: an instant such as 2026-01-01T00:00:00Z")
    if instant % HOUR:
        raise parameter_invalid(name, "must be a full hour: usage is kept by the hour")
    return instant
