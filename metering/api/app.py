"""The HTTP application: collects the routes that each step brings, and puts the middleware around them."""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from metering.api import key_routes
from metering.api.keys import Keys
from metering.api.middleware import answer, authenticate

REQUEST_BYTES_MAX: Final = 64 << 20
"""The longest body that any route may ask for; each route has its own, smaller limit."""


def make_app(keys: Keys, *routes: Iterable[web.AbstractRouteDef]) -> web.Application:
    """The application of the API port: these routes and those of the keys themselves; every one needs a key."""
    app = web.Application(middlewares=[answer, authenticate(keys)], client_max_size=REQUEST_BYTES_MAX)
    for part in (key_routes.routes(keys), *routes):
        app.add_routes(part)
    return app
