"""How long does the rating core take for a month of many subscriptions, and for a scenario of a million events?

    python benchmarks/bench_simulate.py [--subscriptions N] [--events N] [--files N]

1 `month`: N subscriptions with 5 charges each (four of usage, one fee), closed in one call: from usage to lines.
2 `events`: one scenario of N events after parsing: read, once, metered, rated, invoiced.
3 `files`: N scenario files of the usual size through parsing and simulation, in one process.

Prints one JSON line with machine and seed. The control: the same month, one call an account.
"""

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Sequence

from rating.account import Account
from rating.billed import Billed
from rating.catalog import Catalog
from rating.invoice import Due, draft_many
from rating.issues import issues
from rating.simulate import simulate
from rating.usage import Combination, Quantity, UsageRequest
from schemas.act import Subscribe
from schemas.customer import Customer
from schemas.documents import load_document
from schemas.instants import DAY, Instant
from schemas.scenario import Events, Happening, Scenario, read_scenario

SEED = 20261125
CATALOG = """
name: bench
now: "2026-02-01T02:00:00Z"
meters:
  a: {event_type: a, aggregation: sum, value: data.n}
  b: {event_type: b, aggregation: sum, value: data.n}
  c: {event_type: c, aggregation: count}
  d: {event_type: d, aggregation: max, value: data.n}
plans:
  p:
    currency: USD
    period: month
    align: calendar
    charges:
      base: {recurring: "49.00", bill: arrears}
      a: {meter: a, price: {model: graduated, tiers: [{up_to: 100, unit: "0.10"}, {up_to: 1000, unit: "0.05"},
          {up_to: 10000, unit: "0.02"}, {up_to: null, unit: "0.01"}]}}
      b: {meter: b, price: {model: per_unit, unit: "0.0003", included: 100}}
      c: {meter: c, price: {model: package, size: 100, amount: "4.00"}}
      d: {meter: d, price: {model: volume, tiers: [{up_to: 10, unit: "3"}, {up_to: null, unit: "2"}]}, minimum: "5.00"}
customers: {}
timeline: []
"""
SMALL = """
name: small {n}
now: "2026-03-01T02:00:00Z"
meters: {{calls: {{event_type: call, aggregation: sum, value: data.n}}}}
plans:
  p:
    currency: USD
    period: month
    charges:
      base: {{recurring: "31.00"}}
      api:
        meter: calls
        price: {{model: graduated, tiers: [{{up_to: 10, unit: "1"}}, {{up_to: null, unit: "0.5"}}]}}
customers: {{acme: {{currency: USD, taxes: [{{name: VAT, rate: "21"}}]}}}}
timeline:
  - {{at: "2026-01-01T00:00:00Z", subscribe: {{id: s1, customer: acme, plan: p}}}}
  - {{at: "2026-01-05T10:00:00Z", events: [
      {{id: e1, type: call, subject: acme, time: "2026-01-05T10:00:00Z", data: {{n: {n}}}}},
      {{id: e2, type: call, subject: acme, time: "2026-01-05T10:00:01Z", data: {{n: "2.5"}}}}]}}
  - {{at: "2026-01-16T00:00:00Z", cancel: {{subscription: s1, when: at_period_end}}}}
expect:
  invoices: []
"""


class Drawn:
    """Usage that is drawn beforehand: any request has one quantity."""

    def __init__(self, quantities: Sequence[Quantity]) -> None:
        self._quantities = quantities
        self._at = 0

    def quantities(self, requests: Sequence[UsageRequest]) -> list[dict[Combination, Quantity]]:
        drawn = self._quantities
        return [{(): drawn[place % len(drawn)]} for place in range(len(requests))]


def month(subscriptions: int) -> dict[str, object]:
    """Close a month of many customers, each with one subscription of five charges."""
    scenario = read_scenario(load_document(CATALOG, "bench.yaml"))
    catalog = Catalog(scenario.meters, scenario.plans)
    start, upto = Instant.parse("2026-01-01T00:00:00Z"), Instant.parse("2026-02-01T00:00:00Z")
    chance = random.Random(SEED)
    usage = Drawn([Quantity(chance.randrange(1, 10**7), 1000, 1) for _ in range(9973)])
    accounts = []
    for number in range(subscriptions):
        account = Account(f"c{number}", Customer(currency="USD"))
        account.add(catalog, start, Subscribe(id=f"s{number}", customer=account.key, plan="p"))
        accounts.append(account)
    begun, busy = time.perf_counter(), time.process_time()
    work = [Due(account, issue, Billed()) for account in accounts for issue in issues(account, start, upto)]
    invoices = draft_many(work, usage)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    lines = sum(len(invoice.lines) for invoice in invoices if invoice is not None)
    some = work[: max(1, subscriptions // 100)]
    begun = time.perf_counter()
    for due in some:
        draft_many([due], usage)
    alone = (time.perf_counter() - begun) / len(some) * len(work)
    return {
        "subscriptions": subscriptions,
        "lines": lines,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(busy, 3),
        "lines_per_second": round(lines / seconds),
        "times_faster_than_one_by_one": round(alone / seconds, 2),
    }


def events(count: int) -> dict[str, object]:
    """A scenario of many events, after parsing."""
    small = read_scenario(load_document(SMALL.format(n=1), "bench.yaml"))
    chance = random.Random(SEED)
    at = small.timeline[0].at
    raws = []
    for number in range(count):
        when = Instant(at + chance.randrange(31 * DAY))
        raws.append(
            b'{"id":"e%d","source":"bench","specversion":"1.0","type":"call","subject":"acme","time":"%s","data":{"n":%d}}'
            % (number, str(when).encode(), number % 97)
        )
    received = Instant(at + 31 * DAY)
    subscribe = Happening(at=at, what=Subscribe(id="s1", customer="acme", plan="p"))
    scenario = Scenario(
        name="many",
        about="",
        now=Instant(at + 40 * DAY),
        settings=small.settings,
        meters=small.meters,
        plans=small.plans,
        customers=small.customers,
        timeline=(subscribe, Happening(at=received, what=Events(raw=tuple(raws)))),
        expect=None,
    )
    begun, busy = time.perf_counter(), time.process_time()
    result = simulate(scenario)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    assert result.events.accepted == count, result.events
    return {
        "events": count,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(busy, 3),
        "events_per_second": round(count / seconds),
    }


def files(count: int) -> dict[str, object]:
    """Many small scenarios, from text to result."""
    texts = [SMALL.format(n=number % 50) for number in range(count)]
    begun = time.perf_counter()
    loaded = [read_scenario(load_document(text, "bench.yaml")) for text in texts]
    parsed = time.perf_counter()
    for scenario in loaded:
        simulate(scenario)
    done = time.perf_counter()
    return {
        "files": count,
        "seconds": round(done - begun, 3),
        "seconds_parsing": round(parsed - begun, 3),
        "seconds_simulating": round(done - parsed, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscriptions", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=1_000)
    wanted = parser.parse_args()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    result: dict[str, object] = {"bench": "simulate", "seed": SEED, "machine": machine}
    if wanted.subscriptions:
        result["month"] = month(wanted.subscriptions)
    if wanted.events:
        result["events"] = events(wanted.events)
    if wanted.files:
        result["files"] = files(wanted.files)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
