"""Meter the requests of an aiohttp application, or of any ASGI application (Starlette, FastAPI, Django, Litestar).

    meter = aiohttp_middleware(metering, "http.request", lambda request: request.get("account"))
    app = web.Application(middlewares=[meter])

    app = ASGIMiddleware(app, metering, "http.request", lambda scope: scope.get("account"))

Every request with a customer is one event, with the data `method`, `status` and `ok` (a status below 400); a meter's
`where` says which of them count. Without a customer (None: not signed in, a health check) there is no event.
A request is never slower or broken for it: what goes wrong here is logged, and counted as dropped.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from metering.client.emitter import Emitter
from metering.client.event import Value

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

More: TypeAlias = Mapping[str, Value]
_LOG: Final = logging.getLogger("metering.client")


def aiohttp_middleware(
    metering: Emitter,
    event_type: str,
    subject: Callable[[web.Request], str | None],
    data: Callable[[web.Request, int], More] | None = None,
) -> Middleware:
    """A middleware of aiohttp. subject: the customer of a request, asked when it was answered, so that what
    authenticates it may come later in the chain. data: more for the event, from the request and its status."""

    @web.middleware
    async def meter(request: web.Request, handler: Handler) -> web.StreamResponse:
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as answer:
            status = answer.status
            raise
        finally:
            _note(
                metering,
                event_type,
                request.method,
                status,
                lambda: subject(request),
                lambda: _more(data, request, status),
            )

    return meter


class ASGIMiddleware:
    """A middleware of ASGI: wraps an application. Websockets and lifespan pass through unmetered."""

    def __init__(
        self,
        app: ASGIApp,
        metering: Emitter,
        event_type: str,
        subject: Callable[[Scope], str | None],
        data: Callable[[Scope, int], More] | None = None,
    ) -> None:
        """See `aiohttp_middleware`; both callables get the scope, with what the application put into it."""
        self._app = app
        self._metering = metering
        self._type = event_type
        self._subject = subject
        self._data = data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            _note(
                self._metering,
                self._type,
                scope["method"],
                status,
                lambda: self._subject(scope),
                lambda: _more(self._data, scope, status),
            )
        return None


def _more(data: Callable[[Any, int], More] | None, request: Any, status: int) -> More:
    return data(request, status) if data is not None else {}


def _note(
    metering: Emitter,
    event_type: str,
    method: str,
    status: int,
    subject: Callable[[], str | None],
    more: Callable[[], More],
) -> None:
    try:
        if (customer := subject()) is not None:
            metering.send(event_type, customer, {"method": method, "status": status, "ok": status < 400, **more()})
    except Exception:
        metering.note_unmetered()
        _LOG.exception("a request was not metered")
