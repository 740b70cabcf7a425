"""Meters (spec 3): which events count, and how."""

from typing import Literal

import msgspec

Aggregation = Literal["count", "sum", "max", "min", "latest", "unique", "time_weighted"]
LevelUnit = Literal["second", "hour", "day", "period"]


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Events of one type that pass `where`, aggregated; `value` is a dotted path from the event (`data.tokens`).

    `where` maps a dotted path to the allowed texts (spec 3.1), `dimensions` a name to a dotted path (spec 3.4),
    `unit` is the unit of time of `time_weighted` (spec 3.3).
    """

    event_type: str
    aggregation: Aggregation
    value: str | None = None
    unit: LevelUnit | None = None
    where: dict[str, tuple[str, ...]] = {}
    dimensions: dict[str, str] = {}
