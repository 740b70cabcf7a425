"""The event loop of the commands: uvloop where there is one."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a loop of its own; Ctrl-C cancels it, waits until it is gone, and is raised."""
    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        return runner.run(work)


@asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets; a second one of them ends the process the hard way.

    Inside, the first signal is a request: what is being committed is committed.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        stopped.set()
        for one in signals:
            loop.remove_signal_handler(one)

    for one in signals:
        loop.add_signal_handler(one, stop)
    try:
        yield stopped
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


async def stopped_or_failed(stopped: asyncio.Event, failed: Coroutine[Any, Any, None]) -> None:
    """Wait for the signal to stop; if `failed` raises before, that error is raised."""
    waiting, failing = asyncio.create_task(stopped.wait()), asyncio.create_task(failed)
    try:
        await asyncio.wait({waiting, failing}, return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            failing.result()
    finally:
        waiting.cancel()
        failing.cancel()
        await asyncio.gather(waiting, failing, return_exceptions=True)
