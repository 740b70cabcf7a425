"""The tables `meter` and `plan`: reading them, and changing them in one transaction."""

from collections.abc import Mapping

import asyncpg

from metering.catalog.stored import Difference, PlanVersion, Stored, difference, fixed_meters, not_live
from metering.clock import Clock
from metering.postgres.pool import connection, transaction
from metering.postgres.queries import queries
from metering.stream.partition import lock_all
from rating.catalog import Catalog
from schemas.codec import convert, to_tree
from schemas.http import Code
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.plan import Plan


class CatalogRefused(Exception):
    """A change of the catalog that cannot be made: a code, and a sentence for each reason."""

    def __init__(self, code: Code, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.code = code
        self.reasons = reasons


class CatalogStore:
    """The catalog in Postgres."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock, partitions: int) -> None:
        self._pool = pool
        self._clock = clock
        self._partitions = partitions

    async def read(self) -> Stored:
        """All of it."""
        async with connection(self._pool) as lent:
            return await load_stored(lent)

    async def compare(self, meters: Mapping[str, Meter], plans: Mapping[str, Plan]) -> Difference:
        """What `apply` would do, or `CatalogRefused` with why it could not."""
        return _checked(await self.read(), meters, plans)

    async def apply(self, meters: Mapping[str, Meter], plans: Mapping[str, Plan]) -> Difference:
        """Store what is new, and tell every partition's worker; what is the same already stays as it is.

        Raises `CatalogRefused`, then nothing was changed.
        """

        async def work(lent: asyncpg.Connection) -> Difference:
            await lent.execute(queries().lock_catalog)
            changes = _checked(await load_stored(lent), meters, plans)
            if changes.empty:
                return changes
            await lock_all(lent, self._partitions)
            now = self._clock.now().moment()
            for key in (*changes.meters.added, *changes.meters.changed):
                await lent.execute(queries().put_meter, key, to_tree(meters[key]), now)
            for key, version in {**changes.plans.added, **changes.plans.changed}.items():
                await lent.execute(queries().insert_plan, key, version, to_tree(plans[key]), now)
            await lent.execute(queries().bump_catalog_version)
            return changes

        return await transaction(self._pool, work)


def _checked(stored: Stored, meters: Mapping[str, Meter], plans: Mapping[str, Plan]) -> Difference:
    if reasons := not_live(meters, stored.meters, plans):
        raise CatalogRefused(Code.AGGREGATION_NOT_LIVE, reasons)
    if fixed := fixed_meters(stored, meters):
        raise CatalogRefused(
            Code.METER_FIXED,
            [f"meters.{key}: its usage is kept by its aggregation and dimensions; make another meter" for key in fixed],
        )
    return difference(stored, meters, plans)


async def load_stored(lent: asyncpg.Connection) -> Stored:
    """The catalog as the tables keep it."""
    version = await lent.fetchval(queries().catalog_version)
    meters = {row["key"]: convert(row["definition"], Meter) for row in await lent.fetch(queries().load_meters)}
    plans: dict[str, list[PlanVersion]] = {}
    for row in await lent.fetch(queries().load_plans):
        since = Instant.of(row["created_at"])
        made = PlanVersion(row["key"], row["version"], since, convert(row["definition"], Plan))
        plans.setdefault(made.key, []).append(made)
    return Stored(version, meters, {key: tuple(versions) for key, versions in plans.items()})


async def load_catalog(lent: asyncpg.Connection) -> tuple[int, Catalog]:
    """The catalog as billing sees it, and its version."""
    stored = await load_stored(lent)
    catalog = Catalog(stored.meters)
    for versions in stored.plans.values():
        for made in versions:
            catalog.add(made.key, made.plan, made.since)
    return stored.version, catalog
