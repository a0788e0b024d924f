"""Ask one fitted system conditional questions: what ``conditional.py`` starts.

    VENV/bin/python benchmarks/questions.py tabular-argn FOLDER income --seed 0

FOLDER holds ``train.csv`` (what is fitted), ``given.csv`` (cells of which rows are drawn, one for
each), ``holes.csv`` (rows with missing cells) and ``features.csv`` (rows without the target). The
answers go to ``drawn.csv``, ``imputed.csv`` and ``chances.csv`` beside them; the rates, of the
median of several calls, are printed as one line of JSON. It runs in the environment that the system
is installed in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from systems import version_of

REPEATS = 7  # calls of each question that are timed, the same question again
LIMIT = 10.0  # seconds, after which no other call begins

# A fitted system: rows of given cells, rows with holes, rows without the target -> answers.
Answers = dict[str, Callable[[pd.DataFrame], pd.DataFrame]]


def ours(
    train: pd.DataFrame, target: str, seed: int, method: str = "trials", **settings: Any
) -> Answers:
    """Fit this package, at its defaults but for `settings`; `method` is that of predictions."""
    from tabgraa_sklearn import TabGRAASynthesizer

    model = TabGRAASynthesizer(random_state=seed, **settings).fit(train)
    return {
        "drawn": lambda given: model.sample(conditions=given, random_state=seed),
        "imputed": lambda holes: model.impute(holes, random_state=seed),
        "chances": lambda features: model.predict_proba(features, target, method=method),
    }


def supervised(train: pd.DataFrame, target: str, seed: int) -> Answers:
    """Fit this package without rounds of alignment."""
    return ours(train, target, seed, n_rounds=0)


def one_pass(train: pd.DataFrame, target: str, seed: int) -> Answers:
    """Fit it without rounds, more of it in random orders; predictions are read in one pass."""
    return ours(train, target, seed, "one_pass", n_rounds=0, random_order_share=0.8)


def tabular_argn(train: pd.DataFrame, target: str, seed: int) -> Answers:
    """Fit mostlyai-engine's TabularARGN at its defaults."""
    from mostlyai.engine import TabularARGN

    model = TabularARGN(verbose=0, random_state=seed)
    model.fit(train)
    return {
        "drawn": lambda given: model.sample(seed_data=given, n_samples=len(given)),
        "imputed": lambda holes: model.impute(holes),
        "chances": lambda features: model.predict_proba(features, target=target),
    }


SYSTEMS: dict[str, tuple[str, Callable[..., Answers]]] = {
    "tabgraa-sklearn": ("tabgraa-sklearn", ours),
    "tabgraa-sklearn, no rounds": ("tabgraa-sklearn", supervised),
    "tabgraa-sklearn, one pass": ("tabgraa-sklearn", one_pass),
    "tabular-argn": ("mostlyai-engine", tabular_argn),
}


def main() -> None:
    """Fit, answer, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    package, fit = SYSTEMS[arguments.system]
    folder = arguments.folder
    start = time.perf_counter()
    answers = fit(pd.read_csv(folder / "train.csv"), arguments.target, arguments.seed)
    figures: dict[str, Any] = {"fit_seconds": time.perf_counter() - start}
    questions = {"drawn": "given", "imputed": "holes", "chances": "features"}
    for answer, question in questions.items():
        asked = pd.read_csv(folder / f"{question}.csv")
        answers[answer](asked.head(200))
        seconds: list[float] = []
        while len(seconds) < REPEATS and sum(seconds) < LIMIT:
            start = time.perf_counter()
            answered = answers[answer](asked)
            seconds.append(time.perf_counter() - start)
        figures[f"{answer}_rows_per_second"] = len(asked) / statistics.median(seconds)
        answered.to_csv(folder / f"{answer}.csv", index=False)
    print(json.dumps({**figures, "system_version": version_of(package)}))


if __name__ == "__main__":
    main()
