"""What real rows would score: the ceiling of ``fidelity.py``.

    python benchmarks/yardstick.py adult magic default --seeds 0 1 2

Train rows drawn with replacement are judged by the same measures as if they were synthetic. No
sample of as many independent rows can be expected to pass for the train rows better, or to teach a
downstream model more, than the train rows themselves drawn anew; stratified rows may, in counts.
Two-sample and privacy figures are left out: of copies they say nothing. Lines go to
``results/yardstick.csv``.
"""

from __future__ import annotations

import argparse
from typing import Any

import machine
import pandas as pd
import results
import tables
from measures import downstream_auc, quality


def main() -> None:
    """Measure every table and seed that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=tables.names())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    for name in arguments.tables:
        for seed in arguments.seeds:
            row = measure(tables.load(name), seed)
            results.store(results.RESULTS / "yardstick.csv", [row], key=["table"])
            print({key: row[key] for key in list(row)[:6]}, flush=True)


def measure(table: tables.Table, seed: int) -> dict[str, Any]:
    """Judge one drawing of a table's train rows."""
    drawn = table.train.sample(len(table.train), replace=True, random_state=seed)
    drawn = drawn.reset_index(drop=True)
    categorical = table.categorical

    def auc(rows: pd.DataFrame, tuned: bool) -> float:
        return downstream_auc(
            table.train,
            rows,
            table.test,
            target=table.target,
            categorical=categorical,
            tuned=tuned,
        )

    shapes, trends = quality(table.train, drawn, categorical=categorical)
    return {
        "table": table.name,
        "seed": str(seed),
        "repeats": 1,
        "column_shapes": shapes,
        "pair_trends": trends,
        # Tuned on rows of which half stand in the train and the judging part alike, XGBoost would
        # over-fit: redrawn rows are for XGBoost as it comes, the train rows themselves for both.
        "downstream_auc_untuned": auc(drawn, tuned=False),
        "downstream_auc_untuned_of_train": auc(table.train, tuned=False),
        "downstream_auc_of_train": auc(table.train, tuned=True),
        **machine.describe(),
    }


if __name__ == "__main__":
    main()
