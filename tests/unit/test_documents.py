"""Documents: YAML's core schema and JSON to one tree, numbers as written, places, and what is refused."""

import json
import textwrap

import pytest

from schemas.documents import Document, Numeral, event_json, load_document, plain_tree
from schemas.faults import DocumentError


def yaml(text: str) -> Document:
    return load_document(textwrap.dedent(text), "file.yaml")


@pytest.mark.parametrize(
    "written",
    [
        "no",
        "on",
        "yes",
        "Off",
        "1_000",
        "12:30",
        "2026-01-31",
        "2026-01-01T00:00:00Z",
        "1.2.3",
        "0o8",
        "+-5",
        "1e",
        "=",
        "<<",
    ],
)
def test_plain_word_of_older_yaml_stays_text(written: str) -> None:
    tree = yaml(f"a: {written}").tree
    assert tree == {"a": written}
    assert type(tree["a"]) is str


@pytest.mark.parametrize(
    ("written", "literal"),
    [
        ("0", "0"),
        ("0.10", "0.10"),
        ("-0.50", "-0.50"),
        ("+5", "5"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("5.", "5"),
        ("012", "12"),
        ("1e3", "1e3"),
        ("1.E-2", "1E-2"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    ],
)
def test_number_keeps_its_digits_in_the_spelling_of_json(written: str, literal: str) -> None:
    tree = yaml(f"a: {written}").tree
    assert isinstance(tree["a"], Numeral)
    assert str(tree["a"]) == literal
    assert event_json(tree) == b'{"a":' + literal.encode() + b"}"
    json.loads(event_json(tree))


def test_number_and_quoted_number_stay_apart() -> None:
    tree = yaml("{n: 1, q: '1', d: \"1\", t: !!str 1, b: |-\n  1\n}".replace("|-\n  1\n", "'1'")).tree
    assert [type(value) for value in tree.values()] == [Numeral, str, str, str, str]
    assert event_json(tree) == b'{"n":1,"q":"1","d":"1","t":"1","b":"1"}'


@pytest.mark.parametrize(
    ("written", "text"),
    [(".inf", b'"Infinity"'), ("+.INF", b'"Infinity"'), ("-.inf", b'"-Infinity"'), (".NaN", b'"NaN"')],
)
def test_infinity_of_an_event_becomes_text_that_meters_refuse(written: str, text: bytes) -> None:
    assert event_json(yaml(f"a: {written}").tree) == b'{"a":' + text + b"}"


def test_keys_are_text_whatever_they_look_like() -> None:
    assert list(yaml("{1: a, true: b, ~: c, 1.50: d}").tree) == ["1", "true", "~", "1.50"]


def test_scalars_of_the_core_schema_are_read() -> None:
    assert yaml("[true, False, null, ~, Null, , TRUE]".replace(", ,", ", '',")).tree == [
        True, False, None, None, None, "", True,
    ]  # fmt: skip


def test_aliases_repeat_what_they_name() -> None:
    assert yaml("{a: &x {n: 1}, b: *x}").tree == {"a": {"n": "1"}, "b": {"n": "1"}}


def test_empty_document_is_null() -> None:
    assert yaml("# nothing\n").tree is None


def test_place_is_that_of_the_value_or_its_key() -> None:
    document = yaml("""\
        plans:
          pro:
            tiers: [{up_to: 1},
                    {up_to: 7}]
        """)
    assert document.place(("plans", "pro", "tiers", 1, "up_to")) == (4, 21)
    assert document.place(("plans", "pro", "tiers", 1, "up_to"), of_key=True) == (4, 14)
    assert document.place(("plans", "pro", "tiers", 9, "unit")) == (3, 12)
    assert document.place(("plans", "max")) == (2, 3)


def test_place_in_json_counts_lines_and_columns() -> None:
    document = load_document('{\n  "a": [1,\n\t{"b": "é", "c": null}]}', "file.json")
    assert document.tree == {"a": ["1", {"b": "é", "c": None}]}
    assert document.place(("a", 1, "c")) == (3, 18)


def test_json_takes_what_yaml_readers_refuse() -> None:
    text = '{"pair": "\\ud83d\\ude00", "half": "\\ud800", "slash": "\\/",\t"n":-0.0e-1}'
    document = load_document(text, "file.json")
    assert document.tree == json.loads(text) | {"n": "-0.0e-1"}
    assert event_json(document.tree) == b'{"pair":"\\ud83d\\ude00","half":"\\ud800","slash":"/","n":-0.0e-1}'


def test_byte_order_mark_is_ignored() -> None:
    assert load_document("\ufeffa: 1", "file.yaml").tree == load_document('\ufeff{"a": 1}', "file.json").tree


def test_key_given_twice_is_a_fault_at_the_second() -> None:
    document = yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert document.tree == {"a": "1", "b": {"c": "1"}}
    assert [str(fault) for fault in document.faults] == [
        "file.yaml:2:11: b.c: this key is given twice; remove one, or give it another name",
        "file.yaml:3:1: a: this key is given twice; remove one, or give it another name",
    ]


LAUGHS = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "name", "place", "words"),
    [
        pytest.param("a: [1", "f.yaml", (2, 1), "not YAML", id="open list"),
        pytest.param("a: 1\n---\nb: 1", "f.yaml", (2, 1), "another document", id="two documents"),
        pytest.param("a: &x [*x]", "f.yaml", (1, 4), "nested too deep", id="alias of itself"),
        pytest.param("a: &a [1]\n" + LAUGHS, "f.yaml", None, "aliases", id="aliases of aliases"),
        pytest.param("[" * 300 + "]" * 300, "f.yaml", None, "nested too deep", id="deep list"),
        pytest.param("- " * 50_000, "f.yaml", None, "depth", id="very deep list"),
        pytest.param("a: *x", "f.yaml", (1, 4), "undefined alias", id="unknown alias"),
        pytest.param("a: !!python/name:os.system x", "f.yaml", (1, 4), "tag", id="tag of a program"),
        pytest.param("a: !!int 5", "f.yaml", (1, 4), "tag", id="tag of a type"),
        pytest.param("? [a]\n: 1", "f.yaml", (1, 1), "key", id="list as key"),
        pytest.param("a: \x07", "f.yaml", None, "not YAML", id="control character"),
        pytest.param("a: '\ud800'", "f.yaml", None, "surrogate", id="half a character"),
        pytest.param("", "f.json", (1, 1), "expected a value", id="empty json"),
        pytest.param('{"a": NaN}', "f.json", (1, 7), "expected a value", id="json NaN"),
        pytest.param('{"a": -Infinity}', "f.json", (1, 7), "expected a value", id="json infinity"),
        pytest.param('{"a": 01}', "f.json", (1, 8), "expected ','", id="json leading zero"),
        pytest.param('{"a": .5}', "f.json", (1, 7), "expected a value", id="json bare point"),
        pytest.param('{"a": 1,}', "f.json", (1, 9), "expected a key", id="json comma at the end"),
        pytest.param("[1,]", "f.json", (1, 4), "expected a value", id="json list comma at the end"),
        pytest.param("{'a': 1}", "f.json", (1, 2), "expected a key", id="json single quotes"),
        pytest.param('{"a" 1}', "f.json", (1, 6), "expected ':'", id="json without colon"),
        pytest.param('{"a": "x', "f.json", (1, 7), "nterminated string", id="json open string"),
        pytest.param('{"a": 1} {}', "f.json", (1, 10), "more text", id="json two values"),
        pytest.param('{"a": 1', "f.json", (1, 8), "expected ','", id="json open map"),
        pytest.param('"\x01"', "f.json", None, "control character", id="json control character"),
        pytest.param("[" * 300, "f.json", (1, 102), "deeper", id="json deep list"),
    ],
)
def test_text_that_is_no_document_is_refused_with_its_place(
    text: str, name: str, place: tuple[int, int] | None, words: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        load_document(text, name)
    fault = refused.value.faults[0]
    assert words in str(fault)
    assert str(fault).startswith(name)
    if place is not None:
        assert fault.place == place


def test_plain_tree_has_whole_numbers_as_int_and_others_as_text() -> None:
    assert plain_tree(yaml("{a: 1, b: [-2, 0.50, '3'], c: ~, d: 1e3}").tree) == {
        "a": 1, "b": [-2, "0.50", "3"], "c": None, "d": "1e3",
    }  # fmt: skip
