"""What only the HTTP API speaks of: scopes, codes of problems, bodies that are no act, answers (design 7)."""

from enum import StrEnum
from typing import Literal

import msgspec

from schemas.customer import Tax
from schemas.instants import Instant
from schemas.invoice import Span


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
    TOO_MANY_EVENTS = "too_many_events"
    """413: the request has more events than are taken at once."""
    BODY_TIMEOUT = "body_timeout"
    """408: the body did not arrive in time."""
    OVERLOADED = "overloaded"
    """429: more events are on their way than fit: come again after `Retry-After`."""
    LOG_UNAVAILABLE = "log_unavailable"
    """503: the log did not acknowledge every event in time: send all again, identities drop the copies."""
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
    CUSTOMER_FIXED = "customer_fixed"
    """409: currency and time zone are fixed by the first subscription: what was billed depends on them."""
    CONTENT_DIFFERS = "content_differs"
    """409: the id was used before, with other content."""
    USAGE_NOT_DIVISIBLE = "usage_not_divisible"
    """409: the log no longer holds the events of an hour that the act would divide; choose a full hour."""
    NOT_YET = "not_yet"
    """504: the events of `after` are not in the balance yet: ask again."""
    NOT_EXPLAINABLE = "not_explainable"
    """409: a line's arithmetic cannot be found again: the tax or definition that it was made of has changed."""
    CLOCK_BACKWARD = "clock_backward"
    """409: the settable clock only goes forward."""
    STORE_UNAVAILABLE = "store_unavailable"
    """503: Postgres is away: ask again after `Retry-After`."""
    INTERNAL = "internal"
    """500: a fault of ours; the log has it under the request id."""


class ClockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/clock`: the instant to move to."""

    now: Instant


class ResetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/reset`: drop all data, start a new log; the clock then stands at `now`, by default where it stood."""

    now: Instant | None = None


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/keys`: what the key may do, and a note for people."""

    scopes: tuple[Literal["ingest", "read", "write", "admin"], ...]
    note: str = ""


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed; its token is not kept."""

    id: str
    scopes: tuple[str, ...]
    note: str
    created: Instant
    revoked: Instant | None


class CustomerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as it is read; see `schemas.customer.Customer`."""

    key: str
    currency: str
    timezone: str
    taxes: tuple[Tax, ...]
    consolidate: bool
    name: str | None


class SubscriptionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as it is now: `plan` with its version, `end` known once it is cancelled.

    `period` is the billing period, None in a trial, before the start and after the end.
    """

    id: str
    customer: str
    plan: str
    quantities: dict[str, str]
    events: Literal["all", "named"]
    status: Literal["trial", "active", "ended"]
    start: Instant
    end: Instant | None
    period: Span | None
