"""Listening: at the port that was asked for, or at a free one if it is busy."""

import errno
import logging
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from metering.errors import ConfigurationError

STOP_SECONDS: Final = 3.0
"""How long a request at hand may take when the process stops."""


class OfClients(logging.Filter):
    """Drops what aiohttp logs, with a traceback and parts of the request, when a client speaks no proper HTTP.

    Such a client has had its 400. Anybody can be one, without a key, and none may fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a fault of the client."""
        fault = record.exc_info[1] if record.exc_info else None
        return not isinstance(fault, HttpProcessingError | web.RequestPayloadError)


_OF_CLIENTS: Final = OfClients()


async def serve(app: web.Application, host: str, port: int, stack: AsyncExitStack, notes: list[str]) -> str:
    """Serve until the stack is closed; the address. `notes` gets a line if it is another port than asked.

    Raises `ConfigurationError` if the host is none of this machine, or the port needs rights that we have not.
    """
    logging.getLogger("aiohttp.server").addFilter(_OF_CLIENTS)
    runner = web.AppRunner(app, shutdown_timeout=STOP_SECONDS, access_log=None, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error
        await web.TCPSite(runner, host, 0).start()
        notes.append(f"Port {port} is busy; {runner.addresses[0][1]} is taken instead.")
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{runner.addresses[0][1]}"
