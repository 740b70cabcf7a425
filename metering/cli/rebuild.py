"""`metering rebuild`: usage and totals computed again from the archive of events, compared or replaced."""

import os
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from metering import config
from metering.archive.compare import Difference, Named
from metering.archive.place import place_of
from metering.archive.rebuild import ALWAYS, Asked, Rebuilder, Report
from metering.cli.connected import connected
from metering.cli.loop import run
from metering.cli.say import say
from metering.config import Settings
from metering.errors import ConfigurationError
from metering.observe import logs
from metering.postgres.pool import connection
from metering.postgres.queries import queries
from metering.stream.partition import lock_all
from rating.money import quantity_text
from schemas.instants import HOUR, Instant

SHOWN_MAX = 50


def rebuild(
    *,
    check: Annotated[bool, Parameter(help="change nothing: compare, and exit 1 if something differs")] = False,
    customer: Annotated[str | None, Parameter(help="only this customer")] = None,
    start: Annotated[str | None, Parameter(name="--from", help="only usage from this full hour on")] = None,
    end: Annotated[str | None, Parameter(name="--to", help="only usage before this full hour")] = None,
    backdate: Annotated[str | None, Parameter(help="let this meter count all events of the past, as it is now")] = None,
    json: Annotated[bool, Parameter(help="print the result as one JSON object")] = False,
) -> int:
    """Compute usage and rated totals again from the archive and the log, and put them in the place of what is kept.

    The engine may run meanwhile. Final invoices do not change: what they lack comes as an adjustment.
    """
    settings = config.read(os.environ)
    logs.configure(settings.log_level, settings.log_format)
    asked = Asked(customer, _hour("--from", start, ALWAYS[0]), _hour("--to", end, ALWAYS[1]))
    if check and backdate is not None:
        raise ConfigurationError("--backdate changes what a meter counts: leave --check out")
    if check:
        return run(_check(settings, asked, json))
    return run(_replace(settings, asked, backdate, json))


async def _check(settings: Settings, asked: Asked, json: bool) -> int:
    async with connected(settings) as (pool, log, clock):
        rebuilder = Rebuilder(pool, log, place_of(settings), clock, settings.late_window)
        found = [await rebuilder.check(partition, asked) for partition in range(log.partitions)]
    reports = [report for report in found if report is not None]
    different = sum(len(report.found) for report in reports)
    if json:
        say(msgspec.json.encode([_report_tree(report) for report in reports]).decode())
        return 1 if different else 0
    for report in reports:
        say(
            f"partition {report.partition} at offset {report.next_offset}: {report.events:,} events counted,"
            f" {report.buckets:,} buckets computed, {len(report.found):,} differences"
            + (f", {report.unchecked:,} buckets are older than the archive" if report.unchecked else "")
        )
        for one in report.found[:SHOWN_MAX]:
            for line in _lines(one):
                say(f"  {line}")
        if len(report.found) > SHOWN_MAX:
            say(f"  and {len(report.found) - SHOWN_MAX:,} more")
    say(f"{different:,} differences" if different else "everything is as it was computed")
    return 1 if different else 0


async def _replace(settings: Settings, asked: Asked, backdate: str | None, json: bool) -> int:
    async with connected(settings) as (pool, log, clock):
        if backdate is not None:
            async with connection(pool) as lent, lent.transaction():
                await lock_all(lent, log.partitions)
                known = {row["key"] for row in await lent.fetch(queries().load_meters)}
                if backdate not in known:
                    raise ConfigurationError(f"--backdate: there is no meter {backdate!r}")
                await lent.execute(queries().backdate_meter, backdate)
        rebuilder = Rebuilder(pool, log, place_of(settings), clock, settings.late_window)
        customers = sum([await rebuilder.replace(partition, asked) for partition in range(log.partitions)])
    say(msgspec.json.encode({"customers": customers}).decode() if json else f"{customers:,} customers rebuilt")
    return 0


def _hour(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        instant = Instant.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if instant % HOUR:
        raise ConfigurationError(f"{name}: must be a full hour: usage is kept by the hour")
    return int(instant)


def _lines(one: Difference) -> list[str]:
    """A difference for people."""
    kept, computed = one.kept, one.computed
    if one.place is not None:
        place = one.place
        head = f"usage of {place.customer!r}, {place.meter}, {Instant(place.start)}, {list(place.combination)}"
        head += f" ({place.named})" if place.named else ""
        text = f"{quantity_text(kept.quantity)} of {kept.events} events, computed {quantity_text(computed.quantity)}"
        return [f"{head}: kept {text} of {computed.events}", *(f"    {_event_line(named)}" for named in one.events)]
    assert one.key is not None
    key = one.key
    head = f"total of {key.customer!r}, {key.subscription}, {key.charge}, {Instant(key.start)}, {list(key.combination)}"
    text = f"{quantity_text(kept.quantity)} = {quantity_text(kept.amount)}"
    return [f"{head}: kept {text}, computed {quantity_text(computed.quantity)} = {quantity_text(computed.amount)}"]


def _event_line(named: Named) -> str:
    who = "an event" if named.id is None else f"event {named.id!r} of {named.source!r}"
    much = "" if named.quantity is None else f", {quantity_text(named.quantity)}"
    return f"{who} at offset {named.offset}.{named.number}{much}: {named.why}"


def _report_tree(report: Report) -> dict[str, Any]:
    return {
        "partition": report.partition,
        "next_offset": report.next_offset,
        "events": report.events,
        "buckets": report.buckets,
        "unchecked": report.unchecked,
        "differences": [_difference_tree(one) for one in report.found],
    }


def _difference_tree(one: Difference) -> dict[str, Any]:
    what: dict[str, Any] = {}
    if one.place is not None:
        what = {"customer": one.place.customer, "meter": one.place.meter, "bucket": str(Instant(one.place.start))}
        what |= {"dimensions": one.place.combination, "subscription": one.place.named or None}
    elif one.key is not None:
        what = {"customer": one.key.customer, "subscription": one.key.subscription, "charge": one.key.charge}
        what |= {"segment": str(Instant(one.key.start)), "dimensions": one.key.combination}
    sides = {
        name: {"events": side.events, "quantity": quantity_text(side.quantity), "amount": quantity_text(side.amount)}
        for name, side in (("kept", one.kept), ("computed", one.computed))
    }
    events = [
        {
            "offset": named.offset,
            "index": named.number,
            "source": named.source,
            "id": named.id,
            "quantity": None if named.quantity is None else quantity_text(named.quantity),
            "why": named.why,
        }
        for named in one.events
    ]
    return {**what, **sides, "events": events}
