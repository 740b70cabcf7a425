"""Faults of a document: what is wrong, where, and the way out; all of a file at once, never only the first."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

import msgspec

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document: `("plans", "pro", "charges", "llm", "price", "tiers", 1)`."""

Severity = Literal["error", "warning"]

_WORD: Final = re.compile(r"[\w-]+")


class Place(NamedTuple):
    """A position in a file, both counted from 1 as editors do."""

    line: int
    column: int


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a document; a `warning` lets it be used all the same."""

    severity: Severity
    file: str
    place: Place | None
    path: str
    message: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.place.line}:{self.place.column}" if self.place else self.file
        parts = [where, self.path, self.message] if self.path else [where, self.message]
        text = ": ".join(parts if self.severity == "error" else [parts[0], "warning", *parts[1:]])
        return f"{text}; {self.fix}" if self.fix else text


class DocumentError(ValueError):
    """A document that cannot be used: all its faults, in the order in which they stand in the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def path_text(path: Path) -> str:
    """The path as people write it: `plans.pro.charges.llm.price.tiers[1].up_to`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _WORD.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step[:80]!r}]"
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that `name` was meant to be, else the list of them: the way out of a misspelling."""
    names = list(known)
    close = get_close_matches(name.lower(), {n.lower(): n for n in names}, n=1, cutoff=0.6)
    if close:
        return f"did you mean {next(n for n in names if n.lower() == close[0])!r}?"
    if not names:
        return "none is defined"
    shown = ", ".join(sorted(names)[:12])
    return f"known are {shown}" + (", …" if len(names) > 12 else "")
