"""The log that the engine reads: an ordered list of messages per partition, kept by Kafka or by Postgres (design 6).

An offset numbers a message. A message carries one event or a JSON array of events.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

Assigned = Callable[[frozenset[int]], Awaitable[dict[int, int]]]
"""Called with the partitions gained, none of which is held; answers from which offset to read each. What it leaves out
is held, not read."""
Revoked = Callable[[frozenset[int]], Awaitable[None]]
"""Called with the partitions lost, before another reader may have them: finish or drop their work."""


class Message(NamedTuple):
    """What is appended: the customer as key, one event or a JSON array of events as payload."""

    partition: int
    key: bytes
    payload: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    """`received`: the instant in microseconds, where the log's own time is not to be used (a settable clock);
    `late-window`: microseconds, where a backfill raises the window (spec 2.4)."""


class Record(NamedTuple):
    """What is read. `payload` is None for a tombstone; `received` in microseconds."""

    offset: int
    received: int
    payload: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Position(NamedTuple):
    """Where a message lies; once the `next_offset` of its partition is beyond it, its events are in the balance."""

    partition: int
    offset: int


class Reader(Protocol):
    """One member of the group of readers; partitions come and go through the callbacks."""

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """Join; the callbacks may be awaited from now on."""
        ...

    async def poll(self, records_max: int, wait_s: float) -> dict[int, list[Record]]:
        """The next records per partition, in order; empty after `wait_s` without any.

        Raises `OffsetLost` if the log no longer holds the next record of a partition; asked again, it goes on with the
        others if the error names a partition.
        """
        ...

    def pause(self, partitions: frozenset[int]) -> None:
        """Read no more of these until `resume`: how a slow store bounds memory."""
        ...

    def resume(self, partitions: frozenset[int]) -> None:
        """Read these again."""
        ...

    async def report(self, offsets: dict[int, int]) -> None:
        """Tell the log how far the group is, for lag tools only; progress itself is kept in Postgres."""
        ...

    async def stop(self) -> None:
        """Leave; `revoked` is awaited for what is still held."""
        ...


class Log(Protocol):
    """A log of `partitions` partitions; `identity` changes if it is made anew."""

    identity: str
    partitions: int
    keeps_time: bool
    """Whether the log itself notes when a message was appended; if not, the header `received` says it."""
    message_bytes_max: int
    """Of one message, its key, headers and some overhead included."""

    async def start(self) -> None:
        """Connect; learn identity and partitions."""
        ...

    async def append(self, messages: Sequence[Message]) -> list[Position | None]:
        """Append durably, one position per message once the log has acknowledged, None where it did not in time.

        Raises `LogUnavailable` if nothing was acknowledged. Answers within 5 seconds.
        """
        ...

    async def ends(self) -> dict[int, int]:
        """Per partition the offset that the next message will get."""
        ...

    async def begins(self) -> dict[int, int]:
        """Per partition the offset of the first message that the log still holds (the next one's, if it holds none)."""
        ...

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        """The records `first` to `last` (both included) that the log still holds, outside any group."""
        ...

    def reader(self) -> Reader:
        """A new member of the group."""
        ...

    async def stop(self) -> None:
        """Disconnect, within a few seconds even if the log is away."""
        ...
