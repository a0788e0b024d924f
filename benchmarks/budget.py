"""Where each second of a fit and of a sample goes.

    python benchmarks/budget.py adult magic default

Profiles a fit of one epoch (with what surrounds it: encoding, validation, marginals) and one
sample with torch's profiler, sorts the time of
every operation into a few groups, and sets it beside the floor measured in the same run: what the
matrix products among them take when each of their shapes is run alone. The profiler slows what
it watches: shares are those of the profiled run, seconds those of a run without it. What is not
inside an operation is Python. Lines go to ``results/budget.csv``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import machine
import pandas as pd
import results
import tables
import torch
from roofline import Products, product_seconds
from torch.profiler import ProfilerActivity, profile

from tabgraa_sklearn import TabGRAASynthesizer

# Operations by what they do; the first group of which a word is part of the name takes it.
GROUPS = {
    "optimiser and averaging": ("adamw", "lerp", "foreach_norm", "foreach_mul", "clip"),
    "matrix products": ("::mm", "bmm", "addmm", "mkldnn_linear"),
    "softmax and draws": (
        "softmax",
        "logsumexp",
        "::exp_",
        "amax",
        "cumsum",
        "searchsorted",
        "sort",
    ),
    "activation, norm, dropout": ("gelu", "layer_norm", "tanh", "dropout", "rand"),
    "lookups": ("index", "gather", "scatter", "embedding"),
    "copies and casts": ("copy", "cat", "clone", "contiguous", "_to_", "fill", "zero", "empty"),
}


def main() -> None:
    """Measure every table that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["adult"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lines = []
    for name in arguments.tables:
        table = tables.load(name)
        synthesizer = TabGRAASynthesizer(
            max_epochs=1, n_rounds=0, random_state=arguments.seed, device="cpu"
        )
        n_rows = len(table.train)
        work: dict[str, Callable[[], Any]] = {
            "fit, an epoch": partial(synthesizer.fit, table.train),
            "sample": partial(synthesizer.sample, n_rows, random_state=0),
        }
        for stage, run in work.items():
            run()  # memory and programs for the shapes are made once
            lines += budget(name, stage, n_rows, run, arguments.seed)
    results.RESULTS.mkdir(exist_ok=True)
    frame = pd.DataFrame(lines)
    frame.to_csv(results.RESULTS / "budget.csv", index=False, float_format="%.4g")
    print(frame.iloc[:, :5].to_string(index=False))


def budget(
    table: str, stage: str, n_rows: int, run: Callable[[], Any], seed: int
) -> list[dict[str, Any]]:
    """Give one line per group of operations, one for Python, one for all and one for the floor."""
    start = time.perf_counter()
    run()
    wall = time.perf_counter() - start
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
        watched = time.perf_counter() - start
    seconds = dict.fromkeys([*GROUPS, "other elementwise"], 0.0)
    for operation in profiled.key_averages():
        if not operation.key.startswith("aten::"):
            continue
        seconds[group_of(operation.key)] += operation.self_cpu_time_total / 1e6
    seconds["Python and what is not torch"] = watched - sum(seconds.values())
    seconds = {group: value / watched * wall for group, value in seconds.items()}
    with Products() as products:
        run()
    floor = sum(product_seconds(shape) * count for shape, count in products.counts.items())
    seconds |= {"all": wall, "floor: its matrix products alone": floor}
    return [
        {
            "table": table,
            "stage": stage,
            "what": what,
            "seconds": value,
            "share": value / wall,
            "rows": n_rows,
            "seed": seed,
            "threads": torch.get_num_threads(),
            **machine.describe(),
        }
        for what, value in seconds.items()
    ]


def group_of(operation: str) -> str:
    """Name the group of an operation."""
    for group, words in GROUPS.items():
        if any(word in operation for word in words):
            return group
    return "other elementwise"


if __name__ == "__main__":
    main()
