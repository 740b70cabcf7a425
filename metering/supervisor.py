"""Keeps the roles of a process running: waits where the world is away, gives up where we are wrong (decision 0010)."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog

from metering.errors import Fenced, LogUnavailable, StoreUnavailable

_log = structlog.get_logger("metering.roles")

HEALS: Final = (LogUnavailable, StoreUnavailable, Fenced, ConnectionError)
"""What waiting may heal."""
PAUSE_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Before a role is started again; the last goes on for ever."""
STOP_S: Final = 10.0
"""After so long a role that was asked to stop is cancelled: what it had not committed is read again."""


class Role(Protocol):
    """Something that works until it is asked to stop."""

    async def run(self) -> None:
        """Work; returns only after `stop`."""
        ...

    def stop(self) -> None:
        """Ask `run` to finish what it is at, and return."""
        ...


class Supervisor:
    """Runs roles by name; each is made anew when it failed for a reason that waiting may heal."""

    def __init__(self, roles: Mapping[str, Callable[[], Role]]) -> None:
        self._roles = dict(roles)
        self._started = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every role; needs a running loop."""
        self._tasks = [asyncio.create_task(self._keep(name, make), name=name) for name, make in self._roles.items()]
        self._started.set()

    async def failed(self) -> None:
        """Wait until a role has failed for good, and raise its error; returns if all were stopped."""
        await self._started.wait()
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Stop every role; returns when all have ended. Errors are raised by `failed`, not here."""
        self._stopping.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, name: str, make: Callable[[], Role]) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            try:
                await self._run(make())
            except HEALS as error:
                if asyncio.get_running_loop().time() - started > PAUSE_S[-1]:
                    failures = 0
                pause = PAUSE_S[min(failures, len(PAUSE_S) - 1)]
                failures += 1
                _log.warning("role_waits", role=name, reason=str(error) or type(error).__name__, again_in_s=pause)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()
            except Exception:
                _log.exception("role_failed", role=name)
                raise

    async def _run(self, role: Role) -> None:
        """Run until it ends by itself, which is an error, or until we are asked to stop."""
        work = asyncio.create_task(role.run())
        asked = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                if not self._stopping.is_set():
                    raise RuntimeError(f"{type(role).__name__}.run returned although nobody asked it to stop")
                return
            role.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await asyncio.shield(work)
        finally:
            asked.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
