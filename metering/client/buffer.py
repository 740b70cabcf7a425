"""Where `send` leaves an event: a list in memory, bounded, for any thread."""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

EVENT_OVERHEAD: Final = 80
"""Bytes that Python needs for an event on top of its own."""


class Batch(NamedTuple):
    """Events that go together; `number` rises from batch to batch, `size` are their bytes in memory."""

    number: int
    events: list[bytes]
    size: int


class Limits(NamedTuple):
    """Of a batch, and of everything in memory."""

    events: int
    bytes: int
    memory_bytes: int


class Buffer:
    """Events in their order. `on_first` and `on_full` are called in the thread that adds."""

    def __init__(self, limits: Limits, on_first: Callable[[], None], on_full: Callable[[], None]) -> None:
        """on_first: there is an event where there was none; on_full: there are enough for a batch."""
        self._limits = limits
        self._on_first = on_first
        self._on_full = on_full
        self._lock = threading.Lock()
        self._events: list[bytes] = []
        self._size = 0
        self._full = False
        self._number = 0
        self._closed = False
        self.dropped = 0
        """Events that were not taken."""
        self.held = 0
        """Bytes in memory, those of batches that were taken and not given back included."""

    def add(self, event: bytes) -> str | None:
        """Take an event; else why it was not taken."""
        size = len(event) + EVENT_OVERHEAD
        with self._lock:
            if self._closed:
                self.dropped += 1
                return "the client is closed"
            if self.held + size > self._limits.memory_bytes:
                self.dropped += 1
                return f"{self.held:,} bytes are in memory; {self._limits.memory_bytes:,} are the most"
            self._events.append(event)
            self._size += size
            self.held += size
            first, filled = len(self._events) == 1, not self._full and self._is_full()
            self._full = self._full or filled
        if first:
            self._on_first()
        if filled:
            self._on_full()
        return None

    def __len__(self) -> int:
        return len(self._events)

    def _is_full(self) -> bool:
        return len(self._events) >= self._limits.events or self._size >= self._limits.bytes

    def take(self) -> list[Batch]:
        """All events, in batches."""
        with self._lock:
            events, self._events, self._size, self._full = self._events, [], 0, False
            batches: list[Batch] = []
            begin = size = 0
            for end, event in enumerate(events):
                more = len(event) + EVENT_OVERHEAD
                if end > begin and (end - begin == self._limits.events or size + more > self._limits.bytes):
                    batches.append(self._batch(events[begin:end], size))
                    begin, size = end, 0
                size += more
            if events:
                batches.append(self._batch(events[begin:], size))
            return batches

    def _batch(self, events: list[bytes], size: int) -> Batch:
        self._number += 1
        return Batch(self._number, events, size)

    def give_back(self, size: int) -> None:
        """Bytes that are no longer in memory."""
        with self._lock:
            self.held -= size

    @property
    def number(self) -> int:
        """Of the last batch that was taken."""
        return self._number

    def close(self) -> bool:
        """Take no more; False if it did not any more."""
        with self._lock:
            was, self._closed = self._closed, True
            return not was
