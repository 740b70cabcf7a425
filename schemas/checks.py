"""What the types of the structs cannot say about a catalog (spec 1.3, 3, 4, 5, 6, 8.5), each as a check of one struct.

A check gets a struct's values by field (`BAD`, or absent with its default, where there is none), the tree as it is
written, and its path. It notes everything it finds.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from schemas.currency import CURRENCIES
from schemas.customer import Customer, Tax
from schemas.faults import Path, nearest
from schemas.meter import Meter
from schemas.numbers import Number
from schemas.plan import Period, Plan, UsageCharge
from schemas.price import ByValue, Graduated, Package, Percentage, PerUnit, Stairstep, Volume
from schemas.reader import BAD, CHECKS, Reading

EVERY_MAX: Final = 1_000
TRIAL_DAYS_MAX: Final = 36_500
KEY_MAX: Final = 255

_ATTRIBUTES: Final = ("data", "type", "source", "subject", "id", "time", "subscription")


def key_fault(key: str) -> str | None:
    """What is wrong with a key, else None: 1 to 255 characters, no control characters, no blanks at the edges."""
    if not 1 <= len(key) <= KEY_MAX:
        return f"a key has 1 to {KEY_MAX} characters"
    if not key.isprintable() and any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in key):
        return "a key has no control characters"
    return "a key has no blanks at its edges" if key != key.strip() else None


def check_keys(tree: Any, at: Path, reading: Reading) -> None:
    """Note the keys of a map that can be no keys."""
    for key in tree if isinstance(tree, dict) else ():
        if message := key_fault(key):
            reading.error((*at, key), message, "choose another", of_key=True)


def check_key(values: Mapping[str, Any], name: str, at: Path, reading: Reading) -> None:
    """Note a field whose text can be no key."""
    if isinstance(key := values.get(name), str) and (message := key_fault(key)):
        reading.error((*at, name), message, "choose another")


def check_plan_key(key: str, at: Path, reading: Reading, *, of_key: bool = False) -> None:
    """Note a plan's key that would read as a version (`pro@2`)."""
    if "@" in key:
        reading.error(at, f"{key[:80]!r} reads as a version of a plan", "choose a key without @", of_key=of_key)


def check_currency(values: Mapping[str, Any], at: Path, reading: Reading) -> None:
    """Note a `currency` that ISO 4217 does not know."""
    code = values.get("currency")
    if isinstance(code, str) and code not in CURRENCIES:
        fix = f"write {code.upper()}" if code.upper() in CURRENCIES else "write a code such as USD, EUR or JPY"
        reading.error((*at, "currency"), f"{code[:80]!r} is no currency of ISO 4217", fix)


def check_bound(
    values: Mapping[str, Any], name: str, at: Path, reading: Reading, *, least: int = 0, most: int | None = None
) -> None:
    """Note a number that is out of its bounds, both included."""
    value = values.get(name)
    if not isinstance(value, Number | int) or isinstance(value, bool):
        return
    if value < least:
        reading.error((*at, name), f"{value} is below {least}", f"write {least} or more")
    elif most is not None and value > most:
        reading.error((*at, name), f"{value} is beyond {most}", f"write {most} at the most")


