"""Tables of a few hundred rows that scikit-learn carries: is their dependence learnt?

    python benchmarks/small.py --seeds 0 1 2

Each table is fitted without rounds on two thirds of its rows, as it is by default and with what
tables of 3,000 rows and more have ("large": embeddings of each number's own and all frequencies).
Measured are the likelihood of the other third in nats per row, how far the correlations of fresh
rows are from those of the whole table, and shapes and trends against it. Lines go to
``results/small.csv``.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any
from unittest import mock

import machine
import measures
import numpy as np
import pandas as pd
import results
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split

import tabgraa_sklearn._supervised as supervised
from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._sizes import default_sizes

TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "breast cancer": datasets.load_breast_cancer,
}
DRAWN = 2000


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
        table = TABLES[name](as_frame=True).frame
        for embeddings in ("large", "default"):
            for seed in arguments.seeds:
                line = {
                    "table": name,
                    "rows": len(table),
                    "columns": table.shape[1],
                    "embeddings": embeddings,
                    "seed": str(seed),
                    "repeats": 1,
                    **measured(table, seed, embeddings),
                    "threads": torch.get_num_threads(),
                    **machine.describe(),
                }
                results.store(arguments.out, [line], key=["table", "embeddings"])
                shown = {k: round(v, 4) for k, v in line.items() if isinstance(v, float)}
                print(name, embeddings, seed, shown, flush=True)


def as_for_large(n_rows: int, n_columns: int) -> Any:
    """Give a short table's sizes, but the embeddings of a large one."""
    few, many = default_sizes(n_rows, n_columns), default_sizes(100_000, n_columns)
    return dataclasses.replace(
        few,
        smooth_only=many.smooth_only,
        n_frequencies_in=many.n_frequencies_in,
        n_frequencies_out=many.n_frequencies_out,
    )


def measured(table: pd.DataFrame, seed: int, embeddings: str) -> dict[str, float]:
    """Fit two thirds of a table and measure the model."""
    train, test = train_test_split(table, test_size=1 / 3, random_state=seed)
    sizes = as_for_large if embeddings == "large" else default_sizes
    start = time.perf_counter()
    with mock.patch.object(supervised, "default_sizes", sizes):
        model = TabGRAASynthesizer(n_rounds=0, random_state=seed).fit(train)
    seconds = time.perf_counter() - start
    rows = model.sample(DRAWN, random_state=seed)
    real, drawn = (part.corr().to_numpy() for part in (table, rows))
    pairs = np.triu_indices(len(real), 1)
    shapes, trends = measures.quality(table, rows, categorical=[])[:2]
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
