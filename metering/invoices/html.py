"""An invoice as a page for people: readable, printable, with nothing loaded from elsewhere."""

from datetime import date
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from metering.invoices.store import Kept
from rating.billed import Invoice, show_invoice
from rating.money import money_text
from rating.zone import Zone, zone
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
EN_DASH: Final = "\N{EN DASH}"
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
    here = zone(kept.timezone)
    lines = [_line(line, here) for line in shown.lines if line.kind != "tax"]
    taxes = [_line(line, here) for line in shown.lines if line.kind == "tax"]
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
        issued=_time(shown.issued, here),
        period=_period(shown.period, here),
        timezone=kept.timezone,
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


def _line(line: Line, here: Zone) -> dict[str, Any]:
    name = line.charge or line.note or KINDS[line.kind]
    return {
        "name": name,
        "kind": KINDS[line.kind],
        "dimensions": ", ".join(f"{key}: {value or 'none'}" for key, value in line.dimensions.items()),
        "period": _ends(line.period, here),
        "quantity": "" if line.quantity is None else grouped(line.quantity),
        "amount": grouped(line.amount),
        "plain_amount": line.amount,
        "unpriced": line.unpriced,
    }


def _given(invoice: Invoice) -> str:
    """What a negative total became: a credit for later invoices (spec 8.7)."""
    return grouped(money_text(invoice.given, invoice.currency)) if invoice.given else ""


def _period(span: Span, here: Zone) -> str:
    """The ends of a span in one text."""
    return f" {EN_DASH} ".join(_ends(span, here))


def _ends(span: Span, here: Zone) -> list[str]:
    """From the first to the last local day, both included; an end that is no midnight is a time. One text if same."""
    first = _time(span.start, here)
    if span.start == span.end:
        return [first]
    midnight = _is_midnight(span.end, here)
    last = _date(here.local_date(span.end) - 1) if midnight else _time(span.end, here)
    return [first] if first == last else [first, last]


def _is_midnight(instant: Instant, here: Zone) -> bool:
    """Whether a local date begins at an instant."""
    return here.midnight(here.local_date(instant)) == instant


def _date(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _time(instant: Instant, here: Zone) -> str:
    """The local date, the time of day only where it is not midnight."""
    if _is_midnight(instant, here):
        return _date(here.local_date(instant))
    return instant.moment().astimezone(here.info).strftime("%Y-%m-%d %H:%M:%S")
