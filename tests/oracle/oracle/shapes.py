"""Random meters, plans and customers for `generate`: small, valid, and of every kind."""

from random import Random
from typing import Any

from oracle.numbers import Number

Tree = dict[str, Any]

MODELS = ("large", "small", "tiny")
REGIONS = ("eu", "us", "")
ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Amsterdam",
    "Asia/Kolkata",
    "Pacific/Auckland",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "America/Havana",
    "Pacific/Apia",
)
METERS: dict[str, Tree] = {
    "calls": {"event_type": "call", "aggregation": "count"},
    "tokens": {"event_type": "call", "aggregation": "sum", "value": "data.n"},
    "peak": {"event_type": "call", "aggregation": "max", "value": "data.n"},
    "low": {"event_type": "call", "aggregation": "min", "value": "data.n"},
    "last": {"event_type": "call", "aggregation": "latest", "value": "data.n"},
    "users": {"event_type": "login", "aggregation": "unique", "value": "data.user"},
    "disk": {"event_type": "disk", "aggregation": "time_weighted", "value": "data.gb", "unit": "hour"},
    "space": {"event_type": "disk", "aggregation": "time_weighted", "value": "data.gb", "unit": "period"},
}
_DIMENSIONS = {"model": "data.model", "region": "data.region"}


def decimal(random: Random, most: int, places: int = 2) -> str:
    """A decimal text from 0 to `most`."""
    digits = random.randint(0, places)
    return f"{random.randint(0, most * 10**digits)}e-{digits}" if digits == 1 else _point(random, most, digits)


def _point(random: Random, most: int, digits: int) -> str:
    whole = random.randint(0, most)
    return f"{whole}.{random.randint(0, 10**digits - 1):0{digits}}" if digits else str(whole)


def literal(random: Random, text: str) -> str:
    """The decimal as text, or as the literal of a number."""
    return Number(text) if random.random() < 0.3 else text


def meter(random: Random, key: str) -> Tree:
    """One of the meters, with dimensions and now and then a filter."""
    tree = {**METERS[key], "dimensions": dict(_DIMENSIONS)}
    if random.random() < 0.3:
        tree["where"] = {"data.ok": random.choice([["true"], ["true", "1"], ["", "true"]])}
    return tree


def _tiers(random: Random, fields: tuple[str, ...]) -> list[Tree]:
    bounds = sorted(random.sample([0, 1, 5, 10, 20, 50, 100, 1000], random.randint(1, 3)))
    tiers: list[Tree] = []
    for bound in [*bounds, None]:
        tier: Tree = {"up_to": None if bound is None else literal(random, str(bound))}
        for name in fields:
            if random.random() < 0.7:
                tier[name] = literal(random, decimal(random, 3, 3))
        tiers.append(tier)
    return tiers


def price(random: Random) -> Tree:
    """A price table of any model."""
    model = random.choice(["per_unit", "graduated", "volume", "stairstep", "package", "percentage"])
    tree: Tree = {"model": model}
    if model == "per_unit":
        tree["unit"] = literal(random, decimal(random, 2, 4))
    elif model in ("graduated", "volume"):
        tree["tiers"] = _tiers(random, ("unit", "flat"))
    elif model == "stairstep":
        tree["tiers"] = _tiers(random, ("flat",))
    elif model == "package":
        tree |= {"size": str(random.choice([1, 3, 10, "2.5"])), "amount": decimal(random, 9)}
    else:
        tree["rate"] = decimal(random, 30, 3)
    if model in ("per_unit", "graduated", "volume") and random.random() < 0.4:
        tree["per"] = Number(random.choice([3, 7, 10, 1000]))
    if random.random() < 0.3:
        tree["included"] = literal(random, str(random.choice([1, 5, 20, 100])))
    return tree


def usage_charge(random: Random, meter_key: str) -> Tree:
    """A usage charge on a meter."""
    tree: Tree = {"meter": meter_key, "price": price(random)}
    if random.random() < 0.25:
        cases = {value: price(random) for value in random.sample(MODELS, random.randint(1, 2))}
        by_value: Tree = {"dimension": "model", "cases": cases}
        if random.random() < 0.6:
            by_value["otherwise"] = price(random)
        tree["price"] = {"by_value": by_value}
    if random.random() < 0.3:
        apart = [["region"]] if "by_value" in tree["price"] else [["region"], ["model"], ["region", "model"]]
        tree["by"] = random.choice(apart)
    if random.random() < 0.35:
        tree["where"] = {"region": random.choice([["eu"], ["us", ""], ["eu", "us"]])}
    if random.random() < 0.3:
        tree["minimum"] = decimal(random, 20)
    elif random.random() < 0.3:
        tree["maximum"] = decimal(random, 20)
    if random.random() < 0.3:
        tree["prorated"] = True
    return tree


def fee(random: Random, bill: str, prorate: str) -> Tree:
    """A recurring charge. One key keeps its `bill`, and whether it is split at all, in all plans."""
    recurring: object = decimal(random, 99)
    if random.random() < 0.4:
        recurring = price(random)
    tree: Tree = {"recurring": recurring, "bill": bill}
    if prorate == "none" or random.random() < 0.7:
        tree["prorate"] = "none" if prorate == "none" else random.choice(["second", "day"])
    return tree


def charges(random: Random, meters: list[str]) -> dict[str, list[Tree]]:
    """The charge keys of a scenario, each with two or three definitions for its plans to choose from."""
    found: dict[str, list[Tree]] = {}
    for key in random.sample(["base", "seats", "extra"], random.randint(1, 3)):
        bill = random.choice(["advance", "advance", "arrears"])
        prorate = random.choice(["split", "split", "split", "none"])
        found[key] = [fee(random, bill, prorate) for _ in range(2)]
    for number, key in enumerate(random.choices(meters, k=random.randint(1, 3))):
        found[f"u{number}-{key}"] = [usage_charge(random, key) for _ in range(2)]
    return found


def plan(random: Random, pool: dict[str, list[Tree]], currency: str, period: object) -> Tree:
    """A plan made of the scenario's charges."""
    keys = random.sample(sorted(pool), random.randint(1, len(pool)))
    tree: Tree = {
        "currency": currency,
        "period": period,
        "charges": {key: random.choice(pool[key]) for key in keys},
    }
    unit = period["unit"] if isinstance(period, dict) else period
    if random.random() < 0.5:
        tree["align"] = "calendar"
    elif unit not in ("day", "week") and random.random() < 0.3:
        tree["anchor_day"] = Number(random.choice([1, 15, 28]))
    if random.random() < 0.2:
        tree["trial_days"] = Number(random.randint(1, 9))
    if random.random() < 0.25:
        tree["minimum"] = decimal(random, 80)
    return tree


def customer(random: Random, currency: str) -> Tree:
    """A customer."""
    tree: Tree = {"currency": currency}
    if random.random() < 0.7:
        tree["timezone"] = random.choice(ZONES)
    if random.random() < 0.4:
        taxes = [{"name": "VAT", "rate": decimal(random, 25)}, {"name": "city", "rate": "1.5"}]
        tree["taxes"] = taxes[: random.randint(1, 2)]
    if random.random() < 0.3:
        tree["consolidate"] = True
    return tree
