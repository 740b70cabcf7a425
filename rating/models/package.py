"""package: whole packages, begun ones count: amount = ceil(q / size) x amount (spec 5)."""

from dataclasses import dataclass
from fractions import Fraction

from rating.fixed import INT64_MAX, Ints, times, widen
from rating.models.step import Step


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages of `size` (> 0, in the unit of the quantities) at `amount` each."""

    size: int
    amount: int

    def amounts(self, quantity: Ints, one: Ints | int = 1) -> Ints:
        """ceil(q / (size x one)) x amount for every row of `quantity` (>= 0); `one` as for tiers."""
        size = self.size * one if isinstance(one, int) else times(one, self.size)
        narrow_size = size <= INT64_MAX if isinstance(size, int) else size.dtype != object
        if quantity.dtype == object or not narrow_size:
            quantity, size = widen(quantity), size if isinstance(size, int) else widen(size)
        return times(-(-quantity // size), self.amount)


def package(quantity: Ints, size: int, amount: int) -> Ints:
    """The amount of every row of `quantity` (integers >= 0, in the unit of `size`), in the unit of `amount`."""
    return Packages(size, amount).amounts(quantity)


def package_steps(quantity: Fraction, size: Fraction, amount: Fraction) -> list[Step]:
    """The one step: so many packages at the price of one."""
    return [Step(None, Fraction(-(-quantity // size)), amount)]