def _meter(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    aggregation = values.get("aggregation")
    if "aggregation" in values and aggregation is not BAD:
        value, unit = values.get("value"), values.get("unit")
        if aggregation == "count" and value is not None:
            reading.error((*at, "value"), "count counts events and has no value", "remove it", of_key=True)
        if aggregation != "count" and value is None:
            reading.error(at, f"{aggregation} needs a value", "write value: data.… (the path of what it takes)")
        if aggregation == "time_weighted" and unit is None:
            reading.error(at, "time_weighted needs a unit of time", "write unit: second | hour | day | period")
        if aggregation != "time_weighted" and unit is not None:
            reading.error((*at, "unit"), f"{aggregation} has no unit of time", "remove it", of_key=True)
    check_key(values, "event_type", at, reading)
    check_keys(tree.get("dimensions"), (*at, "dimensions"), reading)
    _path_of(values.get("value"), (*at, "value"), reading)
    for path in tree["where"] if isinstance(tree.get("where"), dict) else ():
        _path_of(path, (*at, "where", path), reading, of_key=True)
    dimensions = values.get("dimensions")
    for name, path in dimensions.items() if isinstance(dimensions, dict) else ():
        _path_of(path, (*at, "dimensions", name), reading)


def _path_of(path: Any, at: Path, reading: Reading, *, of_key: bool = False) -> None:
    """A dotted path from the event; one that begins elsewhere than an event does finds nothing, mostly."""
    if not isinstance(path, str):
        return
    steps = path.split(".")
    if "" in steps:
        reading.error(at, f"{path[:80]!r} is no dotted path", "write it such as data.tokens", of_key=of_key)
    elif steps[0] not in _ATTRIBUTES:
        reading.warn(
            at, f"an event has no {steps[0][:80]!r} of its own", f"did you mean data.{path[:80]}?", of_key=of_key
        )


def _per_unit(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_bound(values, "included", at, reading)
    for name in ("per", "size"):
        value = values.get(name)
        if isinstance(value, Number) and value <= 0:
            reading.error((*at, name), f"{value} units are no divisor", "write a number above 0")


def _tiered(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    _per_unit(values, tree, at, reading)
    tiers = tree.get("tiers")
    if not isinstance(tiers, list):
        return
    at = (*at, "tiers")
    if not tiers:
        reading.error(at, "a table needs a tier", "write [{up_to: null, …}]")
    before: Number | None = None
    for place, tier in enumerate(tiers):
        if not isinstance(tier, dict) or "up_to" not in tier:
            continue
        here, last = (*at, place, "up_to"), place == len(tiers) - 1
        if tier["up_to"] is None:
            if not last:
                reading.error(here, "only the last tier is open", "give this one a bound, or remove those after it")
            continue
        if last:
            reading.error(here, "the last tier must be open", "write up_to: null, or add a tier {up_to: null, …}")
        bound = _number(tier["up_to"])
        if bound is not None and before is None and bound < 0:
            reading.error(here, f"{bound} is below 0", "the first bound is 0 or more")
        if bound is not None and before is not None and bound <= before:
            reading.error(here, f"{bound} does not rise above {before} of the tier before it", "bounds rise strictly")
        before = bound if bound is not None else before


def _stairstep(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    _tiered(values, tree, at, reading)
    tiers = tree.get("tiers")
    for place, tier in enumerate(tiers) if isinstance(tiers, list) else ():
        if isinstance(tier, dict) and "unit" in tier:
            here = (*at, "tiers", place, "unit")
            reading.error(here, "a stairstep has no price per unit", "write flat, or take model: volume", of_key=True)


def _number(tree: Any) -> Number | None:
    try:
        return Number.parse(tree) if isinstance(tree, str) else None
    except ValueError:
        return None


def _by_value(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    if values.get("cases") == {} and values.get("otherwise") is None:
        reading.error((*at, "cases"), "no value has a price", "name a value, or give otherwise: …")


def _usage(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_bound(values, "minimum", at, reading)
    check_bound(values, "maximum", at, reading)
    low, high = values.get("minimum"), values.get("maximum")
    if isinstance(low, Number) and isinstance(high, Number) and low > high:
        reading.error((*at, "minimum"), f"the minimum {low} is beyond the maximum {high}", "swap or change them")
    by = values.get("by")
    by = by if isinstance(by, tuple) else ()
    for place, name in enumerate(by):
        if name in by[:place]:
            reading.error((*at, "by", place), f"{name!r} is named twice", "remove one")
    price = tree.get("price")
    own = price.get("by_value") if isinstance(price, dict) else None
    dimension = own.get("dimension") if isinstance(own, dict) else None
    if dimension in by:
        fix = "leave it out of by: by_value keeps its values apart already"
        reading.error((*at, "by", by.index(dimension)), f"{dimension!r} is the dimension of by_value too", fix)
    if reading.meters is not None and isinstance(values.get("meter"), str):
        where = tree["where"] if isinstance(tree.get("where"), dict) else {}
        _references(values["meter"], where, by, dimension, at, reading)


def _references(meter: str, where: Any, by: tuple[str, ...], dimension: Any, at: Path, reading: Reading) -> None:
    """The meter and the dimensions that a usage charge names exist."""
    known = reading.meters or {}
    if meter not in known:
        reading.error((*at, "meter"), f"there is no meter {meter[:80]!r}", nearest(meter, known))
        return
    if not isinstance(known[meter], Meter):
        return
    dimensions = known[meter].dimensions
    uses: list[tuple[Path, Any]] = [((*at, "where", name), name) for name in where]
    uses += [((*at, "by", place), name) for place, name in enumerate(by)]
    uses += [((*at, "price", "by_value", "dimension"), dimension)] if isinstance(dimension, str) else []
    for here, name in uses:
        if name not in dimensions:
            message = f"the meter {meter!r} has no dimension {name[:80]!r}"
            reading.error(here, message, nearest(name, dimensions), of_key=here[-2] == "where")


def _period(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_bound(values, "every", at, reading, least=1, most=EVERY_MAX)
    if values.get("unit") in ("quarter", "half_year") and "every" in tree:
        months = 3 if values["unit"] == "quarter" else 6
        reading.error((*at, "unit"), f"{values['unit']} cannot be multiplied", f"count months: {months} each")


def _plan(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_currency(values, at, reading)
    check_bound(values, "minimum", at, reading)
    check_bound(values, "trial_days", at, reading, most=TRIAL_DAYS_MAX)
    check_keys(tree.get("charges"), (*at, "charges"), reading)
    day, period = values.get("anchor_day"), values.get("period")
    if isinstance(day, int):
        check_bound(values, "anchor_day", at, reading, least=1, most=31)
        if isinstance(period, Period) and period.unit in ("day", "week"):
            message = f"a period of {period.unit}s has no day of the month"
            reading.error((*at, "anchor_day"), message, "remove it", of_key=True)
        if values.get("align") == "calendar":
            reading.warn((*at, "anchor_day"), "align: calendar begins on the 1st", "remove one of the two", of_key=True)
    seen: dict[Any, str] = {}
    charges = values.get("charges")
    for key, charge in charges.items() if isinstance(charges, dict) else ():
        if isinstance(charge, UsageCharge):
            same = (charge.meter, tuple(sorted((name, tuple(sorted(set(v)))) for name, v in charge.where.items())))
            if same in seen:
                message = f"bills the same usage as the charge {seen[same]!r}"
                reading.warn((*at, "charges", key), message, "right if both are meant, else give each its where")
            seen.setdefault(same, key)


def _customer(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_currency(values, at, reading)
    zone = values.get("timezone")
    if isinstance(zone, str) and not _known_zone(zone):
        message = f"{zone[:80]!r} is no time zone of the IANA database"
        close = nearest(zone, available_timezones())
        fix = close if close.startswith("did") else "write a name such as Europe/Amsterdam"
        reading.error((*at, "timezone"), message, fix)


@cache
def _known_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name)) and name != "localtime"
    except (ValueError, OSError, KeyError):
        return False


def _tax(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_bound(values, "rate", at, reading, most=100)
    check_key(values, "name", at, reading)


CHECKS.update(
    {
        Meter: _meter,
        PerUnit: _per_unit,
        Graduated: _tiered,
        Volume: _tiered,
        Stairstep: _stairstep,
        Package: _per_unit,
        Percentage: _per_unit,
        ByValue: _by_value,
        UsageCharge: _usage,
        Period: _period,
        Plan: _plan,
        Customer: _customer,
        Tax: _tax,
    }
)
