"""percentage: amount = q x rate / 100, a share of an amount that is metered (spec 5)."""

from fractions import Fraction
from typing import Final

from rating.fixed import Ints
from rating.models.per_unit import per_unit
from rating.models.step import Step

HUNDRED: Final = 100


def percentage(quantity: Ints, rate: int) -> Ints:
    """q x rate for every row, in hundredths: the caller divides by 100 where it rounds."""
    return per_unit(quantity, rate)


def percentage_steps(quantity: Fraction, rate: Fraction) -> list[Step]:
    """The one step: the whole amount at the rate, per hundred."""
    return [Step(None, quantity, rate, Fraction(HUNDRED))]
