"""`POST /v1/events`: events in, an outcome for each of them out (design 7).

| status | when |
|---|---|
| 202 | every event that was not refused is in the log; `outcomes` says of each `queued`, or why it was refused |
| 422 | one event that came alone was refused: a client that looks only at the status must not take it for queued |
| 400, 408, 413, 415, 429 | the request was refused whole, nothing was sent |
| 503 | the log did not acknowledge all of them: `outcomes` says of each `queued` or `unknown`; send all again |

A list of events is answered 202 even if all are refused: whoever sends lists reads the outcomes.

`Metering-Late-Window: 4y` raises the late window for the request's events, for a backfill; it may not lower it, and
needs the scope `write`, because it brings back what is settled.
"""

import asyncio
import time
from typing import Final

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

from metering.api.body import parameter_invalid, query
from metering.api.problem import Problem, problem
from metering.api.scopes import needs, require
from metering.clock import Clock
from metering.ingest.body import BodyUnreadable, Sent, TooManyEvents, TypeUnknown, split_body
from metering.ingest.budget import Budget, Overloaded, Share
from metering.ingest.publish import Part, Publisher, encode_position
from metering.ingest.validate import Judged, judge
from metering.observe.metrics import INGEST_EVENTS, INGEST_SECONDS
from metering.stream.log import Log
from schemas.codec import to_json
from schemas.http import Code, Scope
from schemas.instants import DAY, Duration
from schemas.outcome import Outcome

PATH: Final = "/v1/events"
LATE_WINDOW_HEADER: Final = "Metering-Late-Window"
BODY_BYTES_MAX: Final = 16 << 20
"""Of a body, as sent and as inflated."""

BUDGET_BYTES: Final = 128 << 20
"""On their way at a time, over all requests: bodies being read, and events that the log has not acknowledged."""

READ_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1
ENCODINGS: Final = frozenset({"identity", "gzip", "deflate", "zstd"})
CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})


class Gateway:
    """Takes events for one log."""

    def __init__(self, log: Log, clock: Clock, late_window: int = 35 * DAY, budget_bytes: int = BUDGET_BYTES) -> None:
        """late_window: in microseconds (spec 2.4); budget_bytes: on their way at a time, beyond it 429."""
        self._clock = clock
        self._late_window = late_window
        self._budget = Budget(budget_bytes)
        self._publisher = Publisher(log, clock, self._budget)

    async def post_events(self, request: web.Request) -> web.Response:
        """Answer one request; see the table above."""
        query(request)
        late_window = self._raised_window(request)
        try:
            with self._budget.share() as share:
                body = await _read(request, share)
                started = time.perf_counter()
                response = await self._take(_sent(request, body), late_window)
                INGEST_SECONDS.observe(time.perf_counter() - started)
                return response
        except Overloaded as error:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise Problem(429, Code.OVERLOADED, "Too Many Requests", str(error), headers=headers) from None

    def _raised_window(self, request: web.Request) -> int | None:
        text = request.headers.get(LATE_WINDOW_HEADER)
        if text is None:
            return None
        require(request, Scope.WRITE)
        try:
            window = Duration.parse(text)
        except ValueError as error:
            raise parameter_invalid(LATE_WINDOW_HEADER, str(error)) from None
        if window < self._late_window:
            raise parameter_invalid(LATE_WINDOW_HEADER, f"the late window is {Duration(self._late_window)} already")
        return window

    async def _take(self, sent: Sent, late_window: int | None) -> web.Response:
        judged = judge(sent, self._clock.now(), late_window or self._late_window)
        parts = await self._publisher.publish(judged.valid, late_window)
        unknown = 0
        for part in parts:
            if part.position is None:
                unknown += len(part.events)
                for index, _, _ in part.events:
                    judged.outcomes[index].outcome = Outcome.UNKNOWN
        _count(judged, unknown)
        return _answer(judged, parts, unknown, sent.alone)

    async def close(self) -> None:
        """Wait for what is on its way to the log."""
        await self._publisher.close()


def routes(gateway: Gateway) -> list[web.AbstractRouteDef]:
    """What the API application adds."""
    return [web.post(PATH, needs(Scope.INGEST, gateway.post_events))]


async def _read(request: web.Request, share: Share) -> bytes:
    """The body, which aiohttp inflates as it comes; `Problem` 400, 408, 413 or 415."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise _unsupported(f"content encoding {encoding[:40]!r}: send {', '.join(sorted(ENCODINGS))}")
    charset = request.charset
    if charset is not None and charset.lower() not in CHARSETS:
        raise _unsupported(f"charset {charset[:40]!r}: JSON is UTF-8")
    body = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.content.iter_any():
                share.take(len(chunk))
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise Problem(
                        413,
                        Code.BODY_TOO_LARGE,
                        "Content Too Large",
                        f"at most {BODY_BYTES_MAX:,} bytes are taken, counted after decompression",
                    )
    except TimeoutError:
        detail = f"the body was not here within {READ_SECONDS:.0f} s"
        raise Problem(408, Code.BODY_TIMEOUT, "Request Timeout", detail) from None
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
        detail = f"the body cannot be read: {error}"[:500]
        # What follows on this connection is the rest of a broken body, not a request.
        raise Problem(400, Code.BODY_INVALID, "Bad Request", detail, headers={"Connection": "close"}) from None
    return bytes(body)


def _sent(request: web.Request, body: bytes) -> Sent:
    content_type = request.content_type if "Content-Type" in request.headers else "application/json"
    try:
        return split_body(body, content_type.lower(), request.headers.items())
    except TooManyEvents as error:
        raise Problem(413, Code.TOO_MANY_EVENTS, "Content Too Large", str(error)) from None
    except TypeUnknown as error:
        raise _unsupported(str(error)) from None
    except BodyUnreadable as error:
        raise Problem(400, Code.BODY_INVALID, "Bad Request", str(error)[:500]) from None


def _unsupported(detail: str) -> Problem:
    return Problem(415, Code.MEDIA_TYPE_UNSUPPORTED, "Unsupported Media Type", detail)


def _count(judged: Judged, unknown: int) -> None:
    if queued := len(judged.valid) - unknown:
        INGEST_EVENTS.labels(Outcome.QUEUED.value).inc(queued)
    if len(judged.outcomes) > queued:
        for event in judged.outcomes:
            if event.outcome is not Outcome.QUEUED:
                INGEST_EVENTS.labels(event.outcome.value).inc()


def _answer(judged: Judged, parts: list[Part], unknown: int, alone: bool) -> web.Response:
    outcomes = judged.outcomes
    position = encode_position(part.position for part in parts if part.position is not None)
    if unknown:
        return problem(
            503,
            Code.LOG_UNAVAILABLE,
            "Service Unavailable",
            "the log did not acknowledge every event in time: send all again, identities drop the copies",
            headers={"Retry-After": str(RETRY_SECONDS)},
            outcomes=outcomes,
            position=position,
        )
    if alone and not parts:
        (refused,) = outcomes
        detail = refused.detail
        return problem(422, refused.outcome, "Unprocessable Content", detail, outcomes=outcomes, position=position)
    return web.Response(
        status=202, body=to_json({"outcomes": outcomes, "position": position}), content_type="application/json"
    )
