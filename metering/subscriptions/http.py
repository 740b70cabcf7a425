"""Routes of accounts: customers, subscriptions, and the acts that are done to them."""

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from metering.api.answers import answer_json, decode_cursor, page, page_size
from metering.api.body import faulty, field_invalid, path_key, query, read_document, read_struct
from metering.api.problem import Problem
from metering.clock import Clock
from metering.errors import OffsetLost
from metering.subscriptions.acts import view
from metering.subscriptions.customers import CustomerStore
from metering.subscriptions.store import ActRefused, Acts, ContentDiffers, Performed
from schemas.act import Act, Cancel, Change, Coupon, Grant, OneOff, Subscribe
from schemas.catalog import read_part
from schemas.checks import key_fault
from schemas.codec import to_tree
from schemas.customer import Customer
from schemas.documents import Document
from schemas.faults import DocumentError
from schemas.http import Code, CustomerAnswer
from schemas.outcome import Refusal

T = TypeVar("T", bound=msgspec.Struct)

REFUSED = {
    Refusal.UNKNOWN_CUSTOMER: (404, "no customer has this key: PUT /v1/customers/{key} makes it"),
    Refusal.UNKNOWN_PLAN: (422, "no plan has this key or version: PUT /v1/plans/{key} makes it"),
    Refusal.UNKNOWN_SUBSCRIPTION: (404, "no subscription has this id"),
    Refusal.SUBSCRIPTION_EXISTS: (409, "the id is taken by another subscription"),
    Refusal.SUBSCRIPTION_ENDED: (409, "the subscription has ended: start another"),
    Refusal.CURRENCY_MISMATCH: (422, "the plan is in another currency than the subscription"),
    Refusal.USAGE_BILLED_TWICE: (409, "another subscription of this customer bills the same usage already"),
}


def routes(customers: CustomerStore, acts: Acts, clock: Clock) -> list[web.RouteDef]:
    """The accounts' routes."""
    http = _Accounts(customers, acts, clock)
    return [
        web.get("/v1/customers", http.list_customers),
        web.get("/v1/customers/{key}", http.get_customer),
        web.put("/v1/customers/{key}", http.put_customer),
        web.post("/v1/customers/{key}/grants", http.grant),
        web.post("/v1/customers/{key}/coupons", http.coupon),
        web.post("/v1/customers/{key}/charges", http.charge_customer),
        web.get("/v1/subscriptions", http.list_subscriptions),
        web.post("/v1/subscriptions", http.subscribe),
        web.get("/v1/subscriptions/{id}", http.get_subscription),
        web.post("/v1/subscriptions/{id}/change", http.change),
        web.post("/v1/subscriptions/{id}/cancel", http.cancel),
        web.post("/v1/subscriptions/{id}/charges", http.charge_subscription),
    ]


