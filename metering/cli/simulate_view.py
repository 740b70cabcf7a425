"""How `metering simulate` shows a scenario to a person: invoices line by line, then what is owed."""

from collections.abc import Sequence

from rich.table import Table

from metering.cli.say import CONSOLE, say
from rating.simulate import Played
from schemas.instants import Instant
from schemas.invoice import Balance, Invoice, Line, Money
from schemas.result import Result
from schemas.scenario import Scenario


def show(scenario: Scenario, played: Played, explanations: Sequence[Sequence[str]] | None) -> None:
    """Print a scenario's result; `explanations` has the arithmetic of every line, None: not wanted."""
    say(f"{scenario.name}, at {scenario.now}")
    for place, invoice in enumerate(played.result.invoices):
        CONSOLE.print(_invoice(invoice, None if explanations is None else explanations[place]))
    if not played.result.invoices:
        say("no invoices")
    if played.result.balances:
        CONSOLE.print(_balances(played.result))
    _events(played.result)
    say()


def _invoice(invoice: Invoice, explanations: Sequence[str] | None) -> Table:
    number = "draft" if invoice.number is None else f"invoice {invoice.number}"
    owner = invoice.subscription or "one-off"
    title = f"{number}: {invoice.customer}, {owner}, issued {invoice.issued}, {invoice.currency}"
    table = Table(title=title, title_justify="left", show_footer=True)
    total = invoice.total if invoice.credits.strip("0.") == "" else f"{invoice.total}, due {invoice.due}"
    table.add_column("line", footer="total")
    table.add_column("period")
    table.add_column("quantity", justify="right")
    table.add_column("amount", justify="right", footer=total)
    if explanations is not None:
        table.add_column("how", overflow="fold")
    for place, line in enumerate(invoice.lines):
        cells = [_what(line), _span(line), line.quantity or "", line.amount]
        table.add_row(*cells, *([] if explanations is None else [explanations[place]]))
    return table


def _what(line: Line) -> str:
    """What a line is for, in a few words."""
    values = ", ".join(f"{name}={value}" for name, value in line.dimensions.items())
    parts = [line.charge or "", line.kind if line.kind != "usage" else "", values, line.note or ""]
    return " ".join(part for part in parts if part) + (" (unpriced)" if line.unpriced else "")


def _span(line: Line) -> str:
    start, end = line.period.start, line.period.end
    return _short(start) if start == end else f"{_short(start)} - {_short(end)}"


def _short(instant: Instant) -> str:
    """An instant without what is always the same at midnight."""
    text = str(instant)
    return text.removesuffix("T00:00:00Z")


def _balances(result: Result) -> Table:
    table = Table(title="balances", title_justify="left")
    for name in ("customer", "currency", "accrued", "credits", "available", "due"):
        table.add_column(name, justify="left" if name in ("customer", "currency") else "right")
    for customer, balance in result.balances.items():
        currencies: list[Balance | Money] = [balance, *balance.other]
        for money in currencies:
            table.add_row(customer, money.currency, money.accrued, money.credits, money.available, money.due)
    return table


def _events(result: Result) -> None:
    events = result.events
    counts = [("accepted", events.accepted), ("duplicate", events.duplicate)]
    counts += [("duplicate_conflict", events.duplicate_conflict), ("unmatched", events.unmatched)]
    shown = [f"{count} {name}" for name, count in counts if count]
    if shown:
        say(f"events: {', '.join(shown)}")
    for rejected in events.rejected:
        where = f" for meter {rejected.meter}" if rejected.meter else ""
        say(f"rejected: {rejected.source} {rejected.id}{where}: {rejected.code}")
    for refused in result.refused:
        say(f"refused: {refused.act} at {refused.at}: {refused.code}")
