"""The reference pages are complete and hold nothing that is no more: each list of the code has its table there."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import Counter

from metering import config, errors
from metering.api.app import make_app
from metering.api.keys import Keys
from metering.api.probes import make_probes
from metering.clock import SettableClock
from metering.observe import metrics
from metering.parts import Parts
from metering.testing.broker import MemoryLog
from schemas.http import Code
from schemas.instants import Instant
from schemas.outcome import Outcome, Refusal

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def rows(page: str) -> dict[str, str]:
    """The tables of a page: the code in the first column -> the rest of the row."""
    found: dict[str, str] = {}
    for line in (REFERENCE / page).read_text().splitlines():
        match = re.match(r"\| `([^`]+)` \|(.+)\|$", line)
        if match:
            assert match[1] not in found, f"{page} has two rows for `{match[1]}`"
            found[match[1]] = match[2].strip()
    return found


def compare(page: str, wanted: set[str]) -> None:
    found = rows(page)
    assert not wanted - found.keys(), f"{page} has no row for {sorted(wanted - found.keys())}"
    assert not found.keys() - wanted, f"{page} describes what is not there: {sorted(found.keys() - wanted)}"
    empty = [code for code, text in found.items() if len(text.split()) < 3]
    assert not empty, f"{page} says nothing about {empty}"


def metric_names() -> set[str]:
    """The names as they are exposed: a counter ends in `_total`."""
    found = set()
    for value in vars(metrics).values():
        if hasattr(value, "describe") and hasattr(value, "_name"):
            found.add(f"{value._name}_total" if isinstance(value, Counter) else value._name)
    return found


def routes() -> set[str]:
    """Every route of both ports, with a settable clock."""
    clock, nothing = SettableClock(Instant(0)), cast(Any, None)
    parts = Parts(config.Settings(), clock, nothing, MemoryLog(clock))
    apps = [make_app(Keys(nothing, clock), *parts.routes(Keys(nothing, clock))), make_probes(parts.checks())]
    return {
        f"{route.method} {route.resource.canonical}"
        for app in apps
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


@pytest.mark.parametrize(
    ("page", "enums"),
    [("outcomes.md", (Outcome, Refusal)), ("problems.md", (Code,))],
    ids=["outcomes", "problems"],
)
def test_every_code_has_a_row(page: str, enums: tuple[type[StrEnum], ...]) -> None:
    compare(page, {str(code) for enum in enums for code in enum})


def test_every_metric_has_a_row() -> None:
    names = metric_names()
    assert len(names) > 10
    compare("metrics.md", names)


def test_every_metric_is_used() -> None:
    names = [name for name, value in vars(metrics).items() if hasattr(value, "describe") and hasattr(value, "_name")]
    text = "\n".join(path.read_text() for path in (ROOT / "metering").rglob("*.py") if path.name != "metrics.py")
    unused = [name for name in names if not re.search(rf"\b{name}\b", text)]
    assert not unused, f"metrics that nothing sets: {unused}"


def test_every_setting_has_a_row_with_its_default() -> None:
    compare("settings.md", {setting.name for setting in config.SETTINGS} | config.OTHERS.keys())
    found = rows("settings.md")
    for setting in config.SETTINGS:
        default = config.default_text(setting)
        assert not default or default in found[setting.name], f"settings.md: {setting.name} is by default {default}"


def test_every_route_has_a_row() -> None:
    compare("http.md", routes())


def test_every_error_is_in_the_runbook() -> None:
    text = (ROOT / "docs" / "howto" / "operate.md").read_text()
    names = [name for name, value in vars(errors).items() if isinstance(value, type) and name != "MeteringError"]
    missing = [name for name in names if f"`{name}`" not in text]
    assert names
    assert not missing, f"docs/howto/operate.md says nothing of {missing}"


def test_headings_that_messages_name_are_in_the_runbook() -> None:
    text = (ROOT / "docs" / "howto" / "operate.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "metering").rglob("*.py"))
    named = set(re.findall(r"operate\.md, '([^']+)'", sources))
    assert named
    assert not [heading for heading in named if f"## {heading}\n" not in text]


def test_every_command_has_a_row() -> None:
    from metering.__main__ import app

    names = {f"metering {name}" for name in app if not name.startswith("-")}
    compare("cli.md", names)