class _Accounts:
    def __init__(self, customers: CustomerStore, acts: Acts, clock: Clock) -> None:
        self._customers = customers
        self._acts = acts
        self._clock = clock

    async def list_customers(self, request: web.Request) -> web.Response:
        """All customers, in pages, by key."""
        parameters = query(request, "cursor", "limit")
        limit, after = page_size(parameters), decode_cursor(parameters, (str,))
        found = await self._customers.after(after[0] if after else "", limit + 1)
        answers = [customer_answer(key, customer) for key, customer in found[:limit]]
        return page(answers, (answers[-1].key,) if len(found) > limit else None)

    async def get_customer(self, request: web.Request) -> web.Response:
        key = path_key(request, "key")
        customer = await self._customers.get(key)
        if customer is None:
            raise Problem(404, Refusal.UNKNOWN_CUSTOMER, "Not Found", f"there is no customer {key!r}")
        return answer_json(customer_answer(key, customer))

    async def put_customer(self, request: web.Request) -> web.Response:
        """A new customer 201, a changed or the same one 200."""
        key = path_key(request, "key")
        customer = read_struct(await read_document(request), Customer)
        new = await self._customers.put(key, customer)
        return answer_json(customer_answer(key, customer), 201 if new else 200)

    async def list_subscriptions(self, request: web.Request) -> web.Response:
        """All subscriptions, or those of `?customer=`, in pages, by customer and id."""
        parameters = query(request, "cursor", "limit", "customer")
        limit, after = page_size(parameters), decode_cursor(parameters, (str, str)) or ["", ""]
        found = await self._acts.list_subscriptions(parameters.get("customer"), (after[0], after[1]), limit + 1)
        now = self._clock.now()
        answers = [view(one, now) for _, one in found[:limit]]
        return page(answers, (answers[-1].customer, answers[-1].id) if len(found) > limit else None)

    async def get_subscription(self, request: web.Request) -> web.Response:
        name = path_key(request, "id")
        one = await self._acts.subscription(name)
        if one is None:
            raise Problem(404, Refusal.UNKNOWN_SUBSCRIPTION, "Not Found", f"there is no subscription {name!r}")
        return answer_json(view(one, self._clock.now()))

    async def subscribe(self, request: web.Request) -> web.Response:
        query(request)
        act = read_struct(await read_document(request), Subscribe)
        done = await self._perform(act)
        return self._subscription_answer(done, act.id, 201 if done.new else 200)

    async def change(self, request: web.Request) -> web.Response:
        """Another plan or other quantities; with an `id` it can be sent again without harm."""
        name = path_key(request, "id")
        act, request_id = await self._read_named(request, Change, name)
        return self._subscription_answer(await self._perform(act, request_id), name, 200)

    async def cancel(self, request: web.Request) -> web.Response:
        """The end, now or at the period's end; with an `id` it can be sent again without harm."""
        name = path_key(request, "id")
        act, request_id = await self._read_named(request, Cancel, name)
        return self._subscription_answer(await self._perform(act, request_id), name, 200)

    async def grant(self, request: web.Request) -> web.Response:
        return await self._give(request, Grant, "customer", path_key(request, "key"))

    async def coupon(self, request: web.Request) -> web.Response:
        return await self._give(request, Coupon, "customer", path_key(request, "key"))

    async def charge_customer(self, request: web.Request) -> web.Response:
        """A one-off charge that is an invoice of its own, issued at once."""
        return await self._give(request, OneOff, "customer", path_key(request, "key"))

    async def charge_subscription(self, request: web.Request) -> web.Response:
        """A one-off charge on the subscription's next invoice."""
        return await self._give(request, OneOff, "subscription", path_key(request, "id"))

    async def _give(self, request: web.Request, kind: type[Any], field: str, name: str) -> web.Response:
        query(request)
        done = await self._perform(_read_act(await read_document(request), kind, field, name))
        tree = to_tree(done.act)
        tree.pop("act")
        return answer_json(tree, 201 if done.new else 200)

    async def _read_named(self, request: web.Request, kind: type[Any], name: str) -> tuple[Any, str | None]:
        """An act on a subscription, and the id that the request gives to the act itself."""
        query(request)
        document = await read_document(request)
        request_id = document.tree.pop("id", None) if isinstance(document.tree, dict) else None
        if request_id is not None:
            fault = key_fault(request_id) if type(request_id) is str else "must be text"
            if fault:
                raise field_invalid("id", fault)
        return _read_act(document, kind, "subscription", name), request_id

    async def _perform(self, act: Act, request_id: str | None = None) -> Performed:
        try:
            return await self._acts.perform(act, request_id)
        except ActRefused as refused:
            status, detail = REFUSED[refused.refusal]
            raise Problem(status, refused.refusal, "The act was refused", detail) from None
        except OffsetLost as error:
            raise Problem(409, Code.USAGE_NOT_DIVISIBLE, "Conflict", str(error)) from None
        except ContentDiffers:
            raise Problem(
                409, Code.CONTENT_DIFFERS, "Conflict", "this id was used before, with other content: take another"
            ) from None

    def _subscription_answer(self, done: Performed, name: str, status: int) -> web.Response:
        return answer_json(view(done.account.subscriptions[name], self._clock.now()), status)


def _read_act(document: Document, kind: type[T], field: str, name: str) -> T:
    """The act of a body whose `field` is in the path; `Problem` 422 with all faults."""
    if isinstance(document.tree, dict):
        if field in document.tree:
            raise field_invalid(field, "stands in the path already: leave it out of the body")
        document.tree[field] = name
    try:
        act: T = read_part(document, kind)
    except DocumentError as error:
        raise faulty(error.faults) from None
    return act


def customer_answer(key: str, customer: Customer) -> CustomerAnswer:
    """A customer as it is read."""
    return CustomerAnswer(
        key=key,
        currency=customer.currency,
        timezone=customer.timezone,
        taxes=customer.taxes,
        consolidate=customer.consolidate,
        name=customer.name,
    )
