"""Scenarios (spec 10): a timeline folded through the same functions as live traffic."""

from collections.abc import Sequence

import msgspec
import numpy as np

from rating.account import Book
from rating.balance import balances
from rating.billed import show_invoice
from rating.billing import Bill, Statement, statements
from rating.catalog import Catalog
from rating.intake import Intake
from schemas.result import RefusedAct, Result
from schemas.scenario import Events, Happening, PlanVersion, Scenario, Void


class Played(msgspec.Struct, frozen=True):
    """A scenario after its run: the statements of its accounts, its bills in order with their numbers, its result."""

    statements: Sequence[Statement]
    bills: Sequence[tuple[Bill, int | None]]
    result: Result


def simulate(scenario: Scenario) -> Result:
    """The result of a scenario. Entries after its `now` do not happen; those of one instant in their order."""
    return play(scenario).result


def play(scenario: Scenario) -> Played:
    """The result of a scenario and the values that it is made of."""
    entries = [entry for entry in scenario.timeline if entry.at <= scenario.now]
    intake = _intake(scenario, entries)
    catalog = Catalog(scenario.meters, scenario.plans)
    book = Book(scenario.customers)
    refused: list[RefusedAct] = []
    arrived = 0
    for entry in entries:
        what, refusal = entry.what, None
        if isinstance(what, Events):
            arrived += len(what.raw)
        elif isinstance(what, PlanVersion):
            catalog.add(what.key, what.plan, entry.at)
        elif isinstance(what, Void):
            refusal = intake.void(entry.at, arrived, what.source, what.id, what.subject)
        else:
            refusal = book.add(catalog, entry.at, what)
        if refusal is not None:
            name = "void" if isinstance(what, Void) else str(what.__struct_config__.tag)
            refused.append(RefusedAct(at=entry.at, act=name, code=refusal))
    found = statements(book.accounts.values(), intake, scenario.now, scenario.settings.grace)
    owed = balances([statement.owing for statement in found], intake.usage)
    bills = _numbered(found)
    result = Result(
        invoices=tuple(show_invoice(bill.invoice, number) for bill, number in bills),
        balances={statement.account.key: balance for statement, balance in zip(found, owed, strict=True)},
        events=intake.counts(),
        refused=tuple(refused),
    )
    return Played(found, bills, result)


def _intake(scenario: Scenario, entries: Sequence[Happening]) -> Intake:
    batches = [(entry.what.raw, entry.at) for entry in entries if isinstance(entry.what, Events)]
    raws = [raw for batch, _ in batches for raw in batch]
    counts = [len(batch) for batch, _ in batches]
    received = np.repeat(np.array([at for _, at in batches], dtype=np.int64), np.array(counts, dtype=np.int64))
    return Intake(scenario.meters, raws, received, scenario.settings.late_window)


def _numbered(found: Sequence[Statement]) -> list[tuple[Bill, int | None]]:
    """All bills in the order of spec 10, the final ones with their numbers: gapless, in the order of finalisation."""
    bills = sorted((bill for statement in found for bill in statement.bills), key=lambda bill: bill.invoice.order)
    numbers = iter(range(1, len(bills) + 1))
    return [(bill, next(numbers) if bill.final else None) for bill in bills]
