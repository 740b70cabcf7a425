"""The traffic of the demo: product services of an LLM API that send what was used, sometimes twice, sometimes late.

It remembers what it made, so that an invoice can be compared with a sum that owes nothing to the engine.
"""

import random
from collections import Counter, deque
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from schemas.instants import HOUR, MINUTE, Instant

EVENT_TYPE = "llm.request"
MODELS = ("small", "large", "vision")
MODEL_WEIGHTS = (6, 3, 1)
DUPLICATE_SHARE = 0.02
LATE_SHARE = 0.03
LATE_HOURS_MAX = 48
REMEMBERED = 2_000


class Event(NamedTuple):
    """One event as it is sent: whose it is, and its bytes."""

    customer: str
    payload: bytes


class Used(NamedTuple):
    """What an event says, for the independent sum."""

    customer: str
    time: int
    model: str
    input_tokens: int
    output_tokens: int


class Traffic:
    """Makes events of several customers; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - traffic, not secrets
        self._starts: dict[str, int] = {}
        self._recent: deque[Event] = deque(maxlen=REMEMBERED)
        self._made = 0
        self.used: list[Used] = []
        self.counts: Counter[str] = Counter()

    def add(self, customer: str, start: int) -> None:
        """From now on this customer uses the product; no event of it is from before `start`."""
        self._starts[customer] = start

    def batch(self, now: Instant, source: str, size: int) -> list[Event]:
        """`size` events that a product service sends at `now`: most are new, some late, some sent a second time."""
        return [
            self._again() if self._recent and self._random.random() < DUPLICATE_SHARE else self._new(now, source)
            for _ in range(size)
        ]

    def late(self, customer: str, time: Instant, source: str) -> Event:
        """One event of a given time, as an outage delivers it afterwards."""
        self.counts["late"] += 1
        return self._event(customer, time, source)

    def _again(self) -> Event:
        self.counts["sent"] += 1
        self.counts["duplicates"] += 1
        return self._random.choice(self._recent)

    def _new(self, now: Instant, source: str) -> Event:
        customer = self._random.choice(list(self._starts))
        time = now - self._random.randrange(MINUTE)
        if self._random.random() < LATE_SHARE:
            time -= self._random.randrange(HOUR, LATE_HOURS_MAX * HOUR)
            self.counts["late"] += 1
        return self._event(customer, max(time, self._starts[customer]), source)

    def _event(self, customer: str, time: int, source: str) -> Event:
        self._made += 1
        model = self._random.choices(MODELS, MODEL_WEIGHTS)[0]
        used = Used(customer, time, model, self._random.randrange(20, 6_000), self._random.randrange(1, 900))
        self.used.append(used)
        self.counts["sent"] += 1
        body = {
            "specversion": "1.0",
            "id": f"req-{self._made:06d}",
            "source": source,
            "type": EVENT_TYPE,
            "subject": customer,
            "time": str(Instant(time)),
            "data": {"model": model, "input_tokens": used.input_tokens, "output_tokens": used.output_tokens},
        }
        event = Event(customer, msgspec.json.encode(body))
        self._recent.append(event)
        return event


class Expected(NamedTuple):
    """A usage line as the sum of the events says it must be: exact tokens, amount in whole cents."""

    charge: str
    model: str
    quantity: int
    cents: int


def expected_lines(plan: dict[str, Any], used: list[Used], customer: str, start: int, end: int) -> list[Expected]:
    """The usage lines of one customer for events with start <= time < end, in plain fractions.

    `plan`: the plan of the sample catalog as a tree of texts; it charges `input` and `output` tokens by model.
    """
    tokens: Counter[tuple[str, str]] = Counter()
    for one in used:
        if one.customer == customer and start <= one.time < end:
            tokens["input", one.model] += one.input_tokens
            tokens["output", one.model] += one.output_tokens
    lines = []
    for charge in ("input", "output"):
        table = plan["charges"][charge]["price"]["by_value"]
        for model in sorted(model for name, model in tokens if name == charge):
            quantity = tokens[charge, model]
            exact = _amount(table["cases"].get(model, table["otherwise"]), quantity) * 100
            lines.append(Expected(charge, model, quantity, _half_up(exact)))
    return lines


def _amount(price: dict[str, Any], quantity: int) -> Fraction:
    """Price times quantity for the two models that the sample uses."""
    per = Fraction(price.get("per", "1"))
    if price["model"] == "per_unit":
        return quantity * Fraction(price["unit"]) / per
    total, below = Fraction(0), Fraction(0)
    for tier in price["tiers"]:
        above = (
            Fraction(quantity) if tier["up_to"] in (None, "null") else min(Fraction(tier["up_to"]), Fraction(quantity))
        )
        if above > below:
            total += (above - below) * Fraction(tier.get("unit", "0")) / per
            below = above
    return total


def _half_up(cents: Fraction) -> int:
    """Whole cents of an amount that is not negative."""
    return (2 * cents.numerator + cents.denominator) // (2 * cents.denominator)
