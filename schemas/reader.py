"""Trees of documents to structs, with all faults at once: the structs' own types say what is read.

`reader_of(type)` makes a function once per type; it reads a tree, notes what is wrong, and goes on, so that one fault
does not hide the next. Where documents are written otherwise than the structs, `schemas.forms` says how.
"""

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from schemas.documents import Document, Numeral
from schemas.faults import DocumentError, Fault, Path, nearest
from schemas.instants import Duration, Instant
from schemas.numbers import Number

T = TypeVar("T")


class Reading:
    """One document being read: what was found wrong so far, and the meters that charges may name.

    `meters`: key -> `Meter`, or `BAD` where its own text is wrong; None: meters are not checked.
    """

    def __init__(self, document: Document, meters: Mapping[str, Any] | None = None) -> None:
        self.document = document
        self.meters = meters
        self.faults: list[Fault] = list(document.faults)

    def error(self, path: Path, message: str, fix: str, *, of_key: bool = False) -> Any:
        """Note a fault; returns `BAD`, to be returned in place of the value."""
        self.faults.append(self.document.fault(path, message, fix, of_key=of_key))
        return BAD

    def warn(self, path: Path, message: str, fix: str, *, of_key: bool = False) -> None:
        """Note something that is allowed, but hardly meant."""
        self.faults.append(self.document.fault(path, message, fix, warning=True, of_key=of_key))

    def result(self, value: T) -> T:
        """The value; `DocumentError` with all that was found if any of it is an error."""
        if any(fault.severity == "error" for fault in self.faults):
            raise DocumentError(self.sorted_faults())
        return value

    def sorted_faults(self) -> list[Fault]:
        """The faults in the order in which they stand in the file."""
        return sorted(self.faults, key=lambda fault: fault.place or (0, 0))


Reader = Callable[[Any, Path, Reading], Any]
Check = Callable[[dict[str, Any], Any, Path, Reading], None]

BAD: Final[Any] = msgspec.UNSET
"""Stands for a value that could not be read; its fault is noted."""

WRITTEN: Final[dict[Any, Reader]] = {}
"""Types that documents write otherwise than the structs do, with their readers (`schemas.forms`)."""

CHECKS: Final[dict[type, Check]] = {}
"""What a struct's types cannot say (`schemas.checks`): called with its values by field, its tree and path."""

_MADE: Final[dict[Any, Reader]] = {}


def reader_of(wanted: Any) -> Reader:
    """The function that reads a type: a struct, text, bool, int, `Number`, `Instant`, lists and maps of these."""
    reader = WRITTEN.get(wanted) or _MADE.get(wanted)
    if reader is None:
        reader = _MADE[wanted] = _make(wanted)
    return reader


def _make(wanted: Any) -> Reader:
    if wanted in _SCALARS:
        return _SCALARS[wanted]
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return _literal(args)
    if origin in (Union, UnionType) and NoneType in args:
        rest = [arg for arg in args if arg is not NoneType]
        return _optional(reader_of(Union[tuple(rest)]))  # noqa: UP007
    if origin is dict:
        return _map(reader_of(args[1]))
    if origin is tuple:
        return _list(reader_of(args[0]))
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return struct_reader(wanted)
    raise TypeError(f"no reader for {wanted}")


def named(tree: Any) -> str:
    """What a tree is, in words of a fault."""
    if isinstance(tree, Numeral):
        return f"the number {tree[:40]}"
    if isinstance(tree, str):
        return f"the text {tree[:40]!r}"
    if isinstance(tree, dict):
        return "a map"
    if isinstance(tree, list):
        return "a list"
    return "nothing (null)" if tree is None else f"the truth value {str(tree).lower()}"


def _text(tree: Any, at: Path, reading: Reading) -> Any:
    if type(tree) is str:
        return tree
    fix = f'write it in quotes: "{tree}"' if isinstance(tree, Numeral | bool) else "write text here"
    return reading.error(at, f"expected text, got {named(tree)}", fix)


def _bool(tree: Any, at: Path, reading: Reading) -> Any:
    if isinstance(tree, bool):
        return tree
    return reading.error(at, f"expected true or false, got {named(tree)}", "write true or false, without quotes")


