"""What a scenario comes to (spec 10): invoices, balances, how its events ended, which acts were refused."""

import msgspec

from schemas.instants import Instant
from schemas.invoice import Balance, Invoice
from schemas.outcome import Outcome, Refusal


class RejectedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was refused: as a whole (`meter` None), or for the value that one meter wants.

    `source` and `id` are None where the event is too broken to tell.
    """

    source: str | None
    id: str | None
    meter: str | None
    code: Outcome


class EventCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How events ended: `accepted` counts all that were stored, `unmatched` those of them that no meter names."""

    accepted: int = 0
    duplicate: int = 0
    duplicate_conflict: int = 0
    unmatched: int = 0
    rejected: tuple[RejectedEvent, ...] = ()


class RefusedAct(msgspec.Struct, frozen=True, kw_only=True):
    """An act that was refused: when, what it was, and why."""

    at: Instant
    act: str
    code: Refusal


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a scenario, as `metering simulate --json` prints it."""

    invoices: tuple[Invoice, ...]
    balances: dict[str, Balance]
    events: EventCounts
    refused: tuple[RefusedAct, ...]
