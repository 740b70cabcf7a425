"""How many rows a second does the rating core price on one core, and how much faster is that than plain decimals?

The control, measured in the same run, is the loop that everybody would write first: one row at a time in
`decimal.Decimal`. Every column is compared with the control's amounts before a number is printed, so what is measured
is right. Prints one JSON line; `ratio` is rows/s over the control's rows/s.

    python benchmarks/bench_rating.py [--rows 4000000] [--seed 1] [--repeat 5]
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import numpy as np

from rating.aggregate import Rows, numbers
from rating.extract import Batch, Extractor, Metered
from rating.fixed import Amounts, Column
from rating.line import LineHead, make_lines
from rating.memory import MemoryUsage
from rating.models.graduated import graduated
from rating.money import round_amounts
from rating.price import compile_price, rate
from rating.usage import UsageRequest
from schemas.instants import DAY, Instant
from schemas.meter import Meter
from schemas.numbers import Number
from schemas.price import Graduated, Tier

TIERS = (("1000", "0.0020", "1"), ("100000", "0.0015", "2"), ("1000000", "0.0010", "0"), (None, "0.0005", "5"))
TABLE = Graduated(
    tiers=tuple(Tier(None if top is None else Number(top), Number(unit), Number(flat)) for top, unit, flat in TIERS)
)
EXACT = Context(prec=60)
START = int(Instant.parse("2026-01-01T00:00:00Z"))


def decimal_loop(quantities: list[Decimal]) -> list[Decimal]:
    """The control: graduated tiers, row by row, exact decimals."""
    tiers = [(None if top is None else Decimal(top), Decimal(unit), Decimal(flat)) for top, unit, flat in TIERS]
    amounts = []
    for quantity in quantities:
        amount, below = Decimal(0), Decimal(0)
        for index, (top, unit, flat) in enumerate(tiers):
            if index and quantity <= below:
                break
            units = (quantity if top is None or quantity < top else top) - below
            amount = EXACT.add(amount, EXACT.add(EXACT.multiply(units, unit), flat))
            below = top if top is not None else below
        amounts.append(amount)
    return amounts


def fastest(work: Callable[[], Any], repeat: int) -> float:
    """Seconds of the fastest of some runs."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def check(column: Column, quantities: Column, rows: int) -> None:
    """The first rows cost what the control says."""
    expected = decimal_loop(quantities.take(np.arange(rows)).decimals())
    found = column.take(np.arange(rows)).decimals()
    if found != expected:
        raise SystemExit("the columns are not what the decimal loop computes")


