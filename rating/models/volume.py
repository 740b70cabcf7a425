"""volume: all units at the price of the tier that holds the whole quantity, plus its flat (spec 5, 5.1)."""

from collections.abc import Sequence
from fractions import Fraction

from rating.fixed import Ints
from rating.models.pieces import Pieces
from rating.models.step import Rung, Step, holding


def volume_pieces(up_to: Sequence[int], unit: Sequence[int], flat: Sequence[int]) -> Pieces:
    """Tiers as lines: each piece is its flat plus its unit price from the first unit on.

    `up_to` holds the bounds of all tiers but the last; `flat` is in the unit of the result.
    """
    return Pieces(tuple(up_to), tuple(flat), tuple(unit))


def volume(quantity: Ints, up_to: Sequence[int], unit: Sequence[int], flat: Sequence[int]) -> Ints:
    """The amount of every row of `quantity` (integers >= 0), in the unit of q x the unit of `unit`."""
    return volume_pieces(up_to, unit, flat).amounts(quantity)


def volume_steps(quantity: Fraction, rungs: tuple[Rung, ...], per: Fraction) -> list[Step]:
    """The one step: the whole quantity in the tier that holds it."""
    index = holding(quantity, rungs)
    return [Step(index + 1, quantity, rungs[index].unit, per, rungs[index].flat)]
