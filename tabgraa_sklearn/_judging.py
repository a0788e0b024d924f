"""Who judges a round of alignment, and when one is worse than another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pandas.util import hash_pandas_object
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
)
from sklearn.ensemble._bagging import BaseBagging
from sklearn.ensemble._forest import BaseForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .signals import TwoSampleClassifier

__all__ = [
    "area_under_curve",
    "copy_share",
    "in_single_precision",
    "is_worse",
    "judge_of_another_family",
]

Floats = npt.NDArray[np.float64]


def judge_of_another_family(signal: Any, seed: int, n_jobs: int | None) -> Any:
    """Forests judge, unless the signal is one; then boosted trees, unless it is both."""
    parts = list(_parts(signal))
    if any(_is_forest(part) for part in parts):
        if not any(_is_boosting(part) for part in parts):
            return HistGradientBoostingClassifier(max_iter=100, random_state=seed)
        return make_pipeline(
            SimpleImputer(add_indicator=True, keep_empty_features=True),
            StandardScaler(),
            MLPClassifier(alpha=0.01, tol=1e-3, n_iter_no_change=5, random_state=seed),
        )
    return ExtraTreesClassifier(
        60,
        min_samples_leaf=5,
        max_features=None,
        n_jobs=n_jobs or torch.get_num_threads(),
        random_state=seed,
    )


def is_worse(judged: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether a round is worse than another one, by two measures on held-out rows.

    The judge's score and the likelihood of the same rows are weighed alike, each in standard
    errors of its difference, and so is their sum: it is worse where they speak against it by more
    than one, or are no numbers.
    """
    difference = judged["_held_out"] - other["_held_out"]
    # Few rows tell little, however alike they are.
    error = math.sqrt((float(difference.var()) + 0.01 / len(difference)) / len(difference))
    likelihood = float(difference.mean()) / error
    score = (judged["judge_score"] - other["judge_score"]) / (math.sqrt(2) * judged["judge_error"])
    return not (likelihood + score) / math.sqrt(2) >= -1.0


def area_under_curve(on_real: Floats, on_synthetic: Floats) -> float:
    is_real = np.repeat([1, 0], [len(on_real), len(on_synthetic)])
    return float(roc_auc_score(is_real, np.concatenate([on_real, on_synthetic])))


def copy_share(token_ids: npt.NDArray[Any], real: npt.NDArray[Any]) -> float:
    """Share of rows whose tokens are all those of a real row."""
    rows, known = (
        hash_pandas_object(pd.DataFrame(part.astype(np.int64)), index=False)
        for part in (token_ids, real)
    )
    return float(rows.isin(known).mean())


def in_single_precision(numbers: Floats) -> Floats:
    """Keep numbers within single precision, which forests compute in; NaN stays."""
    return np.clip(numbers, -1e37, 1e37)


def _parts(signal: Any) -> Iterator[Any]:
    """Give a signal and all estimators that stand in it."""
    yield signal
    if hasattr(signal, "get_params"):
        inner = signal.get_params(deep=True).values()
        yield from (part for part in inner if hasattr(part, "fit"))


def _is_forest(part: Any) -> bool:
    """Whether it averages trees that are grown on parts of the rows or columns."""
    if getattr(part, "boosting_type", None) == "rf" or type(part).__name__.startswith("XGBRF"):
        return True
    return isinstance(part, BaseForest | BaseBagging)


def _is_boosting(part: Any) -> bool:
    """Whether it adds up trees, each of which mends what those before it got wrong."""
    # A signal of ours without an estimator of its own takes LightGBM.
    if isinstance(part, TwoSampleClassifier) and part.estimator is None:
        return True
    return not _is_forest(part) and (
        type(part).__name__.startswith(("LGBM", "XGB", "CatBoost"))
        or isinstance(
            part, HistGradientBoostingClassifier | GradientBoostingClassifier | AdaBoostClassifier
        )
    )
