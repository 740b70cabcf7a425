"""`metering import` against a gateway: mapping, retries, running it again, faults, exit statuses."""

import asyncio
import csv
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from metering.__main__ import run
from metering.api.scopes import SCOPES
from metering.clock import SettableClock
from metering.ingest.http import Gateway, routes
from metering.testing.broker import MemoryLog
from schemas.instants import Instant

DATA = Path(__file__).parents[3] / "shared" / "data"
TRACE = DATA / "AzureLLMInferenceTrace_code.csv"
MAP = ("--map", "type==call", "--map", "subject=Customer", "--map", "time=When", "--map", "data.v=V")


class Target:
    """A gateway that listens; `refuse` makes the next requests fail with these statuses."""

    def __init__(self, log: MemoryLog, url: str, refuse: list[int]) -> None:
        self.log = log
        self.url = url
        self.refuse = refuse

    async def imported(self, *arguments: str) -> int:
        """Run the command; its exit status."""
        flags = ["import", *arguments, "--url", self.url, "--key", "k"]
        return await asyncio.to_thread(run, flags)

    async def events(self) -> list[dict[str, Any]]:
        """What has arrived."""
        found: list[dict[str, Any]] = []
        for partition, end in (await self.log.ends()).items():
            for record in await self.log.read(partition, 0, end):
                assert record.payload is not None
                payload = json.loads(record.payload)
                found += payload if isinstance(payload, list) else [payload]
        return found


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """A gateway under a settable clock, whose keys may do all."""
    clock = SettableClock(Instant.parse("2023-11-17T00:00:00Z"))
    log = MemoryLog(clock)
    gateway = Gateway(log, clock)
    refuse: list[int] = []

    @web.middleware
    async def hostile(request: web.Request, handler: Any) -> web.StreamResponse:
        request[SCOPES] = frozenset({"admin"})
        if refuse:
            return web.json_response({"detail": "not now"}, status=refuse.pop())
        response: web.StreamResponse = await handler(request)
        return response

    app = web.Application(middlewares=[hostile], client_max_size=64 << 20)
    app.add_routes(routes(gateway))
    async with TestServer(app) as server:
        yield Target(log, str(server.make_url("")), refuse)
        await gateway.close()


def usage(folder: Path, rows: int, name: str = "usage.csv") -> Path:
    """A CSV of three customers, one an emoji."""
    file = folder / name
    lines = [f"{('a', 'b', '🦊')[n % 3]},2023-11-16 10:00:{n % 60:02},{n}.10" for n in range(rows)]
    file.write_text("\n".join(["Customer,When,V", *lines, ""]), encoding="utf-8")
    return file


