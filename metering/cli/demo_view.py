"""What the demo shows: a table while events flow, then one invoice line by line."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.table import Table
from rich.text import Text

from schemas.instants import Instant


class Now(NamedTuple):
    """The state of the demo at one moment."""

    clock: str
    sent: int
    committed: int
    duplicates: int
    per_second: int
    lag: int
    accrued: Mapping[str, str]


def live(now: Now) -> Group:
    """The picture while events flow."""
    head = Text.assemble(
        ("clock ", "dim"), now.clock,
        ("   events/s ", "dim"), (f"{now.per_second:,}", "bold"),
        ("   committed ", "dim"), f"{now.committed:,} of {now.sent:,}",
        ("   duplicates dropped ", "dim"), f"{now.duplicates:,}",
        ("   lag ", "dim"), f"{now.lag:,}",
    )  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("customer")
    table.add_column("accrued, USD", justify="right")
    for customer, amount in now.accrued.items():
        table.add_row(customer, cents(amount))
    return Group(head, Text(), table)


def line(now: Now) -> str:
    """The same on one line, where stdout is no terminal."""
    accrued = ", ".join(f"{customer} {cents(amount)}" for customer, amount in now.accrued.items())
    return (
        f"{now.clock}  {now.per_second:,} events/s  {now.committed:,} of {now.sent:,} committed"
        f"  lag {now.lag:,}  accrued {accrued}"
    )


def cents(amount: str) -> str:
    """An exact decimal cut after two digits: for a rising number on a screen, never for money owed."""
    whole, _, rest = amount.partition(".")
    return f"{whole}.{rest[:2]:0<2}"


def invoice(tree: Mapping[str, Any], timezone: str) -> Group:
    """An invoice as the API gives it: its lines, with dates as the customer's calendar has them, then its totals."""
    title = f"Invoice {tree['number']} of {tree['customer']}, issued {tree['issued']}, {tree['status']}"
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("charge", "kind", "for", "period"):
        table.add_column(name)
    table.add_column("quantity", justify="right")
    table.add_column(f"amount, {tree['currency']}", justify="right")
    for one in tree["lines"]:
        period = f"{local_date(one['period']['start'], timezone)} to {local_date(one['period']['end'], timezone)}"
        dimensions = ", ".join(one["dimensions"].values())
        what = one["charge"] or one.get("note") or ""
        table.add_row(what, one["kind"], dimensions, period, grouped(one["quantity"] or ""), one["amount"])
    for name in ("subtotal", "tax", "total", "credits", "due"):
        table.add_row("", "", "", "", name, tree[name], style="bold" if name == "due" else "dim")
    return Group(Text(title, style="bold"), Text(), table)


def local_date(instant: str, timezone: str) -> str:
    """The date of an instant in a time zone."""
    return Instant.parse(instant).moment().astimezone(ZoneInfo(timezone)).date().isoformat()


def grouped(quantity: str) -> str:
    """A decimal with its thousands apart."""
    whole, point, rest = quantity.partition(".")
    return (f"{int(whole):,}" if whole.isdigit() else whole) + point + rest


def arithmetic(tree: Mapping[str, Any], explained: Sequence[str]) -> list[str]:
    """How the usage lines of an invoice come about."""
    lines = zip(tree["lines"], explained, strict=True)
    names = ((f"{one['charge']} {' '.join(one['dimensions'].values())}", one["kind"], text) for one, text in lines)
    return [
        "",
        "How the usage lines come about:",
        *(f"  {name:14} {text}" for name, kind, text in names if kind == "usage"),
    ]


def summary(report: Mapping[str, Any]) -> list[str]:
    """What the run came to, and whether the invoice is right."""
    check, events = report["check"], report["events"]
    if check["holds"]:
        verdict = (
            f"Checked: the {check['usage_lines']} usage lines, {check['expected_usage']} in all, equal an independent"
            f" sum of {check['distinct_events']:,} distinct events, to the token and the cent."
        )
    else:
        verdict = f"WRONG: these lines differ from an independent sum of the events: {check['differences']}"
    ways = f"{events['http']:,} over HTTP, {events['kafka']:,} to Kafka"
    dropped = f"{events['dropped_as_duplicates']:,} duplicates were dropped"
    return [
        "",
        verdict,
        f"{events['sent']:,} events were sent: {ways}; {events['late']:,} were late, {dropped}.",
        f"{report['events_per_second']:,} events/s from sending to commit; {report['seconds']} s in all.",
        "",
    ]
