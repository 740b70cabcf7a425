"""When invoices may be issued, and what each of them closes and opens (spec 8.1)."""

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from rating.account import Account, Extra
from rating.subscription import FOREVER, Period, Subscription


class Part(msgspec.Struct, frozen=True, gc=False):
    """One subscription's share of an issue: what fell due at since < t <= issued.

    Billing periods that `closes` ended in that time (usage and arrears fall due), those that `opens` began in it
    (advance fees do). A late part has neither: it corrects what is final after the subscription's end (8.9).
    """

    subscription: Subscription
    since: int
    closes: tuple[Period, ...] = ()
    opens: tuple[Period, ...] = ()
    extras: tuple[Extra, ...] = ()


class Issue(msgspec.Struct, frozen=True, gc=False):
    """An invoice that may be issued at an instant; it is made if it has lines.

    `key` names it for ever. `subscription` is the one whose id it carries, None for a one-off charge of the customer
    itself, which is then its only content. Parts are in the order of their subscriptions' ids.
    """

    key: str
    customer: str
    currency: str
    issued: int
    subscription: str | None
    parts: tuple[Part, ...] = ()
    extra: Extra | None = None

    @property
    def order(self) -> tuple[int, bool, str]:
        """The order in which invoices use coupons and credits, take numbers and are listed (8.6, 8.11, 10)."""
        return self.issued, self.subscription is not None, self.subscription or ""

    @property
    def start(self) -> int:
        """The start of the invoice's period: of the earliest billing period that it closes, else its own instant."""
        return min((period.start for part in self.parts for period in part.closes), default=self.issued)


def issues(account: Account, after: int, upto: int) -> list[Issue]:
    """The issues of an account at after < t <= upto, in their order; acts up to `upto` must all be known."""
    found = [own_issue(account, extra) for extra in account.one_offs.get(None, ()) if after < extra.at <= upto]
    parts: dict[object, list[tuple[int, Part]]] = {}
    for subscription in account.subscriptions.values():
        for issued, part in _parts(account, subscription, after, upto):
            whole = (subscription.currency,) if account.customer.consolidate else (subscription.id,)
            parts.setdefault((issued, *whole), []).append((issued, part))
    for together in parts.values():
        issued = together[0][0]
        ordered = tuple(sorted((part for _, part in together), key=lambda part: part.subscription.id))
        first = ordered[0].subscription
        key = f"{first.id}@{issued}"
        found.append(Issue(key, account.key, first.currency, issued, first.id, ordered))
    return sorted(found, key=lambda issue: issue.order)


def next_issue(account: Account, after: int) -> int:
    """The first instant later than `after` at which an account has an issue as things stand; FOREVER if it has none."""
    instants = [extra.at for extra in account.one_offs.get(None, ()) if extra.at > after]
    for subscription in account.subscriptions.values():
        if subscription.end > subscription.start:
            first = _first(subscription)
            instants.append(first if first > after else subscription.course.next_boundary(after))
    return min(instants, default=FOREVER)


def open_part(account: Account, subscription: Subscription, now: int) -> tuple[Part, Period | None]:
    """What will fall due of a subscription after its latest issue at or before `now`: the one-off charges given so far,
    and the billing period that is open (None in a trial, before the start and after the end)."""
    course, first = subscription.course, _first(subscription)
    period = course.period_at(now)
    since = -FOREVER if first > now else max(first, now if period is None else period.start)
    extras = account.one_offs.get(subscription.id, [])
    low, high = (bisect_right(extras, t, key=lambda extra: extra.at) for t in (since, now))
    return Part(subscription, since, extras=tuple(extras[low:high])), period


def own_issue(account: Account, extra: Extra) -> Issue:
    """The invoice of a one-off charge of the customer itself, issued at once (8.11)."""
    key = f"{account.key}/{extra.key}@{extra.at}"
    return Issue(key, account.key, account.customer.currency, extra.at, None, extra=extra)


def late_issue(subscription: Subscription, issued: int) -> Issue:
    """The invoice of what changed after a subscription's end, issued at the arrival that changed it first (8.9)."""
    key = f"{subscription.id}@{issued}/late"
    part = Part(subscription, issued)
    return Issue(key, subscription.customer, subscription.currency, issued, subscription.id, (part,))


def last_issue(subscription: Subscription) -> int:
    """The instant of a subscription's final invoice; FOREVER while no end is known."""
    return FOREVER if subscription.end == FOREVER else max(subscription.end, subscription.made)


def _first(subscription: Subscription) -> int:
    """The instant of the first issue: the start, the end of the trial, or when a back-dated one was made."""
    course = subscription.course
    paid = next((stretch.start for stretch in course.stretches if stretch.cycle is not None), course.start)
    return max(min(paid, course.end), subscription.made)


def _parts(account: Account, subscription: Subscription, after: int, upto: int) -> Iterator[tuple[int, Part]]:
    course = subscription.course
    if course.end <= course.start:  # it began and ended at one instant: no lines (7.6)
        return
    first = _first(subscription)
    extras = account.one_offs.get(subscription.id, [])
    issued = first if first > after else course.next_boundary(after)
    while issued <= upto:
        since = -FOREVER if issued == first else _boundary_before(subscription, issued, first)
        periods = list(course.periods(max(since, course.start), issued))
        closes = tuple(period for period in periods if since < period.end <= issued)
        opens = tuple(period for period in periods if since < period.start <= issued)
        low, high = (bisect_right(extras, t, key=lambda extra: extra.at) for t in (since, issued))
        yield issued, Part(subscription, since, closes, opens, tuple(extras[low:high]))
        issued = course.next_boundary(issued)


def _boundary_before(subscription: Subscription, issued: int, first: int) -> int:
    """The instant of the issue before one at a boundary that is not the first."""
    closed = subscription.course.period_at(issued - 1)
    return first if closed is None else max(closed.start, first)
