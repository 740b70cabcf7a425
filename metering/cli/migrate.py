"""`metering migrate`: bring a database to the present schema."""

import os
from typing import Annotated

from cyclopts import Parameter

from metering import config
from metering.cli.loop import run
from metering.cli.say import say
from metering.errors import ConfigurationError
from metering.postgres.migrate import migrate as apply_migrations


def migrate(
    *,
    postgres: Annotated[
        str | None, Parameter(help="address of the database, postgres://user:password@host:5432/database")
    ] = None,
) -> None:
    """Apply the migrations that a database lacks, each once, under a lock; doing it again does nothing.

    `metering up` does so by itself. Where several processes share a PostgreSQL of your own, run this before
    the new version starts.
    """
    environment = dict(os.environ)
    if postgres is not None:
        environment["METERING_POSTGRES"] = postgres
    dsn = config.read(environment).postgres
    if dsn is None:
        raise ConfigurationError("name the database in METERING_POSTGRES or with --postgres")
    applied = run(apply_migrations(dsn))
    for name in applied:
        say(f"applied {name}")
    if not applied:
        say("the database is up to date")
