"""What became of an event: how each of its arrivals ended, what each meter took of it, what bills that."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import numpy as np

from metering.archive.meters import MeterTimes
from metering.postgres.queries import queries
from metering.rater.totals import Key, Sum, gather
from metering.subscriptions.accounts import Accounts
from metering.usage.meters import Meters
from metering.usage.pieces import Piece
from rating.segments import ChargeSegment, segments_between
from schemas.instants import HOUR, Instant
from schemas.numbers import plain_text
from schemas.outcome import Outcome

QUEUED = "queued"
"""The event has arrived; its worker has not committed it yet."""
FILTERED = "filtered"
"""A meter of the event's type does not want it: its `where` says so."""


async def fate_of(lent: asyncpg.Connection, accounts: Accounts, arrivals: Any) -> dict[str, Any]:
    """The fate of an identity as JSON writes it; `arrivals` is a table (`rows.SCHEMA`) with at least one row."""
    rows = arrivals.sort_by([("offset", "ascending"), ("index", "ascending")]).to_pylist()
    partition = rows[0]["partition"]
    state = await lent.fetchrow(queries().look_up_partition, partition)
    committed = 0 if state is None else state["next_offset"]
    listed = await lent.fetch(
        queries().rejected_at, partition, [row["offset"] for row in rows], [row["index"] for row in rows]
    )
    refused: dict[tuple[int, int], dict[str, str]] = {}
    for one in listed:
        refused.setdefault((one["log_offset"], one["index"]), {})[one["meter"]] = one["code"]
    outcomes = _outcomes(rows, committed, refused)
    taken = next((place for place, code in enumerate(outcomes) if code == Outcome.ACCEPTED), 0)
    shown = rows[taken]
    found: dict[str, Any] = {
        "outcome": outcomes[taken],
        "customer": shown["customer"],
        "received": _instant(shown["received"]),
        "position": _position(shown),
        "event": msgspec.Raw(shown["event"].encode()),
        "meters": [],
        "charges": [],
        "repeats": [
            {"outcome": code, "received": _instant(row["received"]), "position": _position(row)}
            for place, (row, code) in enumerate(zip(rows, outcomes, strict=True))
            if place != taken
        ],
    }
    if outcomes[taken] == Outcome.ACCEPTED:
        meters = (await MeterTimes.load(lent, partition)).at(shown["offset"])
        found["meters"], pieces = _metered(shown, meters)
        found["charges"] = await _charges(lent, accounts, shown, pieces, meters)
    return found


def _outcomes(
    rows: Sequence[Mapping[str, Any]], committed: int, refused: Mapping[tuple[int, int], Mapping[str, str]]
) -> list[str]:
    """How each arrival ended, in the order of the log: the first one committed and not refused took the identity."""
    ended: list[str] = []
    for row in rows:
        code = refused.get((row["offset"], row["index"]), {}).get("")
        if row["offset"] >= committed:
            ended.append(QUEUED)
        elif code is not None:
            ended.append(code)
        else:
            ended.append(Outcome.DUPLICATE if Outcome.ACCEPTED in ended else Outcome.ACCEPTED)
    return ended


def _metered(row: Mapping[str, Any], meters: Meters) -> tuple[list[dict[str, Any]], list[Piece]]:
    """What each meter of the event's type took of it, and the same as pieces of usage."""
    received = np.array([Instant.of(row["received"])], dtype=np.int64)
    batch = meters.extractor.read([row["event"].encode()], received)
    shown: list[dict[str, Any]] = []
    pieces: list[Piece] = []
    for metered in meters.extractor.meter(batch):
        if metered.rejected:
            shown.append({"meter": metered.meter, "outcome": metered.rejected[0][1]})
        elif len(metered.rows) == 0:
            shown.append({"meter": metered.meter, "outcome": FILTERED})
        else:
            quantity = Decimal(1) if metered.values is None else metered.values.decimals()[0]
            combination = metered.combinations[int(metered.code[0])]
            time = int(batch.time[0])
            pieces.append(Piece(metered.meter, time, combination, batch.subscriptions[0] or "", quantity, 1))
            value: dict[str, Any] = {"value": plain_text(quantity)}
            if metered.texts is not None:
                value = {"value": metered.texts[0]}
            dimensions = dict(zip(meters.dimensions(metered.meter), combination, strict=True))
            hour = Instant(time // HOUR * HOUR)
            shown.append(
                {"meter": metered.meter, "outcome": Outcome.ACCEPTED, **value, "dimensions": dimensions, "hour": hour}
            )
    return shown, pieces


async def _charges(
    lent: asyncpg.Connection, accounts: Accounts, row: Mapping[str, Any], pieces: Sequence[Piece], meters: Meters
) -> list[dict[str, Any]]:
    """The charges that bill the event, each with the invoice and the line that it is in, null while it is in none."""
    customer = row["customer"]
    account = await accounts.load(lent, customer)
    if account is None or not pieces:
        return []
    time = pieces[0].start
    segments = list(segments_between(account, time, time + 1))
    dimensions = {piece.meter: meters.dimensions(piece.meter) for piece in pieces}
    touched = gather(customer, segments, pieces, dimensions, dict[Key, Sum]())
    return [await _charge(lent, key, segment) for key, segment in touched.items()]


async def _charge(lent: asyncpg.Connection, key: Key, segment: ChargeSegment) -> dict[str, Any]:
    by = dict(zip(segment.terms.by, key.combination, strict=True))
    lines = await lent.fetch(
        queries().lines_of_segment, key.customer, key.charge, Instant(segment.start).moment(), key.subscription
    )
    return {
        "subscription": key.subscription,
        "charge": key.charge,
        "period": {"start": Instant(segment.start), "end": Instant(segment.end)},
        "dimensions": by,
        "lines": [
            {"invoice": line["id"], "number": line["number"], "line": line["position"], "kind": line["kind"]}
            for line in lines
            if line["dimensions"] == by
        ],
    }


def _position(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in ("partition", "offset", "index")}


def _instant(moment: Any) -> Instant:
    return Instant.of(moment)


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event in a list."""
    return {
        "received": _instant(row["received"]),
        "position": _position(row),
        "event": msgspec.Raw(row["event"].encode()),
    }
