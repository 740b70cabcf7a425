"""The table `customer`: who is billed. Their currency and time zone are fixed by their first subscription."""

from collections.abc import Mapping

import asyncpg

from metering.api.problem import Problem
from metering.clock import Clock
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.stream.partition import lock
from schemas.codec import convert, to_tree
from schemas.customer import Customer
from schemas.http import Code
from schemas.ids import partition_of


class CustomerStore:
    """Customers in Postgres."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, partitions: int) -> None:
        self._pool = pool
        self._clock = clock
        self._partitions = partitions

    async def get(self, key: str) -> Customer | None:
        """A customer, None if there is none."""
        async with connection(self._pool) as lent:
            return await _get(lent, key)

    async def after(self, key: str, limit: int) -> list[tuple[str, Customer]]:
        """At most `limit` customers whose keys come after `key`, in that order."""
        async with connection(self._pool) as lent:
            rows = await lent.fetch(queries().list_customers, key, limit)
        return [(row["key"], convert(row["definition"], Customer)) for row in rows]

    async def put(self, key: str, customer: Customer) -> bool:
        """Store a customer; whether it is new. `Problem` 409 if what is fixed would change."""

        async def work(lent: asyncpg.Connection) -> bool:
            await lock(lent, partition_of(key, self._partitions))
            known = await _get(lent, key)
            if known is None:
                partition = partition_of(key, self._partitions)
                await lent.execute(
                    queries().insert_customer, key, partition, to_tree(customer), self._clock.now().moment()
                )
            elif known != customer:
                await _check_fixed(lent, key, known, customer)
                await lent.execute(queries().update_customer, key, to_tree(customer))
            await lent.execute(queries().notify_account, key)
            return known is None

        return await transaction(self._pool, work)

    async def put_many(self, customers: Mapping[str, Customer]) -> dict[str, list[str]]:
        """Store customers one by one; answers their keys by what happened."""
        changes = await self.compare(customers)
        for key in (*changes["added"], *changes["changed"]):
            await self.put(key, customers[key])
        return changes

    async def compare(self, customers: Mapping[str, Customer]) -> dict[str, list[str]]:
        """Keys by what `put_many` would do; `Problem` 409 if it could not."""
        changes: dict[str, list[str]] = {"added": [], "changed": [], "unchanged": []}
        async with connection(self._pool) as lent:
            for key, customer in customers.items():
                known = await _get(lent, key)
                if known is not None and known != customer:
                    await _check_fixed(lent, key, known, customer)
                changes["added" if known is None else "unchanged" if known == customer else "changed"].append(key)
        return changes


async def _get(lent: asyncpg.Connection, key: str) -> Customer | None:
    row = await lent.fetchrow(queries().get_customer, key)
    return None if row is None else convert(row["definition"], Customer)


async def _check_fixed(lent: asyncpg.Connection, key: str, known: Customer, wanted: Customer) -> None:
    changed = [name for name in ("currency", "timezone") if getattr(known, name) != getattr(wanted, name)]
    if changed and await lent.fetchval(queries().any_subscription, key):
        raise Problem(
            409,
            Code.CUSTOMER_FIXED,
            "Conflict",
            f"{' and '.join(changed)} of {key!r} cannot change: it has subscriptions; make another customer",
        )
