"""Plays a scenario through the HTTP API of a running engine, entry by entry (spec 10)."""

from typing import Any
from urllib.parse import quote

from metering.testing.engine import Engine
from metering.usage.fold import LIVE
from schemas.act import Act, Cancel, Change, Coupon, Grant, OneOff, Subscribe
from schemas.codec import to_tree
from schemas.scenario import Events, PlanVersion, Scenario, Void


def not_playable(scenario: Scenario) -> str | None:
    """Why the live system cannot play a scenario yet, None if it can."""
    if any(meter.aggregation not in LIVE for meter in scenario.meters.values()):
        return "an aggregation that is not live yet"
    if any(isinstance(entry.what, Void) for entry in scenario.timeline):
        return "voids are not live yet"
    return None


class Live:
    """One scenario on one fresh engine, whose clock stands at the first entry."""

    def __init__(self, engine: Engine, scenario: Scenario) -> None:
        self._engine = engine
        self._scenario = scenario
        self.refused: list[dict[str, str]] = []

    async def play(self) -> None:
        """Catalog and customers, then the timeline up to the scenario's `now`."""
        scenario = self._scenario
        catalog = {"meters": to_tree(scenario.meters), "plans": to_tree(scenario.plans)}
        answer = await self._engine.api.post("/v1/catalog", {**catalog, "customers": to_tree(scenario.customers)})
        assert answer.status == 200, answer
        for entry in scenario.timeline:
            if entry.at > scenario.now:
                continue
            if entry.at > self._engine.clock.now():
                await self._engine.move(entry.at)
            match entry.what:
                case Events():
                    await self._engine.send_raw(entry.what.raw)
                case PlanVersion():
                    made = await self._engine.api.put(f"/v1/plans/{_part(entry.what.key)}", to_tree(entry.what.plan))
                    assert made.status < 300, made
                case Void():
                    raise NotImplementedError("see `not_playable`")
                case act:
                    await self._act(str(entry.at), act)
        if scenario.now > self._engine.clock.now():
            await self._engine.move(scenario.now)

    async def invoices(self) -> list[dict[str, Any]]:
        """All invoices, without their ids, in the order of spec 10."""
        found: list[dict[str, Any]] = []
        path = "/v1/invoices?limit=500"
        while True:
            tree = (await self._engine.api.get(path)).tree
            found += tree["items"]
            if tree["next"] is None:
                break
            path = f"/v1/invoices?limit=500&cursor={tree['next']}"
        for invoice in found:
            invoice.pop("id")
        return sorted(
            found, key=lambda one: (one["issued"], one["subscription"] is not None, one["subscription"] or "")
        )

    async def balances(self) -> dict[str, Any]:
        """The balance of every customer, without `as_of`."""
        found = {}
        for key in self._scenario.customers:
            tree = (await self._engine.api.get(f"/v1/customers/{_part(key)}/balance")).tree
            tree.pop("as_of", None)
            found[key] = tree
        return found

    async def _act(self, at: str, act: Act) -> None:
        path, body = _request(act)
        answer = await self._engine.api.post(path, body)
        again = isinstance(act, Subscribe) and answer.status == 200  # here an answer, in a scenario a refusal
        if again or answer.status >= 400:
            code = "subscription_exists" if again else answer.tree["code"]
            self.refused.append({"at": at, "act": str(act.__struct_config__.tag), "code": code})


def _request(act: Act) -> tuple[str, dict[str, Any]]:
    body = to_tree(act)
    body.pop("act")
    match act:
        case Subscribe():
            return "/v1/subscriptions", body
        case Change() | Cancel():
            kind = "change" if isinstance(act, Change) else "cancel"
            return f"/v1/subscriptions/{_part(body.pop('subscription'))}/{kind}", body
        case Grant() | Coupon():
            kind = "grants" if isinstance(act, Grant) else "coupons"
            return f"/v1/customers/{_part(body.pop('customer'))}/{kind}", body
        case OneOff() if act.subscription is not None:
            return f"/v1/subscriptions/{_part(body.pop('subscription'))}/charges", body
        case OneOff():
            return f"/v1/customers/{_part(body.pop('customer'))}/charges", body


def _part(key: str) -> str:
    return quote(key, safe="")
