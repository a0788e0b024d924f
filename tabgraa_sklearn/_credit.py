"""What each cell of a row contributed to the row's reward.

One figure for a row says little about each of its cells. With ``V_k`` the reward that is to be
expected once the first k cells are known, the credit of cell k is ``V_k - V_(k-1)``: the log-ratio
by which the best policy near the reference draws it more often.
"""

from __future__ import annotations

import lightgbm
import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from ._rewards import named

__all__ = ["N_UNITS", "chained_log_odds", "expected_rewards", "split_order"]

Floats = npt.NDArray[np.float64]

N_UNITS = 16  # parts of a row that get a credit of their own, at the most


def split_order(order: list[int], n_units: int = N_UNITS) -> list[list[int]]:
    """Cut the order of columns into parts that are credited together; most have one column."""
    n_units = min(n_units, len(order))
    return [part.tolist() for part in np.array_split(np.asarray(order), n_units)]


def chained_log_odds(
    classifier: lightgbm.LGBMClassifier,
    real: Floats,
    synthetic: Floats,
    tables: list[Floats],
    units: list[list[int]],
) -> list[Floats]:
    """Log density ratio of real to synthetic beginnings of rows, each built on the one before.

    A classifier for each length starts from what the shorter ones have found and learns what is
    left, so that the difference between two lengths is what the further cells tell. Classifiers
    that each began anew would differ by their own errors as well, which are larger.

    Parameters
    ----------
    classifier : LGBMClassifier
        Cloned and fitted for each length.
    real, synthetic : ndarray of shape (n_rows, n_columns)
        What it is fitted on.
    tables : list of ndarray of shape (n_rows, n_columns)
        What is judged.
    units : list of list of int
        The columns, in the order in which they are drawn.

    Returns
    -------
    list of ndarray of shape (n_rows, len(units))
        For each of `tables`, after each unit.
    """
    is_real = np.repeat([1, 0], [len(real), len(synthetic)])
    both = np.concatenate([real, synthetic])
    found = np.full(len(both), np.log(len(real) / len(synthetic)))
    values = [np.empty((len(table), len(units))) for table in tables]
    known: list[int] = []
    for number, unit in enumerate(units):
        known += unit
        fitted = clone(classifier).set_params(boost_from_average=False)
        begun = named(both[:, known])
        fitted.fit(begun, is_real, init_score=found)
        found += fitted.predict(begun, raw_score=True)
        for part, table in zip(values, tables, strict=True):
            more = fitted.predict(named(table[:, known]), raw_score=True)
            part[:, number] = more + (part[:, number - 1] if number else 0.0)
    return values


def expected_rewards(
    reward: Floats, scored: Floats, units: list[list[int]], *, seed: int, n_jobs: int | None
) -> Floats:
    r"""Reward that beginnings of rows may hope for, by a regression for each length.

    .. math:: V_k = \log E [e^r | x_1, ..., x_k]

    is the value of the policy that is best for the reward r less its divergence from the policy
    that drew the rows. It is fitted on those rows alone, by LightGBM with a logarithmic link.

    Parameters
    ----------
    reward : ndarray of shape (n_rows,)
        In nats.
    scored : ndarray of shape (n_rows, n_columns)
    units : list of list of int
        The columns, in the order in which they are drawn.

    Returns
    -------
    ndarray of shape (n_rows, len(units))
        After each unit; after the last one the reward itself.

    References
    ----------
    Todorov, "Linearly-solvable Markov decision problems", NIPS 2006 (the logarithm of the mean of
    the exponential as value).
    """
    values = np.empty((len(scored), len(units)))
    values[:, -1] = reward
    target = np.exp(np.clip(reward, -10.0, 10.0))
    known: list[int] = []
    for number, unit in enumerate(units[:-1]):
        known += unit
        critic = lightgbm.LGBMRegressor(
            objective="poisson",
            n_estimators=100,
            num_leaves=31,
            learning_rate=0.08,
            min_child_samples=int(np.clip(len(scored) // 1000, 2, 50)),
            reg_lambda=1.0,
            n_jobs=n_jobs or 1,
            random_state=seed,
            deterministic=True,
            force_row_wise=True,
            verbosity=-1,
        )
        begun = named(scored[:, known])
        values[:, number] = critic.fit(begun, target).predict(begun, raw_score=True)
    return values
