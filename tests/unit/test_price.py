"""Prices by hand: what the sentences of spec 5 say, and tables that it does not allow."""

from fractions import Fraction

import numpy as np
import pytest

from rating.fixed import Amounts, Column
from rating.models.graduated import graduated
from rating.models.package import package
from rating.models.per_unit import per_unit
from rating.models.percentage import percentage
from rating.models.stairstep import stairstep
from rating.models.volume import volume
from rating.price import compile_price, rate, standing, table_for
from schemas.numbers import Number
from schemas.price import ByValue, Graduated, Package, Percentage, PerUnit, PriceTable, Stairstep, Tier, Volume


def tier(up_to: str | None, unit: str = "0", flat: str = "0") -> Tier:
    return Tier(None if up_to is None else Number(up_to), Number(unit), Number(flat))


TIERS = (tier("0", flat="7"), tier("100", "0.10", "1"), tier("1000", "0.05", "2"), tier(None, "0.01"))
N = Number


@pytest.mark.parametrize(
    ("table", "quantity", "amount"),
    [
        (PerUnit(unit=N("0.02"), per=N(1000)), "1500", "0.03"),
        (PerUnit(unit=N("1"), included=N(100)), "40", "0"),
        (PerUnit(unit=N("1")), "-5", "0"),
        (Graduated(tiers=TIERS), "0", "7"),
        (Graduated(tiers=TIERS), "0.5", "8.05"),
        (Graduated(tiers=TIERS), "100", "18"),
        (Graduated(tiers=TIERS), "100.5", "20.025"),
        (Graduated(tiers=TIERS), "2000", "75"),
        (Volume(tiers=TIERS), "0", "7"),
        (Volume(tiers=TIERS), "100", "11"),
        (Volume(tiers=TIERS), "100.5", "7.025"),
        (Stairstep(tiers=(tier("10", flat="5"), tier(None, flat="9"))), "10", "5"),
        (Stairstep(tiers=(tier("10", flat="5"), tier(None, flat="9"))), "10.000000000001", "9"),
        (Package(size=N(20), amount=N(10)), "0", "0"),
        (Package(size=N(20), amount=N(10)), "20", "10"),
        (Package(size=N(20), amount=N(10)), "20.1", "20"),
        (Package(size=N("0.7"), amount=N(1)), "2.1", "3"),
        (Percentage(rate=N("2.5")), "1000", "25"),
    ],
)
def test_quantity_costs(table: PriceTable, quantity: str, amount: str) -> None:
    assert rate(compile_price(table), Column.of_ints([0])).fractions()  # a column of ints works as well
    assert rate(compile_price(table), Amounts.of([Fraction(quantity)])).fractions() == [Fraction(amount)]


def test_price_that_per_does_not_divide_stays_exact() -> None:
    found = rate(compile_price(PerUnit(unit=N("1"), per=N(3))), Column.of_ints([1, 2]))
    assert found.fractions() == [Fraction(1, 3), Fraction(2, 3)]


def test_prorated_charge_scales_included_bounds_and_flats() -> None:
    table = Graduated(tiers=(tier("310", flat="31"), tier(None, "0.5")))
    found = rate(compile_price(table), Column.of_ints([320, 90]), Amounts.of([Fraction(10, 31)] * 2))
    assert found.fractions() == [Fraction(120), Fraction(10)]
    free = rate(
        compile_price(PerUnit(unit=N(1), included=N(310))), Column.of_ints([320]), Amounts.of([Fraction(10, 31)])
    )
    assert free.fractions() == [Fraction(220)]


def test_prorated_package_keeps_its_size() -> None:
    found = rate(compile_price(Package(size=N(20), amount=N(10))), Column.of_ints([21]), Amounts.of([Fraction(1, 3)]))
    assert found.fractions() == [Fraction(20)]


def test_no_rows_cost_nothing() -> None:
    assert rate(compile_price(Graduated(tiers=TIERS)), Column.zeros(0)).fractions() == []


def test_models_take_columns_of_integers() -> None:
    quantity = np.array([0, 5, 10, 11, 25])
    assert per_unit(quantity, 3).tolist() == [0, 15, 30, 33, 75]
    assert percentage(quantity, 250).tolist() == [0, 1250, 2500, 2750, 6250]
    assert graduated(quantity, [10], [2, 1], [100, 7]).tolist() == [100, 110, 120, 128, 142]
    assert volume(quantity, [10], [2, 1], [100, 7]).tolist() == [100, 110, 120, 18, 32]
    assert stairstep(quantity, [10], [5, 9]).tolist() == [5, 5, 5, 9, 9]
    assert package(quantity, 10, 4).tolist() == [0, 4, 4, 8, 12]


def test_amounts_beyond_int64_are_exact() -> None:
    quantity = np.array([2**62, 1])
    assert graduated(quantity, [10], [2**40, 2**41], [0, 0]).tolist() == [10 * 2**40 + (2**62 - 10) * 2**41, 2**40]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (Package(size=N(0), amount=N(1)), "size must be above 0"),
        (PerUnit(unit=N(1), per=N(0)), "per must be above 0"),
        (PerUnit(unit=N(1), included=N(-1)), "included must not be below 0"),
        (Graduated(tiers=(tier("1"),)), "last tier must have up_to: null"),
        (Volume(tiers=(tier(None), tier(None))), "only the last tier"),
        (Stairstep(tiers=(tier("5"), tier("5"), tier(None))), "above the tier before it"),
        (Stairstep(tiers=(tier("-1"), tier(None))), "not be below 0"),
        (Graduated(tiers=()), "last tier must have up_to: null"),
    ],
)
def test_table_that_the_rules_do_not_allow_is_refused(table: PriceTable, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_price(table)


def test_value_without_a_case_takes_otherwise_or_is_unpriced() -> None:
    large, rest = PerUnit(unit=N(3)), PerUnit(unit=N(1))
    price = ByValue(dimension="model", cases={"large": large}, otherwise=rest)
    assert table_for(price, "large") is large
    assert table_for(price, "") is rest
    assert table_for(ByValue(dimension="model", cases={"large": large}), "small") is None
    assert table_for(large, "anything") is large


def test_unit_price_now_in_force_and_its_bound() -> None:
    found = standing(compile_price(Graduated(tiers=TIERS, per=N(10))), Fraction(100))
    assert (found.unit, found.next_bound) == (Fraction(1, 100), Fraction(100))
    assert standing(compile_price(Graduated(tiers=TIERS)), Fraction(5000)).next_bound is None
    assert standing(compile_price(Package(size=N(20), amount=N(10))), Fraction(5)).unit is None
    assert standing(compile_price(Percentage(rate=N("2.5"))), Fraction(5)).unit == Fraction(1, 40)
