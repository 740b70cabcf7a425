"""The balance of a customer (section 9)."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from oracle import prices
from oracle.billing import Account
from oracle.catalog import Customer, UsageCharge
from oracle.invoices import ZERO, Ledger
from oracle.lines import Line, in_order, span
from oracle.numbers import money, plain, plain12
from oracle.times import write


def _accrued(customer: Customer, currency: str, accounts: Sequence[Account], ledger: Ledger) -> Fraction:
    """The exact amount of all charge lines that no final invoice carries."""
    total = ZERO
    for invoice in ledger.invoices:
        if not invoice.final and (invoice.customer, invoice.currency) == (customer, currency):
            charge_lines = [line for line in invoice.lines if line.charge is not None]
            total += sum((line.exact for line in charge_lines), ZERO)
    for account in accounts:
        if account.subscription.customer == customer and account.subscription.plan.currency == currency:
            lines = account.to_come()
            for line in lines:
                line.settle_credit(currency)
            total += sum((line.exact for line in lines), ZERO)
    return total


def _entry(account: Account, line: Line) -> dict[str, Any]:
    """One usage charge of the open period, with the unit price of the tier that holds its quantity."""
    subscription, period = account.subscription, account.open_period()
    assert period is not None
    assert line.period is not None
    assert line.quantity is not None
    segment = next(
        segment
        for segment in subscription.segments(period.start, account.now, current=True)
        if (segment.charge, segment.start) == (line.charge, line.period[0])
    )
    charge = segment.definition
    assert isinstance(charge, UsageCharge)
    table = charge.price
    price = table.of(line.dimensions[table.dimension]) if isinstance(table, prices.ByValue) else table
    unit, bound = None, None
    if price is not None and price.model == "per_unit":
        unit = price.unit / price.per
    elif price is not None and price.model == "percentage":
        unit = price.rate / 100
    elif price is not None and price.tiers:
        tier = prices.tier_of(price, max(line.quantity - price.included, ZERO))
        unit = tier.unit / price.per
        bound = None if tier.up_to is None else tier.up_to + price.included
    end = period.full[1] if line.period[1] == account.now else line.period[1]
    return {
        "subscription": subscription.id,
        "charge": line.charge,
        "quantity": plain(line.quantity),
        "amount": plain12(line.exact),
        "dimensions": dict(line.dimensions),
        "period": span((line.period[0], end)),
        "price": None if unit is None else plain12(unit),
        "next_bound": None if bound is None else plain12(bound),
    }


def balance(customer: Customer, accounts: Sequence[Account], ledger: Ledger, now: datetime) -> dict[str, Any]:
    """The customer's balance now: in its own currency, others apart."""
    mine = [account for account in accounts if account.subscription.customer == customer]
    mine.sort(key=lambda account: account.subscription.id)

    def in_currency(currency: str) -> dict[str, Any]:
        accrued = _accrued(customer, currency, accounts, ledger)
        credit = ZERO
        for grant, left in ledger.after_the_finals():
            same = (grant.customer, grant.currency) == (customer.key, currency)
            credit += left if same and grant.valid(now) else ZERO
        due = sum(
            (
                invoice.due
                for invoice in ledger.invoices
                if invoice.final and (invoice.customer, invoice.currency) == (customer, currency)
            ),
            ZERO,
        )
        charges = []
        for account in mine:
            if account.subscription.plan.currency == currency:
                usage = [line for line in account.open_usage() if line.kind == "usage"]
                order = account.subscription.charge_order(now)
                charges += [_entry(account, line) for line in in_order(usage, order)]
        return {
            "currency": currency,
            "accrued": plain12(accrued),
            "credits": plain12(credit),
            "available": plain12(credit - accrued),
            "due": money(due, currency),
            "charges": charges,
        }

    currencies = {account.subscription.plan.currency for account in mine}
    currencies |= {grant.currency for grant in ledger.grants if grant.customer == customer.key}
    others = [in_currency(currency) for currency in sorted(currencies - {customer.currency})]
    return {**in_currency(customer.currency), "others": others, "as_of": write(now)}
