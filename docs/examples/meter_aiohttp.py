"""An aiohttp application whose requests are metered. Run it, then: curl -H 'Account: acme' 127.0.0.1:8000/hello."""

import os
from collections.abc import AsyncIterator

from aiohttp import web

from metering.client import Metering
from metering.client.web import aiohttp_middleware


async def hello(request: web.Request) -> web.Response:
    """What the product sells."""
    return web.Response(text="hello\n")


def make_app(metering: Metering) -> web.Application:
    """The application; a request without an account is nobody's usage."""

    async def live(app: web.Application) -> AsyncIterator[None]:
        async with metering:
            yield

    meter = aiohttp_middleware(metering, "http.request", lambda request: request.headers.get("Account"))
    app = web.Application(middlewares=[meter])
    app.cleanup_ctx.append(live)
    app.router.add_get("/hello", hello)
    return app


if __name__ == "__main__":
    web.run_app(
        make_app(Metering(os.environ["METERING_URL"], os.environ["METERING_KEY"], source="hello")),
        host="127.0.0.1",
        port=8000,
    )
