"""Invoices (section 8): discounts, plan minimum, tax, credits, and what of it is final."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from oracle.billing import Candidate
from oracle.catalog import Customer
from oracle.lines import Line, Span, in_order, span
from oracle.numbers import decimals, money, round_money
from oracle.segments import Period, Subscription
from oracle.times import write

ZERO = Fraction(0)


@dataclass(eq=False)
class Coupon:
    """A discount given to a customer (8.3). `left`: invoices on which it may still be used, None: all."""

    at: datetime
    customer: str
    id: str
    percent: Fraction | None
    amount: Fraction | None
    charges: frozenset[str] | None
    left: int | None


@dataclass(eq=False)
class Grant:
    """Credit of a customer (8.6). `left`: what no invoice has used yet."""

    at: datetime
    customer: str
    currency: str
    priority: int
    expires: datetime | None
    left: Fraction

    def valid(self, at: datetime) -> bool:
        """Granted, and not expired: one that expires at the very instant still counts."""
        return self.at <= at and (self.expires is None or at <= self.expires)


@dataclass(eq=False)
class Invoice:
    """One invoice. `subscription` None: a one-off charge of the customer alone."""

    subscription: str | None
    customer: Customer
    currency: str
    issue: datetime
    final: bool
    period: Span
    lines: list[Line]
    number: int | None = None
    credits: Fraction = ZERO

    def total_of(self, *, tax: bool) -> Fraction:
        """The sum of the tax lines, or of all the others."""
        return sum((line.amount for line in self.lines if (line.kind == "tax") is tax), ZERO)

    @property
    def total(self) -> Fraction:
        """Subtotal and tax."""
        return self.total_of(tax=False) + self.total_of(tax=True)

    @property
    def due(self) -> Fraction:
        """What is to be paid, never below 0 (8.7)."""
        return max(self.total - self.credits, ZERO)

    def json(self) -> dict[str, Any]:
        """The invoice as section 10 shows it."""
        return {
            "subscription": self.subscription,
            "customer": self.customer.key,
            "currency": self.currency,
            "status": "final" if self.final else "draft",
            "number": self.number,
            "issued": write(self.issue),
            "period": span(self.period),
            "lines": [line.json(self.currency) for line in self.lines],
            "subtotal": money(self.total_of(tax=False), self.currency),
            "tax": money(self.total_of(tax=True), self.currency),
            "credits": money(self.credits, self.currency),
            "total": money(self.total, self.currency),
            "due": money(self.due, self.currency),
        }


def allocate(amount: Fraction, weights: Sequence[Fraction], places: int) -> list[Fraction]:
    """Splits `amount` (not below 0, in units of 10^-places) in proportion to `weights`, whose sum is
    above 0: each gets its share cut down to a unit, then the largest remainders one unit more, ties to
    the earlier (1.5). A negative weight takes a negative share. The parts add up to `amount`."""
    whole = sum(weights, ZERO)
    units = amount * 10**places
    exact = [units * weight / whole for weight in weights]
    parts = [share // 1 for share in exact]
    missing = int(units - sum(parts))
    by_remainder = sorted(range(len(weights)), key=lambda index: (parts[index] - exact[index], index))
    for index in by_remainder[:missing]:
        parts[index] += 1
    return [Fraction(part) / 10**places for part in parts]


def _eligible(coupon: Coupon, line: Line, invoice: Invoice) -> bool:
    """Whether the coupon's base takes the line in (8.3, 8.11)."""
    if line.takes_back is not None and line.takes_back.invoice is not invoice:
        return False
    if coupon.charges is None:
        return True
    return line.kind != "one_off" and line.charge in coupon.charges


def discounts(invoice: Invoice, coupons: Sequence[Coupon]) -> list[Line]:
    """One negative line per coupon, in the order given; each line remembers its share."""
    found = []
    for coupon in coupons:
        if coupon.customer != invoice.customer.key or coupon.at > invoice.issue or coupon.left == 0:
            continue
        if coupon.amount is not None and invoice.currency != invoice.customer.currency:
            continue
        lines = [line for line in invoice.lines if _eligible(coupon, line, invoice)]
        if sum((line.amount for line in lines), ZERO) <= 0:
            continue
        if coupon.left is not None:
            coupon.left -= 1
        left = max(sum((line.amount + line.share for line in lines), ZERO), ZERO)
        if coupon.percent is not None:
            off = round_money(left * coupon.percent / 100, invoice.currency)
        else:
            off = min(round_money(coupon.amount or ZERO, invoice.currency), left)
        if off == 0:
            continue
        parts = allocate(off, [line.amount + line.share for line in lines], decimals(invoice.currency))
        for line, part in zip(lines, parts, strict=True):
            line.share -= part
        found.append(Line(None, "discount", None, -off, -off, None, note=coupon.id))
    return found


def plan_minimum(subscription: Subscription, period: Period, lines: Sequence[Line]) -> list[Line]:
    """What the period's lines, net of their discounts, fall short of the plan's minimum (8.4)."""
    assert period.end is not None
    currency = subscription.plan.currency
    exact = ZERO
    for phase in subscription.phases_in(period.start, period.end):
        assert phase.end is not None
        exact += (phase.plan.minimum or ZERO) * subscription.share(phase.start, phase.end, period.full)
    missing = round_money(exact, currency) - sum((line.amount + line.share for line in lines), ZERO)
    if missing <= 0:
        return []
    return [Line(None, "minimum", None, missing, missing, (period.start, period.end))]


