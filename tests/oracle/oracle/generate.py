"""Random scenarios over the whole space of features, the same for the same seed.

`python -m oracle.generate SEED` prints one as JSON.
"""

import sys
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from oracle import shapes
from oracle.document import dumps
from oracle.numbers import Number
from oracle.periods import local_midnight
from oracle.times import write

Tree = dict[str, Any]

# Days that a scenario runs, by the shortest period in it; and days on which clocks change somewhere.
_HORIZON = {"day": 9, "week": 40, "month": 130, "quarter": 300, "half_year": 400, "year": 500}
_PERIODS: list[object] = [
    "day",
    "week",
    "month",
    "month",
    "month",
    "quarter",
    "half_year",
    "year",
    {"every": Number("3"), "unit": "month"},
    {"every": Number("2"), "unit": "week"},
    {"every": Number("10"), "unit": "day"},
    {"every": Number("12"), "unit": "month"},
]
_STARTS = [date(2026, 1, 1), date(2026, 3, 1), date(2018, 10, 20), date(2025, 10, 15), date(2024, 1, 31)]
_BAD_VALUES: list[object] = [
    None,
    True,
    "abc",
    "",
    "NaN",
    "-inf",
    "1e18",
    "0.0000000000001",
    "1_0",
    {"v": Number("1")},
]


