"""`metering demo`: the whole engine at work in under a minute, on servers that are thrown away."""

import asyncio
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.live import Live

from metering.cli import demo_view
from metering.cli.client import Client
from metering.cli.demo_run import BEGIN, SHOWN, Month
from metering.cli.demo_traffic import Expected
from metering.cli.demo_view import Now
from metering.cli.loop import run, stop_signals
from metering.cli.say import CONSOLE, say
from metering.clock import SettableClock, SystemClock
from metering.config import Settings
from metering.embedded import EmbeddedBroker, EmbeddedPostgres
from metering.errors import ConfigurationError
from metering.observe import logs
from metering.wiring import Engine, running

PARTITIONS = 4
LINE_SECONDS = 2.0


def demo(
    *,
    seconds: Annotated[int, Parameter(help="how long the month of traffic takes")] = 12,
    rate: Annotated[int, Parameter(help="events a second that the product services send")] = 10_000,
    seed: Annotated[int, Parameter(help="which traffic: the same seed makes the same events")] = 1,
    json: Annotated[bool, Parameter(help="print one JSON object instead, and end", negative="")] = False,
) -> int:
    """Show the whole engine at work, on throw-away servers."""
    if seconds < 1 or rate < 1:
        raise ConfigurationError("--seconds and --rate are whole numbers above 0")
    logs.configure("warning")
    return run(_demo(seconds, rate, seed, json))


async def _demo(seconds: int, rate: int, seed: int, as_json: bool) -> int:
    tell = (lambda _text: None) if as_json else say
    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        tell("Starting an embedded PostgreSQL and an embedded broker that speaks Kafka's protocol …")
        postgres, broker = EmbeddedPostgres(durable=False), EmbeddedBroker()
        stack.push_async_callback(postgres.stop)
        stack.push_async_callback(broker.stop)
        await asyncio.gather(postgres.start(), broker.start())
        key = f"mk_demo_{secrets.token_urlsafe(16)}"
        settings = Settings(kafka=broker.bootstrap, postgres=postgres.dsn, partitions=PARTITIONS, bootstrap_key=key)
        engine = await stack.enter_async_context(running(settings, SettableClock(BEGIN), embedded_broker=True))
        tell(f"Up after {time.perf_counter() - started:.1f} s. {' '.join(engine.notes)}".rstrip())
        client = await stack.enter_async_context(Client(engine.url, key))
        month = Month(
            client, f"{engine.probes_url}/metrics", broker.bootstrap, settings.topic, SystemClock(),
            seed=seed, rate=rate,
        )  # fmt: skip
        report = await _play(month, seconds, tell, as_json)
        report["seconds"] = f"{time.perf_counter() - started:.1f}"
        report["addresses"] = _addresses(engine, report["invoice"]["id"])
        if as_json:
            say(msgspec.json.format(msgspec.json.encode(report)).decode())
        else:
            _close(report, key)
            if sys.stdout.isatty():
                await _stay()
            else:
                say("\nThis is no terminal to look around from: all of it ends now, and the addresses with it.")
    return 0 if report["check"]["holds"] else 1


async def _play(month: Month, seconds: int, tell: Callable[[str], None], as_json: bool) -> dict[str, Any]:
    """The month from the first customer to the checked invoice; answers everything that was found out."""
    await month.sign_up()
    tell(f"Four customers; a month of traffic in {seconds} s, half over HTTP, half straight to Kafka.\n")
    with _Screen(as_json) as screen:
        rate, accrued = await month.use(seconds, screen.show)
    tell("\nThe month ends: late deliveries within the grace, then every invoice becomes final …\n")
    invoice = await month.close()
    expected = month.expected()
    now = await month.now(0)
    counts = month.traffic.counts
    return {
        "events": {
            "sent": counts["sent"], "http": month.by_way["http"], "kafka": month.by_way["kafka"],
            "duplicates": counts["duplicates"], "late": counts["late"],
            "committed": now.committed, "dropped_as_duplicates": now.duplicates,
        },
        "events_per_second": rate,
        "accrued": dict(accrued),
        "invoice": invoice,
        "explained": await month.explained(invoice),
        "check": check(invoice, expected) | {"distinct_events": len(month.traffic.used)},
    }  # fmt: skip


def check(invoice: dict[str, Any], expected: list[Expected]) -> dict[str, Any]:
    """Whether an invoice's usage lines are what the events sent add up to, token by token and cent by cent."""
    found = sorted(
        (line["charge"], line["dimensions"].get("model", ""), line["quantity"], line["amount"])
        for line in invoice["lines"]
        if line["kind"] == "usage"
    )
    wanted = sorted((one.charge, one.model, str(one.quantity), _dollars(one.cents)) for one in expected)
    return {
        "holds": found == wanted,
        "usage_lines": len(found),
        "expected_usage": _dollars(sum(one.cents for one in expected)),
        "differences": [list(line) for line in sorted(set(found) ^ set(wanted))],
    }


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _addresses(engine: Engine, invoice: str) -> dict[str, str]:
    return {
        "api": engine.url,
        "metrics": f"{engine.probes_url}/metrics",
        "invoice_html": f"{engine.url}/v1/invoices/{invoice}.html",
    }


def _close(report: dict[str, Any], key: str) -> None:
    """The end of what a person reads: the invoice, the check, the addresses."""
    CONSOLE.print(demo_view.invoice(report["invoice"], SHOWN.timezone))
    for text in [*demo_view.arithmetic(report["invoice"], report["explained"]), *demo_view.summary(report)]:
        say(text)
    for name, address in report["addresses"].items():
        say(f"  {name.replace('_', ' '):13} {address}")
    page = report["addresses"]["invoice_html"]
    say(f"\nThe API needs a key: curl -H 'Authorization: Bearer {key}' {page} > invoice.html")


async def _stay() -> None:
    """Keep everything up until Ctrl-C."""
    say("\nAll of it stays up until Ctrl-C.")
    async with stop_signals() as stopped:
        await stopped.wait()
    say("\nStopping …")


class _Screen:
    """Where the state goes while events flow: a live table on a terminal, a line now and then elsewhere, or nowhere."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._live = None if silent or not CONSOLE.is_terminal else Live(console=CONSOLE, auto_refresh=False)
        self._last = 0.0

    def __enter__(self) -> "_Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, now: Now) -> None:
        """Show the state."""
        if self._live is not None:
            self._live.update(demo_view.live(now), refresh=True)
        elif not self._silent and time.perf_counter() - self._last >= LINE_SECONDS:
            self._last = time.perf_counter()
            say(demo_view.line(now))
