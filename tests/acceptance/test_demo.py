"""`metering demo`: what it prints is right, twice in a row, with its usual ports busy, and it ends by itself."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

SECONDS = 120


def demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the demo with a short month; its stdout is no terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}
    return subprocess.run(
        [sys.executable, "-m", "metering", "demo", "--seconds", "3", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, env=kept,
    )  # fmt: skip


def check(report: dict[str, Any]) -> None:
    """What must hold of the JSON report whatever the machine's speed."""
    events = report["events"]
    assert report["check"]["holds"], report["check"]
    assert report["check"]["differences"] == []
    assert events["sent"] == events["committed"] == events["http"] + events["kafka"]
    assert (
        events["sent"] - report["check"]["distinct_events"] == events["duplicates"] == events["dropped_as_duplicates"]
    )
    assert min(events["duplicates"], events["late"], events["http"], events["kafka"]) > 0
    invoice = report["invoice"]
    assert (invoice["status"], invoice["customer"], invoice["currency"]) == ("final", "acme", "USD")
    cents = [int(line["amount"].replace(".", "")) for line in invoice["lines"]]
    assert sum(cents) == int(invoice["total"].replace(".", ""))
    usage = sum(cent for cent, line in zip(cents, invoice["lines"], strict=True) if line["kind"] == "usage")
    assert usage == int(report["check"]["expected_usage"].replace(".", ""))
    assert [line["amount"] for line in invoice["lines"] if line["kind"] == "recurring"] == ["20.00"]
    assert set(report["addresses"]) == {"api", "metrics", "invoice_html"}
    assert report["events_per_second"] > 0


def test_demo_json_run_twice_is_right_and_the_same_but_for_speed() -> None:
    runs = [demo("--json"), demo("--json")]
    for ended in runs:
        assert ended.returncode == 0, ended.stderr
        check(json.loads(ended.stdout))


def test_demo_without_a_terminal_and_with_busy_ports_shows_an_invoice_and_ends() -> None:
    taken = []
    for port in (8080, 8081):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            listener.close()  # Somebody else has it: busy all the same.
        else:
            taken.append(listener)
    try:
        ended = demo()
    finally:
        for listener in taken:
            listener.close()
    assert ended.returncode == 0, ended.stderr
    assert "8080 is busy" in ended.stdout
    assert "Checked: the 6 usage lines" in ended.stdout
    assert re.search(r"^Invoice \d+ of acme, issued 2026-01-31T23:00:00Z, final$", ended.stdout, re.MULTILINE)
    for wanted in ("input", "output", "small", "large", "vision", "recurring", "events/s", "/metrics", ".html"):
        assert wanted in ended.stdout
    assert "Ctrl-C" not in ended.stdout
    assert "all of it ends now" in ended.stdout


def test_demo_interrupted_stops_within_seconds_and_leaves_nothing(open_folder: Path) -> None:
    environment = os.environ | {"TMPDIR": str(open_folder)}
    process = subprocess.Popen(
        [sys.executable, "-m", "metering", "demo", "--seconds", "60"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        while "events/s" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 130, said + rest
        assert time.monotonic() - asked < 15
        assert "Traceback" not in rest, rest
        assert list(open_folder.iterdir()) == []
    finally:
        process.kill()
        process.wait()


def test_demo_on_a_terminal_shows_a_table_and_stays_up_until_ctrl_c(open_folder: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TMPDIR": str(open_folder), "TERM": "xterm", "COLUMNS": "140"}
    process = subprocess.Popen(
        [sys.executable, "-m", "metering", "demo", "--seconds", "2"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        said = until(ours, "until Ctrl-C")
        assert "events/s" in said
        assert "accrued, USD" in said
        assert "Checked: the 6 usage lines" in said
        api = re.search(r"api +(http://127\.0\.0\.1:\d+)", said)
        key = re.search(r"Bearer (\S+)'", said)
        assert api
        assert key
        request = urllib.request.Request(f"{api[1]}/v1/customers/acme/balance")  # noqa: S310 - loopback
        request.add_header("Authorization", f"Bearer {key[1]}")
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
            assert json.loads(response.read())["currency"] == "USD"
        process.send_signal(signal.SIGINT)
        until(ours, "Stopping")
        assert process.wait(15) == 0
        assert list(open_folder.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def until(terminal: int, wanted: str) -> str:
    """Read what a terminal shows until a text has come; fails when the process ends before."""
    said = ""
    while wanted not in said:
        try:
            said += os.read(terminal, 65_536).decode(errors="replace")
        except OSError:
            pytest.fail(f"it ended before it said {wanted!r}:\n{said}")
    return said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--seconds", "0"), "above 0"), (("--sekonds", "3"), "sekonds"), (("--seconds", "x"), "x")],
    ids=["zero", "misspelt", "text"],
)
def test_demo_used_wrongly_says_so(arguments: tuple[str, ...], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "metering", "demo", *arguments], capture_output=True, text=True, timeout=SECONDS
    )
    assert ended.returncode == 2
    assert said in ended.stderr
