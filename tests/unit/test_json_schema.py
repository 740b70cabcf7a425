"""The published JSON Schemas: current, and true of what we publish ourselves.

The validator below knows the keywords that our schemas use and no others; one that it does not know fails the test.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.documents import Numeral, load_document
from schemas.jsonschema import FOLDER, all_schemas, text_of

ROOT = Path(__file__).parents[2]
SCENARIOS = [*(ROOT / "tests" / "golden").glob("*.yaml"), *(ROOT.parent / "shared" / "scenarios").glob("*.yaml")]
SCHEMAS = all_schemas()
NOTES = {"$schema", "$id", "$defs", "title", "description"}


def problems(schema: dict[str, Any], value: Any, root: dict[str, Any], at: str = "") -> list[str]:
    """What of a value is against a schema; empty: it is valid."""
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword not in NOTES:
            found += KEYWORDS[keyword](rule, value, schema, root, at)
    return found


def _ref(rule: str, value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    return problems(root["$defs"][rule.removeprefix("#/$defs/")], value, root, at)


def _type(rule: str | list[str], value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    allowed = [rule] if isinstance(rule, str) else rule
    return [] if _types_of(value) & set(allowed) else [f"{at}: {value!r} is no {rule}"]


def _types_of(value: Any) -> set[str]:
    if isinstance(value, Numeral):
        return {"number", "integer"} if re.fullmatch(r"-?\d+", value) else {"number"}
    names = {str: "string", dict: "object", list: "array", bool: "boolean", type(None): "null"}
    return {names[type(value)]}


def _any_of(rule: list[Any], value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    tries = [problems(option, value, root, at) for option in rule]
    return [] if [] in tries else [f"{at}: none fits: {tries}"]


def _properties(rule: dict[str, Any], value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    inside = value.items() if isinstance(value, dict) else ()
    return [text for key, part in inside if key in rule for text in problems(rule[key], part, root, f"{at}.{key}")]


def _required(rule: list[str], value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    return [f"{at}: {key} is missing" for key in rule if isinstance(value, dict) and key not in value]


def _additional(rule: Any, value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    known = schema.get("properties", {})
    more = {key: part for key, part in value.items() if key not in known} if isinstance(value, dict) else {}
    if rule is False:
        return [f"{at}: {key} is unknown" for key in more]
    return [text for key, part in more.items() for text in problems(rule, part, root, f"{at}.{key}")]


def _items(rule: dict[str, Any], value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    inside = value if isinstance(value, list) else []
    return [text for place, part in enumerate(inside) for text in problems(rule, part, root, f"{at}[{place}]")]


def _plain(holds: Any) -> Any:
    def check(rule: Any, value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
        return [] if holds(rule, value) else [f"{at}: {value!r} against {rule!r}"]

    return check


KEYWORDS: dict[str, Any] = {
    "$ref": _ref,
    "type": _type,
    "anyOf": _any_of,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "enum": _plain(lambda rule, value: value in rule),
    "const": _plain(lambda rule, value: value == rule),
    "pattern": _plain(lambda rule, value: not isinstance(value, str) or re.search(rule, value) is not None),
    "minLength": _plain(lambda rule, value: not isinstance(value, str) or len(value) >= rule),
    "maxLength": _plain(lambda rule, value: not isinstance(value, str) or len(value) <= rule),
    "minItems": _plain(lambda rule, value: not isinstance(value, list) or len(value) >= rule),
    "minimum": _plain(lambda rule, value: not isinstance(value, Numeral) or int(value) >= rule),
    "maximum": _plain(lambda rule, value: not isinstance(value, Numeral) or int(value) <= rule),
}


def against(name: str, value: Any) -> list[str]:
    return problems(SCHEMAS[name], value, SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schema_is_current(name: str) -> None:
    path = FOLDER / f"{name}.schema.json"
    assert path.read_text(encoding="utf-8") == text_of(SCHEMAS[name]), "run: python -m schemas.jsonschema"


def test_no_other_schema_is_published() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_file_is_valid(path: Path) -> None:
    assert against("scenario", load_document(path.read_text(encoding="utf-8"), path.name).tree) == []


def test_sample_catalog_is_valid() -> None:
    text = (ROOT / "metering" / "catalog" / "sample.yaml").read_text(encoding="utf-8")
    assert against("catalog", load_document(text, "sample.yaml").tree) == []


PLAN = {"currency": "USD", "period": "month"}
RATE = {"model": "per_unit", "unit": "1"}


@pytest.mark.parametrize(
    ("charge", "words"),
    [
        pytest.param({"recurring": {"model": "per_unit"}}, "unit is missing", id="price without unit"),
        pytest.param(
            {"meter": "m", "price": RATE, "prorate": "day"}, "prorate is unknown", id="field of the other kind"
        ),
        pytest.param({"recurring": "1,50"}, "against", id="text that is no number"),
        pytest.param({"kind": "usage", "meter": "m", "price": RATE}, "kind is unknown", id="kind is not written"),
        pytest.param({"recurring": {"by_value": {"dimension": "d", "cases": {}}}}, "by_value", id="fee by value"),
        pytest.param({"meter": "m", "price": RATE, "where": {"d": []}}, "against 1", id="empty list"),
    ],
)
def test_wrong_charge_is_against_the_schema(charge: dict[str, Any], words: str) -> None:
    found = against("catalog", {"plans": {"p": {**PLAN, "charges": {"c": charge}}}})
    assert words in str(found)
    assert found


@pytest.mark.parametrize(
    "charge",
    [
        pytest.param({"recurring": Numeral("9.5")}, id="fee as a number"),
        pytest.param({"recurring": "9.50", "bill": "arrears"}, id="fee as text"),
        pytest.param({"meter": "m", "price": {"by_value": {"dimension": "d", "cases": {"x": "1"}}}}, id="by value"),
        pytest.param(
            {"meter": "m", "price": RATE, "where": {"d": [True, None, Numeral("1")]}}, id="scalars in a filter"
        ),
    ],
)
def test_right_charge_is_valid(charge: dict[str, Any]) -> None:
    assert against("catalog", {"plans": {"p": {**PLAN, "charges": {"c": charge}}}}) == []


def test_event_needs_its_identity_and_may_carry_more() -> None:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e",
        "source": "app",
        "type": "call",
        "subject": "a",
        "data": None,
        "more": [],
    }
    assert against("event", event) == []
    assert against("event", {**event, "id": ""}) != []
    assert against("event", {key: value for key, value in event.items() if key != "subject"}) == [
        ": subject is missing"
    ]


def test_schemas_are_json_with_every_reference_defined() -> None:
    for schema in SCHEMAS.values():
        text = json.dumps(schema)
        assert set(re.findall(r'"#/\$defs/(\w+)"', text)) == set(schema["$defs"])
