"""The charge lines of one subscription's share of an invoice: usage, fees, corrections, one-offs (spec 5.3, 7, 8.9)."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from rating.account import Account, Extra
from rating.billed import Billed, Corrected, InvoiceLine
from rating.clamps import bounds, clamp
from rating.delta import corrections
from rating.issues import Part
from rating.line import LineHead
from rating.money import minor_of
from rating.proration import Fee, arrears_fees, opening_fees, proration_fees
from rating.rated import RatedUsage
from rating.segments import ChargeSegment, charge_order
from rating.subscription import FOREVER

Rated = tuple[ChargeSegment, Sequence[RatedUsage]]

_RANK = {"usage": 4, "recurring": 4, "proration": 4, "minimum": 5, "maximum": 6}
_CORRECTION_RANK: dict[Corrected, int] = {"usage": 0, "minimum": 1, "maximum": 2}


def part_lines(
    account: Account, part: Part, closing: Iterable[Rated], late: Iterable[Rated], billed: Billed
) -> list[InvoiceLine]:
    """The lines of one part of an issue, in the order of spec 10: charges, then one-offs as given."""
    currency = part.subscription.currency
    lines = [line for segment, rows in closing for line in usage_lines(segment, rows)]
    for segment, rows in late:
        lines += corrections(usage_lines(segment, rows), segment, billed)
    lines += [line for fee in part_fees(account, part) for line in fee_lines(part, fee, billed, currency)]
    if len(lines) > 1:
        order = charge_order(part.subscription.course)
        lines.sort(key=lambda line: _place(line, order))
    return lines + [line for extra in part.extras for line in extra_lines(extra, currency)]


def usage_lines(segment: ChargeSegment, rows: Sequence[RatedUsage]) -> list[InvoiceLine]:
    """A segment's lines: each combination, and what brings their sum to the charge's minimum or maximum (5.3)."""
    period = segment.period.start
    lines = [InvoiceLine(row.line.head, row.line.amount, period=period) for row in rows if row.billing]
    charge = segment.terms.charge
    if charge.minimum is None and charge.maximum is None:
        return lines
    currency = segment.subscription.currency
    low, high = (None if b is None else minor_of(b, currency) for b in bounds(charge, segment.fraction))
    raised = clamp(sum(line.amount for line in lines), low, high)
    if raised is not None:
        kind, amount = raised
        head = LineHead(
            subscription=segment.subscription.id,
            charge=segment.charge,
            kind=kind,
            quantity=None,
            start=segment.start,
            end=segment.end,
        )
        lines.append(InvoiceLine(head, amount, period=period))
    return lines


def part_fees(account: Account, part: Part) -> list[Fee]:
    """The recurring fees that fall due: arrears and prorations of periods that close, advance of those that open."""
    subscription, zone = part.subscription, account.zone
    fees: list[Fee] = []
    for period in part.closes:
        fees += arrears_fees(subscription, period, zone)
        fees += proration_fees(subscription, period, zone, part.since, period.end)
    for period in part.opens:
        fees += opening_fees(subscription, period, zone)
    if part.opens and part.opens[-1] not in part.closes:
        # A back-dated subscription changed at the very instant at which it was made: that falls due at once too.
        fees += proration_fees(subscription, part.opens[-1], zone, part.since, part.subscription.made)
    return fees


def fee_lines(part: Part, fee: Fee, billed: Billed, currency: str) -> list[InvoiceLine]:
    """The line of a fee, none if it comes to 0 (8.1)."""
    exact, name = fee.amount, part.subscription.id
    net = net_share(name, fee, billed)
    amount = minor_of(exact * net if net is not None else exact, currency)
    if amount == 0:
        return []
    head = LineHead(
        subscription=name,
        charge=fee.charge,
        kind=fee.kind,
        quantity=Fraction(fee.quantity),
        start=fee.start,
        end=fee.end,
    )
    takes_back = None if net is None else fee.takes_back
    return [InvoiceLine(head, amount, period=fee.period, advance=fee.advance, takes_back=takes_back)]


def net_share(subscription: str, fee: Fee, billed: Billed, before: int = FOREVER) -> Fraction | None:
    """For a credit of a fee on an earlier invoice (issued before `before`): what discounts left of that line (7.3).

    None for all else.
    """
    if fee.takes_back is None:
        return None
    line, issued = billed.fees.get((subscription, fee.charge, fee.takes_back), (None, 0))
    if line is None or issued >= before or not line.amount:
        return None
    return Fraction(line.amount + line.discount, line.amount)


def extra_lines(extra: Extra, currency: str) -> list[InvoiceLine]:
    """The line of a one-off charge (8.11), none if it comes to 0."""
    charge = extra.charge
    amount = minor_of(amount_of(extra), currency)
    head = LineHead(
        subscription=charge.subscription,
        charge=charge.id,
        kind="one_off",
        quantity=Fraction(charge.quantity),
        start=extra.at,
        end=extra.at,
    )
    return [InvoiceLine(head, amount)] if amount else []


def amount_of(extra: Extra) -> Fraction:
    """The exact amount of a one-off charge (8.11)."""
    return Fraction(extra.charge.amount) * Fraction(extra.charge.quantity)


def _place(line: InvoiceLine, order: dict[str, int]) -> tuple[int, int, int, bool, tuple[tuple[str, str], ...]]:
    """Where a charge line stands (spec 10): charge, period, kind, a credit before a charge, dimensions."""
    head = line.head
    rank = _CORRECTION_RANK[line.corrects] if line.corrects is not None else _RANK[head.kind]
    charges = head.kind != "proration" or line.amount > 0
    return order.get(head.charge or "", len(order)), head.start, rank, charges, head.dimensions
