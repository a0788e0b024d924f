"""How long the package's own measures take on large tables, at their defaults.

    python benchmarks/evaluate.py --rows 1000000

Train, synthetic and held-out rows are Adult (15 columns) resampled, so many of each; measures
compare 50,000 of them, copies are looked for among all. Seconds are the median of the repeats.
Lines go to ``results/evaluate.csv``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import machine
import numpy as np
import results
import tables
from encode import resampled

from tabgraa_sklearn import metrics


def main() -> None:
    """Time every measure, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + 3)
    train, synthetic, holdout = (resampled(arguments.rows, seed) for seed in seeds)
    two, three = (train, synthetic), (train, synthetic, holdout)
    target = tables.load("adult").target
    measures: dict[str, Callable[[], metrics.Measurement]] = {
        "column_shapes": partial(metrics.column_shapes, *two),
        "pair_trends": partial(metrics.pair_trends, *two),
        "mutual_information": partial(metrics.mutual_information, *two),
        "c2st_logistic": partial(metrics.classifier_two_sample, *two, classifier="logistic"),
        "c2st_lightgbm": partial(metrics.classifier_two_sample, *two),
        "alpha_precision": partial(metrics.alpha_precision, *two),
        "beta_recall": partial(metrics.beta_recall, *two),
        "train_on_synthetic": partial(metrics.train_on_synthetic, synthetic, holdout, target),
        "nearest_record_share": partial(metrics.nearest_record_share, *three),
        "nearest_neighbor_ratio": partial(metrics.nearest_neighbor_ratio, *three),
        "membership_auc": partial(metrics.membership_auc, *three),
        "copy_share": partial(metrics.copy_share, *two),
        "attribute_inference": partial(metrics.attribute_inference, *three, target),
    }
    lines: list[dict[str, Any]] = []
    for name, measure in measures.items():
        seconds = []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            figure = measure()
            seconds.append(time.perf_counter() - start)
        lines.append(
            {
                "measure": name,
                "rows": arguments.rows,
                "seconds": float(np.median(seconds)),
                "value": float(figure),
                "low": figure.low,
                "high": figure.high,
                "seed": str(arguments.seed),
                "repeats": arguments.repeats,
                **machine.describe(),
            }
        )
        print({key: lines[-1][key] for key in ("measure", "seconds", "value")}, flush=True)
    results.store(results.RESULTS / "evaluate.csv", lines, key=["measure", "rows"])


if __name__ == "__main__":
    main()
