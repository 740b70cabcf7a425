"""Prices that are a straight line within each tier: all models but the package.

Every such model is a table of pieces: in piece k, amount(q) = base[k] + slope[k] x q. The models differ in how they
fill the table (a few Python integers); n rows are then one look-up of the piece, one multiplication, one addition.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from rating.fixed import INT64_MAX, Indices, Ints, magnitude, plus, times, widen

CHUNK: Final = 32_768
"""Rows at a time: five int64 arrays of this length stay in a core's cache (measured: whole columns are 2x slower)."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Tiers as lines: piece k holds bounds[k-1] < q <= bounds[k]; the first holds q = 0 too, the last has no end.

    `bounds` has one entry less than `base` and `slope` and rises strictly. All are integers in the units of the
    caller: q and bounds in one unit, base in that unit x the unit of slope.
    """

    bounds: tuple[int, ...]
    base: tuple[int, ...]
    slope: tuple[int, ...]

    def amounts(self, quantity: Ints, one: Ints | int = 1) -> Ints:
        """base + slope x q for every row of `quantity` (>= 0); int64 where a bound proves the fit, else objects.

        `one` (> 0, one integer or one a row) multiplies bounds and bases: the value of one unit where quantities
        have a divisor, times the fraction of the period where the tiers shrink with it (spec 5.3).
        """
        greatest = magnitude(quantity)
        least_one, most_one = _range(one)
        reached = sum(bound * least_one < greatest for bound in self.bounds) + 1
        bounds, base, slope = self.bounds[: reached - 1], self.base[:reached], self.slope[:reached]
        most = max(abs(b) * most_one + abs(s) * max(greatest, 1) for b, s in zip(base, slope, strict=True))
        fits = most <= INT64_MAX and quantity.dtype != object and all(b * most_one <= INT64_MAX for b in bounds)
        if fits and isinstance(one, int):
            return _small(quantity, [b * one for b in bounds], [b * one for b in base], list(slope))
        return _any(quantity, one, bounds, base, slope)


def _range(one: Ints | int) -> tuple[int, int]:
    """The least and the greatest of `one`."""
    if isinstance(one, int):
        return one, one
    return (int(one.min()), int(one.max())) if one.size else (1, 1)


def _small(quantity: Ints, bounds: list[int], base: list[int], slope: list[int]) -> Ints:
    """The int64 kernel, in chunks that stay in the cache; the caller has proved that nothing wraps."""
    if len(base) == 1:
        amounts = quantity * np.int64(slope[0])
        if base[0]:
            amounts += np.int64(base[0])
        return amounts
    bases, slopes = np.array(base, dtype=np.int64), np.array(slope, dtype=np.int64)
    amounts = np.empty(len(quantity), dtype=np.int64)
    index = np.empty(min(CHUNK, len(quantity)), dtype=np.int64)
    for start in range(0, len(quantity), CHUNK):
        rows = quantity[start : start + CHUNK]
        out = amounts[start : start + CHUNK]
        piece = index[: len(rows)]
        piece[:] = _piece_of(rows, bounds)
        np.take(slopes, piece, out=out, mode="clip")  # "clip" writes into `out` without a buffer
        np.multiply(out, rows, out=out)
        np.add(out, np.take(bases, piece, mode="clip"), out=out)
    return amounts


def _piece_of(quantity: Ints, bounds: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int8]]":
    """How many bounds lie strictly below each quantity: the index of its piece (a bound belongs to the lower one)."""
    counter = np.zeros(len(quantity), dtype=np.int8)
    for bound in bounds:
        counter += quantity > bound
    return counter


def _any(
    quantity: Ints, one: Ints | int, bounds: tuple[int, ...], base: tuple[int, ...], slope: tuple[int, ...]
) -> Ints:
    """The same in whatever width each step needs; `one` may differ by row."""
    piece: Indices = np.zeros(len(quantity), dtype=np.int64)
    for bound in bounds:
        limit = bound * one if isinstance(one, int) else times(one, bound)
        piece += (quantity > limit).astype(np.int64)
    slopes = np.array(slope, dtype=object)[piece]
    bases = np.array(base, dtype=object)[piece]
    return plus(widen(quantity) * slopes, bases * one if isinstance(one, int) else times(bases, one))
