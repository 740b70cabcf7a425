"""What a customer owes now (spec 9): exact, as if open periods ended now.

The same functions as for invoices: the lines of drafts and of open periods, before they are rounded.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

import msgspec

from rating.account import Account
from rating.billed import Billed
from rating.clamps import bounds, clamp
from rating.credits import purses
from rating.delta import corrections
from rating.invoice import closing_segments, late_segments
from rating.issues import Issue, Part, open_part
from rating.lines import Rated, amount_of, net_share, part_fees, usage_lines
from rating.money import decimals_of, minor_of, money_text, rounded_text
from rating.price import WHOLE, standing
from rating.proration import Fee, arrears_fees, proration_fees
from rating.rated import RatedUsage, rate_usage
from rating.segments import ChargeSegment, charge_order, usage_segments
from rating.subscription import FOREVER, Period
from rating.usage import UsageSource
from schemas.instants import Instant
from schemas.invoice import Balance, BalanceCharge, Money, Span

ZERO = Fraction(0)


class Owing(msgspec.Struct, frozen=True):
    """What a balance is made of.

    `billed` is what final invoices amount to, `drafted` that and the drafts as they stand; `due` what of the final ones
    is not paid, in minor units by currency. `drafts` are the issues at or before `now` that are not final, in order.
    `late_from`: the earliest time of an event that arrived or was voided since the last final invoice (`invoice.Due`).
    """

    account: Account
    now: int
    billed: Billed
    drafted: Billed
    due: dict[str, int]
    drafts: Sequence[Issue] = ()
    late_from: int = FOREVER
    as_of: int | None = None


class _Share(msgspec.Struct, frozen=True):
    """What is owed of one subscription and one issue, or of what will be its next (`issued` FOREVER).

    `period`: the billing period that is open, where it is what comes next. `counts`: how many of the rated segments
    are of what closes or is open, and how many of periods that were closed before and are final.
    """

    part: Part
    issued: int
    period: Period | None
    counts: tuple[int, int]


def balances(owing: Sequence[Owing], usage: UsageSource) -> list[Balance]:
    """The balances of customers; all their usage is rated in one call, by price table."""
    segments: list[ChargeSegment] = []
    shares: list[list[_Share]] = []
    for one in owing:
        shares.append([])
        for part, issued, period, now, late in _parts(one):
            segments += now
            segments += late
            shares[-1].append(_Share(part, issued, period, (len(now), len(late))))
    rated = iter(zip(segments, rate_usage(segments, usage), strict=True))
    return [_balance(one, share, rated) for one, share in zip(owing, shares, strict=True)]


def balance(owing: Owing, usage: UsageSource) -> Balance:
    """The balance of one customer."""
    return balances([owing], usage)[0]


def _parts(one: Owing) -> Iterator[tuple[Part, int, Period | None, list[ChargeSegment], list[ChargeSegment]]]:
    """Drafts, then what is open, each with its segments; what is final is corrected by the first of a subscription."""
    corrected: set[str] = set()
    for issue in one.drafts:
        for part in issue.parts:
            late = [] if part.subscription.id in corrected else late_segments(part, one.late_from)
            corrected.add(part.subscription.id)
            yield part, issue.issued, None, closing_segments(part), late
    for subscription in sorted(one.account.subscriptions.values(), key=lambda each: each.id):
        part, period = open_part(one.account, subscription, one.now)
        late = [] if subscription.id in corrected else late_segments(part, one.late_from)
        now: list[ChargeSegment] = []
        if period is not None:
            begun = (segment for segment in usage_segments(subscription, period) if segment.start <= one.now)
            now = [segment.until(one.now) for segment in begun]
        yield part, FOREVER, period, now, late


def _balance(one: Owing, shares: Iterable[_Share], rated: Iterator[Rated]) -> Balance:
    account, home = one.account, one.account.customer.currency
    accrued: dict[str, Fraction] = {home: ZERO}
    charges: dict[str, list[BalanceCharge]] = {}
    for share in shares:
        now, late = list(islice(rated, share.counts[0])), list(islice(rated, share.counts[1]))
        currency = share.part.subscription.currency
        accrued[currency] = accrued.get(currency, ZERO) + _accrued(one, share, now, late)
        if share.period is not None:
            charges.setdefault(currency, []).extend(_charges(share.period, now))
    for issue in one.drafts:
        if issue.extra is not None:
            accrued[home] += amount_of(issue.extra)
    given = {each.grant.currency for each in account.grants if each.grant.currency}
    currencies = {*accrued, *one.due, *given, *(net.currency for net in one.billed.nets)} - {home}
    own, *others = [
        _money(one, currency, accrued.get(currency, ZERO), charges.get(currency, ()))
        for currency in (home, *sorted(currencies))
    ]
    return Balance(
        currency=home,
        accrued=own.accrued,
        credits=own.credits,
        available=own.available,
        due=own.due,
        charges=own.charges,
        other=tuple(others),
        as_of=None if one.as_of is None else Instant(one.as_of),
    )


def _accrued(one: Owing, share: _Share, now: Sequence[Rated], late: Sequence[Rated]) -> Fraction:
    """The exact amount of a subscription's lines that are not on a final invoice yet.

    A draft has no line of what rounds to 0 (8.1); in an open period it may still grow, and counts.
    """
    part, zone, subscription = share.part, one.account.zone, share.part.subscription
    total, currency = ZERO, subscription.currency
    fees: list[Fee]
    if share.period is None:
        fees = part_fees(one.account, part)
        total += sum((_exact_lines(segment, rows) for segment, rows in now), ZERO)
    else:
        elapsed = Period(share.period.start, one.now, share.period.full)
        fees = list(arrears_fees(subscription, elapsed, zone))
        fees += proration_fees(subscription, share.period, zone, part.since, one.now)
        total += sum((_exact(segment, rows) for segment, rows in now if segment.start < segment.end), ZERO)
    for fee in fees:
        net = net_share(subscription.id, fee, one.drafted, share.issued)
        amount = fee.amount if net is None else fee.amount * net
        if share.period is not None or minor_of(amount, currency):
            total += amount
    total += sum((amount_of(extra) for extra in part.extras), ZERO)
    for segment, rows in late:
        lines = corrections(usage_lines(segment, rows), segment, one.billed)
        total += Fraction(sum(line.amount for line in lines), 10 ** decimals_of(currency))
    return total


def _exact(segment: ChargeSegment, rows: Sequence[RatedUsage]) -> Fraction:
    """The exact amount of a segment: its combinations, brought to the charge's minimum or maximum (5.3)."""
    total = sum((row.amount for row in rows), ZERO)
    raised = clamp(total, *bounds(segment.terms.charge, segment.fraction))
    return total if raised is None else total + raised[1]


