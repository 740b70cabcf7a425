"""Which scope a request needs: `needs` says it of a handler; without it reading needs `read`, all else `write`."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from metering.api.problem import Problem
from schemas.http import Code, Scope

SCOPES = web.RequestKey("scopes", frozenset[str])
"""The scopes of the key with which a request came: `request[SCOPES]`."""
REQUEST_ID = web.RequestKey("request_id", str)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def needs(scope: Scope, handler: Handler) -> Handler:
    """The same handler, open only to keys with `scope`: `web.post("/v1/clock", needs(Scope.ADMIN, set_clock))`."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    guarded.__name__ = getattr(handler, "__name__", "handler")
    guarded.__doc__ = handler.__doc__
    guarded.needed_scope = scope  # type: ignore[attr-defined]  # read by `needed`
    return guarded


def needed(request: web.Request) -> Scope:
    """The scope that a request needs."""
    said = getattr(request.match_info.handler, "needed_scope", None)
    if isinstance(said, Scope):
        return said
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return Scope.READ
    return Scope.INGEST if request.path == "/v1/events" else Scope.WRITE


def allows(scopes: frozenset[str], wanted: Scope) -> bool:
    """Whether a key with these scopes may do what needs `wanted`: `admin` implies all, `write` implies `read`."""
    if Scope.ADMIN in scopes or wanted in scopes:
        return True
    return wanted is Scope.READ and Scope.WRITE in scopes


def require(request: web.Request, wanted: Scope) -> None:
    """`Problem` 403 if the request's key may not do what needs `wanted`."""
    if not allows(request.get(SCOPES, frozenset()), wanted):
        raise Problem(403, Code.FORBIDDEN, "Forbidden", f"this needs a key with the scope {wanted.value!r}")
