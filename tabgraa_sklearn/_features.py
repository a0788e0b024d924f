"""A table as a numeric matrix, by the code that a tokenizer learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._protocols import Tokenizer

__all__ = ["to_features"]


def to_features(tokenizer: Tokenizer, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give one number per cell.

    Numbers and times are themselves, in units of their last place; ordered categories are the
    place of their token in [0, 1], other categories its number. Missing cells of numbers and of
    ordered categories are NaN, categories not seen in fit -1.

    Parameters
    ----------
    tokenizer : Tokenizer
        Fitted.
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        Some or all of the columns that `tokenizer` knows.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
    """
    features = np.empty(frame.shape)
    for number, name in enumerate(frame.columns):
        column = tokenizer.schema_[name]
        if column.has_numbers:
            # The cells, not their tokens: a number that no token stands for must show.
            raw, missing = column.read(frame[name])
            features[:, number] = np.where(missing, np.nan, raw.astype(np.float64))
            continue
        ids = tokenizer.encode_column(name, frame[name], unknown="mark").astype(np.int64)
        first, second = ids[:, 0], ids[:, -1] if ids.shape[1] == 2 else 0
        base, _ = tokenizer.position_tables(name)
        if np.isfinite(base).any():
            features[:, number] = np.where(first < 0, np.nan, base[first])
        else:
            n_levels = tokenizer.digit_sizes[tokenizer.digits(name)][1:].prod()
            features[:, number] = np.where(first < 0, -1, first * n_levels + second)
    return features
