"""Meters, plans and customers of a document, in canonical form: two equal definitions compare equal."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from oracle.numbers import number, text_of
from oracle.periods import Length, parse_length
from oracle.prices import ByValue, Price, parse_any_price, parse_price

Where = tuple[tuple[str, frozenset[str]], ...]


@dataclass(frozen=True)
class Meter:
    """Which events count, and how (3.1, 3.2)."""

    key: str
    event_type: str
    aggregation: str
    value: str | None
    unit: str | None
    where: Where
    dimensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class UsageCharge:
    """A price on a meter (4.3)."""

    meter: str
    price: Price | ByValue
    where: Where
    by: tuple[str, ...]
    minimum: Fraction | None
    maximum: Fraction | None
    prorated: bool

    @property
    def kept_apart(self) -> tuple[str, ...]:
        """The dimensions whose combinations are rated alone: those of `by`, then that of `by_value`."""
        if isinstance(self.price, ByValue) and self.price.dimension not in self.by:
            return (*self.by, self.price.dimension)
        return self.by


@dataclass(frozen=True)
class Fee:
    """A recurring charge (4.2): its price for a full period, when it is billed, how it is split."""

    price: Fraction | Price
    bill: str
    prorate: str


Charge = UsageCharge | Fee


@dataclass(frozen=True)
class Plan:
    """One version of a plan (4.1). `charges` in the order of the document."""

    key: str
    version: int
    currency: str
    period: object
    align: str
    anchor_day: int | None
    trial_days: int
    minimum: Fraction | None
    charges: dict[str, Charge]

    @property
    def length(self) -> Length:
        """The length of its period, by which 7.5 compares plans."""
        return parse_length(self.period)

    def usage(self) -> dict[str, UsageCharge]:
        """Its usage charges."""
        return {key: charge for key, charge in self.charges.items() if isinstance(charge, UsageCharge)}

    def fees(self) -> dict[str, Fee]:
        """Its recurring charges."""
        return {key: charge for key, charge in self.charges.items() if isinstance(charge, Fee)}


@dataclass(frozen=True)
class Customer:
    """Who pays."""

    key: str
    currency: str
    zone: ZoneInfo
    taxes: tuple[tuple[str, Fraction], ...]
    consolidate: bool


def _optional(tree: dict[str, Any], name: str) -> Fraction | None:
    return None if tree.get(name) is None else number(tree[name])


def _where(tree: dict[str, Any] | None) -> Where:
    return tuple(sorted((path, frozenset(map(text_of, values))) for path, values in (tree or {}).items()))


def parse_meter(key: str, tree: dict[str, Any]) -> Meter:
    """A meter of a document."""
    return Meter(
        key,
        tree["event_type"],
        tree["aggregation"],
        tree.get("value"),
        tree.get("unit"),
        _where(tree.get("where")),
        tuple((tree.get("dimensions") or {}).items()),
    )


def _charge(tree: dict[str, Any]) -> Charge:
    if "recurring" in tree:
        price = tree["recurring"]
        return Fee(
            parse_price(price) if isinstance(price, dict) else number(price),
            tree.get("bill", "advance"),
            tree.get("prorate", "second"),
        )
    return UsageCharge(
        tree["meter"],
        parse_any_price(tree["price"]),
        _where(tree.get("where")),
        tuple(tree.get("by") or ()),
        _optional(tree, "minimum"),
        _optional(tree, "maximum"),
        bool(tree.get("prorated", False)),
    )


def parse_plan(key: str, version: int, tree: dict[str, Any]) -> Plan:
    """One version of a plan of a document."""
    anchor_day = tree.get("anchor_day")
    return Plan(
        key,
        version,
        tree["currency"],
        tree["period"],
        tree.get("align", "anniversary"),
        None if anchor_day is None else int(number(anchor_day)),
        int(number(tree.get("trial_days") or "0")),
        _optional(tree, "minimum"),
        {name: _charge(charge) for name, charge in tree["charges"].items()},
    )


def parse_customer(key: str, tree: dict[str, Any]) -> Customer:
    """A customer of a document."""
    return Customer(
        key,
        tree["currency"],
        ZoneInfo(tree.get("timezone", "UTC")),
        tuple((tax["name"], number(tax["rate"])) for tax in tree.get("taxes") or ()),
        bool(tree.get("consolidate", False)),
    )


class Plans:
    """All versions of all plans; `p` is the newest version of p, `p@2` its second."""

    def __init__(self) -> None:
        self._versions: dict[str, list[Plan]] = {}

    def add(self, key: str, tree: dict[str, Any]) -> None:
        """A new version."""
        versions = self._versions.setdefault(key, [])
        versions.append(parse_plan(key, len(versions) + 1, tree))

    def find(self, name: str) -> Plan | None:
        """The plan of a name, None if it is unknown."""
        if name in self._versions:
            return self._versions[name][-1]
        key, _, version = name.rpartition("@")
        versions = self._versions.get(key, [])
        return versions[int(version) - 1] if version.isdigit() and 1 <= int(version) <= len(versions) else None
