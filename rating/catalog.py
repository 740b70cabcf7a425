"""The catalog as billing sees it: meters, and plans in versions that never change (spec 4.1)."""

from collections.abc import Mapping

from rating.terms import FeeTerms, UsageTerms
from schemas.meter import Meter
from schemas.plan import Plan, UsageCharge


class Version:
    """One version of a plan: its charges by how they are billed, and the order of their keys.

    `ValueError` where a price table is none that spec 5 allows: documents are checked before.
    """

    __slots__ = ("advance", "arrears", "key", "order", "plan", "since", "usage", "version")

    def __init__(self, key: str, version: int, since: int, plan: Plan) -> None:
        self.key = key
        self.version = version
        self.since = since
        self.plan = plan
        self.order = {charge: rank for rank, charge in enumerate(plan.charges)}
        self.usage: dict[str, UsageTerms] = {}
        self.advance: dict[str, FeeTerms] = {}
        self.arrears: dict[str, FeeTerms] = {}
        for name, charge in plan.charges.items():
            if isinstance(charge, UsageCharge):
                self.usage[name] = UsageTerms(charge)
            elif charge.bill == "advance":
                self.advance[name] = FeeTerms(charge)
            else:
                self.arrears[name] = FeeTerms(charge)

    @property
    def reference(self) -> str:
        """The version as an act names it: `pro@2`."""
        return f"{self.key}@{self.version}"

    def recurring(self, charge: str) -> FeeTerms | None:
        """The recurring charge of this key, if there is one."""
        return self.advance.get(charge) or self.arrears.get(charge)

    def __repr__(self) -> str:
        return f"Version({self.reference!r})"


class Catalog:
    """Meters by key, and the versions of every plan in the order in which they were made."""

    def __init__(self, meters: Mapping[str, Meter] | None = None, plans: Mapping[str, Plan] | None = None) -> None:
        self.meters: dict[str, Meter] = dict(meters or {})
        self._plans: dict[str, list[Version]] = {}
        for key, plan in (plans or {}).items():
            self.add(key, plan)

    def add(self, key: str, plan: Plan, since: int = 0) -> Version:
        """A new version of a plan, the first one of a new plan included, from an instant on."""
        versions = self._plans.setdefault(key, [])
        versions.append(Version(key, len(versions) + 1, since, plan))
        return versions[-1]

    def find(self, reference: str) -> Version | None:
        """The newest version of a plan (`pro`) or the one that is named (`pro@2`); None if there is none."""
        if reference in self._plans:
            return self._plans[reference][-1]
        key, at, number = reference.rpartition("@")
        versions = self._plans.get(key, []) if at else []
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= len(versions):
            return None
        return versions[int(number) - 1]

    def versions(self, key: str) -> tuple[Version, ...]:
        """All versions of a plan, the oldest first."""
        return tuple(self._plans.get(key, ()))
