"""Steps of an explanation: what one tier adds to an amount, in exact numbers."""

from dataclasses import dataclass
from fractions import Fraction

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Step:
    """What one tier adds: amount = units x unit / per + flat; `tier` counts from 1, None where there are no tiers."""

    tier: int | None
    units: Fraction
    unit: Fraction
    per: Fraction = Fraction(1)
    flat: Fraction = ZERO

    @property
    def amount(self) -> Fraction:
        """The exact amount of this step."""
        return self.units * self.unit / self.per + self.flat


@dataclass(frozen=True, slots=True)
class Rung:
    """A tier in exact numbers, as it holds for one row: `up_to` None for the last."""

    up_to: Fraction | None
    unit: Fraction
    flat: Fraction


def holding(quantity: Fraction, rungs: tuple[Rung, ...]) -> int:
    """The index of the tier that holds the quantity: previous < q <= up_to, the first holds 0 too (spec 5.1)."""
    for index, rung in enumerate(rungs):
        if rung.up_to is None or quantity <= rung.up_to:
            return index
    raise ValueError(f"no tier holds {quantity}: the last tier's up_to must be null")
