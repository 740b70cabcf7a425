"""The asyncio client."""

from types import TracebackType
from typing import Final, Self

from metering.client.emitter import Emitter

CLOSE_SECONDS: Final = 5.0


class Metering(Emitter):
    """`async with Metering(url, key) as metering: metering.count("llm.call", "acme", tokens=1500)`.

    Lives in the event loop that starts it; `send` may be called from any thread.
    """

    async def start(self) -> None:
        """Begin to send. `OSError` if the spool cannot be used; a service that is away is waited for, not here."""
        await self._engine.start()

    async def flush(self, timeout: float = CLOSE_SECONDS) -> bool:  # noqa: ASYNC109
        """Send everything now; whether all is acknowledged or refused within `timeout` seconds."""
        return await self._engine.flush(timeout)

    async def close(self, timeout: float = CLOSE_SECONDS) -> None:  # noqa: ASYNC109
        """Flush and stop. What the service does not take in time stays on disk, or is dropped without a spool."""
        await self._engine.close(timeout)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
