"""Whatever stands in a document, reading it ends in a struct or in faults with places, never in another exception."""

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.documents import Document, event_json, load_document
from schemas.faults import DocumentError
from schemas.scenario import Scenario, check_scenario, read_scenario

FILES = sorted((Path(__file__).parent.parent / "golden").glob("*.yaml"))
TREES = [load_document(path.read_text(encoding="utf-8"), path.name).tree for path in FILES]
JUNK: list[Any] = [
    None,
    True,
    [],
    {},
    "",
    "x",
    "-1",
    " ",
    [None],
    [[]],
    {"x": None},
    {"": []},
    "9" * 70,
    "2026-01-01",
    "\x00",
]


def places(tree: Any) -> list[tuple[Any, Any]]:
    """All containers of a tree with each of their keys."""
    found: list[tuple[Any, Any]] = []
    items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found.append((tree, key))
        found += places(value)
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_junk_anywhere_in_a_scenario_ends_in_faults_or_a_scenario(data: st.DataObject) -> None:
    tree = deepcopy(data.draw(st.sampled_from(TREES)))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(tree)))
        if isinstance(container, dict) and data.draw(st.booleans()):
            container[data.draw(st.sampled_from(["", "x", "at", "kind", " a", "meter", "by_value"]))] = container.pop(
                key
            )
        else:
            container[key] = deepcopy(data.draw(st.sampled_from(JUNK)))
    document = load_document(event_json(tree).decode(), "scenario.json")
    errors = [fault for fault in check_scenario(document) if fault.severity == "error"]
    if not errors:
        assert isinstance(read_scenario(document), Scenario)
        return
    with pytest.raises(DocumentError) as refused:
        read_scenario(document)
    assert [fault for fault in refused.value.faults if fault.severity == "error"] == errors
    assert all(fault.place and fault.message and fault.fix for fault in errors)


@settings(max_examples=300, deadline=None)
@given(st.text(), st.sampled_from(["file.yaml", "file.json"]))
def test_any_text_is_a_document_or_is_refused(text: str, name: str) -> None:
    with suppress(DocumentError):
        assert isinstance(load_document(text, name), Document)


JSON = st.recursive(
    st.none() | st.booleans() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_reads_back_as_it_was_written(tree: Any) -> None:
    text = event_json(tree).decode()
    assert load_document(text, "file.json").tree == tree
    assert event_json(load_document(text, "file.json").tree).decode() == text
