"""All invoices of many accounts up to an instant, in order, and what is owed then (spec 8, 9).

Each account is gone through on its own, issue after issue, because each invoice builds on those before it. The accounts
go in step: the issues that are due next in all of them are drafted in one call.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from heapq import merge
from typing import Protocol

import msgspec

from rating.account import Account
from rating.balance import Owing
from rating.billed import Billed, Invoice
from rating.invoice import Due, draft_many
from rating.issues import Issue, issues, last_issue, late_issue
from rating.subscription import FOREVER, Subscription
from rating.usage import UsageSource

ALWAYS = 2**63 - 1


class Arrivals(Protocol):
    """Usage by what was known when, and what arrived when."""

    def as_of(self, cutoff: int) -> UsageSource:
        """Usage by the events received and the voids made before an instant."""
        ...

    def touched(self, customer: str, since: int, until: int) -> int:
        """The earliest time of a customer's events that arrived or were voided at since <= t < until; FOREVER: none."""
        ...

    def arrivals(self, customer: str, since: int, until: int, before: int) -> list[int]:
        """The instants since <= t <= until at which events earlier than `before` arrived or were voided, rising."""
        ...


class Bill(msgspec.Struct, frozen=True):
    """An invoice of an account and whether it is final."""

    issue: Issue
    invoice: Invoice
    final: bool


class Statement(msgspec.Struct, frozen=True):
    """An account's invoices in their order, and what its balance is made of."""

    account: Account
    bills: Sequence[Bill]
    owing: Owing


class _Ask(msgspec.Struct, frozen=True):
    """An invoice to draft by the usage that was known before `cutoff`."""

    due: Due
    cutoff: int


def statements(accounts: Iterable[Account], arrivals: Arrivals, now: int, grace: int) -> list[Statement]:
    """Every account's statement at `now`; drafts are as if they became final now (spec 10)."""
    going = [(_statement(account, arrivals, now, grace), place) for place, account in enumerate(accounts)]
    done: list[Statement | None] = [None] * len(going)
    answers: list[Invoice | None] = [None] * len(going)
    while going:
        asked: list[tuple[Generator[_Ask, Invoice | None, Statement], int, _Ask]] = []
        for (steps, place), answer in zip(going, answers, strict=True):
            try:
                asked.append((steps, place, steps.send(answer)))
            except StopIteration as stop:
                done[place] = stop.value
        going = [(steps, place) for steps, place, _ in asked]
        answers = _drafted([ask for _, _, ask in asked], arrivals)
    return [statement for statement in done if statement is not None]


def _drafted(asked: Sequence[_Ask], arrivals: Arrivals) -> list[Invoice | None]:
    """What is asked for, those of one cut-off in one call."""
    answers: list[Invoice | None] = [None] * len(asked)
    together: dict[int, list[int]] = {}
    for place, ask in enumerate(asked):
        together.setdefault(ask.cutoff, []).append(place)
    for cutoff, places in together.items():
        drafts = draft_many([asked[place].due for place in places], arrivals.as_of(cutoff))
        for place, invoice in zip(places, drafts, strict=True):
            answers[place] = invoice
    return answers


def _statement(
    account: Account, arrivals: Arrivals, now: int, grace: int
) -> Generator[_Ask, Invoice | None, Statement]:
    """Asks for one draft after the other, in the order of the issues, and ends with the account's statement."""
    billed, drafted = Billed(), Billed()
    bills: list[Bill] = []
    drafts: list[Issue] = []
    known: dict[str, int] = {}  # by subscription: until when arrivals are in its invoices, and in its final ones
    settled: dict[str, int] = {}
    for issue, checked in _in_order(account, arrivals, now, grace):
        names = [part.subscription.id for part in issue.parts]
        since = min((known.get(name, ALWAYS) for name in names), default=ALWAYS)
        if checked:
            if since > issue.issued:  # an open invoice takes it up
                continue
            late_from = arrivals.touched(account.key, since, issue.issued + 1)
            if (yield _Ask(Due(account, issue, drafted, late_from), issue.issued + 1)) is None:
                continue
        final = issue.issued + grace <= now
        cutoff = max(issue.issued + grace, issue.issued + checked) if final else ALWAYS
        late_from = arrivals.touched(account.key, since, cutoff) if since < cutoff else FOREVER
        invoice = yield _Ask(Due(account, issue, drafted, late_from), cutoff)
        known.update(dict.fromkeys(names, cutoff))
        if final:
            settled.update(dict.fromkeys(names, cutoff))
        else:
            drafts.append(issue)
        if invoice is None:
            continue
        bills.append(Bill(issue, invoice, final))
        drafted.add(invoice)
        if final:
            billed.add(invoice)
    due: dict[str, int] = {}
    for bill in bills:
        if bill.final:
            due[bill.invoice.currency] = due.get(bill.invoice.currency, 0) + bill.invoice.due
    late_from = arrivals.touched(account.key, min(settled.values()), ALWAYS) if settled else FOREVER
    return Statement(account, bills, Owing(account, now, billed, drafted, due, drafts, late_from))


def _in_order(account: Account, arrivals: Arrivals, now: int, grace: int) -> Iterator[tuple[Issue, bool]]:
    """The issues of an account up to `now` in their order; those that are to be checked first, because they exist only
    if an arrival after the subscription's end changed an amount (8.9), are marked."""
    regular = ((issue, False) for issue in issues(account, -FOREVER, now))
    late = sorted(
        (
            (late_issue(subscription, at), True)
            for subscription in account.subscriptions.values()
            if last_issue(subscription) + grace <= now
            for at in _late_arrivals(subscription, arrivals, now, grace)
        ),
        key=lambda entry: entry[0].order,
    )
    return merge(regular, late, key=lambda entry: entry[0].order)


def _late_arrivals(subscription: Subscription, arrivals: Arrivals, now: int, grace: int) -> list[int]:
    final = last_issue(subscription) + grace
    return arrivals.arrivals(subscription.customer, final, now, subscription.end)
