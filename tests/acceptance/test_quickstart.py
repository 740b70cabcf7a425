"""The README's number: its very lines are run, at free ports, and must give it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from metering.embedded.process import free_port

ROOT = Path(__file__).parents[2]
PORTS = {"METERING_PORT": "8080", "METERING_METRICS_PORT": "8081"}
SECONDS = 120


def quickstart() -> str:
    """The README's only block of shell lines."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash")
def test_lines_of_the_readme_give_its_number(open_folder: Path) -> None:
    lines = quickstart()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}
    environment["TMPDIR"] = str(open_folder)
    for setting, port in PORTS.items():
        assert f"127.0.0.1:{port}" in lines
        environment[setting] = str(free_port())
        lines = lines.replace(f"127.0.0.1:{port}", f"127.0.0.1:{environment[setting]}")
    environment["METERING_URL"] = f"http://127.0.0.1:{environment['METERING_PORT']}"
    script = f"set -eu\ncd {ROOT}\n{lines}\nwait\n"
    ended = subprocess.run(
        ["bash", "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    said = f"{ended.stdout}\n{ended.stderr}"
    assert ended.returncode == 0, said
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    outcomes = [one["outcomes"][0]["outcome"] for one in answers if "outcomes" in one]
    assert outcomes == ["queued", "queued"], said
    balance = next(one for one in answers if "accrued" in one)
    assert balance["accrued"] == "0.025", said
    assert [charge["quantity"] for charge in balance["charges"]] == ["1500"], said
    invoice = answers[-1]["items"][0]
    assert (invoice["total"], invoice["status"], invoice["number"]) == ("0.03", "final", 1), said
    assert "**0.03**" in (ROOT / "README.md").read_text()
