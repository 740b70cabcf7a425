"""Acts before they are stored: who they concern, which version they mean, whether they were sent before (pure)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from rating.account import Account
from rating.catalog import Catalog
from rating.segments import segments_between
from rating.subscription import FOREVER, Subscription
from schemas.act import Act, Cancel, Change, OneOff, Subscribe
from schemas.http import SubscriptionAnswer
from schemas.instants import DAY, HOUR, Instant
from schemas.invoice import Span
from schemas.numbers import plain_text

AHEAD = 2 * DAY
"""Buckets may be filled this far beyond now: events may be up to 1 hour ahead (spec 2.3), with room to spare."""


def kind_of(act: Act) -> str:
    """The name of an act as the table keeps it: `subscribe`."""
    return str(act.__struct_config__.tag)


def own_id(act: Act) -> str | None:
    """The id that the client gave to what the act makes; a change and a cancellation make nothing with a name."""
    return None if isinstance(act, Change | Cancel) else act.id


def subscription_of(act: Act) -> str | None:
    """The subscription that an act is done to, which exists already; None if it concerns a customer."""
    return act.subscription if isinstance(act, Change | Cancel | OneOff) else None


def customer_of(act: Act) -> str | None:
    """The customer that an act names; None if it names a subscription instead."""
    return None if isinstance(act, Change | Cancel) else act.customer


def pinned(catalog: Catalog, act: Act) -> Act:
    """The act with the version of its plan written out, so that later versions change nothing about it (spec 4.1)."""
    if isinstance(act, Subscribe | Change) and act.plan is not None:
        version = catalog.find(act.plan)
        if version is not None:
            return msgspec.structs.replace(act, plan=version.reference)
    return act


def same_request(asked: Act, stored: Act) -> bool:
    """Whether what was stored came of the same request: a plan asked for by key may have got any version."""
    if isinstance(asked, Subscribe | Change) and isinstance(stored, type(asked)) and asked.plan != stored.plan:
        if asked.plan is None or stored.plan is None or stored.plan.rpartition("@")[0] != asked.plan:
            return False
        return asked == msgspec.structs.replace(stored, plan=asked.plan)
    return asked == stored


def cuts(account: Account, now: int) -> frozenset[int]:
    """Boundaries of segments that are no full hours, up to what may be metered by now (microseconds)."""
    since = min((one.start for one in account.subscriptions.values()), default=now)
    segments = segments_between(account, since, now + AHEAD)
    return frozenset(edge for segment in segments for edge in (segment.start, segment.end) if edge % HOUR)


def view(subscription: Subscription, now: int) -> SubscriptionAnswer:
    """A subscription as it is read at an instant."""
    phase = subscription.course.phase_at(now)
    period = subscription.course.period_at(now)
    trial = subscription.start <= now < subscription.end and period is None
    return SubscriptionAnswer(
        id=subscription.id,
        customer=subscription.customer,
        plan=phase.plan.reference,
        quantities=_quantities(phase.quantities),
        events="named" if subscription.named else "all",
        status="ended" if subscription.ended(now) else "trial" if trial else "active",
        start=Instant(subscription.start),
        end=None if subscription.end == FOREVER else Instant(subscription.end),
        period=None if period is None else Span(Instant(period.start), Instant(period.end)),
    )


def _quantities(quantities: Mapping[str, Any]) -> dict[str, str]:
    return {charge: plain_text(quantity) for charge, quantity in quantities.items()}
