"""How many bytes may be on their way: what keeps the gateway's memory bounded, whatever clients and log do."""

from collections.abc import Iterator
from contextlib import contextmanager


class Overloaded(Exception):
    """More bytes are on their way than the budget allows: come again in a moment."""


class Budget:
    """Bytes that may be on their way at a time."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.taken = 0

    def take(self, count: int) -> None:
        """Account for bytes that are held from now on; `Overloaded` if there is no room for them."""
        if self.taken + count > self._bytes_max:
            raise Overloaded(f"{self.taken:,} bytes are on their way; {self._bytes_max:,} are the most at a time")
        self.taken += count

    def give(self, count: int) -> None:
        """Account for bytes that are let go."""
        self.taken -= count

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A share that is given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.give(share.taken)


class Share:
    """What one request holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, count: int) -> None:
        """See `Budget.take`."""
        self._budget.take(count)
        self.taken += count
