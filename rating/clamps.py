"""Minimum and maximum of a charge, in each segment on its own (spec 5.3)."""

from fractions import Fraction
from typing import Literal, TypeVar

from schemas.plan import UsageCharge

Clamp = Literal["minimum", "maximum"]
T = TypeVar("T", int, Fraction)


def bounds(charge: UsageCharge, fraction: Fraction) -> tuple[Fraction | None, Fraction | None]:
    """The exact minimum and maximum of a charge in a segment that is `fraction` of its period (spec 7.2 `second`).

    A minimum shrinks with the segment; a maximum only where the charge is `prorated`.
    """
    minimum = None if charge.minimum is None else Fraction(charge.minimum) * fraction
    maximum = None if charge.maximum is None else Fraction(charge.maximum)
    if maximum is not None and charge.prorated:
        maximum *= fraction
    return minimum, maximum


def clamp(total: T, minimum: T | None, maximum: T | None) -> tuple[Clamp, T] | None:
    """The line that brings a segment's `total` to its bound: its kind and the difference; None if none is needed.

    For lines all three are minor units (the bound rounded by `line.py`); for balances all three are exact.
    """
    if minimum is not None and total < minimum:
        return "minimum", minimum - total
    if maximum is not None and total > maximum:
        return "maximum", maximum - total
    return None
