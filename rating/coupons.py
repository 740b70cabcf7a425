"""Discounts (spec 8.3): one negative line a coupon, split over the lines that it applies to (1.5)."""

from collections.abc import Sequence
from fractions import Fraction

from rating.account import Account, Discount
from rating.billed import Billed, InvoiceLine
from rating.money import allocate, minor_of, round_half_away
from schemas.act import Coupon

HUNDRED = 100


def usable(account: Account, billed: Billed, currency: str, issued: int) -> list[Discount]:
    """The coupons given at or before `issued` that are not used up, in the order given.

    An amount is money of the customer's currency: such a coupon does not apply to invoices in another one.
    """
    return [
        discount
        for discount in account.coupons
        if discount.at <= issued
        and (discount.coupon.percent is not None or currency == account.customer.currency)
        and (discount.coupon.periods is None or billed.uses.get(discount.key, 0) < discount.coupon.periods)
    ]


def applies_to(coupon: Coupon, line: InvoiceLine) -> bool:
    """Whether a coupon applies to a charge line.

    Not to a credit that is net of discounts already; a list of charges names no one-off charge (8.11).
    """
    if line.takes_back is not None:
        return False
    return coupon.charges is None or (line.head.kind != "one_off" and line.head.charge in coupon.charges)


def discount_of(
    discount: Discount, amounts: Sequence[int], left: Sequence[int], applies: Sequence[bool], currency: str
) -> list[int] | None:
    """A coupon's share of each line (<= 0 for a positive line); None if the lines that it applies to do not come to
    more than 0: then it is not used.

    `amounts` are the lines' in minor units, `left` what earlier coupons left of each.
    """
    if sum(amount for amount, eligible in zip(amounts, applies, strict=True) if eligible) <= 0:
        return None
    weights = [amount if eligible else 0 for amount, eligible in zip(left, applies, strict=True)]
    base, coupon = max(sum(weights), 0), discount.coupon
    if coupon.percent is not None:
        exact = Fraction(coupon.percent) * base / HUNDRED
        total = min(round_half_away(exact.numerator, exact.denominator), base)
    else:
        total = min(minor_of(Fraction(coupon.amount or 0), currency), base)
    return [-share for share in allocate(total, weights)]
