"""What the acceptance tests share: a `metering up` in a process of its own, and calls to it over HTTP."""

# ruff: noqa: S310 - every address opened here is one that `metering up` on loopback printed

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

KEY = "a-key-for-the-acceptance-tests"
START_SECONDS = 60


class Up:
    """A running `metering up`: its address, its process, and what it printed."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self._environment = {"METERING_BOOTSTRAP_KEY": KEY, "METERING_PORT": "0", "METERING_METRICS_PORT": "0"}
        self._environment |= environment
        self.key = KEY
        self._outputs = 0
        self.start()

    def start(self) -> None:
        """Start it, on the same data if it ran before, and wait until it says that it is ready."""
        self._outputs += 1
        self.output = self.folder / f"output-{self._outputs}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metering", "up", "--data-dir", str(self.folder / "data"), *self._arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=kept | self._environment,
            )  # fmt: skip
        self.until(lambda: "Ready" in self.said(), START_SECONDS, "is ready")
        self.url = self._address("API")
        self.metrics_url = self._address("metrics")

    def said(self) -> str:
        """Everything that it printed since the last start."""
        return self.output.read_text(errors="replace")

    def until(self, holds: Callable[[], Any], seconds: float, what: str) -> Any:
        """Wait for something; its value. Fails with what was printed when time is up or the process has ended."""
        deadline = time.monotonic() + seconds
        while not (value := holds()):
            if self.process.poll() is not None:
                pytest.fail(f"metering up ended with {self.process.returncode} before it {what}:\n{self.said()}")
            if time.monotonic() > deadline:
                pytest.fail(f"metering up: not after {seconds:g} s: {what}\n{self.said()}")
            time.sleep(0.02)
        return value

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The JSON of an answer, whatever its status; None while nobody answers."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.key}")
        request.add_header("Content-Type", content_type)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read() or b"null")
        except OSError:
            return None

    def text(self, url: str, **headers: str) -> str:
        """The text at an address."""
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
            return str(response.read().decode())

    def kill(self) -> None:
        """A crash: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Ctrl-C; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def _address(self, name: str) -> str:
        return next(line.split()[1] for line in self.said().splitlines() if line.startswith(name))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that other accounts can pass through: as root, servers run under another one."""
    folder = Path(tempfile.mkdtemp(prefix="metering-acceptance-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def up(open_folder: Path) -> Iterator[Callable[..., Up]]:
    """Starts `metering up` with arguments and settings; all are stopped at the end."""
    started: list[Up] = []

    def start(*arguments: str, **environment: str) -> Up:
        folder = open_folder / f"up-{len(started)}"
        folder.mkdir()
        one = Up(folder, *arguments, **environment)
        started.append(one)
        return one

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(30)
