"""Every line of an invoice as its arithmetic: found again from the line, the definitions and the earlier invoices."""

from fractions import Fraction

from rating.account import Account
from rating.billed import Billed, Invoice, InvoiceLine
from rating.clamps import bounds
from rating.coupons import applies_to, discount_of, usable
from rating.explain import explain, explain_clamp, explain_percent
from rating.lines import amount_of
from rating.money import decimals_of, minor_of, money_text, rounded_text
from rating.price import WHOLE
from rating.proration import fraction_of
from rating.segments import usage_segments
from rating.subscription import Course, Period
from schemas.plan import UsageCharge


def explain_invoice(account: Account, invoice: Invoice, billed: Billed) -> list[str]:
    """The arithmetic of every line in exact numbers; `billed` is what the customer's invoices before it amount to.

    What stands before the last `=` of a line evaluates to what stands behind it.
    """
    charges = [line for line in invoice.lines if line.head.charge is not None]
    discounts = iter(_discounts(account, invoice, charges, billed))
    texts = []
    for line in invoice.lines:
        match line.head.kind:
            case "discount":
                texts.append(next(discounts))
            case "tax":
                rate = next(tax.rate for tax in account.customer.taxes if tax.name == line.head.note)
                texts.append(explain_percent(rate, max(invoice.subtotal, 0), invoice.currency))
            case "one_off":
                texts.append(_one_off(account, line, invoice.currency))
            case _ if line.head.charge is None:
                have = _counted(charges, line, billed)
                texts.append(explain_clamp("minimum", have + line.amount, have, invoice.currency))
            case _:
                texts.append(_charge(account, invoice, line, billed))
    return texts


def _charge(account: Account, invoice: Invoice, line: InvoiceLine, billed: Billed) -> str:
    """A line of a charge: usage, its minimum or maximum, a correction, a fee."""
    head, currency = line.head, invoice.currency
    course = account.subscriptions[head.subscription or ""].course
    if line.corrects is not None:
        key = line.usage_key
        assert key is not None
        _, before = billed.usage_of(*key[:3]).get(key, (Fraction(0), 0))
        less = f"- {money_text(before, currency)}" if before >= 0 else f"+ {money_text(-before, currency)}"
        return f"now {money_text(before + line.amount, currency)} {less} billed = {money_text(line.amount, currency)}"
    if head.kind in ("recurring", "proration"):
        return _fee(account, course, line, currency, billed)
    period = _period(course, head.start)
    segments = usage_segments(account.subscriptions[head.subscription or ""], period)
    segment = next(s for s in segments if s.charge == head.charge and s.start == head.start)
    charge: UsageCharge = segment.terms.charge
    if head.kind in ("minimum", "maximum"):
        total = sum(other.amount for other in invoice.lines if other.head.kind == "usage" and _beside(other, line))
        low, high = bounds(charge, segment.fraction)
        bound = low if head.kind == "minimum" else high
        assert bound is not None
        return explain_clamp("minimum" if head.kind == "minimum" else "maximum", total + line.amount, total, currency)
    price = segment.terms.price(tuple(text for _, text in head.dimensions))
    if price is None:
        return "no price for this value = 0"
    fraction = segment.fraction if charge.prorated else WHOLE
    return explain(price, head.quantity or Fraction(0), currency, fraction=fraction).text


def _fee(account: Account, course: Course, line: InvoiceLine, currency: str, billed: Billed) -> str:
    """A fee: its price for a full period times its fraction, and for a credit what discounts left of it."""
    head = line.head
    credit = head.kind == "proration" and line.amount < 0
    at = head.start - 1 if credit else head.start
    phase = course.phase_at(at)
    terms = phase.plan.recurring(head.charge or "")
    assert terms is not None
    full = _period(course, at).full
    factors = [fraction_of(terms.charge, head.start, head.end, full, account.zone)]
    if credit:
        factors.append(Fraction(-1))
        if line.takes_back is not None:
            origin, _ = billed.fees[head.subscription, head.charge, line.takes_back]
            factors.append(Fraction(origin.amount + origin.discount, origin.amount))
    shown = [factor for factor in factors if factor != 1]
    return explain(terms.compiled, Fraction(phase.quantity(head.charge or "")), currency, factors=shown).text


def _discounts(account: Account, invoice: Invoice, charges: list[InvoiceLine], billed: Billed) -> list[str]:
    """The discounts of an invoice in order, found again as they were computed."""
    amounts = [line.amount for line in charges]
    left, texts = amounts, []
    for discount in usable(account, billed, invoice.currency, invoice.issued):
        applies = [applies_to(discount.coupon, line) for line in charges]
        shares = discount_of(discount, amounts, left, applies, invoice.currency)
        if shares is None or not any(shares):
            continue
        base = sum(amount for amount, eligible in zip(left, applies, strict=True) if eligible)
        if discount.coupon.percent is not None:
            texts.append(explain_percent(discount.coupon.percent, base, invoice.currency, sign=-1))
        else:
            given = money_text(minor_of(Fraction(discount.coupon.amount or 0), invoice.currency), invoice.currency)
            texts.append(
                f"-min({given}, {money_text(base, invoice.currency)}) = {money_text(sum(shares), invoice.currency)}"
            )
        left = [amount + share for amount, share in zip(left, shares, strict=True)]
    return texts


def _one_off(account: Account, line: InvoiceLine, currency: str) -> str:
    """A one-off charge: its amount times its quantity."""
    given = account.one_offs[line.head.subscription]
    extra = next(e for e in given if e.at == line.head.start and e.charge.id == line.head.charge)
    exact, rounded = amount_of(extra), Fraction(line.amount, 10 ** decimals_of(currency))
    formula = f"{rounded_text(Fraction(extra.charge.quantity))} x {rounded_text(Fraction(extra.charge.amount))}"
    text = money_text(line.amount, currency)
    return f"{formula} = {text}" if exact == rounded else f"{formula} = {rounded_text(exact, 24)}, rounded {text}"


def _counted(charges: list[InvoiceLine], minimum: InvoiceLine, billed: Billed) -> int:
    """What counts for a plan minimum: a period's lines less their discounts, here and on earlier invoices (8.4)."""
    subscription, start = minimum.head.subscription, minimum.head.start
    here = [line for line in charges if line.period == start and line.head.subscription == subscription]
    return billed.periods.get((subscription, start), 0) + sum(line.amount + line.discount for line in here)


def _beside(other: InvoiceLine, line: InvoiceLine) -> bool:
    """Whether two lines are of one segment."""
    one, two = other.head, line.head
    return (one.subscription, one.charge, one.start) == (two.subscription, two.charge, two.start)


def _period(course: Course, instant: int) -> Period:
    """The billing period that holds an instant of a line."""
    period = course.period_at(instant)
    assert period is not None
    return period
