"""Trees to structs and back: the one place that knows how `Number`, `Instant` and `Duration` are written."""

from typing import Any, TypeVar

import msgspec

from schemas.instants import Duration, Instant
from schemas.numbers import Number, plain_text

T = TypeVar("T")


def decode_hook(wanted: type, written: Any) -> Any:
    """Read a custom scalar from its text; numbers of documents are kept as literal text by the loader."""
    if isinstance(written, wanted):
        return written
    if wanted in (Number, Instant, Duration) and isinstance(written, str):
        return wanted.parse(written)
    if wanted is Number and type(written) is int:
        return Number.parse(str(written))
    raise ValueError(f"expected text, got {type(written).__name__}")


def encode_hook(value: Any) -> Any:
    """Write a custom scalar as text."""
    if isinstance(value, Number):
        return plain_text(value)
    if isinstance(value, Instant | Duration):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no written form")


def convert(tree: Any, wanted: type[T]) -> T:
    """A struct from a tree of maps, lists and scalars; `msgspec.ValidationError` names the path."""
    return msgspec.convert(tree, wanted, dec_hook=decode_hook)


def to_tree(value: Any) -> Any:
    """The plain tree of a struct: maps, lists, text, whole numbers, booleans and None."""
    return msgspec.to_builtins(value, enc_hook=encode_hook)


_ENCODER = msgspec.json.Encoder(enc_hook=encode_hook)


def to_json(value: Any) -> bytes:
    """JSON of structs and trees; decimals and instants are text."""
    return _ENCODER.encode(value)