class _Story:
    """One scenario in the making."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        random = self.random
        self.first = random.choice(_STARTS)
        self.currency = random.choice(["USD", "USD", "EUR", "JPY", "KWD"])
        meters = random.sample(sorted(shapes.METERS), random.randint(1, 4))
        self.meters = {key: shapes.meter(random, key) for key in meters}
        self.pool = shapes.charges(random, meters)
        main = random.choice(_PERIODS)
        periods = [main if random.random() < 0.7 else random.choice(_PERIODS) for _ in range(3)]
        self.periods = periods[: random.randint(1, 3)]
        self.plans = {
            f"p{number}": shapes.plan(random, self.pool, self._plan_currency(), period)
            for number, period in enumerate(self.periods)
        }
        self.customers = {
            f"c{number}": shapes.customer(random, self.currency) for number in range(random.randint(1, 3))
        }
        shortest = min(_HORIZON[self._unit(period)] for period in self.periods)
        self.horizon = timedelta(days=shortest)
        self.begin = datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)
        self.entries: list[tuple[datetime, Tree]] = []
        self.sent: list[Tree] = []
        self.subscriptions: list[tuple[datetime, str, str]] = []

    @staticmethod
    def _unit(period: object) -> str:
        unit = str(period["unit"]) if isinstance(period, dict) else str(period)
        return "week" if isinstance(period, dict) and unit == "day" else unit

    def _plan_currency(self) -> str:
        return self.currency if self.random.random() < 0.95 else "CHF"

    def zone(self) -> ZoneInfo:
        """The zone of some customer."""
        return ZoneInfo(self.random.choice(list(self.customers.values())).get("timezone", "UTC"))

    def instant(self, since: datetime | None = None) -> datetime:
        """An instant of the run, from `since` on: a local midnight, an edge of one, or any second."""
        random, since = self.random, since or self.begin
        at = since + timedelta(seconds=random.randint(0, int(self.horizon.total_seconds())))
        kind = random.random()
        if kind < 0.35:
            midnight = local_midnight(at.date(), self.zone())
            if kind < 0.15 and random.random() < 0.5:
                first = local_midnight(at.date().replace(day=1), self.zone())
                midnight = first if first >= since else midnight
            at = max(midnight + timedelta(microseconds=random.choice([0, 0, 0, -1, 1])), since)
        return at

    def add(self, at: datetime, act: str, tree: object) -> None:
        """An entry of the timeline."""
        self.entries.append((at, {act: tree}))

    def subscribe(self) -> None:
        """A subscription, back-dated now and then, and what happens to it."""
        random = self.random
        soon = random.random() < 0.7
        at = self.begin + timedelta(seconds=random.choice([0, 0, 0, 34_200, 86_399])) if soon else self.instant()
        key, customers = f"s{len(self.subscriptions)}", list(self.customers)
        customer = customers[len(self.subscriptions) % len(customers)]
        tree: Tree = {"id": key, "customer": customer, "plan": random.choice(list(self.plans))}
        if random.random() < 0.5:
            tree["quantities"] = self.quantities()
        if random.random() < 0.25:
            tree["events"] = "named"
        if random.random() < 0.2:
            start = at - timedelta(seconds=random.randint(1, 20 * 86_400))
            tree["start"] = write(start)
        self.subscriptions.append((at, key, customer))
        self.add(at, "subscribe", tree)
        for _ in range(random.choice([0, 1, 2, 3, 5])):
            self.change(at, key)
        if random.random() < 0.4:
            when = random.choice(["now", "at_period_end"])
            self.add(self.instant(at + timedelta(seconds=1)), "cancel", {"subscription": key, "when": when})

    def quantities(self) -> Tree:
        """Quantities of some recurring charges."""
        fees = [key for key in self.pool if not key.startswith("u")]
        chosen = self.random.sample(fees, self.random.randint(1, len(fees)))
        return {key: shapes.literal(self.random, str(self.random.choice([0, 1, 2, 5, "2.5"]))) for key in chosen}

    def change(self, since: datetime, key: str) -> None:
        """A change of plan, of quantities or of both."""
        random = self.random
        tree: Tree = {"subscription": key, "when": random.choice(["now", "now", "at_period_end"])}
        kind = random.random()
        if kind < 0.7:
            tree["plan"] = random.choice(list(self.plans))
        if kind > 0.4:
            tree["quantities"] = self.quantities()
        self.add(self.instant(since + timedelta(seconds=1)), "change", tree)

    def new_version(self) -> None:
        """A new version of a plan, and now and then somebody who names it."""
        key = self.random.choice(list(self.plans))
        old = self.plans[key]
        at = self.instant()
        tree = shapes.plan(self.random, self.pool, old["currency"], old["period"])
        self.add(at, "plan", {"key": key, **tree})
        if self.subscriptions and self.random.random() < 0.6:
            since, subscription, _ = self.random.choice(self.subscriptions)
            name = self.random.choice([key, f"{key}@2", f"{key}@1"])
            later = max(at, since) + timedelta(seconds=self.random.randint(1, 864_000))
            self.add(later, "change", {"subscription": subscription, "plan": name, "when": "now"})

    def money_act(self) -> None:
        """A grant, a coupon or a one-off charge."""
        random = self.random
        customer, at = random.choice(list(self.customers)), self.instant()
        kind, key = random.choice(["grant", "coupon", "one_off"]), f"m{len(self.entries)}"
        whole = self.currency == "JPY"
        amount = str(random.randint(1, 60)) if whole else f"{random.randint(1, 60)}.{random.randint(0, 99):02}"
        tree: Tree = {"customer": customer, "id": key}
        if kind == "grant":
            tree |= {"amount": amount, "priority": Number(random.randint(0, 2))}
            if random.random() < 0.5:
                tree["expires"] = write(self.instant(at))
        elif kind == "coupon":
            tree |= {"percent": str(random.choice([10, 15, 50, 100, "33.3"]))}
            if random.random() < 0.4:
                tree = {"customer": customer, "id": key, "amount": amount}
            tree["periods"] = random.choice([None, Number(1), Number(2)])
            if random.random() < 0.3:
                tree["charges"] = random.sample(sorted(self.pool), 1)
        else:
            tree["amount"] = random.choice(["", "-"]) + amount
            if random.random() < 0.5:
                tree["quantity"] = Number(random.randint(1, 3))
            if self.subscriptions and random.random() < 0.7:
                del tree["customer"]
                since, tree["subscription"], _ = random.choice(self.subscriptions)
                at = max(at, since)
        self.add(at, kind, tree)

    def event(self) -> tuple[datetime, Tree]:
        """An event and the instant of its arrival: in time, late, too old, too early, or wrong."""
        random = self.random
        at, kind = self.instant(), random.random()
        delay = random.randint(0, 3 * 3600) if kind < 0.6 else random.randint(0, 38 * 86_400)
        time = at - timedelta(seconds=delay if kind < 0.95 else random.randint(-4000, -3000))
        event_type = random.choice([tree["event_type"] for tree in self.meters.values()])
        tree: Tree = {
            "id": f"e{len(self.sent)}",
            "source": random.choice(["app", "web"]),
            "type": "other" if random.random() < 0.03 else event_type,
            "subject": "stranger" if random.random() < 0.02 else random.choice(list(self.customers)),
            "data": self.data(),
        }
        if random.random() < 0.9:
            tree["time"] = write(time)
        if self.subscriptions and random.random() < 0.2:
            tree["subscription"] = random.choice(self.subscriptions)[1]
        if random.random() < 0.02:
            tree |= random.choice([{"time": "2026-01-10"}, {"id": ""}, {"type": " call"}, {"data": "x"}])
        return at, tree

    def data(self) -> Tree:
        """The data of an event, of use to every meter."""
        random = self.random
        value: object = shapes.literal(random, shapes.decimal(random, 60, 4))
        if random.random() < 0.06:
            value = random.choice(_BAD_VALUES)
        elif random.random() < 0.08:
            value = "-" + str(random.randint(1, 30))
        tree: Tree = {"n": value, "gb": Number(random.randint(0, 20)), "user": random.choice("abcd")}
        if random.random() < 0.1:
            tree["user"] = random.choice([None, Number("1.0"), Number("1"), "1", True, ["a"]])
        for name, values in (("model", shapes.MODELS), ("region", shapes.REGIONS)):
            if random.random() < 0.9:
                tree[name] = random.choice(values)
        tree["ok"] = random.choice([True, True, True, False, "true", Number("1.0"), None])
        return tree

    def events(self, count: int) -> None:
        """Events, some sent again, some changed, some voided."""
        random = self.random
        for _ in range(count):
            at, tree = self.event()
            self.sent.append(tree)
            self.add(at, "events", [tree])
            kind = random.random()
            if kind < 0.1:
                again = dict(tree)
                if kind < 0.04:
                    again["data"] = {**tree["data"], "n": "7"} if isinstance(tree["data"], dict) else {}
                self.add(self.instant(at), "events", [again])
            elif kind < 0.22:
                void: Tree = {"source": tree["source"], "id": tree["id"]}
                if random.random() < 0.3:
                    void["subject"] = tree["subject"]
                self.add(self.instant(at), "void", void)
                if random.random() < 0.3:
                    self.add(self.instant(at), "void", void)

    def document(self) -> Tree:
        """The scenario."""
        random = self.random
        for _ in range(random.randint(1, 4)):
            self.subscribe()
        for _ in range(random.choice([0, 0, 1])):
            self.new_version()
        for _ in range(random.randint(0, 5)):
            self.money_act()
        self.events(random.randint(3, 40))
        self.entries.sort(key=lambda entry: entry[0])
        now = self.begin + self.horizon
        if random.random() < 0.3:
            now = self.instant() + timedelta(minutes=random.choice([1, 30, 90]))
        settings = {}
        if random.random() < 0.2:
            settings = {"grace": random.choice(["48h", "10m"]), "late_window": random.choice(["35d", "5d"])}
        return {
            "name": "generated",
            "now": write(now),
            "settings": settings,
            "meters": self.meters,
            "plans": self.plans,
            "customers": self.customers,
            "timeline": [{"at": write(at), **entry} for at, entry in self.entries],
        }


def scenario(seed: int) -> Tree:
    """The scenario of a seed: a parsed document, every number a `Number`."""
    return _Story(seed).document()


if __name__ == "__main__":
    sys.stdout.write(dumps(scenario(int(sys.argv[1]))) + "\n")
