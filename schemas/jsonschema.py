"""JSON Schemas (2020-12) made from the structs; `python -m schemas.jsonschema` writes them to their files.

They describe the written forms: a number is a JSON number or text, `kind` of a charge is not written, a plain amount
is a price. What a schema cannot say (tiers that rise, meters that exist) `schemas.checks` says.
"""

import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from schemas.act import Cancel, Change, Coupon, Grant, OneOff, Subscribe
from schemas.catalog import Catalog
from schemas.customer import Customer
from schemas.event import Event
from schemas.forms import MODELS
from schemas.instants import Duration, Instant
from schemas.invoice import Balance, Invoice
from schemas.meter import Meter
from schemas.numbers import LITERAL, Number
from schemas.plan import Charge, Period, Plan, RecurringCharge, UsageCharge
from schemas.price import ByValue, Price, PriceTable
from schemas.scenario import Settings, Void

Tree = dict[str, Any]

FOLDER: Final = Path(__file__).parent / "json"
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

_SCALARS: Final[dict[Any, Tree]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    Any: {},
    NoneType: {"type": "null"},
    msgspec.Raw: {"type": ["object", "null"]},
}
_NAMED: Final[dict[Any, Tree]] = {
    Number: {
        "description": "An exact decimal, as a number or in a string: below 10^18, at most 12 decimal places.",
        "anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{LITERAL.pattern}$"}],
    },
    Instant: {
        "description": "RFC 3339 with an offset.",
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$",
    },
    Duration: {"description": "90s, 15m, 1h, 35d, 2w or 4y.", "type": "string", "pattern": r"^\d{1,6}\s*[smhdwy]$"},
}
_ALLOWED: Final[Tree] = {
    "description": "A key and the values that it may have; they are compared as text.",
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "items": {"type": ["string", "number", "boolean", "null"]},
    },
}
_UNITS: Final = get_args(get_type_hints(Period)["unit"])
_MULTIPLES: Final = ["day", "week", "month", "year"]


class Schemas:
    """One schema in the making, and the definitions that it has come to need."""

    def __init__(self) -> None:
        self.definitions: dict[str, Tree] = {}

    def of(self, wanted: Any) -> Tree:
        """The schema of a type; structs and named scalars become references to definitions."""
        if wanted in _SCALARS:
            return dict(_SCALARS[wanted])
        if wanted in _NAMED:
            return self._named(wanted.__name__, _NAMED[wanted])
        if wanted in _WRITTEN:
            name, make = _WRITTEN[wanted]
            return self._named(name, make)
        origin, args = get_origin(wanted), get_args(wanted)
        if origin is Annotated:
            meta = args[1]
            return self.of(args[0]) | {"minLength": meta.min_length, "maxLength": meta.max_length}
        if origin is Literal:
            return {"enum": list(args)}
        if origin in (Union, UnionType):
            rest = tuple(arg for arg in args if arg is not NoneType)
            return {"anyOf": [self.of(Union[rest]), {"type": "null"}]}  # noqa: UP007
        if origin is tuple:
            return {"type": "array", "items": self.of(args[0])}
        if origin is dict:
            return (
                dict(_ALLOWED)
                if args[1] == tuple[str, ...]
                else {"type": "object", "additionalProperties": self.of(args[1])}
            )
        return self._named(wanted.__name__, lambda schemas: schemas.struct(wanted))

    def struct(self, wanted: type[msgspec.Struct], **beside: Tree) -> Tree:
        """A map of the struct's fields; unknown ones are refused where the struct refuses them."""
        hints = get_type_hints(wanted, include_extras=True)
        fields = msgspec.structs.fields(wanted)
        tree: Tree = {
            "description": " ".join((wanted.__doc__ or "").split("\n\n")[0].split()),
            "type": "object",
            "properties": beside | {field.name: self.of(hints[field.name]) for field in fields},
            "required": [*beside, *(field.name for field in fields if field.required)],
        }
        if wanted.__struct_config__.forbid_unknown_fields:
            tree["additionalProperties"] = False
        return tree

    def document(self, name: str, root: Tree) -> Tree:
        """The whole schema: its root and the definitions in the order of their names."""
        definitions = dict(sorted(self.definitions.items()))
        return {"$schema": DRAFT, "$id": f"{name}.schema.json", "title": name, **root, "$defs": definitions}

    def _named(self, name: str, made: Any) -> Tree:
        if name not in self.definitions:
            self.definitions[name] = {}  # what refers to itself finds the name taken
            self.definitions[name] = made(self) if callable(made) else made
        return {"$ref": f"#/$defs/{name}"}


