"""What carries events away: the service over HTTP (`http.py`), or Kafka directly (`kafka.py`)."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from schemas.outcome import Outcome


class Fate(NamedTuple):
    """What became of one event."""

    id: str
    outcome: str
    """`queued`: acknowledged. `dropped`: there was no room for it, or no more time. Else why the service refused it:
    `event_invalid`, `time_in_future`, `time_too_old`, `body_too_large`."""
    detail: str | None
    event: bytes
    """The event as JSON."""

    @property
    def queued(self) -> bool:
        """Whether the service has it."""
        return self.outcome == Outcome.QUEUED


class Away(Exception):
    """Not everything was acknowledged, and none of it was refused: send it all again, later."""

    def __init__(self, reason: str, retry_after: float | None = None, *, misconfigured: bool = False) -> None:
        """retry_after: in seconds, if the service said so. misconfigured: waiting alone will not help."""
        super().__init__(reason)
        self.retry_after = retry_after
        self.misconfigured = misconfigured


class TooLarge(Exception):
    """The service takes fewer events or bytes at once."""


class Transport(Protocol):
    """Sends events; used by one task at a time, in one event loop."""

    async def start(self) -> None:
        """Get ready, without waiting for the other side."""
        ...

    async def send(self, events: Sequence[bytes]) -> list[Fate]:
        """Send events; the fate of each in their order. Raises `Away` or `TooLarge`."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...


class _Named(msgspec.Struct):
    """As much of an event as tells whose it is."""

    id: str = ""
    subject: str = ""


_NAMED: Final = msgspec.json.Decoder(_Named)


def fate(event: bytes, outcome: str, detail: str | None = None) -> Fate:
    """The fate of an event, named by its own id; an event that cannot be read has an empty id."""
    return Fate(_named(event).id, str(outcome), detail, event)


def subject_of(event: bytes) -> str:
    """The customer of an event; empty if it cannot be read: not every line of a spool needs to be of ours."""
    return _named(event).subject


def _named(event: bytes) -> _Named:
    try:
        return _NAMED.decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Named()
