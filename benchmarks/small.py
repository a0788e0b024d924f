"""Small tables, of scikit-learn or some rows of ours: is their dependence learnt?

    python benchmarks/small.py --seeds 0 1 2
    python benchmarks/small.py adult:300 magic:300 default:300 adult:1000 magic:1000 default:1000
    python benchmarks/small.py adult:3000 magic:3000 default:3000

Each table is fitted without rounds, as it is by default and with what tables of 3,000 rows and
more have ("large": embeddings of each number's own and all frequencies), on two thirds of its
rows, or on as many as are said. "short" is what shorter tables have, for those of 3,000 rows.
Measured are the likelihood of unseen rows in nats, how far the correlations of fresh rows are from
those of the whole table, and shapes and trends against it. Lines go to ``results/small.csv``.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import machine
import measures
import numpy as np
import pandas as pd
import results
import tables
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split

import tabgraa_sklearn._supervised as supervised
from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._sizes import Sizes, default_sizes

TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "breast cancer": datasets.load_breast_cancer,
}
DRAWN = 2000
UNSEEN = 1000  # rows of our tables


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=results.RESULTS / "small.csv")
    arguments = parser.parse_args()
    for name in arguments.tables:
        for embeddings in ("large", "short"):
            for seed in arguments.seeds:
                train, test, categorical = load(name, seed)
                line = {
                    "table": name,
                    "rows": len(train),
                    "columns": train.shape[1],
                    "embeddings": embeddings,
                    "seed": str(seed),
                    "repeats": 1,
                    **measured(train, test, categorical, seed, embeddings),
                    "threads": torch.get_num_threads(),
                    **machine.describe(),
                }
                results.store(arguments.out, [line], key=["table", "embeddings"])
                shown = {k: round(v, 4) for k, v in line.items() if isinstance(v, float)}
                print(name, embeddings, seed, shown, flush=True)


def load(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Give the rows to fit, unseen ones, and which columns are categories."""
    if name in TABLES:
        whole = TABLES[name](as_frame=True).frame
        train, test = train_test_split(whole, test_size=1 / 3, random_state=seed)
        return train, test, []
    known, _, rows = name.partition(":")
    table = tables.load(known)
    train = table.train.sample(int(rows), random_state=seed)
    return train.reset_index(drop=True), table.test.head(UNSEEN), list(table.categorical)


def sizes_with(embeddings: str) -> Callable[[int, int], Sizes]:
    """Give what chooses a table's sizes, with the embeddings of large tables or of short ones."""
    like = default_sizes(100_000 if embeddings == "large" else 100, 10)
    names = ("smooth_only", "n_frequencies_in", "n_frequencies_out")
    kept = {name: getattr(like, name) for name in names}
    return lambda *shape: dataclasses.replace(default_sizes(*shape), **kept)


def measured(
    train: pd.DataFrame, test: pd.DataFrame, categorical: list[str], seed: int, embeddings: str
) -> dict[str, float]:
    """Fit rows and measure the model."""
    start = time.perf_counter()
    with mock.patch.object(supervised, "default_sizes", sizes_with(embeddings)):
        model = TabGRAASynthesizer(n_rounds=0, random_state=seed).fit(train)
    seconds = time.perf_counter() - start
    rows = model.sample(DRAWN, random_state=seed)
    whole = pd.concat([train, test], ignore_index=True)
    numbers = whole.columns.drop(categorical)
    real, drawn = (part[numbers].corr().fillna(0.0).to_numpy() for part in (whole, rows))
    pairs = np.triu_indices(len(real), 1)
    shapes, trends = measures.quality(whole, rows, categorical=categorical)
    return {
        "held_out_nats": -float(model.score_samples(test).mean()),
        "mean_correlation": float(np.abs(real[pairs]).mean()),
        "correlation_error": float(np.abs(real - drawn)[pairs].mean()),
        "column_shapes": shapes,
        "pair_trends": trends,
        "epochs": float(model.n_epochs_),
        "fit_seconds": seconds,
    }


if __name__ == "__main__":
    main()
