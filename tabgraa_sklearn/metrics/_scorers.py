"""Scorers for model selection, with scikit-learn's signature ``(estimator, X, y=None)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._frames import to_frame
from ._fidelity import column_shapes

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
        Where columns have densities it may be above 0. The most exact of the scorers: it needs
        no samples.
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

    By :func:`column_shapes`.

    Parameters
    ----------
    estimator : estimator with ``sample``
    X : DataFrame or array-like of shape (n_rows, n_columns)
    y : ignored

    Returns
    -------
    float
        In [0, 1]; 1: equal. Two samples of one table of n rows score about 1 - 1 / sqrt(n).
    """
    real, _ = to_frame(X)
    synthetic, _ = to_frame(estimator.sample(len(real), random_state=0))
    if not set(real.columns) <= set(synthetic.columns):  # of an array against a named table
        synthetic = synthetic.iloc[:, : real.shape[1]].set_axis(real.columns, axis=1)
    return float(column_shapes(real, synthetic, max_rows=None, n_bootstraps=0))
