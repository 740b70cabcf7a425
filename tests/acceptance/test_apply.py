"""`metering apply` and `metering migrate`: what they print, change, and refuse."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from metering.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "metering" / "catalog" / "sample.yaml"


def metering(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that ends by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}
    return subprocess.run(
        [sys.executable, "-m", "metering", *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, env=kept | environment,
    )  # fmt: skip


def test_catalog_is_shown_by_a_dry_run_then_applied_once_then_unchanged(up: Callable[..., Any]) -> None:
    engine = up()
    settings = {"METERING_URL": engine.url, "METERING_KEY": engine.key}
    dry = metering("apply", str(SAMPLE), "--dry-run", **settings)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.splitlines() == [
        "meters added: input_tokens, output_tokens",
        "plans added: team (version 1)",
        "nothing was changed (--dry-run)",
    ]
    assert engine.call("GET", "/v1/plans")["items"] == []
    applied = metering("apply", str(SAMPLE), **settings)
    assert applied.stdout.splitlines() == dry.stdout.splitlines()[:-1]
    again = metering("apply", "-", stdin=SAMPLE.read_text(), **settings)
    assert again.stdout.splitlines() == [
        "meters unchanged: input_tokens, output_tokens",
        "plans unchanged: team (version 1)",
    ]


def test_wrong_catalog_is_refused_with_every_fault_and_its_place(up: Callable[..., Any], tmp_path: Path) -> None:
    engine = up()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SAMPLE.read_text().replace("up_to: null", "up_to: 7").replace("currency: USD", "currency: DOLLAR"))
    ended = metering("apply", str(wrong), METERING_URL=engine.url, METERING_KEY=engine.key)
    assert ended.returncode == 1
    assert "catalog_invalid" in ended.stderr
    assert re.search(r"^  \d+:\d+: plans\.team\.currency: 'DOLLAR' is no currency.*; write a code", ended.stderr, re.M)
    assert ended.stderr.count("up_to") >= 4
    assert "Traceback" not in ended.stderr


def test_apply_without_a_key_or_an_engine_says_the_way_out() -> None:
    keyless = metering("apply", str(SAMPLE))
    assert keyless.returncode == 2
    assert "METERING_KEY" in keyless.stderr
    away = metering("apply", str(SAMPLE), "--key", "k", "--url", "http://127.0.0.1:1")
    assert away.returncode == 1
    assert "metering up" in away.stderr
    nowhere = metering("apply", str(SAMPLE), "--key", "k", "--url", "localhost")
    assert nowhere.returncode == 2
    assert "http://127.0.0.1:8080" in nowhere.stderr


async def test_migrate_brings_an_empty_database_up_to_date_once(postgres_server: EmbeddedPostgres) -> None:
    name = f"migrate-{uuid.uuid4()}"
    connection = await asyncpg.connect(postgres_server.dsn_of("postgres"))
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    runs = [metering("migrate", "--postgres", postgres_server.dsn_of(name)) for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs
    assert "applied 0001_" in runs[0].stdout
    assert runs[1].stdout == "the database is up to date\n"


def test_migrate_without_a_database_says_the_way_out() -> None:
    ended = metering("migrate")
    assert ended.returncode == 2
    assert "METERING_POSTGRES" in ended.stderr
