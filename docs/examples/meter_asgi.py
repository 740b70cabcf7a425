"""An ASGI application whose requests are metered; run it with any ASGI server, as `uvicorn meter_asgi:app`."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from metering.client import Metering
from metering.client.web import ASGIMiddleware

metering = Metering(os.environ["METERING_URL"], os.environ["METERING_KEY"], source="hello")


async def hello(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """What the product sells: Starlette, FastAPI, Django or Litestar in earnest."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await metering.start()
            await send({"type": f"{message['type']}.complete"})
        await metering.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello\n"})


def account(scope: Any) -> str | None:
    """Whose request it is; behind an authentication, what that put into the scope."""
    found = dict(scope["headers"]).get(b"account")
    return found.decode("latin-1") if found else None


app = ASGIMiddleware(hello, metering, "http.request", account)
