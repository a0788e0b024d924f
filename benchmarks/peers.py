"""Ours and the peers, side by side: one machine, one run, one evaluator.

    python benchmarks/peers.py adult --time-box 300
    python benchmarks/peers.py adult --systems tabsyn --repository tabsyn=PATH

Each peer lives in a virtual environment of its own, which is made on the first run (``--venvs``),
and is fitted at its defaults on the train rows in a process of its own, which also draws as many
rows. All rows are then judged here, by the same measures: SDMetrics' where it has them, the
package's own elsewhere. Who does not end within the time box, or fails, is stored as such.

TabSyn, TabDiff and TabPC have no package: given a checkout of theirs (``--repository NAME=PATH``,
with its requirements installed for the interpreter that ``--python NAME=PATH`` names, else this
one), the commands of their README are run in it. They take no seed; TabDiff's sample is timed with
what its test mode does besides, TabPC's fit with its own sample and measures, and its scripts know
the sizes of the tables of its paper only, by their names. Rows that any other system drew elsewhere
are judged by ``--rows NAME=FILE``. Lines go to ``results/peers.csv``, a picture of quality over fit
time to ``results/peers.png``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import measures
import pandas as pd
import results
import tables
import workers
from systems import SYSTEMS

from tabgraa_sklearn import metrics

NOTES = {
    "be-great": "from untrained weights, for no hub is asked: its speed is that of the pretrained "
    "model, its quality is not"
}
COSTS = ("fit_seconds", "sample_rows_per_second", "peak_memory_mb", "gpu_memory_mb")
# Name of the data set in a checkout, commands to fit and to sample, where the rows lie afterwards.
# Of the first two it is a name of no known table, for which their scripts have rules of their own.
CHECKOUTS: dict[str, tuple[str, list[str], list[str], str]] = {
    "tabsyn": (
        "peers",
        [
            "process_dataset.py --dataname {name}",
            "main.py --dataname {name} --method vae --mode train",
            "main.py --dataname {name} --method tabsyn --mode train",
        ],
        ["main.py --dataname {name} --method tabsyn --mode sample --save_path {out}"],
        "{out}",
    ),
    "tabdiff": (
        "peers",
        [
            "process_dataset.py --dataname {name}",
            "main.py --dataname {name} --mode train --no_wandb",
        ],
        ["main.py --dataname {name} --mode test --no_wandb"],
        "tabdiff/result/{name}/**/samples.csv",
    ),
    "tabpc": (
        "peers_{table}",
        ["train_scripts/pc_sota.py data/{name}"],
        ["scripts/sample.py *pc_{name} 1"],
        "artifacts/**/new_samples/samples/sample_0.csv",
    ),
}


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse()
    for name in arguments.tables:
        table = tables.load(name)
        for seed in arguments.seeds:
            for system in [*arguments.systems, *arguments.rows]:
                line = {"table": name, "synthesizer": system, "seed": str(seed), "repeats": 1}
                line |= {"accelerator": workers.accelerator()}
                line |= one(table, system, seed, arguments) | machine.describe()
                key = ["table", "synthesizer", "accelerator"]
                stored = results.store(arguments.out, [line], key=key)
                shown = ("synthesizer", "seed", "outcome", "c2st_xgboost", *COSTS)
                print({key: line.get(key) for key in shown}, flush=True)
    draw(stored, arguments.out.with_suffix(".png"))


def one(
    table: tables.Table, system: str, seed: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Fit and sample with one system, and judge its rows."""
    line: dict[str, Any] = {"outcome": "done", "time_box": arguments.time_box}
    try:
        if system in arguments.rows:
            found = {"system_version": "rows drawn elsewhere"}, pd.read_csv(arguments.rows[system])
        elif system in CHECKOUTS:
            found = from_checkout(table, system, arguments)
        else:
            python = workers.python_of(system, arguments.venvs)
            found = workers.fit_and_sample(table, system, python, None, seed, arguments.time_box)
        if found is None:
            return line | {"outcome": f"not done in {arguments.time_box:g} s"}
        figures, rows = found
    except Exception as error:  # whatever befalls a peer is part of its result
        return line | {"outcome": f"failed: {told(error)}"}
    line |= figures
    line["note"] = NOTES.get(system, "")
    for measure, take in judges(table, rows, seed).items():
        try:
            line[measure] = float(take())
        except Exception as error:
            line["note"] = f"{line['note']} {measure} failed: {told(error)}".strip()
    return line


