"""The clock is passed in: nobody else asks for the time, so tests and `--clock` can set it."""

import asyncio
import time
from typing import Protocol

from schemas.instants import Instant


class Clock(Protocol):
    """What knows the time, and can wait for it."""

    settable: bool

    def now(self) -> Instant:
        """The present instant, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let real time pass: for polling and back-off, never for billing."""
        ...


class SystemClock:
    """The machine's clock."""

    settable = False

    def now(self) -> Instant:
        return Instant(time.time_ns() // 1_000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SettableClock:
    """A clock that stands where it is put (`--clock`), so that a month can pass in a second."""

    settable = True

    def __init__(self, start: Instant) -> None:
        self._now = start
        self._moved = asyncio.Event()

    def now(self) -> Instant:
        return self._now

    def set(self, instant: Instant) -> None:
        """Move to `instant`; `ValueError` if that is in the past: what is final cannot be undone by a clock."""
        if instant < self._now:
            raise ValueError(f"the clock stands at {self._now} and only goes forward; {instant} is before it")
        self._now = instant
        self._moved.set()

    def restart(self, instant: Instant) -> None:
        """Stand at `instant`, earlier or later: for a reset only, when all data are dropped and nothing is final."""
        self._now = instant
        self._moved.set()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time, or until the clock is moved if that comes first."""
        self._moved.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            pass
