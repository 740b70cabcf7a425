"""Errors as RFC 9457 problems: one shape for all of them, with a code that never changes."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from schemas.codec import to_json

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    code: str,
    title: str,
    detail: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> web.Response:
    """An answer that says what is wrong: `code` for programs, `title` and `detail` for people, `extra` as members."""
    body: dict[str, Any] = {"type": f"urn:metering:problem:{code}", "title": title, "status": status, "code": str(code)}
    if detail is not None:
        body["detail"] = detail
    body.update(extra)
    return web.Response(status=status, body=to_json(body), content_type=MEDIA_TYPE, headers=headers)


class Problem(Exception):
    """Raised by handlers that cannot do what was asked; the application answers with `problem` of the same."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(f"{status} {code}: {detail or title}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = headers
        self.extra = extra

    def response(self) -> web.Response:
        """The answer to send."""
        return problem(self.status, self.code, self.title, self.detail, headers=self.headers, **self.extra)


def phrase(status: int) -> str:
    """The standard words for a status: `Not Found`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
