"""`GET /v1/rejected`: what arrived and was refused, with its place in the log and its bytes."""

import base64
from typing import Any

import asyncpg
from aiohttp import web

from metering.api.answers import decode_cursor, page, page_size
from metering.api.body import query
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from schemas.instants import Instant


def routes(pool: asyncpg.Pool) -> list[web.RouteDef]:
    """The route of what was refused."""

    async def list_rejected(request: web.Request) -> web.Response:
        """In pages, in the order of the log; of `?customer=`, of one `?code=`."""
        parameters = query(request, "cursor", "limit", "customer", "code")
        limit = page_size(parameters)
        after = decode_cursor(parameters, (int, int, int, str)) or [-1, -1, -1, ""]
        async with connection(pool) as lent:
            rows = await lent.fetch(
                queries().list_rejected, parameters.get("customer"), parameters.get("code"), *after, limit + 1
            )
        last = rows[limit - 1] if len(rows) > limit else None
        key = None if last is None else (last["partition"], last["log_offset"], last["index"], last["meter"])
        return page([_tree(row) for row in rows[:limit]], key)

    return [web.get("/v1/rejected", list_rejected)]


def _tree(row: asyncpg.Record) -> dict[str, Any]:
    """`payload` as text, or in base64 where it is none."""
    payload: bytes = row["payload"]
    try:
        shown = {"payload": payload.decode()}
    except UnicodeDecodeError:
        shown = {"payload_base64": base64.b64encode(payload).decode()}
    return {
        "code": row["code"],
        "reason": row["reason"],
        "meter": row["meter"] or None,
        "customer": row["customer"],
        "source": row["source"],
        "id": row["event_id"],
        "received": Instant.of(row["received_at"]),
        "position": {"partition": row["partition"], "offset": row["log_offset"], "index": row["index"]},
        **shown,
    }
