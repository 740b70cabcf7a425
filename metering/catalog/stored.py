"""The catalog as it is kept: meters, and plans in versions that never change; and what a change of it would do."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from metering.usage.fold import LIVE
from schemas.instants import Instant
from schemas.meter import Meter
from schemas.plan import Plan, UsageCharge


class PlanVersion(NamedTuple):
    """A plan as it is from `since` on, until the next version."""

    key: str
    version: int
    since: Instant
    plan: Plan


class Stored(NamedTuple):
    """All of the catalog; `version` grows with every change, so equal versions mean equal catalogs."""

    version: int
    meters: dict[str, Meter]
    plans: dict[str, tuple[PlanVersion, ...]]

    def latest(self, key: str) -> PlanVersion | None:
        """The version of a plan that new subscriptions get."""
        versions = self.plans.get(key)
        return versions[-1] if versions else None


class MeterChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of meters by what would happen to them."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


class PlanChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of plans; those that are added or changed with the version that they would get."""

    added: dict[str, int]
    changed: dict[str, int]
    unchanged: dict[str, int]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a catalog would change, and what speaks against it."""

    meters: MeterChanges
    plans: PlanChanges

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.meters.added or self.meters.changed or self.plans.added or self.plans.changed)


def difference(stored: Stored, meters: Mapping[str, Meter], plans: Mapping[str, Plan]) -> Difference:
    """What applying these meters and plans would do; those that are not named stay as they are."""
    latest = {key: versions[-1] for key, versions in stored.plans.items()}
    known = stored.meters
    return Difference(
        meters=MeterChanges(
            added=tuple(key for key in meters if key not in known),
            changed=tuple(key for key in meters if key in known and meters[key] != known[key]),
            unchanged=tuple(key for key in meters if meters[key] == known.get(key)),
        ),
        plans=PlanChanges(
            added={key: 1 for key in plans if key not in latest},
            changed={
                key: latest[key].version + 1
                for key, plan in plans.items()
                if key in latest and not same_plan(plan, latest[key].plan)
            },
            unchanged={
                key: latest[key].version
                for key, plan in plans.items()
                if key in latest and same_plan(plan, latest[key].plan)
            },
        ),
    )


def same_plan(one: Plan, other: Plan) -> bool:
    """Whether two plans bill alike, line by line: the order of the charges is the order of the lines."""
    return one == other and list(one.charges) == list(other.charges)


def fixed_meters(stored: Stored, meters: Mapping[str, Meter]) -> list[str]:
    """Meters whose change would make their kept usage unreadable: another aggregation, or other dimensions."""
    return [
        key
        for key, meter in meters.items()
        if (known := stored.meters.get(key)) is not None
        and (known.aggregation != meter.aggregation or list(known.dimensions) != list(meter.dimensions))
    ]


def not_live(meters: Mapping[str, Meter], known: Mapping[str, Meter], plans: Mapping[str, Plan]) -> list[str]:
    """A sentence for each meter, and each usage charge, that counts in a way that the stream cannot keep yet."""
    said = [
        f"meters.{key}: the live system keeps count and sum so far, not {meter.aggregation}"
        for key, meter in meters.items()
        if meter.aggregation not in LIVE
    ]
    merged = {**known, **meters}
    for key, plan in plans.items():
        for name, charge in plan.charges.items():
            if not isinstance(charge, UsageCharge):
                continue
            meter = merged.get(charge.meter)
            if meter is not None and meter.aggregation not in LIVE:
                said.append(
                    f"plans.{key}.charges.{name}: usage is billed live by count and sum, not {meter.aggregation}"
                )
    return said
