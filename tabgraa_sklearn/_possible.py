"""Which tokens of a column can still meet a constraint, given those drawn before."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._codecs import Codec, Quantiles

__all__ = ["Possible", "PossibleCombinations", "PossiblePairs", "token_ends"]

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]


class Possible(ABC):
    """Which tokens of a column can still meet a constraint, given those drawn before."""

    @abstractmethod
    def columns(self) -> list[int]:
        """Give the numbers of the columns concerned."""

    @abstractmethod
    def mask(self, column: int, known: dict[int, Ids], n_rows: int) -> Mask:
        """Say which first digits of a column are possible.

        Parameters
        ----------
        column : int
        known : dict of {int: ndarray of shape (n_rows,)}
            First digits of columns concerned that are drawn already.
        n_rows : int

        Returns
        -------
        ndarray of shape (n_rows, size of the first digit), bool
        """

    @abstractmethod
    def some(self, allowed: dict[int, Mask]) -> bool:
        """Say whether a row can meet it of which these first digits of some columns are allowed."""


class PossibleCombinations(Possible):
    """Those of combinations that agree with what is drawn."""

    def __init__(self, combinations: dict[int, Ids], sizes: dict[int, int]) -> None:
        self.combinations, self.sizes = combinations, sizes

    def columns(self) -> list[int]:
        return list(self.combinations)

    def mask(self, column: int, known: dict[int, Ids], n_rows: int) -> Mask:
        tokens = self.combinations[column]
        if not known:
            mask = np.zeros((1, self.sizes[column]), dtype=bool)
            mask[0, tokens] = True
            return np.repeat(mask, n_rows, axis=0)
        # Rows that were drawn alike are looked up once.
        drawn = np.column_stack(list(known.values()))
        distinct, place = np.unique(drawn, axis=0, return_inverse=True)
        there = np.column_stack([self.combinations[other] for other in known])
        both = np.concatenate([distinct, there])
        _, group = np.unique(both, axis=0, return_inverse=True)
        group = group.ravel()
        of_group = np.full(len(both), -1)
        of_group[group[: len(distinct)]] = np.arange(len(distinct))
        rows = of_group[group[len(distinct) :]]
        mask = np.zeros((len(distinct), self.sizes[column]), dtype=bool)
        mask[rows[rows >= 0], tokens[rows >= 0]] = True
        return mask[place.ravel()]

    def some(self, allowed: dict[int, Mask]) -> bool:
        agreeing = [mask[self.combinations[column]] for column, mask in allowed.items()]
        return bool(np.logical_and.reduce(agreeing).any()) if agreeing else True


class PossiblePairs(Possible):
    """Those that a matrix allows beside the token of the other column."""

    def __init__(self, low: int, high: int, matrix: Mask) -> None:
        self.low, self.high, self.matrix = low, high, matrix

    def columns(self) -> list[int]:
        return [self.low, self.high]

    def mask(self, column: int, known: dict[int, Ids], n_rows: int) -> Mask:
        matrix = self.matrix if column == self.high else self.matrix.T
        if not known:
            return np.repeat(matrix.any(0, keepdims=True), n_rows, axis=0)
        (drawn,) = known.values()
        return np.asarray(matrix[drawn])

    def some(self, allowed: dict[int, Mask]) -> bool:
        low, high = (allowed.get(column, ...) for column in self.columns())
        return bool(self.matrix[low][:, high].any())


def token_ends(codec: Codec) -> tuple[pd.Series, pd.Series]:
    """Give the least and the greatest cell of each first token; missing for that of missing."""
    size = codec.sizes[0]
    first = np.arange(size)
    if not isinstance(codec, Quantiles):
        cells = codec.decode(first[:, None], np.zeros(size))
        return cells, cells
    last = np.where(first < codec.n_bins, codec.n_levels - 1, 0)
    # Of the cells at the ends of the column some are its extremes, as later digits of the uniform
    # number decide: both kinds are looked at.
    nudges = np.array([0.0, 0.1, 0.5]) / 8191
    lows = [codec.decode(np.column_stack([first, 0 * first]), np.full(size, u)) for u in nudges]
    highs = [codec.decode(np.column_stack([first, last]), np.full(size, 1.0 - u)) for u in nudges]
    low, high = lows[0], highs[0]
    for cells in lows[1:]:
        low = low.where(~(cells < low), cells)
    for cells in highs[1:]:
        high = high.where(~(cells > high), cells)
    return low, high
