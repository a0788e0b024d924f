"""What synthetic rows are good for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.metrics import r2_score, roc_auc_score

from ._fidelity import _features
from ._measurement import Measurement, resamples
from ._tables import MAX_ROWS, N_BOOTSTRAPS, side_by_side

__all__ = ["train_on_synthetic"]

Floats = npt.NDArray[np.float64]

_MOST_CLASSES = 20


def train_on_synthetic(
    synthetic: Any,
    test: Any,
    target: Hashable,
    *,
    estimator: Any = None,
    like: Any = None,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """Train on synthetic rows, test on real ones.

    Parameters
    ----------
    synthetic : DataFrame or array-like of shape (n_rows, n_columns)
        What is learnt from. Pass the real train rows for the figure to compare with.
    test : DataFrame or array-like of shape (n_test_rows, n_columns)
        Real rows that the synthesizer did not see.
    target : column name
        What is predicted from the other columns: a label by a classifier, a number or time by a
        regressor. Rows without it are left out.
    estimator : classifier or regressor, default=None
        What learns, from numbers with NaN and indicators of labels; None: LightGBM at its
        defaults. A classifier must have ``predict_proba``.
    like : DataFrame or array-like, default=None
        The table that tells what the columns are; None: `test`.
    categorical, max_rows, n_bootstraps, random_state
        As in :func:`column_shapes`. Resampled are the test rows.

    Returns
    -------
    Measurement
        Of a classifier the area under the ROC curve, in [0, 1] (of several labels the mean of
        each against the rest; of more than 20 the rarer ones are one); of a regressor R2, at most
        1. Higher is better.

    References
    ----------
    Esteban et al., "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs",
    2017.
    """
    real, fresh = side_by_side(
        [test, synthetic],
        categorical=categorical,
        max_rows=max_rows,
        random_state=random_state,
        names=("test", "synthetic"),
        like=like,
    )
    if target not in real.order:
        raise ValueError(f"target must be a column that is compared, one of {real.order}.")
    if len(real.order) == 1:
        raise ValueError("there must be a column besides target.")
    is_label = target in real.labels
    part = "labels" if is_label else "numbers"
    kept = []
    for side in (fresh, real):
        cells = getattr(side, part)[target]
        kept.append(side.take(np.flatnonzero(cells >= 0 if is_label else cells.notna())))
    if min(map(len, kept)) == 0:
        raise ValueError(f"target {target!r} is missing in all rows of a table.")
    learnt, truth = (getattr(side, part)[target].to_numpy() for side in kept)
    inputs, questions = _features([side.drop(target) for side in kept])
    random = np.random.default_rng(random_state)
    weights = resamples(len(truth), n_bootstraps, random)
    if estimator is None:
        make = lightgbm.LGBMClassifier if is_label else lightgbm.LGBMRegressor
        estimator = make(
            random_state=random_state, deterministic=True, force_row_wise=True, verbosity=-1
        )
    if not is_label:
        predicted = clone(estimator).fit(inputs, learnt).predict(questions)
        figures = [r2_score(truth, predicted, sample_weight=line) for line in weights]
        return Measurement.of(np.array(figures), highest=1.0)
    frequent = np.array(Counter(learnt.tolist() + truth.tolist()).most_common(_MOST_CLASSES))[:, 0]
    learnt, truth = (np.where(np.isin(part, frequent), part, -1) for part in (learnt, truth))
    classes = np.unique(learnt)
    if len(classes) == 1:
        return Measurement(0.5)  # nothing can be learnt from one class
    chances = clone(estimator).fit(inputs, learnt).predict_proba(questions)
    figures = [_area(truth, chances, classes, line) for line in weights]
    return Measurement.of(np.array(figures), 0.0, 1.0)


def _area(
    truth: npt.NDArray[np.int64], chances: Floats, classes: npt.NDArray[np.int64], weight: Floats
) -> float:
    """Area under the ROC curve; a class that was not learnt is ranked by a constant."""
    labels = np.unique(truth)
    if len(labels) == 1:
        return 0.5
    areas = []
    for label in labels[-1:] if len(labels) == 2 else labels:
        places = np.flatnonzero(classes == label)
        ranks = chances[:, places[0]] if len(places) else np.zeros(len(truth))
        is_label = truth == label
        if weight[is_label].any() and weight[~is_label].any():
            areas.append(roc_auc_score(is_label, ranks, sample_weight=weight))
    return float(np.mean(areas)) if areas else 0.5
