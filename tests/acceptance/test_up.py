"""`metering up`: first start, restart, busy port, signals, wrong use."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from metering.embedded.process import free_port

SECONDS = 60


def metering(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that ends by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}
    return subprocess.run(
        [sys.executable, "-m", "metering", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, env=kept | environment,
    )  # fmt: skip


def test_first_start_shows_a_key_once_and_a_restart_keeps_the_data(up: Callable[..., Any]) -> None:
    engine = up(METERING_BOOTSTRAP_KEY="")
    shown = re.search(r"^admin key (\S+)", engine.said(), re.MULTILINE)
    assert shown, engine.said()
    engine.key = shown[1]
    assert engine.call("PUT", "/v1/customers/acme", {"currency": "USD"})["currency"] == "USD"
    assert engine.stop() == 0
    assert "Traceback" not in engine.said()
    engine.start()
    assert "admin key" not in engine.said()
    assert engine.call("GET", "/v1/customers/acme")["currency"] == "USD"


def test_busy_port_is_replaced_and_said(up: Callable[..., Any]) -> None:
    with socket.socket() as listener:
        port = free_port()
        listener.bind(("127.0.0.1", port))
        listener.listen()
        engine = up("--port", str(port))
        assert f"{port} is busy" in engine.said()
        assert f":{port}" not in engine.url
        assert engine.call("GET", "/v1/invoices")["items"] == []


def test_probes_need_no_key_and_the_api_does(up: Callable[..., Any]) -> None:
    engine = up()
    probes = engine.metrics_url.removesuffix("/metrics")
    assert "alive" in engine.text(f"{probes}/healthz")
    engine.until(lambda: "ready" in engine.text(f"{probes}/readyz"), 10, "is ready")
    assert "metering_stream_lag_messages" in engine.text(engine.metrics_url)
    engine.key = "no-such-key"
    assert engine.call("GET", "/v1/invoices")["code"] == "unauthenticated"


def test_clients_that_speak_no_proper_http_are_answered_and_not_logged(up: Callable[..., Any]) -> None:
    engine = up()
    post = "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    for request in (
        "GARBAGE\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'k' * 20_000}\r\n\r\n",
        f"{post}Content-Encoding: gzip\r\n\r\nnone",
        f"{post}Content-Encoding: br\r\n\r\nnone",
    ):
        with socket.create_connection(("127.0.0.1", int(engine.url.rsplit(":", 1)[1])), timeout=10) as client:
            client.sendall(request.encode())
            assert re.match(rb"HTTP/1\.[01] 40[01] ", client.recv(4096)), request[:80]
    assert engine.call("GET", "/v1/invoices")["items"] == []
    assert engine.stop() == 0
    assert "Traceback" not in engine.said()


def test_crash_and_restart_lose_no_event(up: Callable[..., Any]) -> None:
    engine = up("--clock", "2026-01-05T10:00:00Z")
    price = {"model": "per_unit", "unit": "0.001"}
    plan = {"currency": "USD", "period": "month", "charges": {"calls": {"meter": "calls", "price": price}}}
    meter = {"event_type": "call", "aggregation": "count"}
    engine.call("POST", "/v1/catalog", {"meters": {"calls": meter}, "plans": {"pay": plan}})
    engine.call("PUT", "/v1/customers/acme", {"currency": "USD"})
    engine.call("POST", "/v1/subscriptions", {"id": "s1", "customer": "acme", "plan": "pay"})
    events = [
        {"specversion": "1.0", "id": f"e{number}", "source": "app", "type": "call", "subject": "acme"}
        for number in range(1_000)
    ]
    answer = engine.call("POST", "/v1/events", events, "application/cloudevents-batch+json")
    assert {one["outcome"] for one in answer["outcomes"]} == {"queued"}
    engine.kill()
    engine.start()
    engine.call("POST", "/v1/clock", {"now": "2026-01-05T11:00:00Z"})
    again = engine.call("POST", "/v1/events", events, "application/cloudevents-batch+json")
    balance = engine.call("GET", f"/v1/customers/acme/balance?after={again['position']}")
    assert [(one["quantity"], one["amount"]) for one in balance["charges"]] == [("1000", "1")]


def test_embedded_postgres_killed_is_started_again_and_everything_goes_on(up: Callable[..., Any]) -> None:
    engine = up("--clock", "2026-01-05T10:00:00Z")
    engine.call("POST", "/v1/catalog", {"meters": {"calls": {"event_type": "call", "aggregation": "count"}}})
    engine.call("PUT", "/v1/customers/acme", {"currency": "USD"})
    event = {"specversion": "1.0", "source": "app", "type": "call", "subject": "acme"}
    hour = "meter=calls&from=2026-01-05T10:00:00Z&to=2026-01-05T11:00:00Z"

    def counted() -> str | None:
        found = (engine.call("GET", f"/v1/customers/acme/usage?{hour}") or {}).get("items")
        return str(found[0]["quantity"]) if found else None

    engine.call("POST", "/v1/events", event | {"id": "before"})
    engine.until(lambda: counted() == "1", 20, "counted the first event")
    postmaster = int((engine.folder / "data" / "pgdata" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)

    def sent() -> bool:
        answer = engine.call("POST", "/v1/events", event | {"id": "after"}) or {}
        return bool(answer.get("outcomes", [{}])[0].get("outcome") == "queued")

    engine.until(sent, 30, "took an event again")
    engine.until(lambda: counted() == "2", 30, "counted on")


def test_up_on_apache_kafka_counts_what_producers_and_the_gateway_send(up: Callable[..., Any], kafka: Any) -> None:
    topic = f"events-{uuid.uuid4()}"
    engine = up("--clock", "2026-01-05T10:00:00Z", METERING_KAFKA=kafka.bootstrap, METERING_TOPIC=topic)
    engine.call("POST", "/v1/catalog", {"meters": {"calls": {"event_type": "call", "aggregation": "count"}}})
    event = {"specversion": "1.0", "source": "app", "type": "call", "subject": "acme"}
    answer = engine.call("POST", "/v1/events", [event | {"id": f"e{n}"} for n in range(100)])
    assert {one["outcome"] for one in answer["outcomes"]} == {"queued"}

    async def produce() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        await producer.start()
        try:
            for number in range(50, 150):
                payload = json.dumps(event | {"id": f"e{number}"}).encode()
                await producer.send_and_wait(topic, payload, key=b"acme")
        finally:
            await producer.stop()

    asyncio.run(produce())
    hour = "meter=calls&from=2026-01-05T10:00:00Z&to=2026-01-05T11:00:00Z"
    engine.until(
        lambda: engine.call("GET", f"/v1/customers/acme/usage?{hour}")["items"][0]["quantity"] == "150",
        60,
        "counted each identity once",
    )
    assert engine.stop() == 0


def test_settable_clock_goes_on_where_it_was_left_and_real_time_is_refused(up: Callable[..., Any]) -> None:
    engine = up("--clock", "2026-01-05T10:00:00Z")
    engine.call("PUT", "/v1/customers/acme", {"currency": "USD"})
    engine.call("POST", "/v1/clock", {"now": "2026-02-01T00:00:00Z"})
    assert engine.call("GET", "/v1/customers/acme/balance")["as_of"] == "2026-02-01T00:00:00Z"
    assert engine.stop() == 0
    engine.start()
    assert "The clock was left at 2026-02-01T00:00:00Z" in engine.said()
    assert engine.call("GET", "/v1/clock") == {"now": "2026-02-01T00:00:00Z"}
    assert engine.stop() == 0
    ended = metering("up", "--data-dir", str(engine.folder / "data"), METERING_PORT="0", METERING_METRICS_PORT="0")
    assert ended.returncode == 2
    assert "settable clock" in ended.stderr


def test_reset_drops_everything_but_the_keys(up: Callable[..., Any]) -> None:
    engine = up("--clock", "2026-01-05T10:00:00Z")
    meter = {"event_type": "call", "aggregation": "count"}
    event = {"specversion": "1.0", "id": "e1", "source": "app", "type": "call", "subject": "acme"}

    def once(later: str) -> Any:
        """The balance at an instant after one counted event, from nothing."""
        price = {"model": "per_unit", "unit": "2"}
        plan = {"currency": "USD", "period": "month", "charges": {"calls": {"meter": "calls", "price": price}}}
        engine.call("POST", "/v1/catalog", {"meters": {"calls": meter}, "plans": {"pay": plan}})
        engine.call("PUT", "/v1/customers/acme", {"currency": "USD"})
        engine.call("POST", "/v1/subscriptions", {"id": "s1", "customer": "acme", "plan": "pay"})
        position = engine.call("POST", "/v1/events", event)["position"]
        engine.call("POST", "/v1/clock", {"now": later})
        return engine.call("GET", f"/v1/customers/acme/balance?after={position}")

    assert once("2026-01-05T11:00:00Z")["accrued"] == "2"
    assert engine.call("POST", "/v1/reset", {"now": "2025-12-01T00:00:00Z"}) == {"now": "2025-12-01T00:00:00Z"}
    assert engine.call("GET", "/v1/customers/acme")["code"] == "unknown_customer"
    assert engine.call("GET", "/v1/meters")["items"] == []
    assert once("2025-12-01T01:00:00Z")["accrued"] == "2"


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (("up", "--clock", "yesterday"), {}, 2, "--clock"),
        (("up", "--prot", "1"), {}, 2, "--prot"),
        (("up",), {"METERING_PORT": "many"}, 2, "METERING_PORT"),
        (("up",), {"METERING_KAFAK": "a:1"}, 2, "METERING_KAFKA"),
        (("up",), {"METERING_POSTGRES": "postgres://127.0.0.1:1/none"}, 1, "Postgres"),
        (("upp",), {}, 2, "upp"),
    ],
    ids=["clock", "flag", "setting", "misspelt", "away", "command"],
)
def test_wrong_use_is_told_without_a_traceback(
    arguments: tuple[str, ...], environment: dict[str, str], status: int, said: str
) -> None:
    ended = metering(*arguments, **environment)
    assert ended.returncode == status, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["up", "demo", "apply", "import", "simulate", "migrate"])
def test_help_of_every_command_shows_examples(command: str) -> None:
    ended = metering(command, "--help")
    assert ended.returncode == 0, ended.stderr
    assert f"metering {command} " in ended.stdout.split("Examples:")[1]


def test_version_is_printed() -> None:
    ended = metering("--version")
    assert re.fullmatch(r"\d+\.\d+\.\d+", ended.stdout.strip())
