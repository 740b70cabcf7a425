"""The demo's traffic and its independent sum."""

from fractions import Fraction

import msgspec

from metering.cli.demo_traffic import Traffic, Used, expected_lines
from schemas.instants import DAY, Instant

START = Instant.parse("2026-01-01T00:00:00Z")
PLAN = {
    "charges": {
        name: {
            "price": {
                "by_value": {
                    "cases": {
                        "small": {
                            "model": "graduated",
                            "per": "1000",
                            "tiers": [{"up_to": "1000", "unit": "2"}, {"up_to": "null", "unit": "1"}],
                        }
                    },
                    "otherwise": {"model": "per_unit", "unit": "0.005"},
                }
            }
        }
        for name in ("input", "output")
    }
}


def test_same_seed_makes_the_same_events() -> None:
    batches = []
    for _ in range(2):
        traffic = Traffic(7)
        traffic.add("a", START)
        batches.append(traffic.batch(Instant(START + DAY), "eu", 200))
    assert batches[0] == batches[1]


def test_batch_holds_duplicates_and_late_events_all_within_the_span() -> None:
    traffic = Traffic(1)
    traffic.add("a", START)
    now = Instant(START + 3 * DAY)
    events = traffic.batch(now, "eu", 3_000)
    assert traffic.counts["sent"] == len(events) == 3_000
    assert traffic.counts["duplicates"] == 3_000 - len({msgspec.json.decode(one.payload)["id"] for one in events}) > 0
    assert traffic.counts["late"] > 0
    assert all(START <= used.time <= now for used in traffic.used)


def test_expected_lines_price_tiers_and_round_half_up() -> None:
    used = [
        Used("a", START, "small", 1_500, 0),  # 1,000 at 2 and 500 at 1 a thousand: 2.50
        Used("a", START, "other", 1, 3),  # 0.005 is a cent; 0.015 is 2
        Used("b", START, "small", 9, 9),
        Used("a", START + DAY, "small", 9, 9),
    ]
    lines = expected_lines(PLAN, used, "a", START, START + DAY)
    assert lines == [
        ("input", "other", 1, 1),
        ("input", "small", 1_500, 250),
        ("output", "other", 3, 2),
        ("output", "small", 0, 0),
    ]
    assert Fraction(lines[0].cents, 100) == Fraction("0.01")