def taxes(invoice: Invoice) -> list[Line]:
    """One line per rate on the sum after discounts and plan minimum (8.5)."""
    taxable = max(invoice.total_of(tax=False), ZERO)
    found = []
    for name, rate in invoice.customer.taxes:
        exact = taxable * rate / 100
        line = Line(None, "tax", None, exact, round_money(exact, invoice.currency), None, note=name)
        if line.made:
            found.append(line)
    return found


@dataclass
class Ledger:
    """All invoices, made one after the other; coupons and credits are used up on the way."""

    customers: dict[str, Customer]
    coupons: list[Coupon]
    grants: list[Grant]
    grace: timedelta
    now: datetime
    invoices: list[Invoice] = field(default_factory=list)
    period_lines: dict[Period, list[Line]] = field(default_factory=dict)
    _final_credits: list[tuple[Grant, Fraction]] | None = None

    def issue(self, candidates: Sequence[Candidate]) -> None:
        """Makes the invoices of all candidates, by issue instant, then subscription id."""
        for at in sorted({candidate.issue for candidate in candidates}):
            due = [candidate for candidate in candidates if candidate.issue == at]
            due.sort(key=lambda candidate: candidate.subscription.id if candidate.subscription else "")
            if at + self.grace > self.now:
                self._keep_final_credits()
            for group in self._groups(due):
                self._make(at, group)
        self._keep_final_credits()

    def _keep_final_credits(self) -> None:
        if self._final_credits is None:
            self._final_credits = [(grant, grant.left) for grant in self.grants]

    def after_the_finals(self) -> list[tuple[Grant, Fraction]]:
        """The grants, and what the final invoices left of each (9)."""
        return self._final_credits or []

    def _groups(self, due: Sequence[Candidate]) -> list[list[Candidate]]:
        """Those that make one invoice together (8.1)."""
        groups: list[list[Candidate]] = []
        for candidate in due:
            for line in candidate.lines:
                line.settle_credit(candidate.currency)
            minimum = self._minimum_due(candidate)
            candidate.lines = [line for line in candidate.lines if line.made]
            if not candidate.lines and not minimum:
                continue
            consolidate = candidate.subscription and not candidate.of_its_own
            consolidate = consolidate and self.customers[candidate.customer].consolidate
            for group in groups if consolidate else ():
                same = (group[0].customer, group[0].currency) == (candidate.customer, candidate.currency)
                if same and group[0].subscription is not None and not group[0].of_its_own:
                    group.append(candidate)
                    break
            else:
                groups.append([candidate])
        return groups

    def _minimum_due(self, candidate: Candidate) -> bool:
        """Whether some period that it closes falls short before any discount of this invoice."""
        subscription = candidate.subscription
        if subscription is None:
            return False
        made = [line for line in candidate.lines if line.made]
        return any(plan_minimum(subscription, period, self._lines_of(period, made)) for period in candidate.closes)

    def _lines_of(self, period: Period, lines: Sequence[Line]) -> list[Line]:
        return [*self.period_lines.get(period, []), *(line for line in lines if line.of is period)]

    def _make(self, at: datetime, group: Sequence[Candidate]) -> None:
        first = group[0]
        lines: list[Line] = []
        for candidate in group:
            order = candidate.subscription.charge_order(at) if candidate.subscription else []
            lines += in_order(candidate.lines, order)
        starts = [period.start for candidate in group for period in candidate.closes]
        invoice = Invoice(
            first.subscription.id if first.subscription else None,
            self.customers[first.customer],
            first.currency,
            at,
            at + self.grace <= self.now,
            (min(starts, default=at), at),
            lines,
        )
        for line in lines:
            line.invoice = invoice
        invoice.lines = [*lines, *discounts(invoice, self.coupons)]
        for candidate in group:
            for period in candidate.closes:
                assert candidate.subscription is not None
                invoice.lines += plan_minimum(candidate.subscription, period, self._lines_of(period, lines))
        for line in lines:
            if line.of is not None:
                self.period_lines.setdefault(line.of, []).append(line)
        invoice.lines += taxes(invoice)
        self._apply_credits(invoice)
        if invoice.final:
            invoice.number = len(self.invoices) + 1
        self.invoices.append(invoice)

    def _apply_credits(self, invoice: Invoice) -> None:
        """Grants by priority, then expiry, then age; a total below 0 becomes a grant (8.6, 8.7)."""
        total, customer = invoice.total, invoice.customer.key
        if total < 0:
            self.grants.append(Grant(invoice.issue, customer, invoice.currency, 0, None, -total))
            return
        mine = [
            (grant.priority, grant.expires is None, grant.expires or grant.at, grant.at, index, grant)
            for index, grant in enumerate(self.grants)
            if (grant.customer, grant.currency) == (customer, invoice.currency) and grant.valid(invoice.issue)
        ]
        for *_, grant in sorted(mine):
            used = min(grant.left, total - invoice.credits)
            grant.left -= used
            invoice.credits += used
