"""How time and memory grow with rows, columns and categories.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --rows 1000 10000 100000 1000000 --columns 5 50 300

One of the three grows while the others stay: rows with 10 columns, columns with 10,000 rows, the
categories of one column of 4 with 100,000 rows. Each point is a fit of one epoch without
rounds and a sample of as many rows, in a process of its own; half of the columns are numbers and
half labels, each dependent on the one before. Lines go to ``results/scaling.csv``, a log-log
picture to ``results/scaling.png``; slopes (the exponent of growth, over the upper half of the
points, and whether it is at most 1.05: linear but for noise) are printed and stored in
``results/scaling_slopes.csv``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pandas as pd
import results
from memory import memory_mb

FIGURES = ("epoch_seconds", "fit_seconds", "sample_seconds", "memory_mb")
DRAWN = (*FIGURES, "sample_rows_per_second")
MOST = 1.05  # slope that passes for linear


ROWS = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]


def main() -> None:
    """Run all points, print and store them."""
    arguments = parse()
    points = [("rows", rows, 10, 20) for rows in arguments.rows]
    points += [("columns", 10_000, columns, 20) for columns in arguments.columns]
    points += [("categories", 100_000, 4, categories) for categories in arguments.categories]
    for axis, rows, columns, categories in points:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            figures = pool.submit(point, rows, columns, categories, arguments.seed).result()
        line: dict[str, Any] = {
            "axis": axis,
            "rows": rows,
            "columns": columns,
            "categories": categories,
            "seed": str(arguments.seed),
            "repeats": 1,
            **figures,
            **machine.describe(),
        }
        stored = results.store(arguments.out, [line], key=["axis", "rows", "columns", "categories"])
        print({key: line[key] for key in ("axis", "rows", "columns", "categories", *figures)})
    found = slopes(stored)
    found.assign(**machine.describe()).to_csv(
        arguments.out.with_name("scaling_slopes.csv"), index=False, float_format="%.3g"
    )
    print(found.to_string(index=False))
    draw(stored, arguments.out.with_suffix(".png"))


def make_table(rows: int, columns: int, categories: int, seed: int) -> pd.DataFrame:
    """Draw a table of numbers and labels in turn."""
    random = np.random.default_rng(seed)
    cells: dict[str, Any] = {}
    hidden = random.normal(size=rows)
    for number in range(columns):
        hidden = 0.7 * hidden + 0.7 * random.normal(size=rows)
        if number % 2 == 0:
            cells[f"number_{number}"] = np.round(hidden, 3)
            continue
        share = pd.Series(hidden).rank(pct=True).to_numpy()
        size = categories if number == 1 else min(categories, 20)
        place = np.minimum((share * size).astype(int), size - 1)
        cells[f"label_{number}"] = pd.Series(place).map("value {}".format).to_numpy()
    return pd.DataFrame(cells)


def point(rows: int, columns: int, categories: int, seed: int) -> dict[str, float]:
    """Fit and sample once; memory is what was needed over the table itself."""
    from tabgraa_sklearn import TabGRAASynthesizer

    table = make_table(rows, columns, categories, seed)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak (Linux)
    before = memory_mb("VmRSS")
    # Labels that mostly differ would be taken for identifiers.
    kinds = dict.fromkeys([name for name in table if name.startswith("label")], "categorical")
    synthesizer = TabGRAASynthesizer(
        max_epochs=1, n_rounds=0, column_kinds=kinds, random_state=seed
    )
    start = time.perf_counter()
    synthesizer.fit(table)
    fit_seconds = time.perf_counter() - start
    synthesizer.sample(min(rows, 500), random_state=0)
    start = time.perf_counter()
    synthesizer.sample(rows, random_state=seed)
    seconds = time.perf_counter() - start
    return {
        "epoch_seconds": synthesizer.history_[0]["seconds"],
        "fit_seconds": fit_seconds,
        "sample_seconds": seconds,
        "sample_rows_per_second": rows / seconds,
        "memory_mb": memory_mb("VmHWM") - before,
    }


def slopes(stored: pd.DataFrame) -> pd.DataFrame:
    """Fit the exponent of growth over the upper half of each axis: 1 is linear."""
    runs = stored[~stored["seed"].astype(str).isin(results.SUMMARIES)]
    lines = []
    for axis, group in runs.groupby("axis", sort=False):
        upper = group.sort_values(str(axis)).iloc[-max(len(group) // 2, 2) :]
        for figure in FIGURES:
            known = upper[upper[figure] > 0]
            if len(known) < 2:
                continue
            size, value = known[str(axis)].to_numpy(float), known[figure].to_numpy(float)
            slope = np.polyfit(np.log(size), np.log(value), 1)[0]
            found = {"axis": axis, "figure": figure, "points": len(known), "slope": slope}
            lines.append({**found, "at_most_linear": bool(slope <= MOST)})
    return pd.DataFrame(lines)


def draw(stored: pd.DataFrame, path: Path) -> None:
    """Draw the figures over each axis, on logarithmic scales."""
    from matplotlib.figure import Figure

    runs = stored[~stored["seed"].astype(str).isin(results.SUMMARIES)]
    axes_of = list(runs.groupby("axis", sort=False))
    figure = Figure(figsize=(4.2 * len(axes_of), 3.6), layout="constrained")
    for number, (axis, group) in enumerate(axes_of):
        axes = figure.add_subplot(1, len(axes_of), number + 1)
        group = group.sort_values(str(axis))
        for name in DRAWN:
            axes.loglog(group[str(axis)], group[name], marker="o", markersize=4, label=name)
        axes.set_xlabel(str(axis))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if number == 0:
            axes.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=120)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--columns", type=int, nargs="*", default=[5, 20, 75, 300])
    parser.add_argument(
        "--categories", type=int, nargs="*", default=[10, 100, 1000, 10_000, 100_000]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=results.RESULTS / "scaling.csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()
