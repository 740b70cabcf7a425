"""Under whose account a server runs, and a copy of its programs where the installed ones are out of reach."""

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.embedded import EmbeddedError
from metering.embedded import account as module
from metering.embedded.account import Account, installed_programs, server_account

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
PROGRAM = "#!/bin/sh\necho version 1\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of programs, `some_programs`, with its libraries beside it."""
    site = tmp_path / "site"
    folder = site / "some_programs"
    (folder / "bin").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('programs are found without importing')")
    (folder / "bin" / "run").write_text(PROGRAM)
    (site / "some_programs.libs").mkdir()
    (site / "some_programs.libs" / "lib.so").write_text("")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"some-programs": "1.2"}[name])
    return folder


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Account:
    """The account that a server has on a machine without one made for it."""
    monkeypatch.setattr(module, "ACCOUNTS", ("nobody",))
    account = server_account(Path("/nowhere"))
    assert account is not None
    return account


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache folder that every account can reach; the test's own folder is closed to others."""
    made = Path(f"/tmp/metering-cache-{os.getpid()}")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_program_that_runs_is_used_where_it_is(package: Path, cache: Path) -> None:
    (package / "bin" / "run").chmod(0o755)
    assert installed_programs("some_programs", "bin/run", None, cache) == package
    assert not cache.exists()


def test_program_without_its_executable_bit_is_copied_once(package: Path, cache: Path) -> None:
    (package / "bin" / "run").chmod(0o644)
    copy = installed_programs("some_programs", "bin/run", None, cache)
    assert copy == cache / "some_programs-1.2" / "some_programs"
    assert os.access(copy / "bin" / "run", os.X_OK)
    assert (copy.parent / "some_programs.libs" / "lib.so").exists()
    (copy / "mark").touch()
    assert installed_programs("some_programs", "bin/run", None, cache) == copy
    assert (copy / "mark").exists()
    assert [entry.name for entry in cache.iterdir()] == ["some_programs-1.2"]


def test_copy_that_another_process_finishes_first_is_used(
    package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "bin" / "run").chmod(0o644)
    others = iter([package])  # While we copy the first part, another process makes the whole copy.

    def copy_slowly(*arguments: Any, **options: Any) -> None:
        if next(others, None) is not None:
            installed_programs("some_programs", "bin/run", None, cache)
        copytree(*arguments, **options)

    copytree = shutil.copytree
    monkeypatch.setattr(shutil, "copytree", copy_slowly)
    assert installed_programs("some_programs", "bin/run", None, cache) == cache / "some_programs-1.2" / "some_programs"
    assert [entry.name for entry in cache.iterdir()] == ["some_programs-1.2"]


@ROOT_ONLY
def test_program_below_a_closed_folder_is_copied_for_the_account(package: Path, cache: Path, nobody: Account) -> None:
    (package / "bin" / "run").chmod(0o755)
    package.parent.chmod(0o700)
    before = package.parent.stat().st_mode
    copy = installed_programs("some_programs", "bin/run", nobody, cache)
    assert copy.is_relative_to(cache)
    assert nobody.run([str(copy / "bin" / "run"), "--version"]).stdout == "version 1\n"
    assert package.parent.stat().st_mode == before


def test_program_that_does_not_run_at_all_is_an_error(package: Path, cache: Path) -> None:
    (package / "bin" / "run").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(EmbeddedError, match=r"does not run under this account: remove .*some_programs-1\.2"):
        installed_programs("some_programs", "bin/run", None, cache)


def test_absent_package_is_an_error_with_the_way_out() -> None:
    with pytest.raises(EmbeddedError, match=r"no_such_programs is not installed: pip install 'metering\[embedded\]'"):
        installed_programs("no_such_programs", "bin/run", None)


def test_copy_that_cannot_be_written_is_an_error_with_the_way_out(package: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (package / "bin" / "run").chmod(0o644)
    with pytest.raises(EmbeddedError, match=r"copying it to .* failed: .*Make .* writable"):
        installed_programs("some_programs", "bin/run", None, tmp_path / "file" / "cache")


def test_ordinary_user_runs_servers_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert server_account(tmp_path) is None


@ROOT_ONLY
def test_existing_folder_keeps_its_owners_account(tmp_path: Path, nobody: Account) -> None:
    os.chown(tmp_path, nobody.uid, nobody.gid)
    assert server_account(tmp_path) == nobody


@ROOT_ONLY
def test_folder_of_a_user_without_account_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 54321, 54321)
    with pytest.raises(EmbeddedError, match="belongs to user id 54321, which has no account here"):
        server_account(tmp_path)


@ROOT_ONLY
def test_machine_without_unprivileged_account_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ACCOUNTS", ("no-such-account",))
    with pytest.raises(EmbeddedError, match=r"no unprivileged account .* add one of no-such-account"):
        server_account(tmp_path)
