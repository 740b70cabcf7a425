"""The demo's month: customers sign up, product services send, the month ends, the invoice comes and is checked.

Seen from outside: it talks to the engine over HTTP and to the log over Kafka, as product services do.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Final, NamedTuple

import aiohttp
import yaml
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from metering.cli.client import Client
from metering.cli.demo_traffic import Event, Expected, Traffic, expected_lines
from metering.cli.demo_view import Now
from metering.clock import Clock
from metering.errors import MeteringError
from schemas.instants import MINUTE, Instant

PLAN: Final = "team"
BATCH: Final = 100
TICK_S: Final = 0.25
WAIT_S: Final = 30.0


class Customer(NamedTuple):
    """Someone who signs up at a local midnight, and whose month ends at one."""

    key: str
    timezone: str
    start: Instant
    end: Instant


def _customer(key: str, timezone: str, start: str, end: str) -> Customer:
    return Customer(key, timezone, Instant.parse(start), Instant.parse(end))


CUSTOMERS: Final = (
    _customer("sakura", "Asia/Tokyo", "2025-12-31T15:00:00Z", "2026-01-31T15:00:00Z"),
    _customer("acme", "Europe/Amsterdam", "2025-12-31T23:00:00Z", "2026-01-31T23:00:00Z"),
    _customer("globex", "UTC", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
    _customer("initech", "America/New_York", "2026-01-01T05:00:00Z", "2026-02-01T05:00:00Z"),
)
BEGIN: Final = CUSTOMERS[0].start
SHOWN: Final = CUSTOMERS[1]
TRAFFIC_END: Final = Instant.parse("2026-01-31T14:30:00Z")
IN_GRACE: Final = Instant(SHOWN.end + 20 * MINUTE)
ALL_FINAL: Final = Instant.parse("2026-02-01T06:05:00Z")
LATE_IN_GRACE: Final = 25


class Month:
    """One run of the demo against an engine with a settable clock that stands at `BEGIN`."""

    def __init__(
        self, client: Client, metrics_url: str, kafka: str, topic: str, clock: Clock, *, seed: int, rate: int
    ) -> None:
        """`rate`: events a second, half of them through the gateway, half straight to Kafka. `clock` only sleeps."""
        self._client = client
        self._metrics_url = metrics_url
        self._kafka = kafka
        self._topic = topic
        self._clock = clock
        self._now = BEGIN
        self._per_tick = max(1, round(rate * TICK_S / BATCH / 2)) * BATCH
        self.traffic = Traffic(seed)
        self.by_way = {"http": 0, "kafka": 0}

    async def sign_up(self) -> None:
        """Apply the sample catalog, then let each customer subscribe at its own midnight."""
        content = files("metering.catalog").joinpath("sample.yaml").read_bytes()
        await self._client.call("POST", "/v1/catalog", content, "application/yaml")
        for customer in CUSTOMERS:
            await self._move(customer.start)
            await self._client.put(f"/v1/customers/{customer.key}", {"currency": "USD", "timezone": customer.timezone})
            body = {"id": f"{customer.key}-1", "customer": customer.key, "plan": PLAN}
            await self._client.post("/v1/subscriptions", body)
            self.traffic.add(customer.key, customer.start)

    async def use(self, seconds: float, show: Callable[[Now], None]) -> tuple[int, Mapping[str, str]]:
        """Let a month of traffic pass in `seconds`; answers events a second, sent to committed, and what accrued."""
        first = self._now
        started = time.perf_counter()
        before = await self._committed()
        async with self._producer() as producer:
            watching = asyncio.create_task(self._watch(show))
            try:
                while (elapsed := time.perf_counter() - started) < seconds:
                    await self._move(Instant(first + int((TRAFFIC_END - first) * elapsed / seconds)))
                    await asyncio.gather(self._send_http(), self._send_kafka(producer))
                    spent = time.perf_counter() - started - elapsed
                    await self._clock.sleep(max(0.0, TICK_S - spent))
                await self._all_committed()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        rate = round((await self._committed() - before) / (time.perf_counter() - started))
        last = await self.now(rate)
        show(last)
        return rate, last.accrued

    async def close(self) -> dict[str, Any]:
        """End the month: late deliveries within the grace, then every invoice final; answers the shown one."""
        await self._move(IN_GRACE)
        late = [
            self.traffic.late(SHOWN.key, Instant(SHOWN.end - (index + 1) * MINUTE), "edge-recovered")
            for index in range(LATE_IN_GRACE)
        ]
        await self._post(late)
        await self._all_committed()
        await self._move(ALL_FINAL)
        for customer in CUSTOMERS:
            invoice = await self._final(customer)
            if customer is SHOWN:
                shown = invoice
        return shown

    async def explained(self, invoice: dict[str, Any]) -> list[str]:
        """The arithmetic of each line of an invoice."""
        path = f"/v1/invoices/{invoice['id']}/lines"
        numbers = range(1, len(invoice["lines"]) + 1)
        return [(await self._client.get(f"{path}/{number}/explain"))["text"] for number in numbers]

    def expected(self) -> list[Expected]:
        """The shown invoice's usage lines as the events that were made say."""
        text = files("metering.catalog").joinpath("sample.yaml").read_text("utf-8")
        plan = yaml.load(text, yaml.BaseLoader)["plans"][PLAN]  # noqa: S506 - texts only, and it is our own file
        return expected_lines(plan, self.traffic.used, SHOWN.key, SHOWN.start, SHOWN.end)

    async def now(self, per_second: int) -> Now:
        """The state of things, as the engine tells."""
        values = await self._metrics()
        balances = [await self._client.get(f"/v1/customers/{one.key}/balance") for one in CUSTOMERS]
        return Now(
            clock=str(self._now)[:16].replace("T", " "),
            sent=self.traffic.counts["sent"],
            committed=_total(values, "metering_stream_events_total"),
            duplicates=values.get(("metering_stream_events_total", "duplicate"), 0),
            per_second=per_second,
            lag=_total(values, "metering_stream_lag_messages"),
            accrued={one.key: tree["accrued"] for one, tree in zip(CUSTOMERS, balances, strict=True)},
        )

    async def _move(self, instant: Instant) -> None:
        await self._client.post("/v1/clock", {"now": str(instant)})
        self._now = instant

    async def _send_http(self) -> None:
        """What the product's API servers do: batches of 100 through the gateway."""
        for _ in range(self._per_tick // BATCH):
            await self._post(self.traffic.batch(self._now, "api-eu-1", BATCH))

    async def _post(self, events: list[Event]) -> None:
        body = b"[" + b",".join(event.payload for event in events) + b"]"
        await self._client.call("POST", "/v1/events", body, "application/cloudevents-batch+json")
        self.by_way["http"] += len(events)

    async def _send_kafka(self, producer: AIOKafkaProducer) -> None:
        """What a service with its own producer does: one event a message, the customer as key."""
        events = self.traffic.batch(self._now, "batch-jobs", self._per_tick)
        acknowledged = [
            await producer.send(self._topic, event.payload, key=event.customer.encode()) for event in events
        ]
        await asyncio.gather(*acknowledged)
        self.by_way["kafka"] += len(events)

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self._kafka, acks="all", linger_ms=2)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def _watch(self, show: Callable[[Now], None]) -> None:
        """Show the state twice a second; the rate is that of the last two seconds."""
        history: list[tuple[float, int]] = []
        while True:
            now = await self.now(0)
            history = [*history[-4:], (time.perf_counter(), now.committed)]
            span = history[-1][0] - history[0][0]
            rate = round((history[-1][1] - history[0][1]) / span) if span else 0
            show(now._replace(per_second=rate))
            await self._clock.sleep(0.5)

    async def _all_committed(self) -> None:
        """Wait until every event that was sent has its outcome."""
        deadline = time.perf_counter() + WAIT_S
        while (committed := await self._committed()) < self.traffic.counts["sent"]:
            if time.perf_counter() > deadline:
                lag = (await self.now(0)).lag
                raise MeteringError(
                    f"{committed:,} of {self.traffic.counts['sent']:,} events were committed after {WAIT_S:g} s;"
                    f" {lag:,} messages of the log are not read yet"
                )
            await self._clock.sleep(0.05)

    async def _final(self, customer: Customer) -> dict[str, Any]:
        """Wait for the final invoice that closes the customer's month."""
        deadline = time.perf_counter() + WAIT_S
        while time.perf_counter() < deadline:
            page = await self._client.get(f"/v1/invoices?customer={customer.key}")
            for listed in page["items"]:
                if listed["issued"] == str(customer.end) and listed["status"] == "final":
                    invoice: dict[str, Any] = await self._client.get(f"/v1/invoices/{listed['id']}")
                    return invoice
            await self._clock.sleep(0.1)
        raise MeteringError(f"the invoice of {customer.key} for January is not final after {WAIT_S:g} s")

    async def _committed(self) -> int:
        return _total(await self._metrics(), "metering_stream_events_total")

    async def _metrics(self) -> dict[tuple[str, str], int]:
        """Samples of /metrics by name and the value of their only label."""
        async with aiohttp.ClientSession() as session, session.get(self._metrics_url) as response:
            text = await response.text()
        return {
            (sample.name, next(iter(sample.labels.values()), "")): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in ("metering_stream_events_total", "metering_stream_lag_messages")
        }


def _total(values: dict[tuple[str, str], int], name: str) -> int:
    return sum(value for (found, _), value in values.items() if found == name)
