"""Bodies, parameters and names of requests, read strictly: what is not understood is refused, with its place."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

import schemas.forms  # noqa: F401 - how documents write prices and charges
from metering.api.problem import Problem
from schemas.checks import key_fault
from schemas.documents import Document, load_document
from schemas.faults import DocumentError, Fault, nearest
from schemas.http import Code
from schemas.instants import Instant
from schemas.reader import Reading, reader_of

T = TypeVar("T")

BODY_BYTES_MAX: Final = 1 << 20
ENCODINGS: Final = frozenset({"identity", "gzip", "deflate", "zstd"})
"""What aiohttp inflates as it comes."""

JSON: Final = "application/json"
YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


async def read_bytes(request: web.Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body, inflated, at most `bytes_max` long: `Problem` 413 beyond, 415 for an unknown content encoding."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise Problem(415, Code.MEDIA_TYPE_UNSUPPORTED, "Unsupported Media Type", f"content encoding {encoding[:40]!r}")
    chunks = bytearray()
    try:
        async for chunk in request.content.iter_any():
            chunks += chunk
            if len(chunks) > bytes_max:
                raise too_large(bytes_max)
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
        # What follows on this connection is the rest of a broken body, not a request.
        raise Problem(
            400,
            Code.BODY_INVALID,
            "Bad Request",
            f"the body cannot be read: {error}"[:500],
            headers={"Connection": "close"},
        ) from None
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


async def read_document(request: web.Request, bytes_max: int = BODY_BYTES_MAX, *, yaml: bool = False) -> Document:
    """The body as a tree with places; JSON, or YAML too with `yaml`.

    Raises `Problem`: 400 if it is neither, 413, 415.
    """
    content_type = request.content_type if "Content-Type" in request.headers else JSON
    if content_type not in (JSON, *(YAML if yaml else ())):
        allowed = "application/json or application/yaml" if yaml else "application/json"
        raise Problem(
            415, Code.MEDIA_TYPE_UNSUPPORTED, "Unsupported Media Type", f"{content_type[:80]!r}: send {allowed}"
        )
    text = text_of(request, await read_bytes(request, bytes_max))
    return parse_document(text, "body.json" if content_type == JSON else "body.yaml")


def parse_document(text: str, name: str) -> Document:
    """A tree from text; `Problem` 400 if it cannot be read, or a text in it holds NUL or half a character."""
    try:
        document = load_document(text, name)
        _check_texts(document.tree)
    except DocumentError as error:
        raise Problem(400, Code.BODY_INVALID, "Bad Request", str(error.faults[0])) from None
    except RecursionError:
        raise Problem(400, Code.BODY_INVALID, "Bad Request", "the body is nested too deeply") from None
    return document


async def read_body(request: web.Request, wanted: type[T], bytes_max: int = BODY_BYTES_MAX) -> T:
    """The JSON body as a struct; numbers are taken from their literal text, so 0.1 is one tenth.

    Raises `Problem`: 400 if it is no JSON, 413, 415, 422 with everything that is wrong in `faults`.
    """
    return read_struct(await read_document(request, bytes_max), wanted)


def read_struct(document: Document, wanted: type[T]) -> T:
    """The struct that a document writes; `Problem` 422 with all its faults."""
    reading = Reading(document)
    value: T = reader_of(wanted)(document.tree, (), reading)
    try:
        return reading.result(value)
    except DocumentError as error:
        raise faulty(error.faults) from None


def faulty(faults: Sequence[Fault], code: str = Code.FIELD_INVALID) -> Problem:
    """422 with what is wrong in a body: each fault with its path, place and the way out."""
    return Problem(
        422,
        code,
        "Unprocessable Content",
        next((str(fault) for fault in faults if fault.severity == "error"), None),
        faults=[fault_tree(fault) for fault in faults],
    )


def fault_tree(fault: Fault) -> dict[str, Any]:
    """A fault as JSON writes it."""
    place = {"line": fault.place.line, "column": fault.place.column} if fault.place else {}
    return {"severity": fault.severity, "path": fault.path, **place, "message": fault.message, "fix": fault.fix}


def field_invalid(path: str, message: str) -> Problem:
    """422: one field of the body is wrong."""
    fault = {"severity": "error", "path": path, "message": message}
    return Problem(422, Code.FIELD_INVALID, "Unprocessable Content", f"{path}: {message}", faults=[fault])


def parameter_invalid(name: str, message: str) -> Problem:
    """400: a query parameter or a part of the path is wrong."""
    return Problem(400, Code.PARAMETER_INVALID, "Bad Request", f"{name}: {message}", parameter=name)


def invalid(detail: str) -> Problem:
    """400: the body cannot be read."""
    return Problem(400, Code.BODY_INVALID, "Bad Request", detail)


def path_key(request: web.Request, name: str) -> str:
    """A key from the path, decoded; `Problem` 400 if no key can look like that."""
    text = request.match_info[name]
    fault = key_fault(text)
    if fault:
        raise parameter_invalid(name, fault)
    return text


def query(request: web.Request, *known: str) -> dict[str, str]:
    """The query parameters; `Problem` 400 for one that the route does not know, or that is given twice."""
    given: dict[str, str] = {}
    for name, text in request.query.items():
        if name not in known:
            raise parameter_invalid(name, f"is not known here; {nearest(name, known)}")
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


def _check_texts(tree: Any) -> None:
    """`Problem` 400 for a text that Postgres cannot keep."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            _check_texts(key)
            _check_texts(value)
    elif isinstance(tree, list):
        for item in tree:
            _check_texts(item)
    elif isinstance(tree, str):
        if "\x00" in tree:
            raise invalid("texts must not contain NUL (U+0000)")
        if not tree.isascii() and any("\ud800" <= character <= "\udfff" for character in tree):
            raise invalid("texts must not contain half of a surrogate pair")
