"""Time and memory of encoding a large table: Adult resampled to 1,000,000 rows of 15 columns.

    python benchmarks/encode.py

Fits the tokenizer, encodes the whole table and decodes it again, a few times each; the lines go to
``results/encode.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import machine
import numpy as np
import pandas as pd
import results
import tables

from tabgraa_sklearn._tokenizer import TableTokenizer


def main() -> None:
    """Time every step, print it and store it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    frame = resampled(arguments.rows, arguments.seed)
    draws = np.random.default_rng(arguments.seed).random(frame.shape)
    tokenizer = TableTokenizer().fit(frame)
    ids = tokenizer.encode(frame)
    steps: dict[str, Callable[[], Any]] = {
        "fit": lambda: TableTokenizer().fit(frame),
        "encode": lambda: tokenizer.encode(frame),
        "decode": lambda: tokenizer.decode(ids, draws),
    }
    table_mb = frame.memory_usage(deep=True).sum() / 1e6
    print(f"{len(frame):,} rows of {frame.shape[1]} columns, {table_mb:,.0f} MB in pandas")
    lines = []
    for step, work in steps.items():
        seconds = [timed(work) for _ in range(arguments.repeats)]
        line = {
            "step": step,
            "rows": len(frame),
            "columns": frame.shape[1],
            "seconds_median": statistics.median(seconds),
            "seconds_min": min(seconds),
            "repeats": len(seconds),
            "rows_per_second": len(frame) / statistics.median(seconds),
            "table_mb": table_mb,
            "peak_memory_mb": machine.peak_memory_mb(),
            **machine.describe(),
        }
        lines.append(line)
        print(
            f"{step:<8}{line['seconds_median']:8.2f} s (best {line['seconds_min']:.2f})"
            f"{line['rows_per_second']:14,.0f} rows/s   peak so far "
            f"{line['peak_memory_mb']:,.0f} MB",
            flush=True,
        )
    results.RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(lines).to_csv(results.RESULTS / "encode.csv", index=False, float_format="%.6g")


def resampled(rows: int, seed: int) -> pd.DataFrame:
    """Draw rows of Adult with replacement, as a file would be read: strings and whole numbers."""
    adult = tables.load("adult").train
    return adult.sample(rows, replace=True, random_state=seed, ignore_index=True)


def timed(work: Callable[[], Any]) -> float:
    """Give the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
