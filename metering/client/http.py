"""The way to the service: `POST /v1/events`, many events a request."""

from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec

from metering.client.transport import Away, Fate, TooLarge, fate
from schemas.outcome import Outcome

PATH: Final = "/v1/events"
CONTENT_TYPE: Final = "application/cloudevents-batch+json"
ANSWER_SECONDS: Final = 10.0
"""The service answers within 5 seconds of the last byte."""

RETRY_AFTER_MAX: Final = 300.0
MISCONFIGURED: Final = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405, 415})
"""Statuses that no waiting mends: somebody has to look at the address or the key. The events wait for that."""


class _Outcome(msgspec.Struct):
    outcome: str
    detail: str | None = None


class _Answer(msgspec.Struct):
    outcomes: list[_Outcome]


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_PROBLEM: Final = msgspec.json.Decoder(_Problem)


class Http:
    """Sends to one service."""

    def __init__(self, url: str, key: str) -> None:
        """url: of the service, without `/v1`; key: of the scope `ingest`. `ValueError` if either cannot be right."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address of the service such as https://metering.example")
        if not key or not key.isascii() or not key.isprintable():
            raise ValueError("the key is empty or has characters that no key has: pass one of the scope ingest")
        self._url = url.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": CONTENT_TYPE}
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session; connections are made as they are needed."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=ANSWER_SECONDS / 2)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)

    async def send(self, events: Sequence[bytes]) -> list[Fate]:
        """See `Transport.send`. Only an answer that names an outcome for each event counts."""
        assert self._session is not None, "start() first"
        body = aiohttp.BytesPayload(b"[" + b",".join(events) + b"]", content_type=CONTENT_TYPE)
        try:
            # A redirect is not followed: it would hand the key to another address, or make a GET of it.
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(f"no answer from {self._url}: {str(error) or type(error).__name__}") from error
        if response.status == 202:
            return self._fates(events, content)
        said = _said(content) or response.reason or ""
        if response.status == 413 and len(content) < 1 << 20:
            raise TooLarge(said)
        raise Away(
            f"{self._url} answered {response.status}: {said}",
            _seconds(response.headers.get("Retry-After", "")),
            misconfigured=response.status in MISCONFIGURED,
        )

    def _fates(self, events: Sequence[bytes], content: bytes) -> list[Fate]:
        try:
            outcomes = _ANSWER.decode(content).outcomes
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Away(f"{self._url} did not answer as the service does: {error}", misconfigured=True) from None
        if len(outcomes) != len(events):
            raise Away(f"{self._url} answered {len(outcomes)} outcomes for {len(events)} events", misconfigured=True)
        if any(outcome.outcome == Outcome.UNKNOWN for outcome in outcomes):
            raise Away(f"{self._url} does not know whether it has all events")
        return [fate(event, said.outcome, said.detail) for event, said in zip(events, outcomes, strict=True)]

    async def stop(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()


def _said(content: bytes) -> str:
    """What a problem says; empty if it is none."""
    try:
        problem = _PROBLEM.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return ": ".join(part for part in (problem.code, problem.detail) if part)


def _seconds(text: str) -> float | None:
    """`Retry-After` in seconds; a date, or no number, is None."""
    return min(float(text), RETRY_AFTER_MAX) if text.isascii() and text.isdigit() and len(text) < 10 else None
