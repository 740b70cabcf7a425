"""Every way an event or an act can end, with its stable code. One list: API, metrics and docs are made from it."""

from enum import StrEnum


class Outcome(StrEnum):
    """How an event ended, in the order in which the reasons are looked for (spec 1.2, 2)."""

    EVENT_INVALID = "event_invalid"
    """No valid CloudEvent of the accepted form (2.3); takes no identity."""
    DUPLICATE = "duplicate"
    """The identity was seen before, with the same content (2.2)."""
    DUPLICATE_CONFLICT = "duplicate_conflict"
    """The identity was seen before, with other content; the first counts (2.2)."""
    TIME_IN_FUTURE = "time_in_future"
    """`time` is more than 1 hour after it was received (2.3)."""
    TIME_TOO_OLD = "time_too_old"
    """`time` is before the late window (2.4)."""
    UNMATCHED = "unmatched"
    """Stored; no meter names its type (2.5)."""
    ACCEPTED = "accepted"
    """Stored, and metered by the meters that want it."""
    VALUE_MISSING = "value_missing"
    """Refused for one meter: the value is absent or null (1.2)."""
    VALUE_NOT_NUMERIC = "value_not_numeric"
    """Refused for one meter: text, boolean, object or list where a number is wanted."""
    VALUE_NOT_FINITE = "value_not_finite"
    """Refused for one meter: NaN or Infinity."""
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    """Refused for one meter: 10^18 or more in magnitude."""
    VALUE_TOO_PRECISE = "value_too_precise"
    """Refused for one meter: more than 12 decimal places."""
    QUEUED = "queued"
    """The log has acknowledged it; its final outcome follows."""
    UNKNOWN = "unknown"
    """The log did not answer in time: send it again, the identity drops the copy."""


class Refusal(StrEnum):
    """Why an act was refused (spec 10)."""

    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_PLAN = "unknown_plan"
    UNKNOWN_SUBSCRIPTION = "unknown_subscription"
    SUBSCRIPTION_EXISTS = "subscription_exists"
    SUBSCRIPTION_ENDED = "subscription_ended"
    CURRENCY_MISMATCH = "currency_mismatch"
    USAGE_BILLED_TWICE = "usage_billed_twice"
    UNKNOWN_EVENT = "unknown_event"
    AMBIGUOUS_IDENTITY = "ambiguous_identity"
