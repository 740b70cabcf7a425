"""Routes of the catalog: all of it in one document, or one meter or plan at a time."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from metering.api.answers import answer_json, decode_cursor, page, page_size
from metering.api.body import faulty, flag, path_key, query, read_document
from metering.api.problem import Problem
from metering.catalog.store import CatalogRefused, CatalogStore
from metering.catalog.stored import Difference, PlanVersion
from metering.subscriptions.customers import CustomerStore
from schemas.catalog import read_catalog, read_part
from schemas.checks import check_plan_key
from schemas.codec import to_tree
from schemas.faults import DocumentError
from schemas.http import Code
from schemas.meter import Meter
from schemas.plan import Plan
from schemas.reader import Reading

CATALOG_BYTES_MAX: Final = 8 << 20


def routes(store: CatalogStore, customers: CustomerStore) -> list[web.RouteDef]:
    """The catalog's routes; a document may also hold customers."""
    http = _Catalog(store, customers)
    return [
        web.post("/v1/catalog", http.apply),
        web.get("/v1/meters", http.list_meters),
        web.get("/v1/meters/{key}", http.get_meter),
        web.put("/v1/meters/{key}", http.put_meter),
        web.get("/v1/plans", http.list_plans),
        web.get("/v1/plans/{key}", http.get_plan),
        web.put("/v1/plans/{key}", http.put_plan),
    ]


class _Catalog:
    def __init__(self, store: CatalogStore, customers: CustomerStore) -> None:
        self._store = store
        self._customers = customers

    async def apply(self, request: web.Request) -> web.Response:
        """`POST /v1/catalog`: answers what changed; with `?dry_run=1` what would change."""
        dry_run = flag(query(request, "dry_run"), "dry_run")
        document = await read_document(request, CATALOG_BYTES_MAX, yaml=True)
        stored = await self._store.read()
        try:
            catalog = read_catalog(document, stored.meters)
        except DocumentError as error:
            raise faulty(error.faults, Code.CATALOG_INVALID) from None
        if dry_run:
            changes = await self._changes(catalog.meters, catalog.plans, dry_run=True)
            customers = await self._customers.compare(catalog.customers)
        else:
            await self._customers.compare(catalog.customers)
            changes = await self._changes(catalog.meters, catalog.plans)
            customers = await self._customers.put_many(catalog.customers)
        return answer_json({**to_tree(changes), "customers": customers, "dry_run": dry_run})

    async def list_meters(self, request: web.Request) -> web.Response:
        """All meters, in pages, by key."""
        stored = await self._store.read()
        return _page(request, {key: _meter_tree(key, meter) for key, meter in stored.meters.items()})

    async def get_meter(self, request: web.Request) -> web.Response:
        key = path_key(request, "key")
        meter = (await self._store.read()).meters.get(key)
        if meter is None:
            raise Problem(404, Code.NOT_FOUND, "Not Found", f"there is no meter {key!r}")
        return answer_json(_meter_tree(key, meter))

    async def put_meter(self, request: web.Request) -> web.Response:
        """A new meter 201, a changed or the same one 200."""
        key = path_key(request, "key")
        document = await read_document(request, yaml=True)
        try:
            meter: Meter = read_part(document, Meter)
        except DocumentError as error:
            raise faulty(error.faults) from None
        changes = await self._changes({key: meter}, {})
        return answer_json(_meter_tree(key, meter), 201 if changes.meters.added else 200)

    async def list_plans(self, request: web.Request) -> web.Response:
        """The latest version of every plan, in pages, by key."""
        stored = await self._store.read()
        return _page(request, {key: _plan_tree(versions[-1]) for key, versions in stored.plans.items()})

    async def get_plan(self, request: web.Request) -> web.Response:
        """The latest version of a plan, or the one that is named as in `pro@2`."""
        key, at, number = path_key(request, "key").partition("@")
        query(request)
        versions = (await self._store.read()).plans.get(key, ())
        found = [version for version in versions if str(version.version) == number] if at else versions[-1:]
        if not found:
            raise Problem(
                404, Code.NOT_FOUND, "Not Found", f"there is no plan {key!r}{f' in version {number}' if at else ''}"
            )
        return answer_json(_plan_tree(found[0]))

    async def put_plan(self, request: web.Request) -> web.Response:
        """A new version 201; the same content as the latest makes none: 200."""
        key = path_key(request, "key")
        document = await read_document(request, yaml=True)
        stored = await self._store.read()
        named = Reading(document)
        check_plan_key(key, (), named)
        try:
            named.result(key)
            plan: Plan = read_part(document, Plan, stored.meters)
        except DocumentError as error:
            raise faulty(error.faults) from None
        changes = await self._changes({}, {key: plan})
        latest = (await self._store.read()).latest(key)
        assert latest is not None
        return answer_json(_plan_tree(latest), 200 if changes.empty else 201)

    async def _changes(
        self, meters: Mapping[str, Meter], plans: Mapping[str, Plan], *, dry_run: bool = False
    ) -> Difference:
        try:
            return await (self._store.compare if dry_run else self._store.apply)(meters, plans)
        except CatalogRefused as refused:
            status = 409 if refused.code is Code.METER_FIXED else 422
            faults = [{"severity": "error", "message": reason} for reason in refused.reasons]
            raise Problem(status, refused.code, "The catalog was refused", str(refused), faults=faults) from None


def _meter_tree(key: str, meter: Meter) -> dict[str, Any]:
    return {"key": key, **to_tree(meter)}


def _plan_tree(version: PlanVersion) -> dict[str, Any]:
    return {"key": version.key, "version": version.version, "since": version.since, **to_tree(version.plan)}


def _page(request: web.Request, trees: Mapping[str, Any]) -> web.Response:
    parameters = query(request, "cursor", "limit")
    limit, after = page_size(parameters), decode_cursor(parameters, (str,))
    keys = [key for key in sorted(trees) if after is None or key > after[0]]
    more = len(keys) > limit
    return page([trees[key] for key in keys[:limit]], (keys[limit - 1],) if more else None)
