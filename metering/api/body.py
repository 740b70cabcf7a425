"""Bodies, parameters and names of requests, read strictly: what is not understood is refused, with its place."""

import difflib
import inspect
import json
import re
import unicodedata
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from metering.api.problem import Problem
from schemas.codec import convert
from schemas.http import Code
from schemas.instants import Instant
from schemas.numbers import Number

T = TypeVar("T")

BODY_BYTES_MAX = 1 << 20
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`(?: - at `(?P<path>.*)`)?", re.DOTALL)


async def read_bytes(request: web.Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body, inflated, at most `bytes_max` long: `Problem` 413 beyond, 415 for an unknown content encoding."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Problem(415, Code.MEDIA_TYPE_UNSUPPORTED, "Unsupported Media Type", f"content encoding {encoding[:40]!r}")
    chunks = bytearray()
    async for chunk in request.content.iter_any():
        chunks += chunk
        if len(chunks) > bytes_max:
            raise too_large(bytes_max)
    return bytes(chunks)


def too_large(bytes_max: int) -> Problem:
    """The problem of a body that is longer than the route takes."""
    return Problem(413, Code.BODY_TOO_LARGE, "Content Too Large", f"this route takes at most {bytes_max:,} bytes")


def text_of(request: web.Request, raw: bytes) -> str:
    """The body as text; UTF-8 is the only charset (RFC 8259)."""
    charset = request.charset
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem(
            415, Code.MEDIA_TYPE_UNSUPPORTED, "Unsupported Media Type", f"charset {charset[:40]!r}: send UTF-8"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(f"the body is no UTF-8: {error.reason} at byte {error.start}") from None


async def read_json(request: web.Request, wanted: type[T], bytes_max: int = BODY_BYTES_MAX) -> T:
    """The JSON body as a struct. Numbers are taken from their literal text, so 0.1 is one tenth.

    Raises `Problem`: 400 if it is no JSON, 413, 415, 422 with the path of the field that is wrong.
    """
    content_type = request.content_type
    if request.headers.get("Content-Type") and content_type != "application/json":
        raise Problem(
            415, Code.MEDIA_TYPE_UNSUPPORTED, "Unsupported Media Type", f"{content_type[:80]!r}: send application/json"
        )
    return convert_body(parse_json(text_of(request, await read_bytes(request, bytes_max))), wanted)


def parse_json(text: str) -> Any:
    """A tree from JSON text: exact numbers, no duplicate keys, no NaN, no NUL or half characters in texts."""
    try:
        tree = json.loads(
            text,
            parse_float=Number.parse,
            parse_int=_whole,
            parse_constant=_no_constant,
            object_pairs_hook=_unique_keys,
        )
    except json.JSONDecodeError as error:
        raise invalid(f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise invalid(str(error)) from None
    except RecursionError:
        raise invalid("the body is nested too deeply") from None
    return tree


def convert_body(tree: Any, wanted: type[T]) -> T:
    """The struct of a tree; `Problem` 422 names the path and, for an unknown field, the nearest known one."""
    try:
        return convert(tree, wanted)
    except msgspec.ValidationError as error:
        raise field_invalid(*_explained(str(error), wanted)) from None


def field_invalid(path: str, message: str) -> Problem:
    """422: a field of the body is wrong."""
    detail = f"{path}: {message}" if path else message
    return Problem(
        422, Code.FIELD_INVALID, "Unprocessable Content", detail, faults=[{"path": path, "message": message}]
    )


def parameter_invalid(name: str, message: str) -> Problem:
    """400: a query parameter or a part of the path is wrong."""
    return Problem(400, Code.PARAMETER_INVALID, "Bad Request", f"{name}: {message}", parameter=name)


def invalid(detail: str) -> Problem:
    """400: the body cannot be read."""
    return Problem(400, Code.BODY_INVALID, "Bad Request", detail)


def key_fault(text: str) -> str | None:
    """What is wrong with a key or an id, if anything: 1-255 characters, no control character, no blank at an edge."""
    if not 1 <= len(text) <= 255:
        return f"must have 1 to 255 characters, has {len(text)}"
    if text != text.strip():
        return "must not begin or end with a blank"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return "must not contain control characters"
    return None


def path_key(request: web.Request, name: str) -> str:
    """A key from the path, decoded; `Problem` 400 if no key can look like that."""
    text = request.match_info[name]
    fault = key_fault(text)
    if fault:
        raise parameter_invalid(name, fault)
    return text


def checked_id(text: str, path: str) -> str:
    """An id from the body; `Problem` 422 if no id can look like that."""
    fault = key_fault(text)
    if fault:
        raise field_invalid(path, fault)
    return text


def query(request: web.Request, *known: str) -> dict[str, str]:
    """The query parameters; `Problem` 400 for one that the route does not know, or that is given twice."""
    given: dict[str, str] = {}
    for name, text in request.query.items():
        if name not in known:
            raise parameter_invalid(name, f"is not known here{_hint(name, known)}")
        if name in given:
            raise parameter_invalid(name, "is given twice")
        if "\x00" in text:
            raise parameter_invalid(name, "must not contain control characters")
        given[name] = text
    return given


def flag(parameters: dict[str, str], name: str) -> bool:
    """A parameter that is `1` or `true` (or given bare), `0`, `false` or absent."""
    text = parameters.get(name, "0").lower()
    if text in ("1", "true", ""):
        return True
    if text in ("0", "false"):
        return False
    raise parameter_invalid(name, "must be 1 or 0")


def instant_of(parameters: dict[str, str], name: str) -> Instant | None:
    """A parameter that is an instant in RFC 3339, or absent."""
    text = parameters.get(name)
    if text is None:
        return None
    try:
        return Instant.parse(text.replace(" ", "+"))
    except ValueError as error:
        raise parameter_invalid(name, str(error)) from None


def _whole(text: str) -> int:
    if len(text) > 32:
        raise ValueError(f"{text[:32]}… is out of range")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        if key in tree:
            raise ValueError(f"the key {key[:80]!r} stands twice in one object")
        _check_text(key)
        _check_value(value)
        tree[key] = value
    return tree


def _check_value(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for item in value:
            _check_value(item)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("texts must not contain NUL (U+0000)")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("texts must not contain half of a surrogate pair") from None


def _explained(message: str, wanted: type) -> tuple[str, str]:
    """(path, message) of a validation error."""
    unknown = _UNKNOWN.fullmatch(message)
    if unknown:
        name = unknown["name"]
        return _path(unknown["path"], name), f"is not known{_hint(name, _field_names(wanted))}"
    text, _, path = message.partition(" - at `")
    return _path(path.rstrip("`"), ""), text.replace("Object ", "").strip()


def _path(path: str | None, name: str) -> str:
    """`$.taxes[0]` and `rate` to `taxes[0].rate`."""
    inner = (path or "").removeprefix("$").removeprefix(".")
    return ".".join(part for part in (inner, name) if part)


def _hint(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def _field_names(wanted: Any) -> set[str]:
    """The names of a struct's fields and of those within it."""
    names: set[str] = set()
    if inspect.isclass(wanted) and issubclass(wanted, msgspec.Struct):
        for field in msgspec.structs.fields(wanted):
            names.add(field.encode_name)
            for inner in getattr(field.type, "__args__", ()):
                names |= _field_names(inner)
    return names
