"""Ours and the peers, timed in one run on one machine.

    python benchmarks/speed.py adult --repeats 3 --time-box 600

Each peer lives in a virtual environment of its own, which is made on the first run (``--venvs``).
In every repeat the systems take turns, each in a process of its own: a fit at its defaults and a
sample of as many rows as the train table has. Then the question is how soon a table is good: each
system is fitted for 1, 2, 4, ... epochs until XGBoost's two-sample score (C2ST) reaches
``--target``; the seconds of that fit are its time to reach it. A system that does not end within
the time box is stored as such. Lines go to ``results/speed.csv``; ratios of a repeat stand side by
side in ``results/speed_ratios.csv``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import machine
import pandas as pd
import results
import tables
import workers
from measures import c2st_xgboost
from workers import OURS

SYSTEMS = (OURS, f"{OURS}, aligned", "tabular-argn", "realtabformer", "be-great")
FIGURES = ["fit_seconds", "sample_rows_per_second", "peak_memory_mb", "seconds_to_target"]
MOST_EPOCHS = 64
OUT, KEY = results.RESULTS / "speed.csv", ["table", "synthesizer", "target"]
MACHINE = ["processor", "cores", "system", "versions"]


def main() -> None:
    """Time every system on every table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["adult"])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--target", type=float, default=0.75, help="C2ST to be reached")
    parser.add_argument("--time-box", type=float, default=600, help="seconds a process may take")
    parser.add_argument("--venvs", type=Path, default=workers.VENVS)
    arguments = parser.parse_args()
    pythons = {system: workers.python_of(system, arguments.venvs) for system in arguments.systems}
    for name in arguments.tables:
        table = tables.load(name)
        for seed in range(arguments.repeats):
            for system, python in pythons.items():
                line = time_system(table, system, python, seed, arguments)
                results.store(OUT, [line], key=KEY)
                print(
                    {
                        key: line[key]
                        for key in ("table", "synthesizer", "seed", "outcome", *FIGURES)
                    }
                )
    lines = pd.read_csv(OUT, dtype={"seed": str})
    lines = reached(lines[~lines["seed"].isin(results.SUMMARIES)])
    results.store(OUT, lines.to_dict("records"), key=KEY)  # type: ignore[arg-type]
    ratios(lines).to_csv(results.RESULTS / "speed_ratios.csv", index=False, float_format="%.4g")


def time_system(
    table: tables.Table, system: str, python: str, seed: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Fit and sample at the defaults, then find how soon the target is reached."""
    line: dict[str, Any] = {
        "table": table.name,
        "synthesizer": system,
        "target": arguments.target,
        "seed": str(seed),
        "repeats": 1,
        "outcome": "done",
        **dict.fromkeys([*FIGURES, "c2st_xgboost", "epochs_to_target"], float("nan")),
        "time_box": arguments.time_box,
        "system_version": "",
    }
    box = arguments.time_box
    try:
        whole = run(table, system, python, None, seed, box)
        line |= whole or {"outcome": f"not done in {box:g} s"}
        epochs, start = 1, time.monotonic()
        # Who needed longer than the time box for a fit at its defaults may still be good sooner.
        while epochs <= MOST_EPOCHS and time.monotonic() - start < box:
            short = run(table, system, python, epochs, seed, box - (time.monotonic() - start))
            if short is None:
                break
            if short["c2st_xgboost"] >= arguments.target:
                line["seconds_to_target"] = short["fit_seconds"]
                line["epochs_to_target"] = epochs
                break
            epochs *= 2
    except RuntimeError as error:
        line["outcome"] = f"failed: {error}"
    return {**line, **machine.describe()}


def reached(runs: pd.DataFrame) -> pd.DataFrame:
    """Take the fit at the defaults where no shorter one reached the target, and that did."""
    good = runs["c2st_xgboost"] >= runs["target"]
    seconds = runs["seconds_to_target"].fillna(runs["fit_seconds"].where(good))
    return runs.assign(seconds_to_target=seconds)


def run(
    table: tables.Table, system: str, python: str, epochs: int | None, seed: int, time_box: float
) -> dict[str, Any] | None:
    """Fit and sample once in a process of its own; None where it ran out of time."""
    done = workers.fit_and_sample(table, system, python, epochs, seed, time_box)
    if done is None:
        return None
    figures, rows = done
    figures["c2st_xgboost"] = c2st_xgboost(
        table.train, rows, categorical=table.categorical, random_state=seed
    )
    return figures


def ratios(runs: pd.DataFrame) -> pd.DataFrame:
    """Set each peer beside ours, repeat by repeat: peer / ours, median, least and most.

    Only of runs on one machine with the same versions.
    """
    lines = []
    for (table, target, *where), group in runs.groupby(["table", "target", *MACHINE], sort=False):
        ours = group[group["synthesizer"] == OURS].set_index("seed")
        for system, peer in group[group["synthesizer"] != OURS].groupby("synthesizer", sort=False):
            peer = peer.set_index("seed")
            for figure in FIGURES:
                ratio = peer[figure] / ours[figure].reindex(peer.index)
                known = ratio.dropna()
                lines.append(
                    {
                        "table": table,
                        "target": target,
                        "peer": system,
                        "figure": figure,
                        "repeats": len(ratio),
                        "without_result": len(ratio) - len(known),
                        "median": known.median(),
                        "least": known.min(),
                        "most": known.max(),
                        "date": peer["date"].max(),
                        **dict(zip(MACHINE, where, strict=True)),
                    }
                )
    return pd.DataFrame(lines)


if __name__ == "__main__":
    main()
