"""A server process that cannot outlive us, and the life that all embedded servers share."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from metering.embedded.account import Account
from metering.embedded.errors import EmbeddedError

GUARD = Path(__file__).with_name("guard.py")


class GuardedProcess:
    """A server started through the guard (`guard.py`): it stops when we stop it, and when we die.

    All methods block; the servers built on it call them from a thread. Plain pipes and files are used on purpose:
    uvloop's own pipe transports can close a foreign descriptor when cancelled.

    Attributes: `pid` of the server itself.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGINT,
        stop_seconds: int = 30,
        remove: Path | None = None,
        keep_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start `argv`.

        log: the server's output is appended to this file. account: None is ourselves. stop_seconds: after this long
        it is killed. remove: a folder to delete once it has stopped, even if we were killed. keep_fds: descriptors
        that the server inherits. env: its whole environment; default a bare one.

        Errors: `EmbeddedError` when the program cannot be executed.
        """
        order: dict[str, object] = {
            "argv": [str(part) for part in argv],
            "stop_signal": int(stop_signal),
            "stop_seconds": stop_seconds,
            "keep_fds": list(keep_fds),
        }
        if account is not None:
            order |= {"uid": account.uid, "gid": account.gid}
        if remove is not None:
            order["remove"] = str(remove)
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} if env is None else env,
                pass_fds=keep_fds,
                start_new_session=True,  # A Ctrl-C in the terminal is for us; we stop the server when we are done.
            )
        self._stop_seconds = stop_seconds
        assert self._guard.stdout is not None
        with self._guard.stdout as stdout:
            word, _, rest = stdout.readline().decode().partition(" ")
        if word != "started":
            self.stop()
            raise EmbeddedError(f"{argv[0]} could not be executed: {rest.strip() or 'no reason given'}")
        self.pid = int(rest)

    def exited(self, wait_seconds: float) -> bool:
        """Wait up to `wait_seconds` for the server's end; tell whether it has ended."""
        try:
            self._guard.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Stop the server in its own orderly way and wait until it is gone."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(self._stop_seconds + 30)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would, and wait until it is gone."""
        if not self.exited(0):
            os.kill(self.pid, signal.SIGKILL)
        self._guard.wait(30)
        self.stop()


class EmbeddedServer(ABC):
    """A server of our own: `async with` it, or `with` it where no event loop runs.

    `start` and `stop` do the blocking `open` and `close` in a thread. `kill` is a crash: the data stay, and `open`
    or `start` brings the server back on them, at the same address. Calls from several threads are put in order.
    """

    def __init__(self) -> None:
        """Remember nothing yet: subclasses take their settings, `open` does the work."""
        self._process: GuardedProcess | None = None
        self._order = threading.Lock()

    @abstractmethod
    def _open(self) -> GuardedProcess:
        """Start the server, wait until it answers, return its process; leave nothing behind on an error."""

    def _close(self) -> None:  # noqa: B027 - most servers leave nothing behind
        """Give back what `_open` took, after the process has stopped; must bear being called twice."""

    def open(self) -> Self:
        """Start the server and wait until it answers; nothing is done if it runs already.

        Errors: `EmbeddedError`.
        """
        with self._order:
            if self._process is not None and self._process.exited(0):
                self._process.stop()
                self._process = None
            if self._process is None:
                self._process = self._open()
        return self

    def close(self) -> None:
        """Stop the server; nothing is done if it does not run."""
        with self._order:
            if self._process is not None:
                self._process.stop()
                self._process = None
            self._close()

    def kill(self) -> None:
        """Kill the server with SIGKILL; its data stay for the next `open`."""
        with self._order:
            if self._process is not None:
                self._process.kill()
                self._process = None

    @property
    def pid(self) -> int:
        """Process id of the running server. Errors: `EmbeddedError` when it does not run."""
        process = self._process
        if process is None:
            raise EmbeddedError(f"{type(self).__name__} is not running: start it first")
        return process.pid

    async def start(self) -> Self:
        """Do `open` without blocking the event loop; cancelled, it leaves no server behind."""
        try:
            return await asyncio.to_thread(self.open)
        except BaseException:
            # A cancelled start goes on in its thread: `close` waits for it, then undoes it.
            await asyncio.to_thread(self.close)
            raise

    async def stop(self) -> None:
        """Do `close` without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()


def free_port() -> int:
    """Return a TCP port that nobody listens on at 127.0.0.1; another may take it before you do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Tell whether 127.0.0.1:`port` can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def remove_folder(folder: Path) -> None:
    """Delete a temporary folder, however much of it there is."""
    shutil.rmtree(folder, ignore_errors=True)
