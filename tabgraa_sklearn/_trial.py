"""A signal tried on rows of the table, before anything is learnt for it."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from ._rewards import Digester, Reward, fit_signal, log_odds, rewards, seed_signal
from ._tokenizer import TableTokenizer
from .signals import check_forgetting, small_steps_lightgbm, suppression

__all__ = ["try_signal"]

_TRIED_ROWS = 1_000


def try_signal(
    signal: Any,
    reward: Reward,
    frame: pd.DataFrame,
    column_kinds: Mapping[Hashable, str] | None = None,
) -> None:
    """Raise what a signal, or a reward, raises on rows of a table, before anything is learnt.

    Up to 1,000 rows stand for the real ones, and as many of them, those of large values oftener,
    for the drawn ones. What fails on these may work with more: then all rows are tried.

    Parameters
    ----------
    signal : estimator or None
        None: the default one, of which a few trees are grown.
    reward : {"realism", "indistinguishability"} or callable
    frame : DataFrame of shape (n_rows, n_columns)
    column_kinds : dict of {column name: kind}, optional
        As in the estimator.
    """
    if signal is None:
        signal = small_steps_lightgbm(len(frame), seed=0).set_params(n_estimators=5)
    some = frame.sample(min(len(frame), _TRIED_ROWS), random_state=0, ignore_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will say so again
        try:
            _try_signal(signal, reward, some, column_kinds)
        except Exception:
            if len(some) == len(frame):
                raise
            _try_signal(signal, reward, frame.reset_index(drop=True), column_kinds)
    check_forgetting(signal)
    if (suppression(signal, frame) == 0.0).sum() < 2:
        raise ValueError("signal forgets all rows of the table; at least two must remain.")


def _try_signal(
    signal: Any,
    reward: Reward,
    frame: pd.DataFrame,
    column_kinds: Mapping[Hashable, str] | None,
) -> None:
    digester = Digester(TableTokenizer(column_kinds=column_kinds).fit(frame)).fit(frame)
    size = pd.DataFrame(digester.numbers(frame)).rank(pct=True).fillna(0.5).mean(axis=1)
    other = frame.sample(len(frame), replace=True, weights=size**2, random_state=0)
    both = pd.concat([frame, other], ignore_index=True)
    tried = clone(signal)
    seed_signal(tried, 0)
    fit_signal(tried, digester.feed(tried, both), np.repeat([1, 0], len(frame)), digester)
    rewards(tried, log_odds(tried, digester.feed(tried, frame)), reward)