def _exact_lines(segment: ChargeSegment, rows: Sequence[RatedUsage]) -> Fraction:
    """The exact amount of the lines that a segment has on a draft."""
    left_out = sum((row.amount for row in rows if not row.billing), ZERO)
    if any(line.head.kind != "usage" for line in usage_lines(segment, rows)):
        return _exact(segment, rows) - left_out
    return sum((row.amount for row in rows), ZERO) - left_out


def _charges(period: Period, now: Sequence[Rated]) -> list[BalanceCharge]:
    """The entries of an open period: each segment and combination with its quantity, amount and price."""
    if not now:
        return []
    subscription = now[0][0].subscription
    order = charge_order(subscription.course)
    ends = {(whole.charge, whole.start): whole.end for whole in usage_segments(subscription, period)}
    found = []
    for segment, rows in sorted(now, key=lambda each: (order[each[0].charge], each[0].start)):
        for row in rows:
            price, bound = _price(segment, row)
            found.append(
                BalanceCharge(
                    subscription=segment.subscription.id,
                    charge=segment.charge,
                    quantity=rounded_text(row.quantity),
                    amount=rounded_text(row.amount) if segment.start < segment.end else "0",
                    dimensions=dict(row.line.head.dimensions),
                    period=Span(Instant(segment.start), Instant(ends[segment.charge, segment.start])),
                    price=None if price is None else rounded_text(price),
                    next_bound=None if bound is None else rounded_text(bound),
                )
            )
    return found


def _price(segment: ChargeSegment, row: RatedUsage) -> tuple[Fraction | None, Fraction | None]:
    """The unit price now in force, and the quantity (with what is included) up to which it holds; None: none."""
    if row.price is None:
        return None, None
    fraction = segment.fraction if segment.terms.charge.prorated else WHOLE
    stands = standing(row.price, row.quantity, fraction)
    if stands.next_bound is None:
        return stands.unit, None
    return stands.unit, stands.next_bound + Fraction(row.price.table.included) * fraction


def _money(one: Owing, currency: str, accrued: Fraction, charges: Sequence[BalanceCharge]) -> Money:
    credit = sum((purse.left for purse in purses(one.account, one.billed, currency, one.now)), ZERO)
    return Money(
        currency=currency,
        accrued=rounded_text(accrued),
        credits=rounded_text(credit),
        available=rounded_text(credit - accrued),
        due=money_text(one.due.get(currency, 0), currency),
        charges=tuple(charges),
    )
