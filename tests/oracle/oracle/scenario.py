"""Runs a scenario file (section 10): its acts in order, then invoices, balances and counts."""

import copy
from datetime import datetime
from itertools import groupby
from typing import Any

from oracle.balances import balance
from oracle.billing import Account, Candidate, OneOff
from oracle.catalog import Plans, parse_customer, parse_meter
from oracle.events import Intake
from oracle.invoices import Coupon, Grant, Ledger
from oracle.numbers import Number, number
from oracle.segments import Pending, Subscription, billed_twice, tree_quantities
from oracle.times import duration, instant, write

Tree = dict[str, Any]


class World:
    """The state that the acts of a timeline change."""

    def __init__(self, document: Tree) -> None:
        settings = document.get("settings") or {}
        self.now = instant(document["now"])
        self.grace = duration(settings.get("grace", "1h"))
        self.meters = {key: parse_meter(key, tree) for key, tree in (document.get("meters") or {}).items()}
        self.customers = {key: parse_customer(key, tree) for key, tree in (document.get("customers") or {}).items()}
        self.plans = Plans()
        for key, tree in (document.get("plans") or {}).items():
            self.plans.add(key, tree)
        self.intake = Intake(list(self.meters.values()), duration(settings.get("late_window", "35d")))
        self.subscriptions: dict[str, Subscription] = {}
        self.coupons: list[Coupon] = []
        self.grants: list[Grant] = []
        self.one_offs: list[OneOff] = []
        self.refused: list[Tree] = []

    def play(self, timeline: list[Tree]) -> None:
        """All entries until now; those of one instant, then what they make together."""
        entries = [(instant(entry["at"]), entry) for entry in timeline]
        entries = sorted((pair for pair in entries if pair[0] <= self.now), key=lambda pair: pair[0])
        for at, group in groupby(entries, key=lambda pair: pair[0]):
            self._pass_to(at)
            for _, entry in group:
                self._act(at, entry)
            self._settle(at)
        self._pass_to(self.now)
        self._settle(self.now)

    def _pass_to(self, at: datetime) -> None:
        for subscription in self.subscriptions.values():
            subscription.advance(at)

    def _settle(self, at: datetime) -> None:
        for subscription in self.subscriptions.values():
            subscription.settle(at)

    def _act(self, at: datetime, entry: Tree) -> None:
        acts = {
            "subscribe": self._subscribe,
            "change": self._change,
            "cancel": self._cancel,
            "grant": self._grant,
            "coupon": self._coupon,
            "one_off": self._one_off,
            "void": self._void,
            "plan": self._plan,
        }
        for name, tree in entry.items():
            if name == "events":
                for event in tree:
                    self.intake.take(event, at)
            elif name != "at":
                code = acts[name](at, tree)
                if code is not None:
                    self.refused.append({"at": write(at), "act": name, "code": code})

    def _plan(self, at: datetime, tree: Tree) -> str | None:
        self.plans.add(tree["key"], tree)
        return None

    def _subscribe(self, at: datetime, tree: Tree) -> str | None:
        if tree["customer"] not in self.customers:
            return "unknown_customer"
        plan = self.plans.find(tree["plan"])
        if plan is None:
            return "unknown_plan"
        if tree["id"] in self.subscriptions:
            return "subscription_exists"
        start = at if tree.get("start") is None else instant(tree["start"])
        subscription = Subscription(
            tree["id"],
            self.customers[tree["customer"]],
            plan,
            tree_quantities(tree.get("quantities")),
            start,
            at,
            tree.get("events") == "named",
        )
        if billed_twice(subscription, list(self.subscriptions.values()), at):
            return "usage_billed_twice"
        if start < at:
            subscription.settle(start)
            subscription.advance(at)
        self.subscriptions[subscription.id] = subscription
        return None

    def _alive(self, at: datetime, key: object) -> str | None:
        subscription = self.subscriptions.get(str(key))
        if subscription is None:
            return "unknown_subscription"
        return "subscription_ended" if subscription.end is not None else None

    def _change(self, at: datetime, tree: Tree) -> str | None:
        plan = None if tree.get("plan") is None else self.plans.find(tree["plan"])
        if tree.get("plan") is not None and plan is None:
            return "unknown_plan"
        code = self._alive(at, tree["subscription"])
        if code is not None:
            return code
        subscription = self.subscriptions[tree["subscription"]]
        if plan is not None and plan.currency != subscription.plan.currency:
            return "currency_mismatch"
        quantities = tree_quantities(tree.get("quantities"))
        trial = copy.copy(subscription)
        trial.pending = list(subscription.pending)
        if tree.get("when", "now") == "now":
            trial.change(plan, quantities)
        else:
            trial.pending.append(Pending(False, plan, quantities))
        if billed_twice(trial, list(self.subscriptions.values()), at):
            return "usage_billed_twice"
        subscription.plan, subscription.quantities = trial.plan, trial.quantities
        subscription.pending = trial.pending
        return None

    def _cancel(self, at: datetime, tree: Tree) -> str | None:
        code = self._alive(at, tree["subscription"])
        if code is None:
            subscription = self.subscriptions[tree["subscription"]]
            if tree.get("when", "now") == "now":
                subscription.end = max(at, subscription.start)
            else:
                subscription.pending.append(Pending(True, None, {}))
        return code

    def _grant(self, at: datetime, tree: Tree) -> str | None:
        customer = self.customers.get(tree["customer"])
        if customer is None:
            return "unknown_customer"
        self.grants.append(
            Grant(
                at,
                customer.key,
                tree.get("currency") or customer.currency,
                int(number(tree.get("priority") or "0")),
                None if tree.get("expires") is None else instant(tree["expires"]),
                number(tree["amount"]),
            )
        )
        return None

    def _coupon(self, at: datetime, tree: Tree) -> str | None:
        if tree["customer"] not in self.customers:
            return "unknown_customer"
        self.coupons.append(
            Coupon(
                at,
                tree["customer"],
                tree["id"],
                None if tree.get("percent") is None else number(tree["percent"]),
                None if tree.get("amount") is None else number(tree["amount"]),
                None if tree.get("charges") is None else frozenset(tree["charges"]),
                None if tree.get("periods") is None else int(number(tree["periods"])),
            )
        )
        return None

    def _one_off(self, at: datetime, tree: Tree) -> str | None:
        subscription = None
        if tree.get("subscription") is not None:
            code = self._alive(at, tree["subscription"])
            if code is not None:
                return code
            subscription = self.subscriptions[tree["subscription"]]
        elif tree.get("customer") not in self.customers:
            return "unknown_customer"
        customer = subscription.customer.key if subscription else tree["customer"]
        amount, quantity = number(tree["amount"]), number(tree.get("quantity") or "1")
        self.one_offs.append(OneOff(at, customer, subscription, tree["id"], amount, quantity))
        return None

    def _void(self, at: datetime, tree: Tree) -> str | None:
        return self.intake.void(tree.get("source", "test"), tree["id"], tree.get("subject"), at)

    def result(self) -> Tree:
        """Invoices, balances and counts, as section 10 shows them."""
        accounts = [
            Account(subscription, self.meters, self.intake, self.one_offs, self.grace, self.now)
            for subscription in self.subscriptions.values()
        ]
        candidates = [candidate for account in accounts for candidate in account.candidates]
        for one_off in self.one_offs:
            if one_off.subscription is None:
                currency = self.customers[one_off.customer].currency
                alone = Candidate(one_off.at, None, one_off.customer, currency)
                alone.lines.append(one_off.line(currency))
                candidates.append(alone)
        ledger = Ledger(self.customers, self.coupons, self.grants, self.grace, self.now)
        ledger.issue(candidates)
        intake = self.intake
        return {
            "invoices": [invoice.json() for invoice in ledger.invoices],
            "balances": {
                key: balance(customer, accounts, ledger, self.now) for key, customer in self.customers.items()
            },
            "events": {
                "accepted": intake.accepted,
                "duplicate": intake.duplicate,
                "duplicate_conflict": intake.duplicate_conflict,
                "unmatched": intake.unmatched,
                "rejected": intake.rejected,
            },
            "refused": self.refused,
        }


def run(document: Tree) -> Tree:
    """The result of a parsed scenario (every number a `Number`)."""
    world = World(document)
    world.play(document.get("timeline") or [])
    return world.result()


def differences(expect: object, result: object, path: str = "") -> list[str]:
    """What of `expect` the result does not show: a list is compared as given, a map in the keys it names."""
    if isinstance(expect, dict) and isinstance(result, dict):
        found = []
        for key, value in expect.items():
            if key in result:
                found += differences(value, result[key], f"{path}.{key}")
            else:
                found.append(f"{path}.{key}: missing, expected {value!r}")
        return found
    if isinstance(expect, list) and isinstance(result, list):
        if len(expect) != len(result):
            return [f"{path}: {len(result)} entries, expected {len(expect)}: {result!r}"]
        pairs = enumerate(zip(expect, result, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{path}[{i}]")]
    if isinstance(expect, Number) and isinstance(result, int) and not isinstance(result, bool):
        same = number(expect) == result
    else:
        same = type(expect) is type(result) and expect == result
    return [] if same else [f"{path}: {result!r}, expected {expect!r}"]
