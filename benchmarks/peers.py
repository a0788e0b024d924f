"""Ours and the peers, side by side: one machine, one run, one evaluator.

    python benchmarks/peers.py adult --time-box 300
    python benchmarks/peers.py adult --systems tabsyn --repository tabsyn=PATH

Each peer lives in a virtual environment of its own, which is made on the first run (``--venvs``),
and is fitted at its defaults on the train rows in a process of its own, which also draws as many
rows. All rows are then judged here, by the same measures: SDMetrics' where it has them, the
package's own elsewhere. Who does not end within the time box, or fails, is stored as such.

TabSyn and TabDiff have no package: given a checkout of theirs (``--repository NAME=PATH``, with its
requirements installed for the interpreter that ``--python NAME=PATH`` names, else this one), the
commands of their README are run in it. Rows that any other system drew elsewhere are judged by
``--rows NAME=FILE``. Lines go to ``results/peers.csv``, a picture of quality over fit time to
``results/peers.png``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
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

COSTS = ("fit_seconds", "sample_rows_per_second", "peak_memory_mb", "gpu_memory_mb")
# Commands of a checkout, where the rows lie afterwards; {name} is that of the data set.
CHECKOUTS: dict[str, tuple[list[str], list[str], str]] = {
    "tabsyn": (
        [
            "process_dataset.py --dataname {name}",
            "main.py --dataname {name} --method vae --mode train",
            "main.py --dataname {name} --method tabsyn --mode train",
        ],
        ["main.py --dataname {name} --method tabsyn --mode sample --save_path {out}"],
        "{out}",
    ),
    "tabdiff": (
        [
            "process_dataset.py --dataname {name}",
            "main.py --dataname {name} --mode train --no_wandb",
        ],
        ["main.py --dataname {name} --mode test --no_wandb"],
        "tabdiff/result/{name}/**/samples.csv",
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
                line |= one(table, system, seed, arguments) | machine.describe()
                stored = results.store(arguments.out, [line], key=["table", "synthesizer"])
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
        return line | figures | judge(table, rows, seed)
    except Exception as error:  # whatever befalls a peer is part of its result
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return line | {"outcome": f"failed: {text[:200]}"}


def judge(table: tables.Table, rows: pd.DataFrame, seed: int) -> dict[str, float]:
    """Take every measure of rows."""
    labels, target = table.categorical, table.target
    train, test = table.train, table.test
    rows = rows[list(train.columns)]
    settings: dict[str, Any] = {"categorical": labels, "random_state": seed}
    own = {**settings, "n_bootstraps": 0}
    shapes, trends = measures.quality(train, rows, categorical=labels)
    known: dict[str, Any] = {"target": target, "tuned": False, "n_jobs": machine.cores()}
    return {
        "column_shapes": shapes,
        "pair_trends": trends,
        "c2st_logistic": measures.c2st_logistic(train, rows, **settings),
        "c2st_xgboost": measures.c2st_xgboost(train, rows, n_jobs=machine.cores(), **settings),
        "c2st_lightgbm": float(metrics.classifier_two_sample(train, rows, **own)),
        "mutual_information": float(metrics.mutual_information(train, rows, **own)),
        "alpha_precision": float(metrics.alpha_precision(train, rows, **own)),
        "beta_recall": float(metrics.beta_recall(train, rows, **own)),
        "downstream_auc": measures.downstream_auc(train, rows, test, **known, **settings),
        "nearest_record_share": float(metrics.nearest_record_share(train, rows, test, **own)),
        "nearest_neighbor_ratio": float(metrics.nearest_neighbor_ratio(train, rows, test, **own)),
        "membership_auc": float(metrics.membership_auc(train, rows, test, **own)),
        "attribute_inference": float(metrics.attribute_inference(train, rows, test, target, **own)),
        "copy_share": float(metrics.copy_share(train, rows, categorical=labels, n_bootstraps=0)),
    }


def from_checkout(
    table: tables.Table, system: str, arguments: argparse.Namespace
) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """Run the commands of a peer's repository; None where they ran out of time."""
    if system not in arguments.repository:
        raise FileNotFoundError(f"no checkout: pass --repository {system}=PATH")
    place = Path(arguments.repository[system]).resolve()
    python = arguments.python.get(system, sys.executable)
    name = f"peers_{table.name}"
    folder = place / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    table.train.to_csv(folder / f"{name}.csv", index=False)
    columns = list(table.train.columns)
    labels = [columns.index(label) for label in table.categorical if label != table.target]
    target = columns.index(table.target)
    about = {
        "name": name,
        "task_type": "binclass" if table.target in table.categorical else "regression",
        "header": "infer",
        "column_names": None,
        "num_col_idx": [k for k in range(len(columns)) if k not in [*labels, target]],
        "cat_col_idx": labels,
        "target_col_idx": [target],
        "file_type": "csv",
        "data_path": f"data/{name}/{name}.csv",
        "test_path": None,
    }
    (place / "data" / "Info").mkdir(exist_ok=True)
    (place / "data" / "Info" / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")
    words = {"name": name, "out": str(folder / "drawn.csv")}
    seconds, begin = [], time.perf_counter()
    for commands in CHECKOUTS[system][:2]:
        start = time.perf_counter()
        for command in commands:
            left = arguments.time_box - (time.perf_counter() - begin)
            try:
                done = subprocess.run(
                    [python, *(part.format(**words) for part in command.split())],
                    cwd=place,
                    capture_output=True,
                    text=True,
                    timeout=max(left, 0.1),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return None
            if done.returncode != 0:
                raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
        seconds.append(time.perf_counter() - start)
    pattern = CHECKOUTS[system][2].format(**words)
    files = [Path(pattern)] if Path(pattern).is_absolute() else sorted(place.glob(pattern))
    rows = pd.read_csv(max(files, key=lambda file: file.stat().st_mtime))
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
        points = group.groupby("synthesizer", sort=False)[["fit_seconds", "c2st_xgboost"]].mean()
        for system, point in points.iterrows():
            colour = "#e07a3f" if str(system).startswith(workers.OURS) else "#3d5a80"
            axes.scatter(*point, color=colour)
            axes.annotate(str(system), point, fontsize=7, xytext=(4, 4), textcoords="offset points")
        axes.set_xscale("log")
        axes.set_ylim(-0.03, 1.05)
        axes.margins(x=0.25)
        axes.set_xlabel("fit, seconds")
        axes.set_ylabel("C2ST by XGBoost (1: not told apart)")
        axes.set_title(str(name), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
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
    for name in ("repository", "python", "rows"):
        pairs = [text.partition("=")[::2] for text in getattr(arguments, name)]
        setattr(arguments, name, dict(pairs))
    return arguments


if __name__ == "__main__":
    main()
