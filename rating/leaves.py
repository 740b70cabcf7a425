"""Single values of an event: the number (spec 1.2) and the text (spec 3.1) of what stands at a path.

A leaf is what the decoder makes of JSON: `UNSET` (absent), None, bool, int, `Written` (any other number, as its literal
text), str, or a list or map.
"""

import re
from typing import Any, Final

import numpy as np

from rating.events import Written
from rating.fixed import Column, Indices, ints, magnitude
from schemas.numbers import DIGITS_MAX, PLACES_MAX, scientific
from schemas.outcome import Outcome

LIMIT: Final = 10**DIGITS_MAX
"""Every accepted value is below this in magnitude (spec 1.2)."""

_NOT_FINITE: Final = re.compile(r"[+-]?\.?(?:s?nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
_TEXT_EXPONENT_MAX: Final = 4_000
_SHORT: Final = PLACES_MAX
"""Characters of a plain decimal that cannot leave the limits: it is read without taking it apart (6x faster)."""

Rejected = list[tuple[int, Outcome]]


def number_of(leaf: Any) -> tuple[int, int] | Outcome:
    """`(whole, places)` with value = whole / 10**places, or the first code of spec 1.2 that fits."""
    if type(leaf) is int:
        return (leaf, 0) if -LIMIT < leaf < LIMIT else Outcome.VALUE_OUT_OF_RANGE
    if not isinstance(leaf, str):
        absent = leaf is None or not isinstance(leaf, bool | int | list | dict)
        return Outcome.VALUE_MISSING if absent else Outcome.VALUE_NOT_NUMERIC
    whole, _, part = leaf.partition(".")
    if len(leaf) <= _SHORT and leaf.isascii() and whole.isdigit() and (part.isdigit() or len(whole) == len(leaf)):
        return int(whole + part), len(part)
    value = scientific(leaf)
    if value is None:
        return Outcome.VALUE_NOT_FINITE if _NOT_FINITE.fullmatch(leaf) else Outcome.VALUE_NOT_NUMERIC
    if value.out_of_range:
        return Outcome.VALUE_OUT_OF_RANGE
    if value.places > PLACES_MAX:
        return Outcome.VALUE_TOO_PRECISE
    return value.scaled(), value.places


def column_of(leaves: list[Any], rows: Indices) -> tuple[Column, Indices, Rejected]:
    """The accepted numbers among n leaves as a column, the `rows` (int64[n]) they came from, and what was refused."""
    if set(map(type, leaves)) == {int}:
        try:
            values = np.array(leaves, dtype=np.int64)
        except OverflowError:
            pass
        else:
            if magnitude(values) < LIMIT:
                return Column(values, 0), rows, []
    wholes: list[int] = []
    places: list[int] = []
    good: list[int] = []
    rejected: Rejected = []
    for row, leaf in zip(rows.tolist(), leaves, strict=True):
        number = number_of(leaf)
        if isinstance(number, Outcome):
            rejected.append((row, number))
        else:
            wholes.append(number[0])
            places.append(number[1])
            good.append(row)
    scale = max(places, default=0)
    if scale:
        wholes = [whole * 10 ** (scale - place) for whole, place in zip(wholes, places, strict=True)]
    return Column(ints(wholes), scale), np.array(good, dtype=np.int64), rejected


def texts_of(leaves: list[Any]) -> list[str]:
    """The texts of leaves for filters and dimensions (spec 3.1)."""
    return leaves if set(map(type, leaves)) <= {str} else [text_of(leaf) for leaf in leaves]


def text_of(leaf: Any) -> str:
    """The text of one leaf (spec 3.1): plain decimals, `true`, `false`, strings as they are; empty for the rest.

    A list or a map has no text either: it is empty, like a missing value.
    """
    if type(leaf) is str:
        return leaf
    if isinstance(leaf, bool):
        return "true" if leaf else "false"
    if isinstance(leaf, int):
        return str(leaf)
    if isinstance(leaf, Written):
        number = scientific(leaf)
        # an exponent may ask for more digits than any memory holds: such a number keeps its literal
        return str(leaf) if number is None or abs(number.exponent) > _TEXT_EXPONENT_MAX else number.text()
    return ""


def distinct_text_of(leaf: Any) -> str | Outcome:
    """The text that `unique` counts, or why there is none: any scalar has one (spec 3.2)."""
    if isinstance(leaf, list | dict):
        return Outcome.VALUE_NOT_NUMERIC
    return text_of(leaf) if isinstance(leaf, str | int) else Outcome.VALUE_MISSING


def distinct_texts_of(leaves: list[Any], rows: Indices) -> tuple[list[str], Indices, Rejected]:
    """The texts of n leaves for `unique`, the rows they came from, and what was refused."""
    if set(map(type, leaves)) <= {str}:
        return leaves, rows, []
    texts: list[str] = []
    good: list[int] = []
    rejected: Rejected = []
    for row, leaf in zip(rows.tolist(), leaves, strict=True):
        text = distinct_text_of(leaf)
        if isinstance(text, Outcome):  # an Outcome is a str too: it is asked for first
            rejected.append((row, text))
        else:
            texts.append(text)
            good.append(row)
    return texts, np.array(good, dtype=np.int64), rejected
