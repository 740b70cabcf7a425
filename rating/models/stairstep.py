"""stairstep: the flat of the tier that holds the quantity, whatever the quantity is within it (spec 5, 5.1)."""

from collections.abc import Sequence
from fractions import Fraction

from rating.fixed import Ints
from rating.models.pieces import Pieces
from rating.models.step import ZERO, Rung, Step, holding


def stairstep_pieces(up_to: Sequence[int], flat: Sequence[int]) -> Pieces:
    """Tiers as level lines; `up_to` holds the bounds of all tiers but the last."""
    return Pieces(tuple(up_to), tuple(flat), (0,) * len(flat))


def stairstep(quantity: Ints, up_to: Sequence[int], flat: Sequence[int]) -> Ints:
    """The amount of every row of `quantity` (integers >= 0), in the unit of `flat`."""
    return stairstep_pieces(up_to, flat).amounts(quantity)


def stairstep_steps(quantity: Fraction, rungs: tuple[Rung, ...]) -> list[Step]:
    """The one step: a flat, and no units."""
    index = holding(quantity, rungs)
    return [Step(index + 1, ZERO, ZERO, flat=rungs[index].flat)]
