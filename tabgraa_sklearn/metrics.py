"""Scorers for model selection, with scikit-learn's signature ``(estimator, X, y=None)``.

Each can be passed as ``scoring=`` to ``GridSearchCV``, ``RandomizedSearchCV``,
``HalvingGridSearchCV`` or ``cross_validate``; larger is better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from ._frames import to_frame

__all__ = ["column_shapes_scorer", "log_likelihood_scorer", "two_sample_scorer"]


def log_likelihood_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Give the mean log-likelihood of rows, in nats per row.

    Parameters
    ----------
    estimator : estimator with ``score_samples``
    X : DataFrame or array-like of shape (n_rows, n_columns)
    y : ignored

    Returns
    -------
    float
        Up to 0. The most exact of the scorers: it needs no samples.
    """
    return float(np.mean(estimator.score_samples(X)))


def two_sample_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Give how hard rows and fresh samples are to tell apart by a classifier.

    Parameters
    ----------
    estimator : TabGRAASynthesizer
    X : DataFrame or array-like of shape (n_rows, n_columns)
    y : array-like of shape (n_rows,), default=None
        What was given to ``fit`` as `y`.

    Returns
    -------
    float
        1: as hard as rows of one table; 0: every row is recognised.

    References
    ----------
    Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
    """
    return float(estimator.score(X, y))


def column_shapes_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Give how alike the columns of rows and of a sample of equal size are, one by one.

    One minus the Kolmogorov-Smirnov statistic of a column of numbers or times, one minus the
    total variation distance of any other (a missing cell is a value of its own); the mean over
    the columns.

    Parameters
    ----------
    estimator : estimator with ``sample``
    X : DataFrame or array-like of shape (n_rows, n_columns)
    y : ignored

    Returns
    -------
    float
        In [0, 1]; 1: equal. Two samples of one table of n rows score about 1 - 1 / sqrt(n).

    References
    ----------
    SDMetrics' column shapes: KSComplement and TVComplement.
    """
    real, _ = to_frame(X)
    synthetic, _ = to_frame(estimator.sample(len(real), random_state=0))
    if not set(real.columns) <= set(synthetic.columns):  # of an array against a named table
        synthetic = synthetic.iloc[:, : real.shape[1]].set_axis(real.columns, axis=1)
    return float(np.mean([_likeness(real[name], synthetic[name]) for name in real.columns]))


def _likeness(real: pd.Series, synthetic: pd.Series) -> float:
    if pd.api.types.is_datetime64_any_dtype(real) or pd.api.types.is_timedelta64_dtype(real):
        real, synthetic = (
            part.dropna().reset_index(drop=True).astype("int64") for part in (real, synthetic)
        )
    if pd.api.types.is_numeric_dtype(real.dtype) and not pd.api.types.is_bool_dtype(real.dtype):
        known = [part.dropna().to_numpy(dtype=np.float64) for part in (real, synthetic)]
        if min(map(len, known)) == 0:
            return float(len(known[0]) == len(known[1]))
        return 1.0 - float(ks_2samp(*known).statistic)
    shares = [
        part.astype(object).where(part.notna(), None).value_counts(normalize=True, dropna=False)
        for part in (real, synthetic)
    ]
    return 1.0 - 0.5 * float(shares[0].sub(shares[1], fill_value=0.0).abs().sum())