def prices(rows: int, seed: int, repeat: int) -> dict[str, float]:
    """Rows/s of the kernel, of `rate`, of the wide path and of the control."""
    random = np.random.default_rng(seed)
    quantity = random.integers(0, 5_000_000, rows)
    up_to, unit, flat = [1000, 100_000, 1_000_000], [20, 15, 10, 5], [10_000, 20_000, 0, 50_000]
    check(Column(graduated(quantity, up_to, unit, flat), 4), Column(quantity, 0), 1000)
    price, narrow = compile_price(TABLE), Column(quantity, 0)
    long = Column(quantity[: rows // 8] * 10**12 + 1, 12)  # twelve places: amounts beyond int64
    wide = rate(price, long)
    if wide.values.dtype != object:
        raise SystemExit("the wide path was not taken")
    check(Column(wide.values, wide.scale), long, 1000)
    alone = Column(quantity[: rows // 80], 0).decimals()
    exact = Amounts(graduated(quantity, up_to, unit, flat), 4)
    return {
        "graduated_int64": rows / fastest(lambda: graduated(quantity, up_to, unit, flat), repeat),
        "rate_int64": rows / fastest(lambda: rate(price, narrow), repeat),
        "rate_wide": len(long) / fastest(lambda: rate(price, long), repeat),
        "round_int64": rows / fastest(lambda: round_amounts(exact, 2), repeat),
        "decimal_loop": len(alone) / fastest(lambda: decimal_loop(alone), repeat),
    }


def lines(rows: int, repeat: int) -> dict[str, float]:
    """Rows/s from quantities to rounded lines, and single prices/s (a balance asks for few at a time)."""
    price = compile_price(TABLE)
    quantities = Column(np.arange(rows) % 2_000_000, 0)
    head = LineHead(subscription="s1", charge="api", kind="usage", quantity=None, start=START, end=START + DAY)
    heads = [head] * rows
    one = Column.of_ints([1500])
    return {
        "lines": rows / fastest(lambda: make_lines(heads, rate(price, quantities), "USD"), repeat),
        "single_prices": 1 / fastest(lambda: rate(price, one), 200),
    }


def events(rows: int, seed: int, repeat: int) -> dict[str, float]:
    """Events/s from bytes to the columns of one meter, and of a million-event month summed for its customers."""
    random = np.random.default_rng(seed)
    meters = {
        "tokens": Meter(event_type="llm.call", aggregation="sum", value="data.tokens", dimensions={"m": "data.model"})
    }
    times, tokens = random.integers(0, 31 * DAY, rows), random.integers(1, 5000, rows)
    raws = [
        f'{{"specversion":"1.0","id":"0f8a1b2c-1234-4321-9876-{row:012d}","source":"gateway/eu-1","type":"llm.call",'
        f'"subject":"customer-{row % 1000:06d}","time":"{Instant(START + int(at)).moment():%Y-%m-%dT%H:%M:%S.%f}Z",'
        f'"data":{{"tokens":{count},"model":"model-{row % 3}","region":"eu"}}}}'.encode()
        for row, (at, count) in enumerate(zip(times.tolist(), tokens.tolist(), strict=True))
    ]
    received = np.full(rows, START + 32 * DAY)
    others = {
        f"other-{number}": Meter(event_type=f"type-{number}", aggregation="sum", value=f"data.value-{number}")
        for number in range(200)
    }

    def extract(extractor: Extractor) -> list[tuple[Batch, list[Metered]]]:
        parts = []
        for first in range(0, rows, 10_000):
            batch = extractor.read(raws[first : first + 10_000], received[first : first + 10_000])
            parts.append((batch, extractor.meter(batch)))
        return parts

    alone, among = Extractor(meters), Extractor(meters | others)
    parts = extract(alone)
    asked = [
        UsageRequest(
            customer=f"customer-{number:06d}", subscription="s", named_only=False, meter="tokens",
            start=START, end=START + 31 * DAY, full_period=31 * DAY, by=("m",),
        )
        for number in range(1000)
    ]  # fmt: skip

    def bill() -> int:
        usage = MemoryUsage(meters)
        for batch, metered in parts:
            usage.add(batch, metered)
        return sum(quantity.numerator for answer in usage.quantities(asked) for quantity in answer.values())

    if bill() != int(tokens.sum()):
        raise SystemExit("tokens went missing")
    group = np.arange(rows) % 3000
    column = Rows(group, 3000, times, np.arange(rows), Column(tokens, 0))
    return {
        "extract": rows / fastest(lambda: extract(alone), repeat),
        "extract_among_200_meters": rows / fastest(lambda: extract(among), repeat),
        "month_in_memory": rows / fastest(bill, repeat),
        "sum_groups": rows / fastest(lambda: numbers("sum", column), repeat),
    }


def main() -> None:
    """Run everything and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    found = prices(given.rows, given.seed, given.repeat)
    ratio = {name: round(value / found["decimal_loop"], 1) for name, value in found.items() if name != "decimal_loop"}
    found |= lines(min(given.rows, 500_000), given.repeat) | events(min(given.rows, 200_000), given.seed, given.repeat)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(json.dumps({
        "benchmark": Path(__file__).stem,
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()} {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "seed": given.seed,
        "rows": given.rows,
        "per_second": {name: int(value) for name, value in found.items()},
        "ratio": ratio,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
