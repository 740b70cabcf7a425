"""What a result lacks of what a file expects (spec 10)."""

from typing import Any

import pytest

from schemas.compare import differences

RESULT = {"a": [{"x": "1.00", "y": None}, {"x": "2.00", "y": 3}], "b": {"c": True}}


@pytest.mark.parametrize(
    ("expected", "paths"),
    [
        ({}, []),
        ({"b": {}}, []),
        ({"a": [{}, {"y": 3}]}, []),
        ({"a": [{"y": None}, {}]}, []),
        ({"a": [{"x": "1.0"}, {}]}, ["a[0].x"]),
        ({"a": [{}]}, ["a"]),
        ({"a": []}, ["a"]),
        ({"c": None}, ["c"]),
        ({"b": {"c": 1}}, ["b.c"]),
        ({"a": {"0": {}}}, ["a"]),
        ({"a": [{"x": "9"}, {"y": 4}], "b": {"c": False}}, ["a[0].x", "a[1].y", "b.c"]),
        ([], [""]),
    ],
    ids=[
        "nothing",
        "empty-map",
        "some-keys",
        "null",
        "other-text",
        "shorter-list",
        "empty-list",
        "absent",
        "bool-is-no-number",
        "map-for-list",
        "all-at-once",
        "other-kind",
    ],
)
def test_difference_names_its_path(expected: Any, paths: list[str]) -> None:
    assert [difference.path for difference in differences(expected, RESULT)] == paths


def test_whole_number_is_the_same_as_its_text() -> None:
    assert differences({"q": 14}, {"q": "14"}) == []
    assert differences({"q": 14}, {"q": "14.0"}) != []


def test_difference_reads_as_a_sentence() -> None:
    (found,) = differences({"a": {"b": "1.00"}}, {"a": {}})
    assert str(found) == "a.b: expected '1.00', got nothing"
