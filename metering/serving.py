"""Listening: at the port that was asked for, or at a free one if it is busy."""

import errno
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from metering.errors import ConfigurationError

STOP_SECONDS: Final = 3.0
"""How long a request at hand may take when the process stops."""


async def serve(app: web.Application, host: str, port: int, stack: AsyncExitStack, notes: list[str]) -> str:
    """Serve until the stack is closed; the address. `notes` gets a line if it is another port than asked.

    Raises `ConfigurationError` if the host is none of this machine, or the port needs rights that we have not.
    """
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
