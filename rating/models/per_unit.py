"""per_unit: amount = q x unit (spec 5)."""

from fractions import Fraction

from rating.fixed import Ints
from rating.models.pieces import Pieces
from rating.models.step import Step


def per_unit_pieces(unit: int) -> Pieces:
    """One straight line through 0."""
    return Pieces((), (0,), (unit,))


def per_unit(quantity: Ints, unit: int) -> Ints:
    """q x unit for every row; all integers, the result in the unit of q x the unit of `unit`."""
    return per_unit_pieces(unit).amounts(quantity)


def per_unit_steps(quantity: Fraction, unit: Fraction, per: Fraction) -> list[Step]:
    """The one step: all units at one price."""
    return [Step(None, quantity, unit, per)]
