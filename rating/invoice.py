"""Invoices: what falls due at an issue, put together in the order of spec 8.2.

    charge lines -> discounts -> plan minimum -> tax -> credits -> due

Many accounts are closed in one call: first all usage that they need is asked for and rated at once, by price table;
then each invoice is put together from its own lines.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from rating.account import Account
from rating.billed import Billed, Invoice, InvoiceLine
from rating.coupons import applies_to, discount_of, usable
from rating.credits import pay, purses
from rating.issues import Issue, Part
from rating.line import LineHead
from rating.lines import Rated, extra_lines, part_lines
from rating.money import minor_of
from rating.period import Span
from rating.rated import rate_usage
from rating.segments import ChargeSegment, plan_minimum, usage_segments
from rating.subscription import FOREVER
from rating.tax import tax_amounts
from rating.usage import UsageSource


class Due(msgspec.Struct, frozen=True, gc=False):
    """One invoice to draft: `billed` is what the customer's earlier invoices (by `Issue.order`) amount to.

    `late_from`: the earliest time of an event that arrived or was voided after an earlier invoice had become final;
    what was final and ends after it is rated again and corrected (8.9). FOREVER: there was none.
    """

    account: Account
    issue: Issue
    billed: Billed
    late_from: int = FOREVER


def draft(
    account: Account, issue: Issue, billed: Billed, usage: UsageSource, late_from: int = FOREVER
) -> Invoice | None:
    """One invoice, by the usage that is known; None if it has no lines (8.1)."""
    return draft_many([Due(account, issue, billed, late_from)], usage)[0]


def draft_many(work: Sequence[Due], usage: UsageSource) -> list[Invoice | None]:
    """The invoices of issues of different customers, or of one that do not build on each other; None: no lines."""
    segments: list[ChargeSegment] = []
    counts: list[tuple[int, int]] = []
    for due in work:
        for part in due.issue.parts:
            closing, late = closing_segments(part), late_segments(part, due.late_from)
            segments += closing
            segments += late
            counts.append((len(closing), len(late)))
    rated = iter(zip(segments, rate_usage(segments, usage), strict=True))
    shares = iter(counts)
    return [assemble(due.account, due.issue, due.billed, _charge_lines(due, rated, shares)) for due in work]


def closing_segments(part: Part) -> list[ChargeSegment]:
    """The usage that falls due: of every billing period that closes."""
    if len(part.closes) == 1:
        return usage_segments(part.subscription, part.closes[0])
    return [segment for period in part.closes for segment in usage_segments(part.subscription, period)]


def late_segments(part: Part, late_from: int) -> list[ChargeSegment]:
    """The usage of billing periods that were closed before this part and end after `late_from`."""
    if late_from >= part.since:
        return []
    subscription = part.subscription
    periods = subscription.course.periods(max(late_from, subscription.start), part.since - 1)
    closed = [period for period in periods if period.end <= part.since]
    return [s for period in closed for s in usage_segments(subscription, period) if s.end > late_from]


def _charge_lines(due: Due, rated: Iterator[Rated], shares: Iterator[tuple[int, int]]) -> list[InvoiceLine]:
    """The charge lines of an issue, part after part; each takes its share of the segments that were rated."""
    lines: list[InvoiceLine] = []
    for part in due.issue.parts:
        closing, late = next(shares)
        lines += part_lines(due.account, part, list(islice(rated, closing)), list(islice(rated, late)), due.billed)
    if due.issue.extra is not None:
        lines += extra_lines(due.issue.extra, due.issue.currency)
    return lines


def assemble(account: Account, issue: Issue, billed: Billed, lines: list[InvoiceLine]) -> Invoice | None:
    """An invoice of these charge lines: discounts, plan minimum, taxes and credits follow; None without any line."""
    lines, discounts, coupons = _discounted(account, issue, billed, lines)
    minimums = list(_plan_minimums(issue, billed, lines))
    if not lines and not minimums:
        return None
    if len(issue.parts) > 1:
        issue = _having(issue, {line.head.subscription for line in (*lines, *minimums)})
    span = Span(issue.start, issue.issued)
    lines += [InvoiceLine(_head(issue, "discount", span, name), amount) for name, amount in discounts]
    lines += minimums
    subtotal = sum(line.amount for line in lines)
    taxes = [
        InvoiceLine(_head(issue, "tax", span, tax.name), amount)
        for tax, amount in tax_amounts(account.customer.taxes, subtotal)
    ]
    tax = sum(line.amount for line in taxes)
    grants: list[tuple[str, int]] = []
    if subtotal + tax > 0 and (account.grants or billed.nets):
        found = purses(account, billed, issue.currency, issue.issued)
        grants = pay(subtotal + tax, found, issue.currency)
    return Invoice(
        key=issue.key,
        customer=issue.customer,
        currency=issue.currency,
        issued=issue.issued,
        period=span,
        subscription=issue.subscription,
        lines=(*lines, *taxes),
        subtotal=subtotal,
        tax=tax,
        credits=sum(amount for _, amount in grants),
        coupons=tuple(coupons),
        grants=tuple(grants),
    )


def _having(issue: Issue, names: set[str | None]) -> Issue:
    """An issue of several subscriptions without those that have no lines on it."""
    parts = tuple(part for part in issue.parts if part.subscription.id in names)
    return msgspec.structs.replace(issue, parts=parts, subscription=parts[0].subscription.id)


def _discounted(
    account: Account, issue: Issue, billed: Billed, lines: list[InvoiceLine]
) -> tuple[list[InvoiceLine], list[tuple[str, int]], list[str]]:
    """The charge lines with their shares of discounts, the discounts by coupon id, the keys of those used (8.3)."""
    if not account.coupons or not lines:
        return lines, [], []
    amounts = [line.amount for line in lines]
    left = amounts
    discounts: list[tuple[str, int]] = []
    used: list[str] = []
    for discount in usable(account, billed, issue.currency, issue.issued):
        applies = [applies_to(discount.coupon, line) for line in lines]
        shares = discount_of(discount, amounts, left, applies, issue.currency)
        if shares is None:
            continue
        used.append(discount.key)
        left = [amount + share for amount, share in zip(left, shares, strict=True)]
        if any(shares):
            discounts.append((discount.coupon.id, sum(shares)))
    shared = [
        msgspec.structs.replace(line, discount=rest - line.amount) if rest != line.amount else line
        for line, rest in zip(lines, left, strict=True)
    ]
    return shared, discounts, used


def _plan_minimums(issue: Issue, billed: Billed, lines: Sequence[InvoiceLine]) -> Iterator[InvoiceLine]:
    """What lines less discounts lack of the plan's minimum, for every billing period that closes (8.4)."""
    for part in issue.parts:
        name = part.subscription.id
        for period in part.closes:
            minimum = plan_minimum(part.subscription, period)
            if minimum is None:
                continue
            here = [line for line in lines if line.period == period.start and line.head.subscription == name]
            have = billed.periods.get((name, period.start), 0) + sum(line.amount + line.discount for line in here)
            missing = minor_of(minimum, issue.currency) - have
            if missing > 0:
                span = Span(period.start, period.end)
                yield InvoiceLine(_head(issue, "minimum", span, None, name), missing)


def _head(issue: Issue, kind: str, span: Span, note: str | None, subscription: str | None = None) -> LineHead:
    return LineHead(
        subscription=subscription or issue.subscription,
        charge=None,
        kind=kind,  # type: ignore[arg-type]
        quantity=None,
        start=span.start,
        end=span.end,
        note=note,
    )
