"""A customer's account: its acts folded into subscriptions, grants, coupons and one-off charges (spec 7.7, 10)."""

from collections.abc import Iterable, Mapping

import msgspec

from rating.catalog import Catalog
from rating.overlap import billed_twice
from rating.period import Span
from rating.subscription import Effect, Subscription, subscription
from rating.zone import Zone, zone
from schemas.act import Act, Cancel, Change, Coupon, Entry, Grant, OneOff, Subscribe
from schemas.customer import Customer
from schemas.outcome import Refusal


class Given(msgspec.Struct, frozen=True):
    """A grant as it was given. `key` names it among the customer's grants; `order` is its place among them (8.6)."""

    key: str
    at: int
    order: int
    grant: Grant


class Discount(msgspec.Struct, frozen=True):
    """A coupon as it was given; `key` names it among the customer's coupons (8.3)."""

    key: str
    at: int
    coupon: Coupon


class Extra(msgspec.Struct, frozen=True):
    """A one-off charge as it was given; `key` names it among the customer's one-off charges (8.11)."""

    key: str
    at: int
    charge: OneOff


class Account:
    """One customer and what its acts, added in the order of time, have made.

    `one_offs` are kept by subscription, None for those of the customer itself.
    """

    __slots__ = ("_names", "coupons", "customer", "grants", "key", "one_offs", "subscriptions", "zone")

    def __init__(self, key: str, customer: Customer) -> None:
        """`ValueError` for an unknown time zone."""
        self.key = key
        self.customer = customer
        self.zone: Zone = zone(customer.timezone)
        self.subscriptions: dict[str, Subscription] = {}
        self.grants: list[Given] = []
        self.coupons: list[Discount] = []
        self.one_offs: dict[str | None, list[Extra]] = {}
        self._names: dict[str, int] = {}

    def add(self, catalog: Catalog, at: int, act: Act) -> None:
        """One more act that was admitted, not earlier than those before."""
        match act:
            case Subscribe() | Change() | Cancel():
                made = changed(self, catalog, at, act)
                self.subscriptions[made.id] = made
            case Grant():
                self.grants.append(Given(self._name("grant", act.id), at, len(self.grants), act))
            case Coupon():
                self.coupons.append(Discount(self._name("coupon", act.id), at, act))
            case OneOff():
                extra = Extra(self._name("one_off", act.id), at, act)
                self.one_offs.setdefault(act.subscription, []).append(extra)

    def _name(self, kind: str, wanted: str) -> str:
        """The id, told apart from those of the same kind before it."""
        place = f"{kind} {wanted}"
        self._names[place] = self._names.get(place, 0) + 1
        return wanted if self._names[place] == 1 else f"{wanted} #{self._names[place]}"


def fold(catalog: Catalog, key: str, customer: Customer, entries: Iterable[Entry]) -> Account:
    """The account that these acts, in the order of time, have made; all of them were admitted."""
    account = Account(key, customer)
    for entry in entries:
        account.add(catalog, entry.at, entry.act)
    return account


def changed(account: Account, catalog: Catalog, at: int, act: Subscribe | Change | Cancel) -> Subscription:
    """The subscription as an act makes it; nothing is changed. `KeyError` if what it names is unknown: see `admit`."""
    if isinstance(act, Subscribe):
        plan = catalog.find(act.plan)
        if plan is None:
            raise KeyError(act.plan)
        start = at if act.start is None else act.start
        named = act.events == "named"
        return subscription(act.id, account.key, account.zone, plan, act.quantities, at, start, named)
    before = account.subscriptions[act.subscription]
    if isinstance(act, Cancel):
        return before.after(at, Effect(ends=True), act.when == "at_period_end")
    version = None
    if act.plan is not None:
        version = catalog.find(act.plan)
        if version is None:
            raise KeyError(act.plan)
    return before.after(at, Effect(version, dict(act.quantities)), act.when == "at_period_end")


class Book:
    """Who owns which subscription: what `admit` looks up before an account is known."""

    __slots__ = ("accounts", "owners")

    def __init__(self, customers: Mapping[str, Customer]) -> None:
        self.accounts = {key: Account(key, customer) for key, customer in customers.items()}
        self.owners: dict[str, str] = {}

    def account_of(self, act: Act) -> Account | None:
        """The account that an act concerns; None if it names no known customer or subscription."""
        if isinstance(act, Change | Cancel) or (isinstance(act, OneOff) and act.subscription is not None):
            owner = self.owners.get(act.subscription or "")
            return None if owner is None else self.accounts[owner]
        return self.accounts.get(act.customer or "")

    def add(self, catalog: Catalog, at: int, act: Act) -> Refusal | None:
        """Take an act in, or say why it is refused."""
        account = self.account_of(act)
        taken = isinstance(act, Subscribe) and act.id in self.owners
        refusal = admit(catalog, account, at, act, taken=taken)
        if refusal is None and account is not None:
            account.add(catalog, at, act)
            if isinstance(act, Subscribe):
                self.owners[act.id] = account.key
        return refusal


def admit(catalog: Catalog, account: Account | None, at: int, act: Act, *, taken: bool = False) -> Refusal | None:
    """Why an act is refused at `at`, the first of the list of spec 10 that fits; None if it is not.

    `account` is the one of the customer, or of the subscription's owner, that the act names; None if there is none.
    `taken`: the id of a `subscribe` is in use, by whichever customer.
    """
    named = act.subscription if isinstance(act, Change | Cancel | OneOff) else None
    if account is None and named is None:
        return Refusal.UNKNOWN_CUSTOMER
    if isinstance(act, Subscribe | Change) and act.plan is not None and catalog.find(act.plan) is None:
        return Refusal.UNKNOWN_PLAN
    if named is not None and (account is None or named not in account.subscriptions):
        return Refusal.UNKNOWN_SUBSCRIPTION
    if taken:
        return Refusal.SUBSCRIPTION_EXISTS
    if account is None or isinstance(act, Grant | Coupon) or (isinstance(act, OneOff) and named is None):
        return None
    return _admit_known(catalog, account, at, act)


def _admit_known(catalog: Catalog, account: Account, at: int, act: Act) -> Refusal | None:
    """Refusals that need the subscription itself: it has ended, another currency, usage billed twice."""
    if isinstance(act, Change | Cancel | OneOff) and account.subscriptions[act.subscription or ""].ended(at):
        return Refusal.SUBSCRIPTION_ENDED
    if isinstance(act, Change) and act.plan is not None:
        plan = catalog.find(act.plan)
        if plan is not None and plan.plan.currency != account.subscriptions[act.subscription].currency:
            return Refusal.CURRENCY_MISMATCH
    if isinstance(act, Subscribe) or (isinstance(act, Change) and act.plan is not None):
        made = changed(account, catalog, at, act)
        others = [one for one in account.subscriptions.values() if one.id != made.id]
        if billed_twice(made, others, Span(at if isinstance(act, Change) else made.start, made.end)):
            return Refusal.USAGE_BILLED_TWICE
    return None
