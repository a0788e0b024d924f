"""How good synthetic tables are, what they cost, and what they give away.

    python benchmarks/fidelity.py adult magic default --seeds 0 1 2
    python benchmarks/fidelity.py --csv my.csv --target price --epochs 5 --set n_rounds=0

Each table and seed is fitted in a process of its own, on the train rows only; as many rows are
sampled, and every measure of ``measures.py`` is taken. Lines go to ``results/fidelity.csv`` as
they come, in place of earlier ones of the same table, settings and seed; ``render.py`` makes the
tables of ``RESULTS.md`` from it.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import machine
import numpy as np
import results
import tables
from measures import MEASURES, measure_all

# Sampling is timed on at least so many rows, after a short warm-up.
TIMED_ROWS = 20_000


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse()
    names = arguments.tables or ([] if arguments.csv else tables.names())
    chosen = [tables.load(name) for name in names]
    if arguments.csv:
        chosen.append(
            tables.load_csv(
                arguments.csv, target=arguments.target, categorical=arguments.categorical
            )
        )
    for table in chosen:
        for seed in arguments.seeds:
            # A fresh process for each: its peak memory is its own, and so is torch's state.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                work = pool.submit(runs, table, seed, arguments.parameters, arguments.both)
                rows = work.result()
            stored = results.store(arguments.out, rows, key=["table", "settings"])
            for row in rows:
                print_row(row)
        lines = stored[(stored["table"] == table.name) & (stored["settings"] == row["settings"])]
        for _, summary in lines[lines["seed"].isin(results.SUMMARIES)].iterrows():
            print_row(summary.to_dict())


def runs(
    table: tables.Table, seed: int, parameters: dict[str, Any], both: bool
) -> list[dict[str, Any]]:
    """Measure a fit; with `both` first the supervised model that its rounds start from.

    Both come from one supervised stage; the second line's seconds are those of the whole fit.
    """
    if not both:
        return [run(table, seed, parameters)]
    with tempfile.TemporaryDirectory() as memory:
        before = run(table, seed, {**parameters, "n_rounds": 0}, memory)
        after = run(table, seed, parameters, memory)
    after["fit_seconds"] += before["fit_seconds"]
    return [before, after]


def run(
    table: tables.Table, seed: int, parameters: dict[str, Any], memory: str | None = None
) -> dict[str, Any]:
    """Fit, sample and measure once.

    Parameters
    ----------
    table : Table
        Train and test rows.
    seed : int
        ``random_state`` of the fit, of the sample and of the measures.
    parameters : dict
        Parameters of the estimator that differ from its defaults.
    memory : str, optional
        Where the supervised stage is kept.

    Returns
    -------
    dict
        One line of the result file.
    """
    import torch

    from tabgraa_sklearn import TabGRAASynthesizer

    synthesizer = TabGRAASynthesizer(random_state=seed, memory=memory).set_params(**parameters)
    start = time.perf_counter()
    synthesizer.fit(table.train)
    fit_seconds = time.perf_counter() - start

    synthesizer.sample(200, random_state=seed)
    timed_rows = max(TIMED_ROWS, len(table.train))
    start = time.perf_counter()
    synthetic = synthesizer.sample(timed_rows, random_state=seed)
    sample_seconds = time.perf_counter() - start
    memory = machine.peak_memory_mb()
    if timed_rows != len(table.train):
        synthetic = synthesizer.sample(len(table.train), random_state=seed)

    figures = measure_all(
        table.train,
        synthetic,
        table.test,
        target=table.target,
        categorical=table.categorical,
        random_state=seed,
        n_jobs=machine.cores(),
    )
    rounds = [entry for entry in synthesizer.history_ if entry["stage"] == "alignment"][1:]
    return {
        "table": table.name,
        "settings": json.dumps(parameters, sort_keys=True),
        "seed": str(seed),
        "repeats": 1,
        **figures,
        "fit_seconds": fit_seconds,
        "sample_rows_per_second": timed_rows / sample_seconds,
        "peak_memory_mb": memory,
        "epochs": getattr(synthesizer, "n_epochs_", float("nan")),
        "best_round": synthesizer.best_round_,
        "round_seconds": float(np.mean([entry["seconds"] for entry in rounds] or [0.0])),
        "parameters": parameter_count(synthesizer),
        "train_rows": len(table.train),
        "test_rows": len(table.test),
        "threads": torch.get_num_threads(),
        **machine.describe(),
    }


def parameter_count(synthesizer: Any) -> float:
    """Count the weights of the fitted model, if it has any."""
    model = getattr(synthesizer, "model_", None)
    if not hasattr(model, "parameters"):
        return float("nan")
    return sum(weight.numel() for weight in model.parameters())


def print_row(row: dict[str, Any]) -> None:
    """Print one line of figures under its heading."""
    names = [*MEASURES, "fit_seconds", "sample_rows_per_second", "peak_memory_mb"]
    settings = "defaults" if row["settings"] == "{}" else row["settings"]
    print(f"\n{row['table']}, seed {row['seed']}, {settings}")
    for name in names:
        meaning = f"  {MEASURES[name].meaning}" if name in MEASURES else ""
        print(f"  {name:<24}{row[name]:>12,.4f}{meaning}", flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", help=f"tables: {', '.join(tables.names())}")
    parser.add_argument("--csv", type=Path, help="a table of your own, cut 90 to 10 at random")
    parser.add_argument("--target", help="what the downstream model predicts (last column)")
    parser.add_argument("--categorical", nargs="*", help="columns of --csv that hold labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, help="short for --set max_epochs=N")
    parser.add_argument(
        "--set",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the estimator, as often as needed",
    )
    parser.add_argument(
        "--both", action="store_true", help="also the supervised model that the rounds start from"
    )
    parser.add_argument("--out", type=Path, default=results.RESULTS / "fidelity.csv")
    arguments = parser.parse_args()
    arguments.parameters = dict(map(parameter, arguments.parameters))
    if arguments.epochs is not None:
        arguments.parameters["max_epochs"] = arguments.epochs
    return arguments


def parameter(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; a value that is no Python literal is a string."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SystemExit(f"--set takes NAME=VALUE; got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


if __name__ == "__main__":
    main()
