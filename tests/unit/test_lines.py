"""Lines: rounded once, clamped by segment, explained so that the arithmetic can be done again (spec 1.4, 5.3)."""

import re
from fractions import Fraction

import pytest

from rating.clamps import bounds, clamp
from rating.explain import explain, explain_clamp, explain_percent
from rating.fixed import Amounts
from rating.line import LineHead, make_lines, round_money, shown
from rating.money import decimals_of, minor_of
from rating.price import compile_price
from schemas.instants import DAY
from schemas.numbers import Number
from schemas.plan import UsageCharge
from schemas.price import Graduated, Package, Percentage, PerUnit, PriceTable, Stairstep, Tier, Volume

N = Number
GRADUATED = Graduated(included=N(100), tiers=(Tier(N(1000), N("0.02"), N(1)), Tier(None, N("0.01"))))
TABLES: list[PriceTable] = [
    GRADUATED,
    Graduated(tiers=(Tier(N(0), flat=N(7)), Tier(N(10), N("0.1"), N(1)), Tier(None, N("0.003"), N(2))), per=N(7)),
    Volume(tiers=(Tier(N(10), N(3)), Tier(None, N(2), N("0.5"))), included=N("2.5")),
    Stairstep(tiers=(Tier(N(10), flat=N(0)), Tier(None, flat=N("9.99")))),
    Package(size=N(20), amount=N(10), included=N(5)),
    Percentage(rate=N("2.9")),
    PerUnit(unit=N("-0.125"), per=N("0.3")),
]


def head(quantity: Fraction | None) -> LineHead:
    return LineHead(subscription="s1", charge="api", kind="usage", quantity=quantity, start=0, end=DAY)


def evaluate(text: str) -> Fraction:
    """What an explanation's arithmetic comes to, from its text alone."""
    formula = re.split(r"[;:] ", text)[-1].replace(",", "").replace(" flat", "")
    formula = re.sub(r"^(minimum|maximum) ", "", formula).replace(" x ", " * ")
    exact = re.sub(r"\d+(\.\d+)?", lambda match: f"Fraction('{match[0]}')", formula)
    return eval(exact, {"Fraction": Fraction})  # type: ignore[no-any-return]  # noqa: S307 (our own text)


def check(text: str, currency: str = "USD") -> Fraction:
    """Do the arithmetic of an explanation again; what stands behind `=` must be it. Returns the exact amount."""
    left, _, right = text.partition(" = ")
    exact, _, rounded = right.partition(", rounded ")
    amount = evaluate(left)
    assert evaluate(exact) == amount
    minor = Fraction(minor_of(amount, currency), 10 ** decimals_of(currency))
    assert (evaluate(rounded) == minor) if rounded else (amount == minor)
    return amount


@pytest.mark.parametrize("table", TABLES, ids=[str(index) + type(table).__name__ for index, table in enumerate(TABLES)])
@pytest.mark.parametrize("fraction", [Fraction(1), Fraction(10, 31)], ids=["whole", "prorated"])
@pytest.mark.parametrize("factors", [(), (Fraction(-17, 31), Fraction(9, 10))], ids=["all", "share"])
@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
def test_explained_arithmetic_is_the_amount(
    table: PriceTable, fraction: Fraction, factors: tuple[Fraction, ...], currency: str
) -> None:
    price = compile_price(table)
    for quantity in map(Fraction, ("-5", "0", "1", "2.5", "10", "10.5", "1600", "123456789.000000000001", "1/3")):
        found = explain(price, quantity, currency, fraction=fraction, factors=factors)
        assert check(found.text, currency) == found.amount


@pytest.mark.parametrize(
    ("table", "quantity", "text"),
    [
        (GRADUATED, "1600", "included 100 of 1,600; 1,000 x 0.02 + 500 x 0.01 + 1.00 flat = 26.00"),
        (GRADUATED, "60", "included 60 of 60; 1.00 flat = 1.00"),
        (PerUnit(unit=N("0.125")), "39", "39 x 0.125 = 4.875, rounded 4.88"),
        (PerUnit(unit=N(1), per=N(1000)), "1500", "1,500 x 1.00 / 1,000 = 1.50"),
        (PerUnit(unit=N(1)), "-5", "-5 is billed as 0; 0 x 1.00 = 0.00"),
        (Package(size=N(20), amount=N(10)), "98", "98 in packages of 20: 5 x 10.00 = 50.00"),
        (Percentage(rate=N("2.5")), "1000", "1,000 x 2.5 / 100 = 25.00"),
    ],
)
def test_explanation_reads_well(table: PriceTable, quantity: str, text: str) -> None:
    assert explain(compile_price(table), Fraction(quantity), "USD").text == text


def test_fee_is_explained_with_its_share_of_the_period() -> None:
    found = explain(compile_price(PerUnit(unit=N(9))), Fraction(3), "USD", factors=[Fraction(-10, 31)])
    assert found.text == "3 x 9.00 x -10/31 = -270/31, rounded -8.71"


def test_clamps_and_percentages_explain_themselves() -> None:
    assert check(explain_clamp("minimum", 500, 320, "USD")) == Fraction("1.80")
    assert check(explain_clamp("maximum", 500, -320, "USD")) == Fraction("8.20")
    assert check(explain_percent(N("21"), 1005, "USD")) == Fraction("2.1105")
    assert check(explain_percent(N("12.5"), 1005, "JPY", sign=-1), "JPY") == Fraction("-125.625")


def test_lines_are_rounded_each_on_its_own() -> None:
    lines = make_lines(
        [head(Fraction(1))] * 3, Amounts.of([Fraction("0.005"), Fraction("-0.005"), Fraction(1, 3)]), "USD"
    )
    assert [line.amount for line in lines] == [1, -1, 33]
    assert round_money([Fraction(1, 2), Fraction(2, 3)], "JPY") == [1, 1]


def test_line_is_shown_with_its_currencys_decimals_and_a_plain_quantity() -> None:
    line = shown(make_lines([head(Fraction(1, 3))], Amounts.of([Fraction(5)]), "USD")[0], "USD")
    assert (line.amount, line.quantity, str(line.period.end)) == ("5.00", "0.333333333333", "1970-01-02T00:00:00Z")
    assert shown(make_lines([head(None)], Amounts.of([Fraction(5)]), "JPY")[0], "JPY").quantity is None


def test_minimum_shrinks_with_the_segment_and_maximum_only_where_prorated() -> None:
    half = Fraction(1, 2)
    charge = UsageCharge(meter="m", price=GRADUATED, minimum=N(5), maximum=N(9))
    assert bounds(charge, half) == (Fraction(5, 2), Fraction(9))
    prorated = UsageCharge(meter="m", price=GRADUATED, maximum=N(9), prorated=True)
    assert bounds(prorated, half) == (None, Fraction(9, 2))


@pytest.mark.parametrize(
    ("total", "expected"),
    [(320, ("minimum", 180)), (500, None), (899, None), (900, None), (901, ("maximum", -1)), (-5, ("minimum", 505))],
)
def test_total_is_brought_to_its_bound(total: int, expected: tuple[str, int] | None) -> None:
    assert clamp(total, 500, 900) == expected
    assert clamp(total, None, None) is None
