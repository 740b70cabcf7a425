"""What does an identity cost, to remember, to load, and to look up, however many were seen before?

    python benchmarks/bench_dedup.py [--most 10000000]

Loads N identities into a `Window` as a worker does that is given a partition (rows of 20,000, a checkpoint's, over 36
days), then sorts out batches of 20,000 new identities with 5 % seen ones among them. Control: the same batches against
an empty window. A JSON line for each N: seconds to load, bytes an identity (arrays and filter), ns an event sorted out.
"""

import argparse
import json
import subprocess
import time
from typing import Any

import numpy as np

from metering.dedup.window import Window, Words
from schemas.instants import DAY

SEED = 20261125
BATCH = 20_000
ROUNDS = 20
DAYS = 36


def entries(draw: np.random.Generator, count: int) -> Words:
    """Identities as `seen` keeps them: sorted by hash."""
    made: Words = draw.integers(0, 2**64, size=(count, 4), dtype=np.uint64, endpoint=False)
    return np.ascontiguousarray(made[np.argsort(made[:, 0])])


def loaded(count: int, draw: np.random.Generator) -> tuple[Window, float, Words]:
    """A window of so many identities, the seconds that adding them took, and some of them."""
    rows = [entries(draw, min(BATCH, count)) for _ in range(max(1, count // BATCH))]
    window = Window()
    begun = time.perf_counter()
    for number, row in enumerate(rows):
        window.add(row, (number * DAYS // len(rows) + 1) * DAY)
    seconds = time.perf_counter() - begun
    return window, seconds, np.concatenate(rows[:: max(1, len(rows) // 50)])


def sort_out(window: Window, known: Words, draw: np.random.Generator) -> float:
    """Nanoseconds an event of batches with 5 % seen identities."""
    spent = 0.0
    for _ in range(ROUNDS):
        batch = entries(draw, BATCH)
        batch[: BATCH // 20] = known[draw.integers(0, len(known), BATCH // 20)]
        draw.shuffle(batch)
        arguments = batch[:, :2], batch[:, 2].copy(), np.arange(BATCH, dtype=np.int64), np.ones(BATCH, dtype=np.bool_)
        begun = time.perf_counter()
        window.sort_out(*arguments)
        spent += time.perf_counter() - begun
    return spent / ROUNDS / BATCH * 1e9


def measure(count: int) -> dict[str, Any]:
    """One line."""
    draw = np.random.default_rng(SEED)
    window, seconds, known = loaded(count, draw)
    return {
        "benchmark": "dedup",
        "identities": len(window),
        "load_seconds": round(seconds, 3),
        "bytes_each": round(window.nbytes / len(window), 1),
        "sort_out_ns_per_event": round(sort_out(window, known, draw)),
        "control_ns_per_event": round(sort_out(Window(), known, draw)),
        "seed": SEED,
    }


def main() -> None:
    """Measure for 10^4, 10^5, … identities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10_000_000)
    most = parser.parse_args().most
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    count = 10_000
    while count <= most:
        print(json.dumps({**measure(count), "commit": git.stdout.strip()}), flush=True)
        count *= 10


if __name__ == "__main__":
    main()
