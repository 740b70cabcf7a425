"""Answers in JSON, and lists in pages."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from metering.api.body import parameter_invalid
from schemas.codec import to_json

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500


def answer_json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A struct or tree as JSON; decimals and instants are text."""
    return web.Response(status=status, body=to_json(body), content_type="application/json", headers=headers)


def page_size(parameters: dict[str, str]) -> int:
    """How many items a page holds: the parameter `limit`, 1 to 500, default 50."""
    text = parameters.get("limit", str(PAGE_DEFAULT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= PAGE_MAX:
        raise parameter_invalid("limit", f"must be a whole number from 1 to {PAGE_MAX}")
    return int(text)


def page(items: Sequence[Any], last: Sequence[Any] | None) -> web.Response:
    """A page of a list; `last` is the sort key of its last item if there are more, None at the end."""
    return answer_json({"items": items, "next": None if last is None else encode_cursor(last)})


def encode_cursor(key: Sequence[Any]) -> str:
    """The sort key of the last item seen, as text that says nothing to the reader."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(key))).decode().rstrip("=")


def decode_cursor(parameters: dict[str, str], types: tuple[type, ...]) -> list[Any] | None:
    """The sort key behind the parameter `cursor`, None for the first page; `Problem` 400 if we never gave it."""
    text = parameters.get("cursor")
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        key = msgspec.json.decode(raw, type=tuple[types])  # type: ignore[valid-type]  # the types are a value here
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
        raise parameter_invalid("cursor", "is not one that `next` gave") from None
    return list(key)
