"""Named SQL: read from files, found by name, refused with file and line."""

from pathlib import Path

import pytest

from metering.errors import ConfigurationError
from metering.postgres.queries import queries, read_queries

TWO = """-- About customers.

-- name: get_customer
SELECT 1
  FROM customer;

-- name: list_customers
-- All of them.
SELECT 2;
"""


def test_blocks_are_attributes_headed_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "customer.sql").write_text(TWO)
    (tmp_path / "notes.txt").write_text("no SQL")
    found = read_queries(tmp_path)
    assert found.get_customer == "-- name: get_customer\nSELECT 1\n  FROM customer"
    assert found.list_customers == "-- name: list_customers\n-- All of them.\nSELECT 2"
    assert list(found) == ["get_customer", "list_customers"]


def test_unknown_name_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "customer.sql").write_text(TWO)
    with pytest.raises(AttributeError, match=r"'get_custmer'; did you mean get_customer\?"):
        _ = read_queries(tmp_path).get_custmer
    with pytest.raises(AttributeError, match="there are get_customer, list_customers"):
        _ = read_queries(tmp_path).zzz


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n-- name: a\nSELECT 2;", "b.sql:1: SQL before the first line"),
        ("-- name: Get-It\nSELECT 1;", "b.sql:1: 'Get-It' is no name"),
        ("-- name:\nSELECT 1;", "b.sql:1: '' is no name"),
        ("-- name: one\nSELECT 1;\n\n-- name: one\nSELECT 2;", "b.sql:4: the query one is defined at b.sql:1"),
        ("-- name: in_a\nSELECT 1;", "b.sql:1: the query in_a is defined at a.sql:1"),
        ("-- name: one\n-- nothing\n\n-- name: two\nSELECT 2;", "b.sql:1: the query one has no statement"),
        ("-- name: last\n", "b.sql:1: the query last has no statement"),
    ],
    ids=["before-a-name", "bad-name", "no-name", "twice-in-a-file", "twice-over-files", "empty", "empty-last"],
)
def test_wrong_file_is_refused_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- name: in_a\nSELECT 0;")
    (tmp_path / "b.sql").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_queries(tmp_path)


def test_the_engines_own_queries_are_read_once() -> None:
    assert queries() is queries()
    assert len(list(queries())) > 0
