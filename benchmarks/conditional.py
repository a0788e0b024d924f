"""Conditional questions to one fitted model: ours beside TabularARGN, in one run.

    python benchmarks/conditional.py adult --seeds 0 1 2

Each system is fitted on the train rows in a process and an environment of its own (made on the
first run, ``--venvs``) and asked three things of the test rows: rows of which the target and the
column with the fewest other values are given, one for each test row (judged by XGBoost's two-sample
score against the test rows within each of these strata, averaged by their size); a quarter of the
cells, taken away at random (judged by the share of wrong categories, by the error of numbers in
standard deviations, and by the two-sample score of one half of the completed rows against the other
half as it was); and the probabilities of the target (area under the ROC curve). Lines go to
``results/conditional.csv``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pandas as pd
import results
import tables
import workers
from measures import c2st_xgboost
from questions import SYSTEMS
from sklearn.metrics import roc_auc_score

WORKER = Path(__file__).parent / "questions.py"
LEAST = 200  # test rows of a stratum that is judged
SHARE = 0.25  # of cells taken away


def main() -> None:
    """Ask every system on every table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["adult"])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--time-box", type=float, default=1800, help="seconds a process may take")
    parser.add_argument("--venvs", type=Path, default=workers.VENVS)
    parser.add_argument("--out", type=Path, default=results.RESULTS / "conditional.csv")
    arguments = parser.parse_args()
    for name in arguments.tables:
        table = tables.load(name)
        for seed in arguments.seeds:
            for system in arguments.systems:
                own = system.partition(",")[0]
                python = workers.python_of(own, arguments.venvs)
                line = {"table": name, "synthesizer": system, "seed": str(seed), "repeats": 1}
                line |= ask(table, system, python, seed, arguments.time_box)
                line |= machine.describe()
                results.store(arguments.out, [line], key=["table", "synthesizer", "cores"])
                print({key: line[key] for key in line if key not in ("versions", "system_version")})


def ask(
    table: tables.Table, system: str, python: str, seed: int, time_box: float
) -> dict[str, Any]:
    """Fit one system and measure its answers."""
    train, test, target = table.train, table.test, table.target
    strata = [target, fewest_values(table)]
    random = np.random.default_rng(seed)
    taken = random.random(test.shape) < SHARE
    taken[taken.all(1)] = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train.to_csv(folder / "train.csv", index=False)
        test[strata].to_csv(folder / "given.csv", index=False)
        test.mask(taken).to_csv(folder / "holes.csv", index=False)
        test.drop(columns=target).to_csv(folder / "features.csv", index=False)
        command = [python, str(WORKER), system, str(folder), target, "--seed", str(seed)]
        try:
            printed = workers.run_within(time_box, command, folder)
        except RuntimeError as error:
            return {"outcome": f"failed: {error}"}
        if printed is None:
            return {"outcome": f"not done in {time_box:g} s"}
        figures: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
        drawn, imputed, chances = (
            pd.read_csv(folder / f"{answer}.csv") for answer in ("drawn", "imputed", "chances")
        )
    wrong, error = imputation_errors(table, imputed[test.columns], taken)
    half = random.permutation(len(test)) < len(test) // 2  # no row is compared with itself
    return {
        "outcome": "done",
        "strata": " x ".join(strata),
        "c2st_within_strata": within_strata(table, drawn[test.columns], strata, seed),
        "c2st_imputed": c2st_xgboost(
            test[~half],
            imputed.loc[half, test.columns],
            categorical=table.categorical,
            random_state=seed,
        ),
        "wrong_categories": wrong,
        "error_of_numbers": error,
        "predict_auc": auc(test[target], chances),
        **figures,
    }


def fewest_values(table: tables.Table) -> str:
    """Name the column that makes the fewest strata with the target."""
    others = table.train.drop(columns=table.target).nunique()
    return str(others[others > 1].idxmin())


def within_strata(table: tables.Table, drawn: pd.DataFrame, strata: list[str], seed: int) -> float:
    """Average the two-sample score of the strata that have enough rows, by their size."""
    scores, sizes = [], []
    for values, real in table.test.groupby(strata):
        same = (drawn[strata] == pd.Series(dict(zip(strata, values, strict=True)))).all(axis=1)
        if len(real) >= LEAST and same.sum() >= LEAST:
            free = [name for name in real.columns if name not in strata]
            categorical = [name for name in table.categorical if name in free]
            scores.append(
                c2st_xgboost(
                    real[free], drawn.loc[same, free], categorical=categorical, random_state=seed
                )
            )
            sizes.append(len(real))
    return float(np.average(scores, weights=sizes)) if sizes else float("nan")


def imputation_errors(
    table: tables.Table, imputed: pd.DataFrame, taken: np.ndarray
) -> tuple[float, float]:
    """Share of wrong categories, and root mean squared error of numbers in standard deviations."""
    wrong, errors = [], []
    for number, name in enumerate(table.test.columns):
        holes = taken[:, number] & table.test[name].notna().to_numpy()
        truth, found = table.test.loc[holes, name], imputed.loc[holes, name]
        if name in table.categorical:
            wrong.append((_labels(truth) != _labels(found)).mean())
        else:
            scale = table.train[name].std()
            errors.append(np.sqrt((((found - truth) / scale) ** 2).mean()))
    return (
        float(np.mean(wrong)) if wrong else float("nan"),
        float(np.mean(errors)) if errors else float("nan"),
    )


def _labels(cells: pd.Series) -> pd.Series:
    """Give cells as texts, 1.0 as 1."""
    numbers = pd.to_numeric(cells, errors="coerce")
    return numbers.where(numbers.notna(), cells.astype(str)).astype(str)


def auc(truth: pd.Series, chances: pd.DataFrame) -> float:
    """Area under the ROC curve of the probabilities of the last of two values."""
    labels = truth.astype(str)
    last = sorted(labels.unique())[-1]
    return float(roc_auc_score(labels == last, chances[last]))


if __name__ == "__main__":
    main()
