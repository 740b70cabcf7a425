"""From memory to the service, over the disk while it is away. Lives in one event loop; `put` may come from any thread.

Two tasks. One takes what `put` left in the buffer, a while after the first event or when there is enough for a batch,
and hands it to the outbox; the other sends the outbox, one batch at a time and in order, until each is answered.
An event leaves the outbox when the service has acknowledged or refused it, or when its batch is on disk and the
process ends. A batch whose answer was lost is sent again: its events have their ids, so the copies do not count.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from metering.client.buffer import Buffer, Limits
from metering.client.outbox import Outbox
from metering.client.spool import Spool
from metering.client.transport import Away, Fate, TooLarge, Transport, fate
from metering.clock import Clock

PATIENCE_SECONDS: Final = 1.0
"""A batch without an answer for so long goes to disk as well, and so does what comes behind it."""

PAUSE_FIRST: Final = 0.25
PAUSE_MAX: Final = 30.0
ADOPT_SECONDS: Final = 30.0
"""So often an idle client looks for what processes that are gone have left."""

STOP_SECONDS: Final = 2.0
BODY_TOO_LARGE: Final = "body_too_large"
DROPPED: Final = "dropped"

_LOG: Final = logging.getLogger("metering.client")


@dataclass
class Counters:
    """What became of the events so far; only `waiting` may fall."""

    sent: int = 0
    """Acknowledged by the service: they are in its log."""
    refused: int = 0
    """Refused by the service."""
    spooled: int = 0
    """Put on disk; each is sent, or refused, later on."""
    dropped: int = 0
    """Lost: no room in memory or on disk, no time at the end, or no event could be made of a call."""
    retries: int = 0
    """Attempts that were not answered as hoped."""
    waiting: int = 0
    """In memory and on disk at present."""


class Engine:
    """Takes events, and sees to it that they arrive."""

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        interval: float,
        spool: Spool | None,
        clock: Clock,
        on_outcome: Callable[[Fate], None] | None,
    ) -> None:
        """interval: seconds after which an event is sent although it is alone."""
        self._counters = Counters()
        self._transport = transport
        self._limits = limits
        self._interval = interval
        self._clock = clock
        self._on_outcome = on_outcome
        self._some, self._due, self._hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._buffer = Buffer(limits, lambda: self._wake(self._some), lambda: self._wake(self._due))
        self._outbox = Outbox(self._buffer, limits, spool)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = asyncio.Condition()
        self._away: str | None = None
        """Why the service does not take events at present, None while it does."""
        self._slow = False
        self._full = False

    def put(self, event: bytes) -> bool:
        """Take an event, without waiting; whether there was room for it."""
        if (reason := self._buffer.add(event)) is None:
            return True
        if not self._full:
            self._full = True
            _LOG.error("events are dropped: %s", reason)
        self._tell(fate(event, DROPPED, reason))
        return False

    def drop(self) -> None:
        """Count an event that could not be made."""
        self._counters.dropped += 1

    @property
    def counters(self) -> Counters:
        """What became of the events so far."""
        return replace(
            self._counters,
            spooled=self._outbox.spooled,
            dropped=self._counters.dropped + self._buffer.dropped,
            waiting=len(self._buffer) + self._outbox.waiting,
        )

    async def start(self) -> None:
        """Begin. `OSError` if the spool cannot be used."""
        await self._outbox.open(self._clock.now())
        await self._transport.start()
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._collect()), asyncio.create_task(self._deliver())]
        if len(self._buffer):
            self._some.set()

    async def flush(self, seconds: float) -> bool:
        """Send everything now; whether the service has answered for all that was put before, within the time."""
        self._outbox.add(self._buffer.take())
        number = self._buffer.number
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds), self._answered:
                await self._answered.wait_for(lambda: not self._outbox.has_up_to(number))
        except TimeoutError:
            return False
        return True

    async def close(self, seconds: float) -> None:
        """Flush; what the service does not take in time goes to disk, or is dropped without one. Then stop for good."""
        if not self._buffer.close():
            return
        if self._tasks:
            await self.flush(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._outbox.add(self._buffer.take())
        if self._tasks:
            await self._outbox.settle()
        if lost := self._outbox.in_memory():
            self._counters.dropped += len(lost)
            _LOG.error("%d events are lost: the service did not take them before the end (%s)", len(lost), self._away)
            for event in lost:
                self._tell(fate(event, DROPPED, "the client was closed before the service took it"))
        await self._outbox.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._transport.stop()
        self._tasks = []

    def abandon(self) -> None:
        """In a forked child: everything here is the parent's."""
        self._outbox.abandon()

    def _wake(self, event: asyncio.Event) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # The loop is closed: `close` was forgotten, nobody is left to wake.
                self._loop.call_soon_threadsafe(event.set)

    async def _collect(self) -> None:
        """The first task: from the buffer to the outbox."""
        while True:
            await self._some.wait()
            self._some.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._due.wait()
            self._due.clear()
            self._outbox.add(self._buffer.take())
            if self._away is not None or self._slow or self._buffer.held > self._limits.memory_bytes // 2:
                await self._outbox.settle()

    async def _deliver(self) -> None:
        """The second task: from the outbox to the service."""
        pause = PAUSE_FIRST
        while True:
            while not len(self._outbox):
                with suppress(TimeoutError):
                    async with asyncio.timeout(ADOPT_SECONDS):
                        self._outbox.filled.clear()
                        await self._outbox.filled.wait()
                await self._outbox.adopt()
            entry, events = await self._outbox.first()
            try:
                fates = await self._patiently(events)
            except Away as away:
                entry.taken = False
                self._note_away(away)
                await self._outbox.settle()
                hurried = await self._rest(pause, away.retry_after or 0)
                pause = PAUSE_FIRST if hurried else min(pause * 2, PAUSE_MAX)
                continue
            if self._away is not None:
                _LOG.warning("the service takes events again")
            self._away, self._full, pause = None, False, PAUSE_FIRST
            await self._outbox.done(entry, [each.event for each in fates if not each.queued])
            await self._note_answered(fates)

    async def _patiently(self, events: Sequence[bytes]) -> list[Fate]:
        """Send; what takes long goes to disk meanwhile. Any failure is `Away`: no event is lost by a fault here."""
        attempt = asyncio.create_task(self._attempt(events))
        try:
            done, _ = await asyncio.wait([attempt], timeout=PATIENCE_SECONDS)
            if not done:
                self._slow = True
                await self._outbox.settle()
            return await attempt
        except Away:
            raise
        except Exception as error:
            if repr(error) != self._away:
                _LOG.exception("sending failed in a way that nobody thought of")
            raise Away(repr(error), misconfigured=True) from error
        finally:
            self._slow = False
            attempt.cancel()

    async def _attempt(self, events: Sequence[bytes]) -> list[Fate]:
        """Send; in halves where the service, or what is in front of it, takes no more at once."""
        if not events:
            return []
        try:
            return await self._transport.send(events)
        except TooLarge as error:
            if len(events) == 1:
                return [fate(events[0], BODY_TOO_LARGE, str(error))]
            half = len(events) // 2
            return await self._attempt(events[:half]) + await self._attempt(events[half:])

    async def _rest(self, pause: float, at_least: float) -> bool:
        """Pause, between half of it and all so that many clients do not come back as one; whether it was cut short."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause * (500 + secrets.randbelow(501)) / 1_000, at_least)):
                await self._hurry.wait()
        hurried = self._hurry.is_set()
        self._hurry.clear()
        return hurried

    def _note_away(self, away: Away) -> None:
        self._counters.retries += 1
        if str(away) != self._away:
            level = logging.ERROR if away.misconfigured else logging.WARNING
            _LOG.log(level, "events wait: %s", away)
        self._away = str(away)

    async def _note_answered(self, fates: Sequence[Fate]) -> None:
        queued = sum(each.queued for each in fates)
        self._counters.sent += queued
        self._counters.refused += len(fates) - queued
        if queued < len(fates):
            first = next(each for each in fates if not each.queued)
            _LOG.error("%d events were refused, first %r: %s", len(fates) - queued, first.id, first.detail)
        for each in fates:
            self._tell(each)
        async with self._answered:
            self._answered.notify_all()

    def _tell(self, each: Fate) -> None:
        if self._on_outcome is not None:
            try:
                self._on_outcome(each)
            except Exception:
                _LOG.exception("on_outcome failed")
