"""Usage that two subscriptions of a customer would both bill (spec 4.4)."""

from collections.abc import Iterable, Iterator, Mapping

from rating.period import Span
from rating.subscription import FOREVER, Subscription
from schemas.plan import UsageCharge


def billed_twice(made: Subscription, others: Iterable[Subscription], within: Span) -> bool:
    """Whether some usage at some time of a span would be billed by `made` and by one of the other subscriptions.

    Subscriptions that count only events that name them are exempt.
    """
    if made.named:
        return False
    mine: dict[str, list[tuple[Span, UsageCharge]]] = {}
    for span, charge in _usage(made, within):
        mine.setdefault(charge.meter, []).append((span, charge))
    for other in others:
        if other.named or other.end <= within.start or other.start >= within.end:
            continue
        for span, charge in _usage(other, within):
            for own_span, own in mine.get(charge.meter, ()):
                if _meet(span, own_span) and overlapping(own.where, charge.where):
                    return True
    return False


def overlapping(one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether an event could pass both filters: no dimension of both has only different values."""
    return all(set(values) & set(other[dimension]) for dimension, values in one.items() if dimension in other)


def _usage(subscription: Subscription, within: Span) -> Iterator[tuple[Span, UsageCharge]]:
    """The usage charges of a subscription within a span, each with the time for which it is in force."""
    start, end = max(within.start, subscription.start), min(within.end, subscription.end, FOREVER)
    if start < end:
        for begun, until, phase in subscription.course.pieces(start, end):
            for charge in phase.plan.usage.values():
                yield Span(begun, until), charge.charge


def _meet(one: Span, other: Span) -> bool:
    return max(one.start, other.start) < min(one.end, other.end)
