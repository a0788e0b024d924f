"""All measures at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from functools import partial
from typing import Any

import pandas as pd

from ._fidelity import (
    alpha_precision,
    beta_recall,
    classifier_two_sample,
    column_shapes,
    mutual_information,
    pair_trends,
)
from ._measurement import Measurement
from ._privacy import (
    attribute_inference,
    copy_share,
    membership_auc,
    nearest_neighbor_ratio,
    nearest_record_share,
)
from ._tables import MAX_ROWS, N_BOOTSTRAPS
from ._utility import train_on_synthetic

__all__ = ["evaluate"]

# What a figure is about, its best value, and what it says in a few words.
MEANINGS = {
    "column_shapes": ("fidelity", "1", "likeness of the columns, one by one"),
    "pair_trends": ("fidelity", "1", "likeness of the dependence of pairs of columns"),
    "mutual_information": ("fidelity", "1", "the same by mutual information"),
    "c2st_logistic": ("fidelity", "1", "1: logistic regression cannot tell rows from real ones"),
    "c2st_lightgbm": ("fidelity", "1", "1: LightGBM cannot tell rows from real ones"),
    "alpha_precision": ("fidelity", "1", "rows lie where real ones do"),
    "beta_recall": ("fidelity", "as held-out rows", "real rows have rows near them; 1: copies"),
    "train_on_synthetic": (
        "utility",
        "as train rows",
        "a model learnt from them, on real ones",
    ),
    "nearest_record_share": ("privacy", "0.5", "rows nearer to train than to held-out rows"),
    "nearest_neighbor_ratio": ("privacy", "1", "rows single out train rows no more than others do"),
    "membership_auc": ("privacy", "0.5", "train rows told from held-out ones"),
    "copy_share": ("privacy", "as held-out rows", "rows equal to a train row"),
    "attribute_inference": ("privacy", "0", "a cell guessed better for train than held-out rows"),
}


def evaluate(
    train: Any,
    synthetic: Any,
    holdout: Any,
    *,
    target: Hashable | None = None,
    secret: Hashable | None = None,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> pd.DataFrame:
    """Take every measure of a synthetic table.

    Parameters
    ----------
    train, synthetic, holdout : DataFrame or array-like of shape (n_rows, n_columns)
        Rows that the synthetic ones were learnt from, these, and real rows that were not seen.
    target : column name, default=None
        What :func:`train_on_synthetic` predicts, on the holdout; None: it is left out.
    secret : column name, default=None
        What :func:`attribute_inference` guesses; None: `target`, and it is left out without.
    categorical, max_rows, n_bootstraps, random_state
        As in :func:`column_shapes`.

    Returns
    -------
    DataFrame of shape (n_measures, 6)
        By name of the measure: "value", "low", "high", "about" ("fidelity", "utility" or
        "privacy"), "best" and "meaning".

    Examples
    --------
    >>> from tabgraa_sklearn.datasets import load_adult
    >>> from tabgraa_sklearn.metrics import evaluate
    >>> rows = load_adult().frame
    >>> figures = evaluate(rows[:1000], rows[1000:2000], rows[2000:3000], n_bootstraps=10)
    >>> round(float(figures.loc["membership_auc", "value"]), 1)
    0.5
    """
    shared: dict[str, Any] = {
        "categorical": categorical,
        "n_bootstraps": n_bootstraps,
        "random_state": random_state,
    }
    rows = {**shared, "max_rows": max_rows}
    measures: dict[str, Callable[[], Measurement]] = {
        "column_shapes": partial(column_shapes, train, synthetic, **rows),
        "pair_trends": partial(pair_trends, train, synthetic, **rows),
        "mutual_information": partial(mutual_information, train, synthetic, **rows),
        "c2st_logistic": partial(
            classifier_two_sample, train, synthetic, classifier="logistic", **rows
        ),
        "c2st_lightgbm": partial(classifier_two_sample, train, synthetic, **rows),
        "alpha_precision": partial(alpha_precision, train, synthetic, **rows),
        "beta_recall": partial(beta_recall, train, synthetic, **rows),
        "nearest_record_share": partial(nearest_record_share, train, synthetic, holdout, **rows),
        "nearest_neighbor_ratio": partial(
            nearest_neighbor_ratio, train, synthetic, holdout, **rows
        ),
        "membership_auc": partial(membership_auc, train, synthetic, holdout, **rows),
        "copy_share": partial(copy_share, train, synthetic, **shared),
    }
    if target is not None:
        measures["train_on_synthetic"] = partial(
            train_on_synthetic, synthetic, holdout, target, like=train, **rows
        )
    secret = target if secret is None else secret
    if secret is not None:
        measures["attribute_inference"] = partial(
            attribute_inference, train, synthetic, holdout, secret, **rows
        )
    lines = {}
    for name, (about, best, meaning) in MEANINGS.items():
        if name in measures:
            figure = measures[name]()
            lines[name] = {
                "value": float(figure),
                "low": figure.low,
                "high": figure.high,
                "about": about,
                "best": best,
                "meaning": meaning,
            }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("measure")
