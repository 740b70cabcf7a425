"""What a result lacks of what a file expects (spec 10): a list is compared as given, a map in the keys it names."""

from typing import Any, NamedTuple

from schemas.faults import path_text


class Difference(NamedTuple):
    """One place at which a result is not as expected."""

    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path or '(all)'}: expected {_text(self.expected)}, got {_text(self.got)}"


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


def differences(expected: Any, got: Any, path: tuple[str | int, ...] = ()) -> list[Difference]:
    """Every place at which `got` (a plain tree) is not as `expected`; empty if it holds.

    A whole number that a file writes without quotes is the same as its text.
    """
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return [Difference(path_text(path), expected, got)]
        return [
            difference
            for key, value in expected.items()
            for difference in differences(value, got.get(key, ABSENT), (*path, key))
        ]
    if isinstance(expected, list):
        if not isinstance(got, list | tuple):
            return [Difference(path_text(path), expected, got)]
        if len(expected) != len(got):
            return [Difference(path_text(path), f"{len(expected)} entries", got)]
        return [
            difference
            for place, (value, found) in enumerate(zip(expected, got, strict=True))
            for difference in differences(value, found, (*path, place))
        ]
    return [] if _same(expected, got) else [Difference(path_text(path), expected, got)]


def _same(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, int) and isinstance(got, str):
        return str(expected) == got
    return bool(expected == got)


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str | _Absent) or value is None else str(value)
