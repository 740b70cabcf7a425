"""The examples of docs/examples: those that can run are run against the gateway, the others are read."""

import ast
import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from metering.client import Metering
from metering.testing.service import Service

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
HOWTO = EXAMPLES.parent / "howto" / "send_events.md"
ON_PATH = {"curl": shutil.which("curl"), "node": shutil.which("node")}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service that listens."""
    made = Service()
    await made.start()
    yield made
    await made.stop()


async def run(service: Service, tmp_path: Path, *command: str) -> str:
    """Run an example to its good end; what it printed."""
    environment = os.environ | {
        "METERING_URL": service.url,
        "METERING_KEY": "ingest",
        "METERING_SPOOL": str(tmp_path / "spool"),
    }
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def load(name: str, monkeypatch: pytest.MonkeyPatch, url: str) -> ModuleType:
    """An example as a module."""
    monkeypatch.setenv("METERING_URL", url)
    monkeypatch.setenv("METERING_KEY", "ingest")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_asyncio_example_is_counted(service: Service, tmp_path: Path) -> None:
    said = await run(service, tmp_path, sys.executable, str(EXAMPLES / "send_asyncio.py"))
    stored = await service.events()
    assert sorted(event["type"] for event in stored.values()) == ["llm.call", "order.paid", "report.made"]
    assert stored["order-71"]["data"] == {"amount": "19.9"}
    assert said.count(" queued ") == 4


async def test_plain_example_is_counted(service: Service, tmp_path: Path) -> None:
    said = await run(service, tmp_path, sys.executable, str(EXAMPLES / "send_plain.py"))
    assert said.startswith("all there")
    data = {event["type"]: event["data"] for event in (await service.events()).values()}
    assert data == {"image.resized": {"pixels": 307_200}, "script.run": {"lines": 12}}


@pytest.mark.skipif(ON_PATH["curl"] is None, reason="curl is not on the PATH")
async def test_curl_example_is_counted(service: Service, tmp_path: Path) -> None:
    said = await run(service, tmp_path, str(EXAMPLES / "send.sh"))
    assert sorted(await service.events()) == [f"curl-{number}" for number in range(1, 6)]
    assert said.count('"queued"') == 5


@pytest.mark.skipif(ON_PATH["node"] is None, reason="node is not on the PATH")
async def test_javascript_example_is_counted_through_a_bad_moment(service: Service, tmp_path: Path) -> None:
    service.log.away = True

    async def heal(_: Any) -> None:
        service.log.away = service.requests < 2

    service.before = heal
    said = await run(service, tmp_path, "node", str(EXAMPLES / "send.mjs"))
    assert service.requests == 2
    stored = await service.events()
    assert stored["order-72"]["data"] == {"amount": "19.90"}
    assert len(stored) == 2
    assert said.count(" queued ") == 2


async def test_aiohttp_example_meters_its_requests(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load("meter_aiohttp", monkeypatch, service.url).make_app(Metering(service.url, "ingest", source="hello"))
    async with TestClient(TestServer(app)) as client:
        for headers in ({"Account": "acme"}, {}):
            async with client.get("/hello", headers=headers) as response:
                assert response.status == 200
    (event,) = (await service.events()).values()
    assert (event["subject"], event["data"]["ok"]) == ("acme", True)


async def test_asgi_example_meters_its_requests(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load("meter_asgi", monkeypatch, service.url).app
    sent: list[Any] = []
    news: asyncio.Queue[Any] = asyncio.Queue()

    async def send(message: Any) -> None:
        sent.append(message["type"])

    life = asyncio.create_task(app({"type": "lifespan"}, news.get, send))
    await news.put({"type": "lifespan.startup"})
    for headers in ([(b"account", b"acme")], []):
        await app({"type": "http", "method": "GET", "headers": headers}, news.get, send)
    await news.put({"type": "lifespan.shutdown"})
    await life
    assert sent[-1] == "lifespan.shutdown.complete"
    (event,) = (await service.events()).values()
    assert (event["subject"], event["data"]["status"]) == ("acme", 200)


@pytest.mark.parametrize("name", ["otel-collector.yaml", "redpanda-connect.yaml"], ids=["collector", "connect"])
def test_pipeline_says_that_only_its_syntax_is_checked(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert "CHECKED FOR SYNTAX ONLY" in text
    assert isinstance(yaml.safe_load(text), dict)


def test_every_component_of_the_collector_is_defined_and_used() -> None:
    tree = yaml.safe_load((EXAMPLES / "otel-collector.yaml").read_text())
    used = {
        "extensions": set(tree["service"]["extensions"]),
        "receivers": set(),
        "processors": set(),
        "exporters": set(),
    }
    for pipeline in tree["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            used[kind] |= set(names)
    assert {kind: set(tree[kind]) for kind in used} == used
    assert tree["exporters"]["kafka"]["logs"] == {"topic": "usage.events", "encoding": "raw"}


def test_pipeline_of_connect_posts_a_list_to_the_gateway() -> None:
    tree = yaml.safe_load((EXAMPLES / "redpanda-connect.yaml").read_text())
    client = tree["output"]["http_client"]
    assert client["url"].endswith("/v1/events")
    assert client["headers"]["Content-Type"] == "application/cloudevents-batch+json"
    assert client["batching"]["processors"] == [{"archive": {"format": "json_array"}}]
    assert client["batching"]["count"] <= 20_000
    mapping = tree["pipeline"]["processors"][0]["mapping"]
    assert all(f"root.{name} = " in mapping for name in ("specversion", "id", "source", "type", "subject", "time"))


def test_howto_names_every_example_and_its_python_reads() -> None:
    text = HOWTO.read_text()
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        path.name for path in EXAMPLES.iterdir() if f"../examples/{path.name}" in text
    }
    for block in text.split("```python\n")[1:]:
        ast.parse("async def example():\n" + "".join(f"    {line}\n" for line in block.split("```")[0].splitlines()))


def test_settings_of_the_howto_are_those_of_the_client() -> None:
    import inspect

    parameters = inspect.signature(Metering.__init__).parameters
    rows = [line.split("`")[1] for line in HOWTO.read_text().splitlines() if line.startswith("| `")]
    assert set(rows) == set(parameters) - {"self", "to", "key", "clock"}
    with pytest.raises(TypeError):
        Metering("https://metering.example", "k", retries=3)  # type: ignore[call-arg]
