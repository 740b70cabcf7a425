"""SQL with names, from the files of `schemas/sql/queries`.

A file is a row of blocks, each headed by a comment line with its name:

    -- name: get_customer
    SELECT key, definition FROM customer WHERE key = $1;

Names are unique over all files, so a name in a log or in `pg_stat_activity` leads to one place.
"""

import difflib
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from metering.errors import ConfigurationError

HEAD: Final = re.compile(r"--[ \t]*name:[ \t]*(.*?)[ \t]*")
NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
QUERIES: Final = files("schemas") / "sql" / "queries"


class Queries:
    """The named statements, as attributes: `queries.get_customer` is its SQL, the line with its name included."""

    def __init__(self, statements: dict[str, str]) -> None:
        """Take the statements by name."""
        self._statements = statements

    def __getattr__(self, name: str) -> str:
        """Return the SQL of `name`; `AttributeError` names the nearest one that exists."""
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._statements[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._statements, 1)
            hint = f"; did you mean {near[0]}?" if near else f": there are {', '.join(sorted(self._statements))}"
            raise AttributeError(f"no query is named {name!r}{hint}") from None

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._statements)


def read_queries(folder: Traversable) -> Queries:
    """Read all `*.sql` files of a folder.

    Errors: `ConfigurationError` with file and line for a text before the first name, a name that is no lower-case
    identifier or is used twice, and a name without a statement.
    """
    statements: dict[str, str] = {}
    places: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        for name, sql, line in _blocks(file.name, file.read_text(encoding="utf-8")):
            place = f"{file.name}:{line}"
            if name in places:
                raise ConfigurationError(f"{place}: the query {name} is defined at {places[name]} already: rename one")
            places[name] = place
            statements[name] = sql
    return Queries(statements)


@cache
def queries() -> Queries:
    """Return the engine's own statements; they are read once."""
    return read_queries(QUERIES)


def _blocks(file: str, text: str) -> Iterator[tuple[str, str, int]]:
    """Cut a file's text into (name, SQL, line number of the name)."""
    name, start, lines = "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        head = HEAD.fullmatch(line)
        if head is None:
            if not name and line.strip() and not line.startswith("--"):
                raise ConfigurationError(f"{file}:{number}: SQL before the first line `-- name: …`")
            lines.append(line)
            continue
        if not NAME.fullmatch(head[1]):
            raise ConfigurationError(f"{file}:{number}: {head[1]!r} is no name: use lower case, digits and underscores")
        if name:
            yield _block(file, name, start, lines)
        name, start, lines = head[1], number, [line]
    if name:
        yield _block(file, name, start, lines)


def _block(file: str, name: str, start: int, lines: list[str]) -> tuple[str, str, int]:
    if all(line.startswith("--") or not line.strip() for line in lines):
        raise ConfigurationError(f"{file}:{start}: the query {name} has no statement")
    return name, "\n".join(lines).strip().removesuffix(";"), start
