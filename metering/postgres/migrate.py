"""Numbered migrations: `schemas/sql/migrations/NNNN_what_it_does.sql`, applied in order, each once and whole.

Each file runs in a transaction of its own together with its row in the table `migration`, under a lock that all
migrators share. So any number of processes may migrate at a time, and a killed one leaves a file applied or not.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg

from metering.errors import ConfigurationError, StoreUnavailable

MIGRATIONS: Final = files("schemas") / "sql" / "migrations"
FILE: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Any number that nobody else's advisory locks use: the letters "metering" as a big-endian integer, in int64.
LOCK: Final = int.from_bytes(b"metering", "big")

TABLE: Final = """
CREATE TABLE IF NOT EXISTS migration (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


@dataclass(frozen=True)
class Migration:
    """One file: its name without the suffix, its SQL, and the hash by which a later change of it is found."""

    name: str
    sql: str
    sha256: str


def read_migrations(folder: Traversable = MIGRATIONS) -> list[Migration]:
    """Read the migrations of a folder in their order.

    Errors: `ConfigurationError` for a file name of another form, and for numbers that are not 1, 2, 3, ….
    """
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    migrations = []
    for number, entry in enumerate(found, 1):
        match = FILE.fullmatch(entry.name)
        if match is None:
            raise ConfigurationError(f"{entry.name}: a migration is named like 0007_add_tax_rates.sql")
        if int(match[1]) != number:
            raise ConfigurationError(f"{entry.name}: the next number is {number:04}; numbers have no gaps, none twice")
        content = entry.read_bytes()
        name = entry.name.removesuffix(".sql")
        migrations.append(Migration(name, content.decode("utf-8"), hashlib.sha256(content).hexdigest()))
    return migrations


async def migrate(dsn: str, folder: Traversable = MIGRATIONS) -> list[str]:
    """Bring the database at `dsn` up to date; return the names that were applied now, in order.

    Errors: `ConfigurationError` when a file that was applied has been changed, or the database has one that is not
    here; `StoreUnavailable` when Postgres does not answer; asyncpg's own when a file fails (it is rolled back, those
    before it stay).
    """
    migrations = read_migrations(folder)
    try:
        connection = await asyncpg.connect(dsn, timeout=5, server_settings={"timezone": "UTC"})
    except (OSError, asyncpg.CannotConnectNowError) as error:
        raise StoreUnavailable(f"Postgres does not answer: {error or type(error).__name__}") from error
    try:
        applied: list[str] = []
        while await _apply_next(connection, migrations, applied):
            pass
        return applied
    finally:
        await connection.close()


async def _apply_next(connection: asyncpg.Connection, migrations: list[Migration], applied: list[str]) -> bool:
    """Apply the first migration that the database lacks; tell whether there was one."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(TABLE)
        rows = await connection.fetch("SELECT name, sha256 FROM migration")
        present = {row["name"]: row["sha256"] for row in rows}
        _check(migrations, present)
        missing = [migration for migration in migrations if migration.name not in present]
        if not missing:
            return False
        await connection.execute(missing[0].sql)
        await connection.execute(
            "INSERT INTO migration (name, sha256) VALUES ($1, $2)", missing[0].name, missing[0].sha256
        )
        applied.append(missing[0].name)
        return True


def _check(migrations: list[Migration], present: dict[str, str]) -> None:
    known = {migration.name: migration.sha256 for migration in migrations}
    for name, sha256 in sorted(present.items()):
        if name not in known:
            raise ConfigurationError(
                f"the database has the migration {name}, which this version does not know: run a newer version"
            )
        if known[name] != sha256:
            raise ConfigurationError(
                f"the migration {name} was changed after this database had applied it: restore the file, "
                "and write what is new as the next migration"
            )
