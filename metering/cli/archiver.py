"""`metering archiver`: the role that writes the archive, in a process of its own."""

import os
import socket
from contextlib import AsyncExitStack
from typing import Annotated

from cyclopts import Parameter

from metering import config
from metering.api.probes import make_probes
from metering.archive.archiver import Archiver
from metering.archive.place import place_of
from metering.archive.store import ArchiveStore
from metering.cli.connected import connected
from metering.cli.loop import run, stop_signals, stopped_or_failed
from metering.cli.say import say
from metering.config import Settings
from metering.errors import ConfigurationError
from metering.observe import logs
from metering.serving import serve
from metering.supervisor import Supervisor


def archiver(
    *,
    archive: Annotated[str | None, Parameter(help="folder or URL of the archive")] = None,
    metrics_port: Annotated[int | None, Parameter(help="port of /healthz, /readyz and /metrics")] = None,
) -> int:
    """Write what the workers commit to the archive of events until Ctrl-C; any number of them may run."""
    flags = {"METERING_ARCHIVE": archive, "METERING_METRICS_PORT": metrics_port}
    given = {name: str(value) for name, value in flags.items() if value is not None}
    settings = config.read(os.environ | given)
    if settings.postgres is None:
        raise ConfigurationError("METERING_POSTGRES: name the database; `metering up` archives its own by itself")
    logs.configure(settings.log_level, settings.log_format)
    return run(_archive(settings))


async def _archive(settings: Settings) -> int:
    notes: list[str] = []
    async with stop_signals() as stopped, connected(settings) as (pool, log, clock), AsyncExitStack() as stack:
        owner = f"{socket.gethostname()}:{os.getpid()}"
        place = place_of(settings)
        role = Supervisor({"archiver": lambda: Archiver(log, ArchiveStore(pool), place, clock, owner=owner)})
        url = await serve(make_probes({}), settings.host, settings.metrics_port, stack, notes)
        role.start()
        stack.push_async_callback(role.stop)
        for line in (*notes, f"metrics   {url}/metrics", "Archiving; Ctrl-C stops."):
            say(line)
        await stopped_or_failed(stopped, role.failed())
    return 0
