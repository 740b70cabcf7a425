"""Names that must be the same everywhere: identities of events and partitions of customers."""

import itertools

import pytest

from schemas.ids import identity, murmur2, partition_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_javas(text: bytes, value: int) -> None:
    """The values of Apache Kafka's own test of its hash."""
    assert murmur2(text) == value % 2**32


def test_partition_is_within_range_for_any_name() -> None:
    assert {partition_of(name, 3) for name in ("", "acme", "Zoë", "日本", "x" * 255)} <= {0, 1, 2}
    assert partition_of("21", 7) == (-973932308 & 0x7FFFFFFF) % 7


def test_no_two_triples_run_together() -> None:
    triples = list(itertools.product(["", "a", "ab", "b"], ["", "a", "ab", "b"], ["", "a", "b"]))
    assert len({identity(*triple) for triple in triples}) == len(triples)
    assert {len(identity(*triple)) for triple in triples} == {16}


def test_longest_names_have_an_identity() -> None:
    assert identity("é" * 255, "日" * 255, "😀" * 255) != identity("é" * 255, "日" * 255, "😀" * 254)
