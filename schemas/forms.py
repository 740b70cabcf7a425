"""How documents write prices, charges, periods and filters (spec 3.1, 4.2, 5.2, 6.3), read into structs.

Whoever reads documents imports this module: it brings the checks of all structs with it.
"""

from typing import Any, Final, get_type_hints

import schemas.act_checks  # noqa: F401 - the checks of acts, and with them those of the catalog
from schemas.documents import Numeral
from schemas.faults import Path, nearest
from schemas.numbers import Number, plain_text
from schemas.plan import Charge, Period, RecurringCharge, UsageCharge
from schemas.price import (
    ByValue,
    Graduated,
    Model,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceTable,
    Stairstep,
    Volume,
)
from schemas.reader import BAD, WRITTEN, Reading, named, reader_of, struct_reader

MODELS: Final[dict[str, type[Model]]] = {
    "per_unit": PerUnit,
    "graduated": Graduated,
    "volume": Volume,
    "stairstep": Stairstep,
    "package": Package,
    "percentage": Percentage,
}
"""The name of a price model, as documents write it, and its struct."""


def allowed_texts(tree: Any, at: Path, reading: Reading) -> Any:
    """`where`: a key -> the texts that its value may have; numbers and truth values by their text (spec 3.1)."""
    if not isinstance(tree, dict):
        return reading.error(at, f"expected a map, got {named(tree)}", "write {key: [value, …]}")
    return _whole({key: _texts(value, (*at, key), reading) for key, value in tree.items()})


def _texts(tree: Any, at: Path, reading: Reading) -> Any:
    if not isinstance(tree, list):
        return reading.error(at, f"expected a list of values, got {named(tree)}", "write [value, …]")
    if not tree:
        return reading.error(
            at, "the list allows no value, so nothing would ever pass", "name a value or remove the key"
        )
    texts = tuple(_value_text(value, (*at, place), reading) for place, value in enumerate(tree))
    return BAD if BAD in texts else texts


def _value_text(tree: Any, at: Path, reading: Reading) -> Any:
    """The text of a scalar as events' values are compared (spec 3.1)."""
    if isinstance(tree, Numeral):
        number = reader_of(Number)(tree, at, reading)
        return BAD if number is BAD else plain_text(number)
    if isinstance(tree, str):
        return tree
    if tree is None or isinstance(tree, bool):
        return "" if tree is None else str(tree).lower()
    return reading.error(at, f"expected a value, got {named(tree)}", "write text, a number, true, false or null")


def period(tree: Any, at: Path, reading: Reading) -> Any:
    """`month`, or `{every: 3, unit: month}`."""
    if not isinstance(tree, str):
        return _PERIOD(tree, at, reading)
    unit = _UNIT(tree, at, reading)
    return BAD if unit is BAD else Period(unit)


def price_table(tree: Any, at: Path, reading: Reading) -> Any:
    """A price of one quantity: `{model: …}`, or a plain amount for each unit."""
    if isinstance(tree, str):
        unit = reader_of(Number)(tree, at, reading)
        return BAD if unit is BAD else PerUnit(unit=unit)
    if not isinstance(tree, dict):
        return reading.error(at, f"expected a price, got {named(tree)}", 'write {model: per_unit, unit: "0.10"}')
    if "by_value" in tree:
        return reading.error(
            (*at, "by_value"),
            "by_value prices usage only, and not inside itself",
            "write a {model: …} here",
            of_key=True,
        )
    model = tree.get("model")
    if model is None:
        return reading.error(at, "the field 'model' is missing", f"write model: {' | '.join(MODELS)}")
    if not isinstance(model, str) or model not in MODELS:
        fix = nearest(model, MODELS) if isinstance(model, str) else f"known are {', '.join(MODELS)}"
        return reading.error((*at, "model"), f"{named(model)} is no price model", fix)
    return _TABLES[model](tree, at, reading)


def price(tree: Any, at: Path, reading: Reading) -> Any:
    """A price of usage: a table, or `{by_value: {dimension, cases, otherwise}}`."""
    if isinstance(tree, dict):
        if set(tree) == {"by_value"}:
            return _BY_VALUE(tree["by_value"], (*at, "by_value"), reading)
        if "by_value" in tree:
            beside = ", ".join(key for key in tree if key != "by_value")
            return reading.error(at, f"by_value stands alone, not beside {beside}", "move it into the cases' prices")
        if tree.get("model") == "by_value":
            return _BY_VALUE(tree, at, reading)
    return price_table(tree, at, reading)


def charge(tree: Any, at: Path, reading: Reading) -> Any:
    """A charge with `recurring` is recurring, one with `meter` is usage; `kind` need not be written."""
    if not isinstance(tree, dict):
        return reading.error(
            at, f"expected a charge, got {named(tree)}", "write {recurring: …} or {meter: …, price: …}"
        )
    if "recurring" in tree and ("meter" in tree or "price" in tree):
        return reading.error(at, "a charge is recurring or of a meter, not both", "make two charges of it")
    if "recurring" in tree:
        return _RECURRING(tree, at, reading)
    if "meter" in tree or "price" in tree:
        return _USAGE(tree, at, reading)
    hints = [f"{key!r}: {hint}" for key in tree if (hint := nearest(key, ("recurring", "meter"))).startswith("did")]
    fix = ", ".join(hints) or "write {recurring: …} or {meter: …, price: …}"
    return reading.error(at, "neither 'recurring' nor 'meter' is given", fix)


def _whole(values: dict[str, Any]) -> Any:
    return BAD if any(value is BAD for value in values.values()) else values


WRITTEN.update(
    {
        dict[str, tuple[str, ...]]: allowed_texts,
        Period: period,
        PriceTable: price_table,
        Price: price,
        Charge: charge,
    }
)

_UNIT: Final = reader_of(get_type_hints(Period)["unit"])
_PERIOD: Final = struct_reader(Period)
_TABLES: Final = {name: struct_reader(model, ("model",)) for name, model in MODELS.items()}
_BY_VALUE: Final = struct_reader(ByValue, ("model",))
_RECURRING: Final = struct_reader(RecurringCharge, ("kind",))
_USAGE: Final = struct_reader(UsageCharge, ("kind",))