def _period(schemas: Schemas) -> Tree:
    multiple = schemas.struct(Period)
    multiple["properties"]["every"] |= {"minimum": 1, "maximum": 1000}
    multiple["properties"]["unit"] = {"enum": _MULTIPLES}
    return {"anyOf": [{"enum": list(_UNITS)}, multiple]}


def _price_table(schemas: Schemas) -> Tree:
    models = [schemas.struct(model, model={"const": name}) for name, model in MODELS.items()]
    return {"description": "A plain amount for each unit, or a model.", "anyOf": [schemas.of(Number), *models]}


def _price(schemas: Schemas) -> Tree:
    by_value = {
        "type": "object",
        "properties": {"by_value": schemas.of(ByValue)},
        "required": ["by_value"],
        "additionalProperties": False,
    }
    return {"anyOf": [schemas.of(PriceTable), by_value]}


def _charge(schemas: Schemas) -> Tree:
    return {"anyOf": [schemas.of(RecurringCharge), schemas.of(UsageCharge)]}


_WRITTEN: Final[dict[Any, Any]] = {
    Period: ("Period", _period),
    PriceTable: ("PriceTable", _price_table),
    Price: ("Price", _price),
    Charge: ("Charge", _charge),
}


def _scenario(schemas: Schemas) -> Tree:
    plan = schemas.struct(Plan, key={"type": "string"})
    happenings: dict[str, Tree] = {
        name: schemas.of(act)
        for name, act in {
            "subscribe": Subscribe,
            "change": Change,
            "cancel": Cancel,
            "grant": Grant,
            "coupon": Coupon,
            "one_off": OneOff,
            "void": Void,
        }.items()
    }
    happenings["events"] = {"description": "As they arrive; not all need be valid.", "type": "array"}
    happenings["plan"] = plan | {"description": "A new version of a plan, or a new plan."}
    entries = [
        {
            "type": "object",
            "properties": {"at": schemas.of(Instant), name: happening},
            "required": ["at", name],
            "additionalProperties": False,
        }
        for name, happening in happenings.items()
    ]
    return {
        "description": "A catalog, what happens to its customers in the order of time, and what must come of it.",
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "about": {"type": "string"},
            "now": schemas.of(Instant),
            "settings": schemas.of(Settings),
            "meters": schemas.of(dict[str, Meter]),
            "plans": schemas.of(dict[str, Plan]),
            "customers": schemas.of(dict[str, Customer]),
            "timeline": {"type": "array", "items": {"anyOf": entries}},
            "expect": {"description": "Any part of the result."},
        },
        "required": ["now"],
        "additionalProperties": False,
    }


def all_schemas() -> dict[str, Tree]:
    """Name -> schema, of all that is published in `schemas/json`."""
    made: dict[str, Tree] = {}
    roots: dict[str, type[msgspec.Struct]] = {
        "catalog": Catalog,
        "event": Event,
        "invoice": Invoice,
        "balance": Balance,
    }
    for name, wanted in roots.items():
        schemas = Schemas()
        made[name] = schemas.document(name, schemas.struct(wanted))
    schemas = Schemas()
    made["scenario"] = schemas.document("scenario", _scenario(schemas))
    return made


def text_of(schema: Tree) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all schemas into `schemas/json`."""
    FOLDER.mkdir(exist_ok=True)
    for name, schema in all_schemas().items():
        (FOLDER / f"{name}.schema.json").write_text(text_of(schema), encoding="utf-8")


if __name__ == "__main__":
    main()