async def test_rows_arrive_once_each_and_again_under_the_same_ids(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = usage(tmp_path, 2_500)
    assert await target.imported(str(file), *MAP, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["queued"] == summary["rows"] == 2_500
    assert summary["refused"] == {}
    first = await target.events()
    assert sorted(int(event["id"].split(":")[1]) for event in first) == list(range(1, 2_501))
    assert {event["subject"] for event in first} == {"a", "b", "🦊"}
    assert next(event for event in first if event["id"] == "usage.csv:1")["data"] == {"v": "0.10"}
    assert await target.imported(str(file), *MAP) == 0
    assert Counter(json.dumps(event) for event in await target.events()) == Counter(
        json.dumps(event) for event in [*first, *first]
    )


def started(flags: list[str]) -> "subprocess.Popen[bytes]":
    """The command in a process of its own."""
    command = [sys.executable, "-m", "metering", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def test_import_that_is_broken_off_says_so_and_is_completed_by_the_next(target: Target, tmp_path: Path) -> None:
    file = usage(tmp_path, 100_000)
    flags = ["import", str(file), *MAP, "--url", target.url, "--key", "k", "--json"]
    with started(flags) as process:
        async with asyncio.timeout(30):
            while sum((await target.log.ends()).values()) < 10:
                target.log.appended.clear()
                await target.log.appended.wait()
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(process.communicate)
    assert process.returncode == 130
    assert b"broken off" in err
    assert b"Traceback" not in err
    assert 0 < json.loads(out)["queued"] < 100_000
    assert await target.imported(str(file), *MAP) == 0
    assert {event["id"] for event in await target.events()} == {f"usage.csv:{n}" for n in range(1, 100_001)}


@pytest.mark.parametrize("status", [429, 503])
async def test_gateway_that_is_busy_is_asked_again(target: Target, tmp_path: Path, status: int) -> None:
    target.refuse += [status, status]
    assert await target.imported(str(usage(tmp_path, 10)), *MAP) == 0
    assert len(await target.events()) == 10


async def test_key_that_may_not_ends_the_import_at_once(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.refuse += [403] * 5
    assert await target.imported(str(usage(tmp_path, 10)), *MAP) == 1
    assert len(target.refuse) == 4
    assert "403: not now" in capsys.readouterr().err


async def test_old_rows_need_a_raised_window(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.csv"
    file.write_text("Customer,When,V\na,2020-01-01 00:00:00,1\n")
    assert await target.imported(str(file), *MAP, "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["refused"] == {"time_too_old": 1}
    assert "old.csv:1: time_too_old" in shown.err
    assert await target.imported(str(file), *MAP, "--late-window", "4y") == 0
    assert len(await target.events()) == 1


async def test_bad_rows_are_told_and_the_others_arrive(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "usage.csv"
    file.write_text(
        'Customer,When,V\na,2023-11-16 10:00:00,1\na,noon,2\n"b\nb",2023-11-16 10:00:00,3\nc\na,2023-11-16,4,\n'
    )
    assert await target.imported(str(file), *MAP) == 1
    shown = capsys.readouterr()
    assert "usage.csv, row 2: time" in shown.err
    assert "usage.csv:3: event_invalid" in shown.err
    for cut_or_shifted in (4, 5):
        assert f"usage.csv, row {cut_or_shifted}: it has not as many cells" in shown.err
    assert [event["id"] for event in await target.events()] == ["usage.csv:1"]


async def test_lines_that_are_events_are_sent_as_they_are(target: Target, tmp_path: Path) -> None:
    file = tmp_path / "usage.jsonl"
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": "c"}
    file.write_text(json.dumps(event) + "\n\n" + json.dumps(event | {"id": "2"}))
    assert await target.imported(str(file)) == 0
    assert [sent["id"] for sent in await target.events()] == ["1", "2"]


async def test_dry_run_shows_events_and_sends_nothing(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await target.imported(str(usage(tmp_path, 10)), *MAP, "--dry-run") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[0])["id"] == "usage.csv:1"
    assert "nothing was sent" in shown.err
    assert await target.events() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.csv"], "is no file"),
        (["usage.txt"], "name it .csv"),
        (["usage.csv"], "needs a type"),
        (["usage.csv", "--map", "type==t"], "needs a subject"),
        (["usage.csv", "--map", "type==t", "--subject", "c", "--map", "time=Wen"], "did you mean 'When'"),
        (["usage.csv", *MAP, "--late-window", "4 years"], "--late-window"),
        (["usage.csv", *MAP, "--zone", "Nowhere"], "no time zone"),
        (["usage.csv", "more/usage.csv", *MAP], "same ids"),
        ([], "at least one file"),
    ],
    ids=["absent", "suffix", "type", "subject", "column", "window", "zone", "twice", "none"],
)
async def test_wrong_use_is_told_and_nothing_is_sent(
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    usage(tmp_path, 3)
    (tmp_path / "usage.txt").write_text("x")
    (tmp_path / "more").mkdir()
    usage(tmp_path / "more", 3)
    monkeypatch.chdir(tmp_path)
    assert await target.imported(*arguments) == 2
    assert said in capsys.readouterr().err
    assert await target.events() == []


@pytest.mark.skipif(not TRACE.is_file(), reason="the data folder beside the project is not there")
async def test_trace_of_real_requests_arrives_to_the_token(target: Target) -> None:
    flags = ["--subject", "code", "--map", "type==llm.request", "--map", "time=TIMESTAMP"]
    for field, column in (("context", "ContextTokens"), ("generated", "GeneratedTokens")):
        flags += ["--map", f"data.{field}_tokens={column}"]
    assert await target.imported(str(TRACE), *flags) == 0
    events = await target.events()
    assert len(events) == 8_819
    assert sum(int(event["data"]["context_tokens"]) for event in events) == 18_059_974
    assert sum(int(event["data"]["generated_tokens"]) for event in events) == 245_896
    with TRACE.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert {event["id"] for event in events} == {f"{TRACE.name}:{n}" for n in range(1, len(rows) + 1)}
