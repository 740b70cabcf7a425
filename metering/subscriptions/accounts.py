"""Accounts and the catalog as the tables keep them, folded; what was folded once is remembered by its text."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import asyncpg
import msgspec

from metering.catalog.store import load_catalog
from metering.postgres.queries import queries
from rating.account import Account, fold
from rating.catalog import Catalog
from schemas.act import Act, Entry
from schemas.codec import convert
from schemas.customer import Customer
from schemas.instants import Instant

ACCOUNTS_MAX: Final = 20_000
"""Folded accounts that are remembered; the least recently used are dropped first."""


class Written(NamedTuple):
    """An account as a row holds it: definition, acts (a line each: microseconds, JSON), the catalog's version."""

    key: str
    definition: str
    acts: str | None
    catalog: int


class Accounts:
    """Reads accounts; nothing in it may be changed by who gets it. Use `fold` for one that may."""

    def __init__(self) -> None:
        self._catalog = (-1, Catalog())
        self._folded: OrderedDict[Written, Account] = OrderedDict()

    async def catalog(self, connection: asyncpg.Connection, version: int) -> Catalog:
        """The catalog, read again only when its version moved."""
        if self._catalog[0] != version:
            self._catalog = await load_catalog(connection)
        return self._catalog[1]

    async def load(self, connection: asyncpg.Connection, key: str) -> Account | None:
        """The account of a customer, None if there is none."""
        row = await connection.fetchrow(queries().account_text, key)
        return None if row is None else await self.of(connection, Written(key, *row))

    async def load_many(self, connection: asyncpg.Connection, keys: Sequence[str]) -> dict[str, Account]:
        """The accounts of those of the customers that exist."""
        rows = await connection.fetch(queries().accounts_text, list(keys))
        return {row["key"]: await self.of(connection, Written(*row)) for row in rows}

    async def of(self, connection: asyncpg.Connection, written: Written) -> Account:
        """The account that a row holds."""
        found = self._folded.get(written)
        if found is not None:
            self._folded.move_to_end(written)
            return found
        account = unfolded(await self.catalog(connection, written.catalog), written)
        self._folded[written] = account
        if len(self._folded) > ACCOUNTS_MAX:
            self._folded.popitem(last=False)
        return account

    def forget(self) -> None:
        """Remember nothing: all data was dropped."""
        self._catalog = (-1, Catalog())
        self._folded.clear()


def unfolded(catalog: Catalog, written: Written) -> Account:
    """A new account from its text."""
    entries = [_entry(line) for line in (written.acts or "").split("\n") if line]
    return fold(catalog, written.key, convert(msgspec.json.decode(written.definition), Customer), entries)


def _entry(line: str) -> Entry:
    at, _, body = line.partition(" ")
    return Entry(Instant(int(at)), convert(msgspec.json.decode(body), cast("type[Act]", Act)))
