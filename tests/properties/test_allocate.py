"""Splitting an amount over lines loses nothing and is fair to the last minor unit (spec 1.5)."""

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import invoices as oracle

from rating.money import allocate

WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=12)
SIGNED = st.lists(st.integers(-(10**6), 10**9), min_size=1, max_size=12)


@settings(max_examples=400, deadline=None, print_blob=True)
@given(total=st.integers(-(10**15), 10**15), weights=WEIGHTS | SIGNED)
def test_shares_add_up_and_differ_from_the_exact_share_by_less_than_one(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    assume(whole > 0)
    shares = allocate(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, whole)) < 1
        assert share * total * weight >= 0
        assert weight or not share


@settings(max_examples=200, deadline=None, print_blob=True)
@given(total=st.integers(0, 10**6), weights=WEIGHTS)
def test_extra_units_go_to_the_largest_remainders_and_then_to_the_earlier_lines(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    assume(whole > 0)
    shares = allocate(total, weights)
    assert allocate(-total, weights) == [-share for share in shares]
    extra = [share - total * weight // whole for share, weight in zip(shares, weights, strict=True)]
    rest = [total * weight % whole for weight in weights]
    got = [(-rest[line], line) for line in range(len(weights)) if extra[line]]
    missed = [(-rest[line], line) for line in range(len(weights)) if not extra[line]]
    assert set(extra) <= {0, 1}
    assert not got or not missed or max(got) < min(missed)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(total=st.integers(0, 10**9), weights=WEIGHTS | SIGNED)
def test_shares_are_the_oracles(total: int, weights: list[int]) -> None:
    assume(sum(weights) > 0)
    cents = [Fraction(weight, 100) for weight in weights]
    expected = oracle.allocate(Fraction(total, 100), cents, 2)
    assert [Fraction(share, 100) for share in allocate(total, weights)] == expected