def _int(tree: Any, at: Path, reading: Reading) -> Any:
    if isinstance(tree, Numeral) and tree.removeprefix("-").isdigit() and len(tree) <= 18:
        return int(tree)
    return reading.error(at, f"expected a whole number, got {named(tree)}", "write digits, without quotes")


def _parsed(kind: type[Number | Instant | Duration], wanted: str, fix: str) -> Reader:
    def read(tree: Any, at: Path, reading: Reading) -> Any:
        if not isinstance(tree, str) or (kind is not Number and isinstance(tree, Numeral)):
            return reading.error(at, f"expected {wanted}, got {named(tree)}", fix)
        try:
            return kind.parse(tree)
        except ValueError as error:
            return reading.error(at, str(error), fix)

    return read


def _any(tree: Any, at: Path, reading: Reading) -> Any:
    return tree


_SCALARS: Final[dict[Any, Reader]] = {
    str: _text,
    bool: _bool,
    int: _int,
    Number: _parsed(Number, "a number", "write a plain decimal: at most 18 digits before the point, 12 after it"),
    Instant: _parsed(Instant, "a time", "write it such as 2026-01-31T00:00:00Z"),
    Duration: _parsed(Duration, "a duration", "write it such as 1h or 35d"),
    Any: _any,
}


def _literal(allowed: tuple[str, ...]) -> Reader:
    def read(tree: Any, at: Path, reading: Reading) -> Any:
        if type(tree) is str and tree in allowed:
            return tree
        fix = nearest(tree, allowed) if isinstance(tree, str) else f"known are {', '.join(allowed)}"
        return reading.error(at, f"{named(tree)} is not known here", fix)

    return read


def _optional(inner: Reader) -> Reader:
    def read(tree: Any, at: Path, reading: Reading) -> Any:
        return None if tree is None else inner(tree, at, reading)

    return read


def _map(inner: Reader) -> Reader:
    def read(tree: Any, at: Path, reading: Reading) -> Any:
        if not isinstance(tree, dict):
            return reading.error(at, f"expected a map, got {named(tree)}", "write {key: value, …}")
        values = {key: inner(value, (*at, key), reading) for key, value in tree.items()}
        return BAD if BAD in values.values() else values

    return read


def _list(inner: Reader) -> Reader:
    def read(tree: Any, at: Path, reading: Reading) -> Any:
        if not isinstance(tree, list):
            return reading.error(at, f"expected a list, got {named(tree)}", "write [item, …]")
        values = tuple(inner(value, (*at, place), reading) for place, value in enumerate(tree))
        return BAD if any(value is BAD for value in values) else values

    return read


def struct_reader(wanted: type[msgspec.Struct], beside: tuple[str, ...] = ()) -> Reader:
    """Reads a map into a struct; keys of `beside` (such as a tag) may stand among its fields."""
    hints = get_type_hints(wanted)
    fields = {field.name: (reader_of(hints[field.name]), field.required) for field in msgspec.structs.fields(wanted)}
    known = frozenset((*fields, *beside))

    def read(tree: Any, at: Path, reading: Reading) -> Any:
        if not isinstance(tree, dict):
            return reading.error(at, f"expected a map, got {named(tree)}", f"its fields are {', '.join(fields)}")
        for key in tree:
            if key not in known:
                unknown_field(key, known, at, reading)
        values: dict[str, Any] = {}
        for name, (reader, required) in fields.items():
            if name in tree:
                values[name] = reader(tree[name], (*at, name), reading)
            elif required:
                values[name] = reading.error(at, f"the field {name!r} is missing", f"write {name}: …")
        if check := CHECKS.get(wanted):
            check(values, tree, at, reading)
        return BAD if any(value is BAD for value in values.values()) else wanted(**values)

    return read


def unknown_field(key: str, known: frozenset[str] | tuple[str, ...], at: Path, reading: Reading) -> None:
    """Note a field that does not exist, with the nearest one that does."""
    reading.error((*at, key), f"there is no field {key[:80]!r} here", nearest(key, known), of_key=True)