def told(error: Exception) -> str:
    """Give an error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def judges(table: tables.Table, rows: pd.DataFrame, seed: int) -> dict[str, Callable[[], float]]:
    """Give every measure of rows, to be taken."""
    labels, target = table.categorical, table.target
    train, test = table.train, table.test
    settings: dict[str, Any] = {"categorical": labels, "random_state": seed}
    own = {**settings, "n_bootstraps": 0}
    known: dict[str, Any] = {"target": target, "tuned": False, "n_jobs": machine.cores()}
    two, three = (train, rows), (train, rows, test)
    return {
        "column_shapes": lambda: measures.column_shapes(*two, categorical=labels),
        "pair_trends": lambda: measures.pair_trends(*two, categorical=labels),
        "c2st_logistic": lambda: measures.c2st_logistic(*two, **settings),
        "c2st_xgboost": lambda: measures.c2st_xgboost(*two, n_jobs=machine.cores(), **settings),
        "c2st_lightgbm": lambda: metrics.classifier_two_sample(*two, **own),
        "mutual_information": lambda: metrics.mutual_information(*two, **own),
        "alpha_precision": lambda: metrics.alpha_precision(*two, **own),
        "beta_recall": lambda: metrics.beta_recall(*two, **own),
        "downstream_auc_untuned": lambda: measures.downstream_auc(*three, **known, **settings),
        "nearest_record_share": lambda: metrics.nearest_record_share(*three, **own),
        "nearest_neighbor_ratio": lambda: metrics.nearest_neighbor_ratio(*three, **own),
        "membership_auc": lambda: metrics.membership_auc(*three, **own),
        "attribute_inference": lambda: metrics.attribute_inference(*three, target, **own),
        "copy_share": lambda: metrics.copy_share(*two, categorical=labels, n_bootstraps=0),
    }


def from_checkout(
    table: tables.Table, system: str, arguments: argparse.Namespace
) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """Run the commands of a peer's repository; None where they ran out of time."""
    if system not in arguments.repository:
        raise FileNotFoundError(f"no checkout: pass --repository {system}=PATH")
    place = Path(arguments.repository[system]).resolve()
    python = arguments.python.get(system, sys.executable)
    template, *stages, pattern = CHECKOUTS[system]
    name = template.format(table=table.name)
    folder = place / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    for rows, files in ((table.train, (f"{name}.csv", "train.csv")), (table.test, ("test.csv",))):
        for file in files:
            rows.to_csv(folder / file, index=False)
    columns = list(table.train.columns)
    labels = [columns.index(label) for label in table.categorical if label != table.target]
    target = columns.index(table.target)
    classes = "binclass" if table.train[table.target].nunique() == 2 else "multiclass"
    about = {
        "name": name,
        "task_type": classes if table.target in table.categorical else "regression",
        "header": "infer",
        "column_names": None,
        "num_col_idx": [k for k in range(len(columns)) if k not in [*labels, target]],
        "cat_col_idx": labels,
        "target_col_idx": [target],
        "file_type": "csv",
        "data_path": f"data/{name}/{name}.csv",
        "val_path": None,
        "test_path": f"data/{name}/test.csv",  # else a tenth of the train rows would be set aside
    }
    (place / "data" / "Info").mkdir(exist_ok=True)
    (place / "data" / "Info" / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")
    words = {"name": name, "out": str(folder / "drawn.csv")}
    seconds, begin, began = [], time.perf_counter(), time.time()
    for commands in stages:
        start = time.perf_counter()
        for command in commands:
            left = arguments.time_box - (time.perf_counter() - begin)
            parts = [python, *(part.format(**words) for part in command.split())]
            if workers.run_within(left, parts, place) is None:
                return None
        seconds.append(time.perf_counter() - start)
    pattern = pattern.format(**words)
    files = [Path(pattern)] if Path(pattern).is_absolute() else sorted(place.glob(pattern))
    made = [file for file in files if file.exists() and file.stat().st_mtime >= began]
    if not made:
        raise FileNotFoundError(f"the commands left no rows at {pattern}")
    rows = pd.read_csv(max(made, key=lambda file: file.stat().st_mtime))
    figures = {"fit_seconds": seconds[0], "sample_rows_per_second": len(rows) / seconds[1]}
    return {**figures, "system_version": "checkout"}, rows


def draw(stored: pd.DataFrame, path: Path) -> None:
    """Draw quality over fit time, a point for each system."""
    from matplotlib.figure import Figure

    runs = stored[~stored["seed"].astype(str).isin(results.SUMMARIES)]
    if "fit_seconds" not in runs or "c2st_xgboost" not in runs:
        return
    done = runs.dropna(subset=["fit_seconds", "c2st_xgboost"])
    figure = Figure(figsize=(4.6 * max(done["table"].nunique(), 1), 3.8), layout="constrained")
    for number, (name, group) in enumerate(done.groupby("table", sort=False)):
        axes = figure.add_subplot(1, done["table"].nunique(), number + 1)
        by = group.groupby(["synthesizer", "accelerator"], sort=False)
        points = by[["fit_seconds", "c2st_xgboost"]].mean().sort_values("fit_seconds")
        for place, ((system, on), point) in enumerate(points.iterrows()):
            colour = "#e07a3f" if str(system).startswith(workers.OURS) else "#3d5a80"
            axes.scatter(*point, color=colour, marker="o" if on == "none" else "^")
            name_of = f"{system} *" if system in NOTES else str(system)
            # Names stand left and right, above and below in turn: they must not cover each other.
            later = place >= len(points) / 2
            shift = (-4 if later else 4, 5 if place % 2 else -10)
            aligned = {"ha": "right" if later else "left", "textcoords": "offset points"}
            axes.annotate(name_of, point, fontsize=7, xytext=shift, **aligned)
        axes.set_xscale("log")
        axes.set_ylim(-0.1, 1.08)
        axes.margins(x=0.25)
        axes.set_xlabel("fit, seconds")
        axes.set_ylabel("C2ST by XGBoost (1: not told apart)")
        axes.set_title(str(name), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    if done["synthesizer"].isin(NOTES).any():
        figure.supxlabel("* from untrained weights: its quality is not its own", fontsize=7)
    figure.savefig(path, dpi=120)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["adult"])
    systems = [*SYSTEMS, *CHECKOUTS]
    parser.add_argument("--systems", nargs="*", choices=systems, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--time-box", type=float, default=600, help="seconds a process may take")
    parser.add_argument("--venvs", type=Path, default=workers.VENVS)
    for name, text in (
        ("repository", "a checkout of a peer without a package"),
        ("python", "the interpreter for a checkout"),
        ("rows", "rows that a system drew elsewhere, a CSV file"),
    ):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME=PATH", help=text
        )
    parser.add_argument("--out", type=Path, default=results.RESULTS / "peers.csv")
    arguments = parser.parse_args()
    if not arguments.systems and not arguments.rows:
        parser.error("name at least one of --systems, or --rows")
    for name in ("repository", "python", "rows"):
        pairs = [text.partition("=")[::2] for text in getattr(arguments, name)]
        setattr(arguments, name, dict(pairs))
    return arguments


if __name__ == "__main__":
    main()
