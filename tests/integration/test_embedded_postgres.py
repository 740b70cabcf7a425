"""The embedded Postgres: starts, stops, survives crashes, refuses to be shared, says what is wrong."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from metering.embedded import EmbeddedError, EmbeddedPostgres
from metering.embedded.account import server_account
from metering.embedded.cluster import SOCKET_FOLDER_LENGTH_MAX

# Starts a server on the folder of its argument, says its process id, and waits to be killed.
OWNER = """
import sys, threading
from pathlib import Path
from metering.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]) if len(sys.argv) > 1 else None, durable=False).open()
print(server.pid, server.folder, flush=True)
threading.Event().wait()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that does not exist yet, below a short path that the server's account can pass through."""
    with tempfile.TemporaryDirectory(prefix="metering-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made) / "data"


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A running server on `folder`."""
    async with EmbeddedPostgres(folder, durable=False) as started:
        yield started


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with us."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


async def fetch(server: EmbeddedPostgres, sql: str) -> object:
    """The single value that a statement returns."""
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def wait_until(done: object, seconds: float = 30) -> None:
    """Wait until the function `done` says so; fail after `seconds`."""
    assert callable(done)
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.02)


def lives(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def owner_of(path: Path) -> int:
    """The user id that a file belongs to."""
    return path.stat().st_uid


def account_of(pid: int) -> int:
    """The user id that a process runs under."""
    return owner_of(Path(f"/proc/{pid}"))


def parent_of(pid: int) -> int:
    """The process id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def own(*arguments: str) -> tuple["subprocess.Popen[str]", int, Path]:
    """Start another process that owns a server; return it, the server's process id and folder."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *arguments], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout as said:
        pid, _, folder = said.readline().strip().partition(" ")
    return owner, int(pid), Path(folder)


async def test_started_server_has_the_promised_settings(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.dsn)
    names = ["server_encoding", "timezone", "listen_addresses", "synchronous_commit", "full_page_writes", "fsync"]
    actual = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    assert actual == ["UTF8", "UTC", "", "on", "off", "off"]
    assert await connection.fetchval("SELECT upper('é'), 1") == "É"
    assert await connection.fetchval("SELECT array_agg(x ORDER BY x) FROM unnest('{b,a,B,ä}'::text[]) x") == list(
        "Babä"
    )
    assert await connection.fetchval("SELECT current_database()") == "metering"
    await connection.close()


async def test_durable_server_writes_through_to_the_disk(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await fetch(server, f"SHOW {name}") == "on", name


async def test_folder_and_socket_are_closed_to_others(server: EmbeddedPostgres, folder: Path) -> None:
    for path in (folder, folder / "run", folder / "pgdata"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    socket = folder / "run" / ".s.PGSQL.5432"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert account_of(server.pid) == owner_of(folder) != 0


async def test_second_start_finds_the_data_at_the_same_address(folder: Path) -> None:
    async with EmbeddedPostgres(folder, durable=False) as server:
        first = server.dsn
        await fetch(server, "CREATE TABLE kept AS SELECT 7 AS n")
    async with EmbeddedPostgres(folder, durable=False) as server:
        assert server.dsn == first
        assert await fetch(server, "SELECT n FROM kept") == 7


async def test_killed_server_starts_again_with_all_that_was_committed(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as server:
        await fetch(server, "CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await fetch(server, "SELECT 1")
        await server.start()
        assert await fetch(server, "SELECT n FROM kept") == 7


async def test_killed_owner_takes_the_server_with_it(folder: Path) -> None:
    owner, pid, _ = own(str(folder))
    owner.kill()
    owner.wait()
    wait_until(lambda: not lives(pid))
    async with EmbeddedPostgres(folder, durable=False) as server:
        assert await fetch(server, "SELECT 1") == 1


def test_killed_owner_of_a_temporary_server_leaves_no_folder() -> None:
    owner, pid, folder = own()
    assert folder.exists()
    owner.kill()
    owner.wait()
    wait_until(lambda: not lives(pid) and not folder.exists())


async def test_server_left_running_without_its_guard_is_stopped_by_the_next_start(folder: Path) -> None:
    owner, pid, _ = own(str(folder))
    os.kill(parent_of(pid), signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert lives(pid)
    async with EmbeddedPostgres(folder, durable=False) as server:
        assert server.pid != pid
        assert not lives(pid)
        assert await fetch(server, "SELECT 1") == 1


async def test_stale_pid_file_that_names_a_foreign_process_harms_nobody(
    folder: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    async with EmbeddedPostgres(folder, durable=False) as server:
        server.kill()
        (folder / "pgdata" / "postmaster.pid").write_text(f"{bystander.pid}\n{folder}\n")
        await server.start()
        assert await fetch(server, "SELECT 1") == 1
    assert bystander.poll() is None


async def test_half_made_cluster_of_a_killed_start_is_made_anew(folder: Path) -> None:
    (folder / "pgdata.new").mkdir(parents=True)
    (folder / "pgdata.new" / "PG_VERSION").write_text("18\n")
    if (account := server_account(folder)) is not None:
        os.chown(folder, account.uid, account.gid)
    async with EmbeddedPostgres(folder, durable=False) as server:
        assert await fetch(server, "SELECT 1") == 1


async def test_two_owners_of_one_folder_are_refused_with_the_first_named(
    server: EmbeddedPostgres, folder: Path
) -> None:
    with pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}"):
        await EmbeddedPostgres(folder).start()
    assert await fetch(server, "SELECT 1") == 1


async def test_many_starts_at_once_on_one_folder_let_one_through(folder: Path) -> None:
    servers = [EmbeddedPostgres(folder, durable=False) for _ in range(4)]
    results = await asyncio.gather(*(server.start() for server in servers), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["EmbeddedError"] * 3 + ["EmbeddedPostgres"]
    for server in servers:
        await server.stop()


async def test_start_and_stop_twice_are_as_once(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    await server.start()
    pid = server.pid
    await server.start()
    assert server.pid == pid
    await server.stop()
    await server.stop()
    with pytest.raises(EmbeddedError, match="not running"):
        _ = server.pid


async def test_cancelled_start_leaves_no_server(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    starting = asyncio.create_task(server.start())
    await asyncio.to_thread(wait_until, (folder / "owner.lock").exists)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not (folder / "pgdata" / "postmaster.pid").exists()
    async with EmbeddedPostgres(folder, durable=False):
        pass


async def test_temporary_server_takes_its_folder_along() -> None:
    async with EmbeddedPostgres(durable=False) as server:
        folder = server.folder
        assert folder is not None
        assert folder.exists()
    assert not folder.exists()
    assert server.folder is None


def test_unwritable_folder_is_named_with_the_way_out(folder: Path) -> None:
    folder.write_text("a file, not a folder")
    with pytest.raises(EmbeddedError, match=r"data/below cannot be used: Not a directory .*Choose another"):
        EmbeddedPostgres(folder / "below").open()


def test_folder_with_foreign_files_is_refused_untouched(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(EmbeddedError, match=r"holds 'thesis\.txt'"):
        EmbeddedPostgres(folder).open()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]


def test_too_long_path_is_refused_with_the_limit(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match=f"at most {SOCKET_FOLDER_LENGTH_MAX - 4} bytes"):
        EmbeddedPostgres(folder / ("x" * 100)).open()


def test_cluster_of_another_major_version_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False):
        pass
    (folder / "pgdata" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 17, and the embedded one is 18"):
        EmbeddedPostgres(folder).open()


def test_damaged_cluster_is_an_error_with_the_servers_own_words(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False):
        pass
    (folder / "pgdata" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedError, match=r"did not start[\s\S]*pg_control"):
        EmbeddedPostgres(folder).open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
def test_folder_below_a_closed_one_is_refused_with_its_name(folder: Path) -> None:
    closed = folder.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=f"{closed} is closed to it"):
        EmbeddedPostgres(closed / "data").open()
