"""Bodies of requests that are no act of `schemas.act` by themselves, and the stable codes of problems (design 7)."""

from enum import StrEnum

import msgspec

from schemas.act import When
from schemas.instants import Instant
from schemas.numbers import Number

ONE = Number(1)


class Scope(StrEnum):
    """What a key may do; `admin` may do all, `write` may read."""

    INGEST = "ingest"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Code(StrEnum):
    """Why a request was not done; a refused act has its code of `schemas.outcome.Refusal`."""

    UNAUTHENTICATED = "unauthenticated"
    """401: no key, or one that is not known or was revoked."""
    FORBIDDEN = "forbidden"
    """403: the key lacks the scope that the request needs."""
    NOT_FOUND = "not_found"
    """404: nothing has this address."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """405: the address exists, its methods are in `Allow`."""
    BODY_INVALID = "body_invalid"
    """400: the body is no JSON (or YAML, where that is taken), or no text in UTF-8."""
    BODY_TOO_LARGE = "body_too_large"
    """413: the body, or what it unpacks to, is longer than the route takes."""
    MEDIA_TYPE_UNSUPPORTED = "media_type_unsupported"
    """415: the content type, its charset or the content encoding is not taken here."""
    FIELD_INVALID = "field_invalid"
    """422: a field is missing, unknown or out of range; `faults` says where."""
    PARAMETER_INVALID = "parameter_invalid"
    """400: a query parameter or a part of the path is not what it must be."""
    CATALOG_INVALID = "catalog_invalid"
    """422: the catalog has faults, all of them in `faults`."""
    AGGREGATION_NOT_LIVE = "aggregation_not_live"
    """422: the live system does not count this way yet; the simulator does."""
    METER_FIXED = "meter_fixed"
    """409: a meter's aggregation and dimensions cannot change: its usage is kept by them."""
    PLAN_IN_USE = "plan_in_use"
    """409: the change would take away what a plan in force needs."""
    CUSTOMER_FIXED = "customer_fixed"
    """409: currency and time zone stay while a subscription lives."""
    CONTENT_DIFFERS = "content_differs"
    """409: the id was used before, with other content."""
    NOT_YET = "not_yet"
    """504: the events of `after` are not in the balance yet: ask again."""
    CLOCK_BACKWARD = "clock_backward"
    """409: the settable clock only goes forward."""
    STORE_UNAVAILABLE = "store_unavailable"
    """503: Postgres is away: ask again after `Retry-After`."""
    INTERNAL = "internal"
    """500: a fault of ours; the log has it under the request id."""


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Common to all bodies: what is not known is refused, never ignored."""


class ChangeBody(_Body, frozen=True):
    """`POST /v1/subscriptions/{id}/change`; `id` names the act, so that it can be sent again without harm."""

    plan: str | None = None
    quantities: dict[str, Number] = {}
    when: When = "now"
    id: str | None = None


class CancelBody(_Body, frozen=True):
    """`POST /v1/subscriptions/{id}/cancel`."""

    when: When = "now"
    id: str | None = None


class GrantBody(_Body, frozen=True):
    """`POST /v1/customers/{key}/grants` (spec 8.6)."""

    id: str
    amount: Number
    currency: str | None = None
    priority: int = 0
    expires: Instant | None = None


class CouponBody(_Body, frozen=True):
    """`POST /v1/customers/{key}/coupons` (spec 8.3)."""

    id: str
    percent: Number | None = None
    amount: Number | None = None
    charges: tuple[str, ...] | None = None
    periods: int | None = None


class OneOffBody(_Body, frozen=True):
    """`POST /v1/subscriptions/{id}/charges` and `POST /v1/customers/{key}/charges` (spec 8.11)."""

    id: str
    amount: Number
    quantity: Number = ONE


class ClockBody(_Body, frozen=True):
    """`POST /v1/clock`: the instant to move to, or how far."""

    now: Instant


class ResetBody(_Body, frozen=True):
    """`POST /v1/reset`: drop all data, start a new log; the clock then stands at `now`."""

    now: Instant | None = None
