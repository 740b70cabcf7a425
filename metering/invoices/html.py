"""An invoice as a page for people: readable, printable, with nothing loaded from elsewhere."""

from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from metering.invoices.store import Kept
from rating.billed import Invoice, show_invoice
from rating.money import money_text
from schemas.instants import Instant
from schemas.invoice import Line, Span

KINDS: Final = {
    "usage": "Usage",
    "recurring": "Fee",
    "proration": "Change within the period",
    "one_off": "One-off charge",
    "minimum": "Minimum",
    "maximum": "Maximum",
    "discount": "Discount",
    "tax": "Tax",
    "adjustment": "Adjustment",
}
MINUS: Final = "\N{MINUS SIGN}"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("metering.invoices"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("invoice.html")


def invoice_page(kept: Kept) -> str:
    """The page of an invoice; a draft says that it is one."""
    shown = show_invoice(kept.invoice, kept.number)
    lines = [_line(line) for line in shown.lines if line.kind != "tax"]
    taxes = [_line(line) for line in shown.lines if line.kind == "tax"]
    totals = [("Subtotal", shown.subtotal)]
    totals += [(f"{line['name']}", line["plain_amount"]) for line in taxes]
    totals.append(("Total", shown.total))
    if kept.invoice.credits:
        totals.append(("Credits used", money_text(-kept.invoice.credits, shown.currency)))
    return _template().render(
        title=f"Invoice {shown.number}" if shown.number is not None else "Draft invoice",
        draft=shown.number is None,
        id=kept.id,
        customer=shown.customer,
        subscription=shown.subscription,
        currency=shown.currency,
        issued=_day(shown.issued),
        period=_period(shown.period),
        lines=lines,
        totals=[(name, grouped(amount)) for name, amount in totals],
        due=grouped(shown.due),
        credit_note=_given(kept.invoice),
    )


def grouped(amount: str) -> str:
    """A decimal with thin gaps between thousands and a true minus sign: `-1 234 567.80`."""
    sign, digits = (MINUS, amount[1:]) if amount.startswith("-") else ("", amount)
    whole, point, rest = digits.partition(".")
    return f"{sign}{int(whole):,}{point}{rest}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _line(line: Line) -> dict[str, Any]:
    name = line.charge or line.note or KINDS[line.kind]
    return {
        "name": name,
        "kind": KINDS[line.kind],
        "dimensions": ", ".join(f"{key}: {value or 'none'}" for key, value in line.dimensions.items()),
        "period": _period(line.period),
        "quantity": "" if line.quantity is None else grouped(line.quantity),
        "amount": grouped(line.amount),
        "plain_amount": line.amount,
        "unpriced": line.unpriced,
    }


def _given(invoice: Invoice) -> str:
    """What a negative total became: a credit for later invoices (spec 8.7)."""
    return grouped(money_text(invoice.given, invoice.currency)) if invoice.given else ""


def _period(span: Span) -> str:
    return _day(span.start) if span.start == span.end else f"{_day(span.start)} \N{EN DASH} {_day(span.end)}"


def _day(instant: Instant) -> str:
    """The instant in UTC, the time of day only where it is not midnight."""
    moment = instant.moment()
    day = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    if not (moment.hour or moment.minute or moment.second or moment.microsecond):
        return day
    return f"{day} {moment.hour:02}:{moment.minute:02}:{moment.second:02}"
