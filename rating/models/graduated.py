"""graduated: each unit at the price of the tier it lies in, plus the flat of every tier reached (spec 5, 5.1)."""

from collections.abc import Sequence
from fractions import Fraction

from rating.fixed import Ints
from rating.models.pieces import Pieces
from rating.models.step import Rung, Step


def graduated_pieces(up_to: Sequence[int], unit: Sequence[int], flat: Sequence[int]) -> Pieces:
    """Tiers as lines: piece k starts at what the tiers below it cost when full.

    `up_to` holds the bounds of all tiers but the last (k - 1 of them); `unit` and `flat` have k entries, `flat` in the
    unit of the result.
    """
    base, below, full = [], 0, 0
    for bound, price, fixed in zip([*up_to, 0], unit, flat, strict=True):
        base.append(full + fixed - below * price)
        full += (bound - below) * price + fixed
        below = bound
    return Pieces(tuple(up_to), tuple(base), tuple(unit))


def graduated(quantity: Ints, up_to: Sequence[int], unit: Sequence[int], flat: Sequence[int]) -> Ints:
    """The amount of every row of `quantity` (integers >= 0), in the unit of q x the unit of `unit`."""
    return graduated_pieces(up_to, unit, flat).amounts(quantity)


def graduated_steps(quantity: Fraction, rungs: tuple[Rung, ...], per: Fraction) -> list[Step]:
    """One step for each tier reached: the units within it and its flat; the first is reached without usage too."""
    steps, below = [], Fraction(0)
    for index, rung in enumerate(rungs):
        if index and quantity <= below:
            break
        top = quantity if rung.up_to is None else min(quantity, rung.up_to)
        steps.append(Step(index + 1, top - below, rung.unit, per, rung.flat))
        below = below if rung.up_to is None else rung.up_to
    return steps
