"""Real input: two public traces of an LLM service, imported, metered, rated and invoiced to the token and the cent.

The traces lie in the data folder beside the project; without it these tests are skipped.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
FILES = {name: DATA / f"AzureLLMInferenceTrace_{name}.csv" for name in ("code", "conv")}
PRICES = {"context": "3.00", "generated": "15.00"}
EXPECTED: dict[str, dict[str, tuple[str, str]]] = {
    "code": {"requests": ("8819", "0.00"), "context": ("18059974", "54.18"), "generated": ("245896", "3.69")},
    "conv": {"requests": ("19366", "0.00"), "context": ("22361870", "67.09"), "generated": ("4088665", "61.33")},
}
EVENTS = 28_185
IMPORT_SECONDS = 120

pytestmark = pytest.mark.skipif(
    not all(file.is_file() for file in FILES.values()), reason="the data folder beside the project is not there"
)


def catalog() -> dict[str, Any]:
    """One meter and one charge per kind of token, priced for a million; requests are counted and cost nothing."""
    return {
        "meters": {"requests": {"event_type": "llm.request", "aggregation": "count"}}
        | {
            f"{kind}_tokens": {"event_type": "llm.request", "aggregation": "sum", "value": f"data.{kind}_tokens"}
            for kind in PRICES
        },
        "plans": {
            "usage": {
                "currency": "USD",
                "period": "month",
                "align": "calendar",
                "charges": {"requests": {"meter": "requests", "price": {"model": "per_unit", "unit": "0"}}}
                | {
                    kind: {
                        "meter": f"{kind}_tokens",
                        "price": {"model": "per_unit", "unit": unit, "per": "1000000"},
                    }
                    for kind, unit in PRICES.items()
                },
            }
        },
    }


def begin(engine: Any) -> None:
    """Two customers on one plan from November 16 on; then it is the 17th."""
    assert "meters" in engine.call("POST", "/v1/catalog", catalog())
    for name in FILES:
        engine.call("PUT", f"/v1/customers/{name}", {"currency": "USD"})
        engine.call("POST", "/v1/subscriptions", {"id": f"s-{name}", "customer": name, "plan": "usage"})
    engine.call("POST", "/v1/clock", {"now": "2023-11-17T00:00:00Z"})


def importing(engine: Any, name: str, *more: str) -> "subprocess.Popen[bytes]":
    """Start `metering import` of one file: one row, one event; its id is the file's name and the row's number."""
    mapping = {
        "subject": f"={name}", "type": "=llm.request", "source": "=traces", "time": "TIMESTAMP",
        "data.context_tokens": "ContextTokens", "data.generated_tokens": "GeneratedTokens",
    }  # fmt: skip
    flags = [part for field, column in mapping.items() for part in ("--map", f"{field}={column}")]
    flags += ["--url", engine.url, "--key", engine.key]
    return subprocess.Popen(
        [sys.executable, "-m", "metering", "import", str(FILES[name]), *flags, *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def import_all(engine: Any, *more: str) -> None:
    for name in FILES:
        process = importing(engine, name, *more)
        said, _ = process.communicate(timeout=IMPORT_SECONDS)
        assert process.returncode == 0, said.decode()


def counts(engine: Any) -> dict[str, int]:
    """Events committed by outcome, as /metrics tells for this run of the process."""
    found = {}
    for line in engine.text(engine.metrics_url).splitlines():
        if line.startswith("metering_stream_events_total{"):
            found[line.split('"')[1]] = int(line.rsplit(" ", 1)[1].split(".")[0])
    return {code: events for code, events in found.items() if events}


def quantities(engine: Any) -> dict[tuple[str, str], str]:
    """The accrued tokens by customer and charge."""
    return {
        (name, charge["charge"]): charge["quantity"]
        for name in FILES
        for charge in (engine.call("GET", f"/v1/customers/{name}/balance") or {}).get("charges", [])
    }


def all_counted(engine: Any) -> bool:
    wanted = {(name, charge): line[0] for name, lines in EXPECTED.items() for charge, line in lines.items()}
    return quantities(engine) == wanted


def final_invoices(engine: Any) -> dict[str, Any]:
    """The final invoice of each customer, None while there is none."""
    found = {}
    for name in FILES:
        items = engine.call("GET", f"/v1/invoices?customer={name}")["items"]
        if [one["status"] for one in items] != ["final"]:
            return {}
        found[name] = engine.call("GET", f"/v1/invoices/{items[0]['id']}")
    return found


def check_invoices(engine: Any) -> dict[str, Any]:
    engine.call("POST", "/v1/clock", {"now": "2023-12-01T01:00:01Z"})
    invoices: dict[str, Any] = engine.until(lambda: final_invoices(engine), 30, "made both invoices final")
    for name, invoice in invoices.items():
        lines = {line["charge"]: (line["quantity"], line["amount"]) for line in invoice["lines"]}
        assert lines == EXPECTED[name]
    assert sorted(invoice["number"] for invoice in invoices.values()) == [1, 2]
    return invoices


def test_traces_imported_twice_give_the_exact_invoices(up: Callable[..., Any]) -> None:
    engine = up("--clock", "2023-11-16T00:00:00Z")
    begin(engine)
    import_all(engine)
    engine.until(lambda: counts(engine).get("accepted", 0) == EVENTS, 60, "committed every event")
    assert all_counted(engine)
    import_all(engine)
    engine.until(lambda: counts(engine).get("duplicate", 0) == EVENTS, 60, "dropped every copy")
    assert counts(engine) == {"accepted": EVENTS, "duplicate": EVENTS}
    assert all_counted(engine)
    invoices = check_invoices(engine)
    import_all(engine)
    assert final_invoices(engine) == invoices


def test_traces_with_a_kill_halfway_give_the_same_invoices(up: Callable[..., Any]) -> None:
    engine = up("--clock", "2023-11-16T00:00:00Z")
    begin(engine)
    running = importing(engine, "conv")
    engine.until(lambda: sum(counts(engine).values()) > EVENTS // 5, 60, "committed a part")
    engine.kill()
    running.kill()
    running.communicate()
    restarted = time.monotonic()
    engine._arguments = ("--clock", "2023-11-17T00:00:00Z")
    engine.start()
    assert time.monotonic() - restarted < 60
    assert not all_counted(engine)
    import_all(engine)
    engine.until(lambda: all_counted(engine), 60, "counted every token")
    check_invoices(engine)


def test_traces_imported_years_later_with_a_raised_window_are_counted_once(up: Callable[..., Any]) -> None:
    engine = up()  # by the machine's clock
    engine.call("POST", "/v1/catalog", catalog())
    for events in ({"accepted": EVENTS}, {"accepted": EVENTS, "duplicate": EVENTS}):
        import_all(engine, "--late-window", "90y")
        engine.until(lambda events=events: counts(engine) == events, 60, f"came to {events}")
    for name in FILES:
        for kind in PRICES:
            span = f"meter={kind}_tokens&from=2023-11-16T00:00:00Z&to=2023-11-17T00:00:00Z"
            (found,) = engine.call("GET", f"/v1/customers/{name}/usage?{span}")["items"]
            assert found["quantity"] == EXPECTED[name][kind][0]
            assert str(found["events"]) == EXPECTED[name]["requests"][0]
