"""Sends many events to a gateway, batch after batch in order, until it has acknowledged them."""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import msgspec

from metering.clock import Clock
from metering.errors import LogUnavailable, MeteringError
from metering.ingest.body import BATCH_TYPE
from metering.ingest.publish import decode_position, encode_position
from metering.stream.log import Position

PATH: Final = "/v1/events"
ANSWER_SECONDS: Final = 30
GIVE_UP_SECONDS: Final = 180
"""A batch that was not taken for so long ends the sending."""

PAUSE_SECONDS_MAX: Final = 5
REFUSALS_KEPT: Final = 20
RETRIED: Final = frozenset({429, 502, 503, 504})


@dataclass
class Report:
    """What became of the events that were sent."""

    queued: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Events by the code with which the gateway refused them."""
    refusals: list[str] = field(default_factory=list)
    """The first of them, for people to read."""
    retries: int = 0
    positions: dict[int, int] = field(default_factory=dict)

    @property
    def position(self) -> str:
        """Up to where everything lies that was queued: `GET …/balance?after=` waits for it."""
        return encode_position(Position(partition, offset) for partition, offset in self.positions.items())


class Sender:
    """`async with Sender(url, key, clock) as sender: await sender.send(raws)`; `report` tells how it went."""

    def __init__(self, url: str, key: str, clock: Clock, late_window: str | None = None) -> None:
        """late_window: as `4y`, for a backfill; the key then needs the scope `write` too."""
        self.report = Report()
        self._url = url.rstrip("/") + PATH
        self._clock = clock
        self._headers = {"Authorization": f"Bearer {key}"}
        if late_window is not None:
            self._headers["Metering-Late-Window"] = late_window
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Sender":
        """Open the session."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def send(self, raws: Sequence[bytes]) -> None:
        """Send events until all are queued or refused.

        Raises `LogUnavailable` when the gateway did not take them for `GIVE_UP_SECONDS`, `MeteringError` when it
        refuses the request as such, as for a wrong key.
        """
        body = b"[" + b",".join(raws) + b"]"
        waited, pause, said = 0.0, 0.1, ""
        while True:
            status, answer, said = await self._post(body)
            if status == 202:
                return self._take(answer)
            if status not in RETRIED and status != 0:
                raise MeteringError(f"POST {self._url}: {status}: {said}")
            if waited >= GIVE_UP_SECONDS:
                raise LogUnavailable(f"POST {self._url} was not taken for {waited:.0f} s: {said}; try again later")
            self.report.retries += 1
            # Between half of the pause and all of it, so that many senders do not come back as one.
            rest = pause * (0.5 + secrets.randbelow(1_000) / 2_000)
            await self._clock.sleep(rest)
            waited, pause = waited + rest, min(pause * 2, PAUSE_SECONDS_MAX)

    async def _post(self, body: bytes) -> tuple[int, Any, str]:
        """Status (0: no answer), the answer as a tree, and what it says."""
        assert self._session is not None, "use `async with Sender(...)`"
        try:
            payload = aiohttp.BytesPayload(body, content_type=BATCH_TYPE)
            async with self._session.post(self._url, data=payload, headers=self._headers) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, None, f"no answer: {str(error) or type(error).__name__}"
        try:
            answer = msgspec.json.decode(content)
        except msgspec.DecodeError:
            answer = {}
        told = answer if isinstance(answer, dict) else {}
        return response.status, told, str(told.get("detail") or told.get("title") or response.reason)

    def _take(self, answer: Any) -> None:
        for outcome in answer["outcomes"]:
            code = outcome["outcome"]
            if code == "queued":
                self.report.queued += 1
                continue
            self.report.refused[code] += 1
            if len(self.report.refusals) < REFUSALS_KEPT:
                self.report.refusals.append(f"{outcome.get('id')}: {code}: {outcome.get('detail', '')}")
        for partition, offset in decode_position(answer["position"]):
            self.report.positions[partition] = max(offset, self.report.positions.get(partition, 0))
