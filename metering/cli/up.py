"""`metering up`: every role of the engine in one process."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metering import config
from metering.cli.loop import run, stop_signals, stopped_or_failed
from metering.cli.say import say
from metering.clock import Clock, SettableClock, SystemClock
from metering.config import Settings
from metering.errors import ConfigurationError
from metering.observe import logs
from metering.wiring import running
from schemas.instants import Instant


def up(
    *,
    port: Annotated[int | None, Parameter(help="port of the API; a busy one is replaced by a free one")] = None,
    metrics_port: Annotated[int | None, Parameter(help="port of /healthz, /readyz and /metrics; same rule")] = None,
    data_dir: Annotated[Path | None, Parameter(help="folder of the embedded PostgreSQL")] = None,
    clock: Annotated[str | None, Parameter(help="start with a settable clock at this instant, for trying out")] = None,
) -> int:
    """Run the whole engine in this process until Ctrl-C."""
    settings = config.read(os.environ | _given(port, metrics_port, data_dir))
    logs.configure(settings.log_level, settings.log_format)
    return run(_up(settings, _clock(clock)))


def _given(port: int | None, metrics_port: int | None, data_dir: Path | None) -> dict[str, str]:
    """Flags as the variables that they win over, so that both are checked alike."""
    flags = {"METERING_PORT": port, "METERING_METRICS_PORT": metrics_port, "METERING_DATA_DIR": data_dir}
    return {name: str(value) for name, value in flags.items() if value is not None}


def _clock(text: str | None) -> Clock:
    if text is None:
        return SystemClock()
    try:
        return SettableClock(Instant.parse(text))
    except ValueError as error:
        raise ConfigurationError(f"--clock: {error}") from error


async def _up(settings: Settings, clock: Clock) -> int:
    async with stop_signals() as stopped:
        await _run(settings, clock, stopped)
    return 0


async def _run(settings: Settings, clock: Clock, stopped: asyncio.Event) -> None:
    """Start everything, say where it is, and wait for the signal or for a failure."""
    async with running(settings, clock) as engine:
        for line in engine.notes:
            say(line)
        say(f"API       {engine.url}")
        say(f"metrics   {engine.probes_url}/metrics")
        if engine.admin_key is not None:
            say(f"admin key {engine.admin_key}   (shown this once: keep it)")
        say("Ready; Ctrl-C stops.")
        await stopped_or_failed(stopped, engine.failed())
