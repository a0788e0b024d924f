"""Where the tokens of a row stand: what the language model has to know of a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TokenLayout"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TokenLayout:
    """The slots of a row and the vocabulary of each.

    A row is one slot per column. A slot holds one digit or two: the first says which value or
    which bin, the second, where there is one, the level within the bin.

    Parameters
    ----------
    sizes : ndarray of shape (n_digits,)
        Vocabulary size of each digit.
    columns : ndarray of shape (n_digits,)
        The column that each digit belongs to; the digits of a column are adjacent.
    positions : list of n_digits ndarrays of shape (sizes[digit],)
        Place of each token on its column's axis, in [0, 1]; NaN for a token without order.
    steps : list of n_columns ndarrays of shape (size of the column's first digit,)
        How far one level of the second digit moves the value along the axis; 0 where the second
        digit does not apply.
    bases : list of n_columns ndarrays of shape (size of the column's first digit,)
        Where on the axis the value stands before the second digit moves it.
    allowed : list of n_digits entries
        None for a first digit; for a second digit a boolean matrix of shape (size of the first
        digit, size of the second digit): which tokens may follow.
    """

    sizes: Array
    columns: Array
    positions: list[Array]
    bases: list[Array]
    steps: list[Array]
    allowed: list[Array | None]

    n_digits: int = field(init=False)
    n_columns: int = field(init=False)
    first: Array = field(init=False)
    second: Array = field(init=False)

    def __post_init__(self) -> None:
        """Index the digits: `first` and `second` say where a column's digits stand (or -1)."""
        first = np.flatnonzero(np.diff(self.columns, prepend=-1))
        has_second = np.diff(first, append=len(self.sizes)) == 2
        object.__setattr__(self, "n_digits", len(self.sizes))
        object.__setattr__(self, "n_columns", len(first))
        object.__setattr__(self, "first", first)
        object.__setattr__(self, "second", np.where(has_second, first + 1, -1))

    def surest_first(self, token_ids: Array, weights: Array) -> Array:
        """Give the columns by rising entropy of their cells, as (n_columns,) indices.

        Rows that are drawn in this order stay alike for long.

        Parameters
        ----------
        token_ids : ndarray of shape (n_rows, n_digits)
        weights : ndarray of shape (n_rows,)
        """
        entropies = np.empty(self.n_columns)
        for column, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            cells = token_ids[:, first].astype(np.int64)
            if second >= 0:
                cells = cells * self.sizes[second] + token_ids[:, second]
            shares = np.bincount(cells, weights) / weights.sum()
            shares = shares[shares > 0]
            entropies[column] = -(shares * np.log(shares)).sum()
        # Rounded: columns that are equally sure keep their order whatever the last digit says.
        return np.argsort(entropies.round(9), kind="stable")
