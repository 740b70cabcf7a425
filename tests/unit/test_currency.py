"""Currencies: ISO 4217's decimals, and every currency that is legal tender somewhere."""

import pytest
from babel.core import get_global

from schemas.currency import CURRENCIES


@pytest.mark.parametrize(
    ("code", "decimals"),
    [
        ("USD", 2),
        ("EUR", 2),
        ("JPY", 0),
        ("UGX", 0),
        ("ISK", 0),
        ("KWD", 3),
        ("IQD", 3),
        ("CLF", 4),
        ("HUF", 2),
        ("LAK", 2),
    ],
)
def test_currency_has_the_decimals_of_iso_4217(code: str, decimals: int) -> None:
    assert CURRENCIES[code] == decimals


def test_every_tender_of_today_is_known() -> None:
    tender = {
        code
        for currencies in get_global("territory_currencies").values()
        for code, _begin, end, is_tender in currencies
        if end is None and is_tender
    }
    assert len(tender) > 140
    assert tender - set(CURRENCIES) == set()


@pytest.mark.parametrize("code", ["XXX", "XAU", "XTS", "DEM", "BTC", "usd", ""])
def test_what_nothing_is_billed_in_is_unknown(code: str) -> None:
    assert code not in CURRENCIES
