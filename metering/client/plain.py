"""The client for programs without an event loop: the same, in a thread of its own."""

import asyncio
import concurrent.futures.thread  # noqa: F401  its exit handler has to be older than ours: they run last made, first run
import logging
import os
import threading
import weakref
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from metering.client.emitter import Emitter
from metering.client.metering import CLOSE_SECONDS

T = TypeVar("T")
GRACE_SECONDS: Final = 10.0
"""For stopping, on top of the time to flush."""

_LOG: Final = logging.getLogger("metering.client")


class PlainMetering(Emitter):
    """`with PlainMetering(url, key) as metering: metering.count("llm.call", "acme", tokens=1500)`.

    Without `with`, the first event starts it and the end of the program closes it. After a fork the child begins anew,
    and what was in memory is the parent's.
    """

    def _begin(self) -> None:
        super()._begin()
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._started = self._closed = False
        _ALL.add(self)

    def start(self) -> None:
        """Begin to send, if that is not done yet. `OSError` if the spool cannot be used."""
        with self._starting:
            if self._thread is not None or self._closed:
                return
            self._started = True
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_live, args=(loop,), name="metering-client", daemon=True)
            thread.start()
            try:
                asyncio.run_coroutine_threadsafe(self._engine.start(), loop).result(GRACE_SECONDS)
            except BaseException:
                loop.call_soon_threadsafe(loop.stop)
                thread.join(GRACE_SECONDS)
                raise
            self._loop, self._thread = loop, thread
            # At the end of the program, but before threads are told to end: sending still needs them to look up names.
            # `atexit` would be too late for that, and `threading` has no public way; it is there in 3.11 to 3.14.
            threading._register_atexit(self.close)  # type: ignore[attr-defined]

    def _put(self, event: bytes) -> None:
        if not self._started:
            try:
                self.start()
            except (OSError, RuntimeError, TimeoutError):
                _LOG.exception("the client does not start: events stay in memory until start() succeeds")
        super()._put(event)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Send everything now; whether all is acknowledged or refused within `timeout` seconds."""
        self.start()
        return self._do(self._engine.flush(timeout), timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Flush and stop. What the service does not take in time stays on disk, or is dropped without a spool."""
        with self._starting:
            if self._closed:
                return
            self._closed = self._started = True
            if self._loop is None or self._thread is None:
                asyncio.run(self._engine.close(0))
                return
            self._do(self._engine.close(timeout), timeout)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(GRACE_SECONDS)

    def _do(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds + GRACE_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def forked(self) -> None:
        """Begin anew in a child process: thread and connections are the parent's, and so is what is in memory."""
        self._engine.abandon()
        self._begin()


_ALL: Final[weakref.WeakSet[PlainMetering]] = weakref.WeakSet()


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _forked() -> None:
    for metering in list(_ALL):
        metering.forked()


os.register_at_fork(after_in_child=_forked)
