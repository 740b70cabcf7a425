"""Usage as billing asks for it (spec 4.3): which quantity a customer has in a span, by combination of dimensions.

The live system answers from its tables, the simulator from memory (`MemoryUsage`); both implement `UsageSource`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol

import msgspec


class UsageRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The usage of one charge in one span: start <= t < end, in microseconds.

    `where` keeps the events whose dimensions have one of the allowed texts, `by` names the dimensions that are kept
    apart (a charge priced `by_value` asks for that dimension too, last). Events that name a subscription count only for
    that one; with `named_only` (a subscription made with `events: named`) only those that name it count. `full_period`
    is the length of the full billing period in microseconds, the unit of a `time_weighted` meter by `period`.
    """

    customer: str
    subscription: str
    named_only: bool
    meter: str
    start: int
    end: int
    full_period: int
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    by: tuple[str, ...] = ()


class Quantity(NamedTuple):
    """An exact quantity, numerator / denominator (> 0, not always in lowest terms), and how many events made it."""

    numerator: int
    denominator: int = 1
    events: int = 0

    @property
    def value(self) -> Fraction:
        """The quantity as a fraction."""
        return Fraction(self.numerator, self.denominator)


Combination = tuple[str, ...]
"""The texts of the dimensions in `by`, in that order; empty without `by`."""


class UsageSource(Protocol):
    """Where quantities come from."""

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        """For every request its combinations (spec 4.3) in order of their texts, each with its quantity.

        A combination exists when it has an event in the span that passed the filter, with an accepted value and not
        voided, or carries a level other than 0 into it. Without `by` there is exactly one, (), even without events.
        """
        ...
