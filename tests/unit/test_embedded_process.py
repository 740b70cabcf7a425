"""The guard: a server stops when it is told to, when its starter dies, and never otherwise."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metering.embedded import EmbeddedError
from metering.embedded.process import GUARD, GuardedProcess, free_port, port_is_free

DEAF = "trap '' INT TERM; echo deaf; while :; do sleep 0.05; done"
STARTER = """
import sys, threading
from pathlib import Path
from metering.embedded.process import GuardedProcess
process = GuardedProcess(["sleep", "600"], log=Path(sys.argv[1]), remove=Path(sys.argv[2]))
print(process.pid, flush=True)
threading.Event().wait()
"""


def lives(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until `done`; fail after `seconds`."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.01)


def test_server_runs_until_it_is_stopped_in_its_own_way(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    log = tmp_path / "log"
    process = GuardedProcess(["sh", "-c", script], log=log, stop_signal=signal.SIGTERM)
    wait_until(lambda: log.read_text() == "up\n")
    assert not process.exited(0)
    process.stop()
    assert log.read_text() == "up\nbye\n"
    assert not lives(process.pid)
    process.stop()


def test_server_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = GuardedProcess(["sh", "-c", DEAF], log=log, stop_seconds=0)
    wait_until(lambda: log.read_text() == "deaf\n")
    process.stop()
    assert not lives(process.pid)


def test_server_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    process = GuardedProcess(["sh", "-c", "echo no >&2; exit 3"], log=tmp_path / "log")
    assert process.exited(30)
    assert (tmp_path / "log").read_text() == "no\n"
    process.stop()


def test_killed_server_is_noticed_and_its_folder_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    process = GuardedProcess(["sleep", "600"], log=tmp_path / "log", remove=kept)
    process.kill()
    assert process.exited(0)
    assert kept.exists()
    process.kill()


def test_stopped_server_takes_its_folder_along(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    GuardedProcess(["sleep", "600"], log=tmp_path / "log", remove=gone).stop()
    assert not gone.exists()


def test_killed_starter_takes_server_and_folder_along(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    arguments = [sys.executable, "-c", STARTER, str(tmp_path / "log"), str(gone)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert lives(pid)
        starter.kill()
    wait_until(lambda: not lives(pid) and not gone.exists())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["int", "term", "hup"])
def test_guard_is_deaf_to_signals_but_the_server_is_not(number: signal.Signals, tmp_path: Path) -> None:
    process = GuardedProcess(["sleep", "600"], log=tmp_path / "log")
    os.kill(process._guard.pid, number)
    assert not process.exited(0.1)
    os.kill(process.pid, number)
    assert process.exited(30)
    process.stop()


def test_program_that_is_absent_is_an_error_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"no-such-program could not be executed: .*No such file"):
        GuardedProcess(["/no-such-program"], log=tmp_path / "log")


def test_descriptor_to_keep_is_inherited_and_no_other(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock, (tmp_path / "other").open("w") as other:
        os.set_inheritable(other.fileno(), True)
        listing = ["sh", "-c", "ls /proc/self/fd -l; echo done"]
        process = GuardedProcess(listing, log=tmp_path / "log", keep_fds=[lock.fileno()])
        assert process.exited(30)
        process.stop()
    said = (tmp_path / "log").read_text()
    assert str(tmp_path / "lock") in said
    assert str(tmp_path / "other") not in said


def test_guard_needs_nothing_but_the_standard_library() -> None:
    imported = [line.split()[1] for line in GUARD.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert imported
    assert set(imported) <= sys.stdlib_module_names


def test_free_port_can_be_listened_on() -> None:
    assert port_is_free(free_port())
