"""The vector path of prices equals the oracle in fractions, in int64 and beyond, for every model (spec 5)."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import prices as oracle

from rating.explain import explain
from rating.fixed import INT64_MAX, Amounts, Column
from rating.models.graduated import graduated
from rating.price import compile_price, rate, standing, steps
from schemas.numbers import Number, plain_text
from schemas.price import Graduated, Package, Percentage, PerUnit, PriceTable, Stairstep, Tier, Volume

SMALL = st.builds(lambda whole, places: Number(whole).scaleb(-places), st.integers(0, 2000), st.integers(0, 4))
WIDE = st.builds(lambda whole, places: Number(whole).scaleb(-places), st.integers(0, 10**18 - 1), st.integers(0, 12))
EDGE = st.sampled_from([Number(0), Number(1), Number(10**18 - 1), Number("0.000000000001")])
NUMBERS = st.one_of(SMALL, SMALL, WIDE, EDGE).map(lambda number: Number.parse(plain_text(number)))
SIGNED = st.builds(lambda number, sign: Number(number * sign), NUMBERS, st.sampled_from([1, 1, 1, -1]))
PER = NUMBERS.filter(lambda number: number > 0)
FRACTIONS = st.builds(lambda below, share: Fraction(1 + share % below, below), st.integers(1, 31), st.integers(0, 30))


@st.composite
def tiers(draw: st.DrawFn, *, flat_only: bool = False) -> tuple[Tier, ...]:
    bounds: list[Number | None] = [*sorted(draw(st.sets(NUMBERS, max_size=4))), None]
    zero = Number(0)
    return tuple(Tier(bound, zero if flat_only else draw(SIGNED), draw(SIGNED)) for bound in bounds)


INCLUDED = st.one_of(st.just(Number(0)), NUMBERS)
TABLES: st.SearchStrategy[PriceTable] = st.one_of(
    st.builds(PerUnit, included=INCLUDED, unit=SIGNED, per=PER),
    st.builds(Graduated, included=INCLUDED, tiers=tiers(), per=PER),
    st.builds(Volume, included=INCLUDED, tiers=tiers(), per=PER),
    st.builds(Stairstep, included=INCLUDED, tiers=tiers(flat_only=True)),
    st.builds(Package, included=INCLUDED, size=PER, amount=SIGNED),
    st.builds(Percentage, included=INCLUDED, rate=SIGNED),
)


def written(table: PriceTable) -> oracle.Price:
    """The table as the oracle knows it."""
    found = getattr(table, "tiers", ())
    return oracle.Price(
        model={PerUnit: "per_unit", Graduated: "graduated", Volume: "volume", Stairstep: "stairstep",
               Package: "package", Percentage: "percentage"}[type(table)],
        included=Fraction(table.included),
        unit=Fraction(getattr(table, "unit", 0)),
        per=Fraction(getattr(table, "per", 1)),
        tiers=tuple(
            oracle.Tier(None if tier.up_to is None else Fraction(tier.up_to), Fraction(tier.unit), Fraction(tier.flat))
            for tier in found
        ),
        size=Fraction(getattr(table, "size", 1)),
        package=Fraction(getattr(table, "amount", 0)),
        rate=Fraction(getattr(table, "rate", 0)),
    )  # fmt: skip


def near_bounds(table: PriceTable) -> list[Fraction]:
    """The quantities at which a table may go wrong: its bounds, and a little beside them, `included` on top."""
    free = Fraction(table.included)
    bounds = [Fraction(tier.up_to) for tier in getattr(table, "tiers", ()) if tier.up_to is not None]
    bounds += [Fraction(getattr(table, "size", 0))]
    tiny = Fraction(1, 10**12)
    return [place + free + beside for place in (*bounds, Fraction(0)) for beside in (-tiny, Fraction(0), tiny)]


@settings(max_examples=300, deadline=None, print_blob=True)
@given(table=TABLES, quantities=st.lists(SIGNED, max_size=6))
def test_decimal_quantities_cost_what_the_oracle_says(table: PriceTable, quantities: list[Number]) -> None:
    asked = [*map(Fraction, quantities), *near_bounds(table)]
    found = rate(compile_price(table), Amounts.of(asked)).fractions()
    assert found == [oracle.amount(written(table), quantity) for quantity in asked]


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    table=TABLES,
    rows=st.lists(st.tuples(st.fractions(-10, 10**6, max_denominator=3600), FRACTIONS), min_size=1, max_size=6),
)
def test_prorated_charges_of_rational_quantities_cost_what_the_oracle_says(
    table: PriceTable, rows: list[tuple[Fraction, Fraction]]
) -> None:
    quantities, fractions = [row[0] for row in rows], [row[1] for row in rows]
    found = rate(compile_price(table), Amounts.of(quantities), Amounts.of(fractions)).fractions()
    expected = [oracle.amount(oracle.scaled(written(table), share), quantity) for quantity, share in rows]
    assert found == expected


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    table=TABLES, quantity=st.one_of(SIGNED.map(Fraction), st.fractions(0, 5000, max_denominator=60)), share=FRACTIONS
)
def test_steps_add_up_to_the_amount(table: PriceTable, quantity: Fraction, share: Fraction) -> None:
    price = compile_price(table)
    amount = rate(price, Amounts.of([quantity]), Amounts.of([share])).fractions()[0]
    assert sum(step.amount for step in steps(price, quantity, share)) == amount
    assert explain(price, quantity, "USD", fraction=share).amount == amount
    assert explain(price, quantity, "USD", fraction=share, factors=[Fraction(-10, 31)]).amount == amount * Fraction(
        -10, 31
    )


@settings(max_examples=100, deadline=None, print_blob=True)
@given(table=TABLES, quantity=SIGNED.map(Fraction))
def test_standing_is_the_tier_that_holds_the_quantity(table: PriceTable, quantity: Fraction) -> None:
    found = standing(compile_price(table), quantity)
    if isinstance(table, Graduated | Volume | Stairstep):
        tier = oracle.tier_of(written(table), max(quantity - Fraction(table.included), Fraction(0)))
        assert found.next_bound == tier.up_to
        assert found.unit == (None if isinstance(table, Stairstep) else tier.unit / Fraction(table.per))
    else:
        assert found.next_bound is None


@settings(max_examples=100, deadline=None, print_blob=True)
@given(table=TABLES, whole=st.lists(st.integers(0, INT64_MAX), min_size=1, max_size=8), scale=st.integers(0, 12))
def test_one_row_costs_the_same_alone_as_among_others(table: PriceTable, whole: list[int], scale: int) -> None:
    price = compile_price(table)
    together = rate(price, Column.of_ints(whole, scale)).fractions()
    alone = [rate(price, Column.of_ints([number], scale)).fractions()[0] for number in whole]
    assert together == alone


@settings(max_examples=100, deadline=None, print_blob=True)
@given(
    quantity=st.lists(st.integers(0, 2**62), min_size=1, max_size=20),
    bounds=st.sets(st.integers(1, 2**62), max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_int64_and_wide_paths_agree(quantity: list[int], bounds: set[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    unit = [int(number) for number in random.integers(-(2**40), 2**40, len(bounds) + 1)]
    flat = [int(number) for number in random.integers(-(2**50), 2**50, len(bounds) + 1)]
    up_to = sorted(bounds)
    narrow = graduated(np.array([number % 2**20 for number in quantity]), up_to, unit, flat)
    wide = graduated(np.array([number % 2**20 for number in quantity], dtype=object), up_to, unit, flat)
    assert narrow.tolist() == wide.tolist()
    assert graduated(np.array(quantity), up_to, unit, flat).tolist() == [
        graduated(np.array([number], dtype=object), up_to, unit, flat).tolist()[0] for number in quantity
    ]
