"""Pieces of usage, and the arithmetic that adds them."""

from decimal import Context, Decimal, Inexact
from typing import Final, NamedTuple

EXACT: Final = Context(prec=200, traps=[Inexact])
"""Sums of quantities: never cut to the 28 digits of the default context."""


class Piece(NamedTuple):
    """Usage of a meter that falls in one bucket: a row of `usage`, or what a checkpoint adds to it."""

    meter: str
    start: int
    combination: tuple[str, ...]
    named: str
    quantity: Decimal
    events: int
