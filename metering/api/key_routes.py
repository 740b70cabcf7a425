"""`/v1/keys`: making, listing and revoking API keys; only for `admin`."""

from aiohttp import web

from metering.api.answers import answer_json, decode_cursor, page, page_size
from metering.api.body import path_key, query, read_body
from metering.api.keys import Keys
from metering.api.problem import Problem
from metering.api.scopes import needs
from schemas.http import Code, KeyBody, Scope


def routes(keys: Keys) -> list[web.RouteDef]:
    """The routes of keys."""

    async def make(request: web.Request) -> web.Response:
        """A new key; its token is in this answer and nowhere else."""
        query(request)
        body = await read_body(request, KeyBody)
        token = await keys.make([Scope(scope) for scope in body.scopes], body.note)
        key = await keys.find(token)
        assert key is not None
        return answer_json({"id": key.id, "scopes": sorted(key.scopes), "note": body.note, "token": token}, 201)

    async def list_keys(request: web.Request) -> web.Response:
        parameters = query(request, "cursor", "limit")
        limit, after = page_size(parameters), decode_cursor(parameters, (str,))
        found = await keys.list_after(after[0] if after else "", limit + 1)
        return page(found[:limit], (found[limit - 1].id,) if len(found) > limit else None)

    async def revoke(request: web.Request) -> web.Response:
        """It opens nothing any more, here at once and elsewhere within seconds; doing it twice is the same as once."""
        found = await keys.revoke(path_key(request, "id"))
        if found is None:
            raise Problem(404, Code.NOT_FOUND, "Not Found", "there is no key with this id")
        return answer_json(found)

    return [
        web.post("/v1/keys", needs(Scope.ADMIN, make)),
        web.get("/v1/keys", needs(Scope.ADMIN, list_keys)),
        web.delete("/v1/keys/{id}", needs(Scope.ADMIN, revoke)),
    ]
