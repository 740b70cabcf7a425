"""The small application on its own port: alive, ready, metrics. It needs no key and says nothing of customers."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from metering.errors import MeteringError
from metering.observe.metrics import REGISTRY
from schemas.codec import to_json

Check = Callable[[], Awaitable[None]]
"""Returns if the part works, raises `MeteringError` that says why not."""


def make_probes(checks: Mapping[str, Check]) -> web.Application:
    """`/healthz`: the process answers. `/readyz`: every check passes, else 503 that names what fails. `/metrics`."""

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_request: web.Request) -> web.Response:
        failing: dict[str, str] = {}
        for name, check in checks.items():
            try:
                await check()
            except (MeteringError, OSError) as error:
                failing[name] = str(error) or type(error).__name__
        body = {"status": "waiting" if failing else "ready", "failing": failing}
        return web.Response(status=503 if failing else 200, body=to_json(body), content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthy), web.get("/readyz", ready), web.get("/metrics", metrics)])
    return app
