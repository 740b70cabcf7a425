"""What the types of the structs cannot say about acts (spec 7, 8.3, 8.6, 8.11), each as a check of one struct."""

from typing import Any

from schemas.act import Cancel, Change, Coupon, Grant, OneOff, Subscribe
from schemas.checks import check_bound, check_currency, check_key
from schemas.faults import Path
from schemas.numbers import Number
from schemas.reader import CHECKS, Reading


def _one_of(names: tuple[str, str], values: dict[str, Any], at: Path, reading: Reading) -> None:
    given = [name for name in names if values.get(name) is not None]
    if len(given) != 1:
        message = f"{' and '.join(names)} are both given" if given else f"neither {names[0]} nor {names[1]} is given"
        reading.error(at, message, f"write one of the two: {names[0]} or {names[1]}")


def _quantities(values: dict[str, Any], at: Path, reading: Reading) -> None:
    quantities = values.get("quantities")
    for key, quantity in quantities.items() if isinstance(quantities, dict) else ():
        if isinstance(quantity, Number) and quantity < 0:
            reading.error((*at, "quantities", key), f"{quantity} is below 0", "write 0 or more")


def _subscribe(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    for name in ("id", "customer", "plan"):
        check_key(values, name, at, reading)
    _quantities(values, at, reading)


def _change(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    for name in ("subscription", "plan"):
        check_key(values, name, at, reading)
    _quantities(values, at, reading)
    if values.get("plan") is None and values.get("quantities") in (None, {}):
        reading.error(at, "neither plan nor quantities is given", "say what changes")


def _cancel(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    check_key(values, "subscription", at, reading)


def _grant(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    for name in ("customer", "id"):
        check_key(values, name, at, reading)
    check_bound(values, "amount", at, reading)
    check_currency(values, at, reading)


def _coupon(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    for name in ("customer", "id"):
        check_key(values, name, at, reading)
    _one_of(("percent", "amount"), values, at, reading)
    check_bound(values, "percent", at, reading, most=100)
    check_bound(values, "amount", at, reading)
    check_bound(values, "periods", at, reading, least=1)


def _one_off(values: dict[str, Any], tree: Any, at: Path, reading: Reading) -> None:
    for name in ("id", "subscription", "customer"):
        check_key(values, name, at, reading)
    _one_of(("subscription", "customer"), values, at, reading)
    check_bound(values, "quantity", at, reading)


CHECKS.update(
    {
        Subscribe: _subscribe,
        Change: _change,
        Cancel: _cancel,
        Grant: _grant,
        Coupon: _coupon,
        OneOff: _one_off,
    }
)
