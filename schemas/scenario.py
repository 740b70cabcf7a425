"""Scenario files (spec 10): a catalog, what happens to its customers in the order of time, and what must come of it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, cast

import msgspec

from schemas.act import Act, Cancel, Change, Coupon, Grant, OneOff, Subscribe
from schemas.catalog import read_sections
from schemas.checks import check_key, check_plan_key
from schemas.customer import Customer
from schemas.documents import Document, event_json, plain_tree
from schemas.faults import Fault, Path, nearest
from schemas.instants import DAY, HOUR, Duration, Instant
from schemas.meter import Meter
from schemas.plan import Plan
from schemas.reader import BAD, Reading, named, reader_of, struct_reader, unknown_field

EVENT_DEFAULTS: Final = {"specversion": "1.0", "source": "test"}
"""What an event of a scenario need not write (spec 10)."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """`grace` after which a draft becomes final (spec 8.8), `late_window` in which events may be late (spec 2.4)."""

    grace: Duration = Duration(HOUR)
    late_window: Duration = Duration(35 * DAY)


class Void(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Takes an event's effect away, by its identity (spec 2.7); `subject` may be left out."""

    id: str
    source: str = "test"
    subject: str | None = None


class PlanVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A new version of a plan, or a new plan (spec 4.1)."""

    key: str
    plan: Plan


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Events as they arrive: the JSON of each, numbers by their literals; nothing about them is checked here."""

    raw: tuple[bytes, ...]


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the timeline and the instant at which it happens, or is received."""

    at: Instant
    what: Act | Void | PlanVersion | Events


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario; `timeline` is in the order of `at`, entries of one instant in the order of the file.

    `expect` is a plain tree (whole numbers as int, others as text), None if the file expects nothing.
    """

    name: str
    about: str
    now: Instant
    settings: Settings
    meters: dict[str, Meter]
    plans: dict[str, Plan]
    customers: dict[str, Customer]
    timeline: tuple[Happening, ...]
    expect: Any


def read_scenario(document: Document) -> Scenario:
    """The scenario of a document; `DocumentError` with all its faults if it cannot be played."""
    reading = Reading(document)
    return cast(Scenario, reading.result(_scenario(reading)))


def check_scenario(document: Document) -> list[Fault]:
    """All faults and warnings of a scenario, in the order in which they stand in the file; none: it can be played."""
    reading = Reading(document)
    _scenario(reading)
    return reading.sorted_faults()


def _scenario(reading: Reading) -> Any:
    tree = reading.document.tree
    if not isinstance(tree, dict):
        return reading.error((), f"expected a scenario, got {named(tree)}", "write {name: …, now: …, timeline: …}")
    for key in tree:
        if key not in Scenario.__struct_fields__:
            unknown_field(key, Scenario.__struct_fields__, (), reading)
    values = read_sections(tree, reading)
    defaults = {"name": (str, reading.document.name), "about": (str, ""), "settings": (Settings, Settings())}
    for name, (wanted, default) in defaults.items():
        values[name] = reader_of(wanted)(tree[name], (name,), reading) if name in tree else default
    if "now" in tree:
        values["now"] = reader_of(Instant)(tree["now"], ("now",), reading)
    else:
        values["now"] = reading.error((), "the field 'now' is missing", "write now: the instant at which the run ends")
    values["timeline"] = _timeline(tree.get("timeline", []), ("timeline",), reading)
    _unknown_charges(tree, reading)
    values["expect"] = plain_tree(tree.get("expect"))
    return BAD if any(value is BAD for value in values.values()) else Scenario(**values)


def _timeline(tree: Any, at: Path, reading: Reading) -> Any:
    if not isinstance(tree, list):
        return reading.error(at, f"expected a list, got {named(tree)}", "write [{at: …, subscribe: {…}}, …]")
    entries = [_happening(entry, (*at, place), reading) for place, entry in enumerate(tree)]
    if any(entry is BAD for entry in entries):
        return BAD
    for place, (before, after) in enumerate(pairwise(entries), 1):
        if after.at < before.at:
            message = f"{after.at} is before the entry above it ({before.at})"
            reading.warn((*at, place, "at"), message, "it happens in the order of time: move it up")
    return tuple(sorted(entries, key=lambda entry: entry.at))


