"""What both clients have in common: saying that something was used."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from metering.client.buffer import Limits
from metering.client.calls import Described, metered
from metering.client.engine import Counters, Engine
from metering.client.event import EVENT_BYTES_MAX, Data, Time, Value, checked_name, event_bytes, time_text
from metering.client.http import Http
from metering.client.spool import Spool
from metering.client.transport import Fate, Transport
from metering.clock import Clock, SystemClock

F = TypeVar("F", bound=Callable[..., Any])

BATCH_BYTES: Final = 1 << 20
SYSTEM: Final = SystemClock()


class Emitter:
    """`send` and `count` never wait: they leave the event in memory. `on_outcome` and `counters` tell the rest."""

    def __init__(
        self,
        to: str | Transport,
        key: str = "",
        *,
        source: str = "client",
        interval: float = 1.0,
        batch_events: int = 1_000,
        memory_bytes: int = 32 << 20,
        spool: str | Path | None = None,
        spool_bytes: int = 256 << 20,
        on_outcome: Callable[[Fate], None] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Say where events go; nothing is connected yet.

        to: the service's address, or a transport such as `Kafka`. key: for the address, of the scope `ingest`.
        source: who says so; with an event's subject and id it is its identity, so keep it over restarts. interval: an
        event waits at most so many seconds for others to go with it. batch_events: at most so many go together.
        memory_bytes: what may be in memory; beyond it events go to the spool, or are dropped. spool: a folder for what
        the service does not take; processes may share it. None: in memory only. spool_bytes: of this process in it.
        on_outcome: called with every event's fate, in the client's thread or event loop: it must not block.

        Raises `ValueError` for what cannot be right.
        """
        if not 0 < interval <= 3_600:
            raise ValueError(f"interval is {interval!r}: seconds, above 0 and up to an hour")
        if not 1 <= batch_events <= 10_000:
            raise ValueError(f"batch_events is {batch_events!r}: 1 to 10,000 events go together")
        if memory_bytes < 2 * EVENT_BYTES_MAX or spool_bytes < 2 * EVENT_BYTES_MAX:
            raise ValueError(f"memory_bytes and spool_bytes are at least {2 * EVENT_BYTES_MAX:,}: some events")
        self._source = checked_name("source", source)
        self._clock = clock
        self._limits = Limits(batch_events, BATCH_BYTES, memory_bytes)
        self._interval = interval
        self._transport = Http(to, key) if isinstance(to, str) else to
        self._spool = (Path(spool), spool_bytes) if spool is not None else None
        self._on_outcome = on_outcome
        self._begin()

    def _begin(self) -> None:
        """Have an engine, with nothing in it."""
        spool = Spool(*self._spool) if self._spool is not None else None
        self._engine = Engine(self._transport, self._limits, self._interval, spool, self._clock, self._on_outcome)

    def count(self, event_type: str, subject: str, /, **data: Value) -> str:
        """One more: an event of this type now, its data by name. Answers its id.

        `metering.count("llm.call", "acme", tokens=1500, model="large")`
        """
        return self.send(event_type, subject, data)

    def send(
        self,
        event_type: str,
        subject: str,
        data: Data | None = None,
        *,
        id: str | None = None,  # noqa: A002
        time: Time | None = None,
        subscription: str | None = None,
    ) -> str:
        """Say that the customer `subject` used something. Never waits; answers the event's id.

        id: one for each act, if the act has one (an order number): however often it is then said, it counts once.
        None: a new one, made here and kept over all retries. time: when it happened; None: now. data: what was used;
        ints, `Decimal`s and texts keep their value exactly.

        Raises `TypeError` for a float and for what data cannot hold, `ValueError` for what the service would refuse.
        """
        event_id = secrets.token_hex(16) if id is None else id
        when = time_text(self._clock.now() if time is None else time)
        self._put(
            event_bytes(event_id, self._source, event_type, subject, when, {} if data is None else data, subscription)
        )
        return event_id

    def _put(self, event: bytes) -> None:
        self._engine.put(event)

    def metered(
        self, event_type: str, subject: Described[str], data: Described[Data] | None = None
    ) -> Callable[[F], F]:
        """A decorator: each call that returns is an event; see `metering.client.calls`."""
        return metered(self, event_type, subject, data)

    def note_unmetered(self) -> None:
        """Count an event that could not be made of a call, for what meters calls."""
        self._engine.drop()

    @property
    def counters(self) -> Counters:
        """What became of the events so far."""
        return self._engine.counters
