"""Credits (spec 8.6, 8.7): grants pay invoices, the lower priority first, then the earlier expiry, then the earlier."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from rating.account import Account, Given
from rating.billed import Billed
from rating.money import decimals_of
from rating.subscription import FOREVER


class Purse(NamedTuple):
    """A grant that may pay: what is left of it, exact; `expires` FOREVER if it never does. Sorted by use."""

    priority: int
    expires: int
    at: int
    order: int
    key: str
    left: Fraction


def purses(account: Account, billed: Billed, currency: str, at: int) -> list[Purse]:
    """The grants of a currency that count at an instant and have something left, in the order of use.

    They were given at or before it; one that expires at that very instant counts: it covered the whole period.
    """
    unit = 10 ** decimals_of(currency)
    found = []
    for given in account.grants:
        if given.at <= at and currency_of(given, account) == currency:
            left = Fraction(given.grant.amount) - Fraction(billed.spent.get(given.key, 0), unit)
            expires = FOREVER if given.grant.expires is None else given.grant.expires
            found.append(Purse(given.grant.priority, expires, given.at, given.order, given.key, left))
    for place, net in enumerate(billed.nets):
        if net.at <= at and net.currency == currency:
            left = Fraction(net.amount - billed.spent.get(net.key, 0), unit)
            found.append(Purse(0, FOREVER, net.at, len(account.grants) + place, net.key, left))
    return sorted(purse for purse in found if purse.left > 0 and purse.expires >= at)


def currency_of(given: Given, account: Account) -> str:
    """The currency of a grant: the customer's unless it names one (8.6)."""
    return given.grant.currency or account.customer.currency


def pay(total: int, grants: Sequence[Purse], currency: str) -> list[tuple[str, int]]:
    """How much of each grant, by key, pays an invoice of `total` minor units.

    Of a grant finer than the currency the whole minor units can be used.
    """
    unit = 10 ** decimals_of(currency)
    left = max(total, 0)
    used = []
    for purse in grants:
        share = min(left, int(purse.left * unit))
        if share > 0:
            used.append((purse.key, share))
            left -= share
    return used