def _happening(tree: Any, at: Path, reading: Reading) -> Any:
    if not isinstance(tree, dict):
        return reading.error(at, f"expected an entry, got {named(tree)}", "write {at: …, subscribe: {…}}")
    kinds = [key for key in tree if key in _KINDS]
    for key in tree:
        if key not in _KINDS and key != "at":
            unknown_field(key, ("at", *_KINDS), at, reading)
    if len(kinds) != 1:
        message = f"an entry is one thing, this is {' and '.join(kinds)}" if kinds else "it does not say what happens"
        reading.error(at, message, f"write one of {', '.join(_KINDS)}")
    if "at" not in tree:
        reading.error(at, "the field 'at' is missing", "write at: the instant at which it happens")
    instant = reader_of(Instant)(tree["at"], (*at, "at"), reading) if "at" in tree else BAD
    what = [_KINDS[kind](tree[kind], (*at, kind), reading) for kind in kinds]
    if instant is BAD or len(what) != 1 or what[0] is BAD:
        return BAD
    return Happening(at=instant, what=what[0])


def _events(tree: Any, at: Path, reading: Reading) -> Any:
    if not isinstance(tree, list):
        return reading.error(at, f"expected a list of events, got {named(tree)}", "write [{id: …, type: …}, …]")
    return Events(raw=tuple(event_json({**EVENT_DEFAULTS, **e} if isinstance(e, dict) else e) for e in tree))


def _plan_version(tree: Any, at: Path, reading: Reading) -> Any:
    if not isinstance(tree, dict):
        return reading.error(at, f"expected a plan, got {named(tree)}", "write {key: …, currency: …, charges: …}")
    if "key" not in tree:
        reading.error(at, "the field 'key' is missing", "write key: the plan's key")
    key = reader_of(str)(tree["key"], (*at, "key"), reading) if "key" in tree else BAD
    if isinstance(key, str):
        check_plan_key(key, (*at, "key"), reading)
        check_key({"key": key}, "key", at, reading)
    plan = reader_of(Plan)({name: value for name, value in tree.items() if name != "key"}, at, reading)
    return BAD if key is BAD or plan is BAD else PlanVersion(key=key, plan=plan)


def _unknown_charges(tree: dict[str, Any], reading: Reading) -> None:
    """Warn of quantities and coupons for charges that no plan of the file has."""
    timeline = tree.get("timeline")
    entries = [entry for entry in timeline if isinstance(entry, dict)] if isinstance(timeline, list) else []
    plans = list(_map(tree, "plans").values()) + [_map(entry, "plan") for entry in entries]
    known = {key for plan in plans for key in _map(plan, "charges")}
    for place, entry in enumerate(timeline if isinstance(timeline, list) else ()):
        uses: list[tuple[Path, Any]] = [
            ((act, "quantities", key), key) for act in ("subscribe", "change") for key in _quantities(entry, act)
        ]
        charges = _map(entry, "coupon").get("charges")
        if isinstance(charges, list):
            uses += [(("coupon", "charges", at), key) for at, key in enumerate(charges)]
        for path, key in uses:
            if isinstance(key, str) and key not in known:
                message = f"no plan of this file has a charge {key[:80]!r}"
                reading.warn(("timeline", place, *path), message, nearest(key, known), of_key=path[1] == "quantities")


def _map(tree: Any, key: str) -> dict[str, Any]:
    part = tree.get(key) if isinstance(tree, dict) else None
    return part if isinstance(part, dict) else {}


def _quantities(entry: Any, act: str) -> dict[str, Any]:
    return _map(_map(entry, act), "quantities")


_KINDS: Final[dict[str, Callable[[Any, Path, Reading], Any]]] = {
    "subscribe": struct_reader(Subscribe),
    "change": struct_reader(Change),
    "cancel": struct_reader(Cancel),
    "grant": struct_reader(Grant),
    "coupon": struct_reader(Coupon),
    "one_off": struct_reader(OneOff),
    "void": struct_reader(Void),
    "events": _events,
    "plan": _plan_version,
}
