"""Accounts as the tables keep them, folded (read only; `subscriptions/` writes them)."""

from collections.abc import Sequence
from typing import cast

import asyncpg

from metering.postgres.queries import queries
from rating.account import Account, fold
from rating.catalog import Catalog
from schemas.act import Act, Entry
from schemas.codec import convert
from schemas.customer import Customer
from schemas.instants import Instant
from schemas.plan import Plan


async def load_catalog(connection: asyncpg.Connection) -> Catalog:
    """All plans in all versions; meters are not needed to fold an account."""
    catalog = Catalog()
    for row in await connection.fetch(queries().load_plans):
        catalog.add(row["key"], convert(row["definition"], Plan), Instant.of(row["created_at"]))
    return catalog


async def load_accounts(connection: asyncpg.Connection, customers: Sequence[str]) -> dict[str, Account]:
    """The accounts of those of the customers that exist."""
    found = await connection.fetch(queries().accounts_of, customers)
    if not found:
        return {}
    entries: dict[str, list[Entry]] = {row["key"]: [] for row in found}
    for row in await connection.fetch(queries().acts_of, list(entries)):
        entries[row["customer"]].append(Entry(Instant.of(row["at"]), convert(row["body"], cast("type[Act]", Act))))
    catalog = await load_catalog(connection)
    return {
        row["key"]: fold(catalog, row["key"], convert(row["definition"], Customer), entries[row["key"]])
        for row in found
    }
