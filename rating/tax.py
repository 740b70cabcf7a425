"""Taxes (spec 8.5): exclusive, one line a rate on what is left after discounts and plan minimum."""

from collections.abc import Sequence
from fractions import Fraction

from rating.money import round_half_away
from schemas.customer import Tax

HUNDRED = 100


def tax_amounts(taxes: Sequence[Tax], subtotal: int) -> list[tuple[Tax, int]]:
    """Each tax with its amount in minor units; a subtotal below 0 is not taxed. Amounts of 0 are left out."""
    taxable = max(subtotal, 0)
    amounts = []
    for tax in taxes:
        exact = Fraction(tax.rate) * taxable / HUNDRED
        amounts.append((tax, round_half_away(exact.numerator, exact.denominator)))
    return [(tax, amount) for tax, amount in amounts if amount]
