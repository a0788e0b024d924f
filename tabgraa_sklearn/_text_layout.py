"""What a row looks like as text: what the language model has to know of a text tokenizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._automata import Automaton

__all__ = ["TextLayout"]

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]


class TextLayout:
    """The names and the cells of a row, in tokens of a language model.

    A row reads ``age is 39, income is <=50K,`` behind what begins a text, its columns in any
    order. A column of which all cells are alike is left out: there is nothing to tell.

    Parameters
    ----------
    begin : list of int
        Tokens before a row.
    names : list of n_columns ndarrays
        Tokens before the cells of each column.
    automata : list of n_columns (Automaton or None)
        What cells look like; None of a column that is left out.
    sizes : list of n_columns int
        Number of cells of each column.
    """

    def __init__(
        self, begin: list[int], names: list[Ids], automata: list[Automaton | None], sizes: list[int]
    ) -> None:
        self.begin, self.names, self.automata = begin, names, automata
        self.sizes = np.array(sizes, dtype=np.int64)
        self.n_columns = self.n_digits = len(names)
        self.columns = self.first = np.arange(self.n_columns)
        self.second = np.full(self.n_columns, -1)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        pairs = zip(self.names, self.automata, strict=True)
        cells = [len(name) + automaton.longest for name, automaton in pairs if automaton]
        return len(self.begin) + sum(cells)

    @property
    def last_token(self) -> int:
        """The largest token that is written."""
        pairs = zip(self.names, self.automata, strict=True)
        parts = [
            part for name, automaton in pairs if automaton for part in (name, automaton.tokens)
        ]
        return int(np.concatenate([self.begin, *parts]).max(initial=0))

    def surest_first(self, token_ids: Array, weights: Array) -> Array:
        """Give the columns by rising entropy of their cells, as (n_columns,) indices."""
        entropies = np.empty(self.n_columns)
        for column in range(self.n_columns):
            _, cells = np.unique(token_ids[:, column], return_inverse=True)
            shares = np.bincount(cells, weights) / weights.sum()
            shares = shares[shares > 0]
            entropies[column] = -(shares * np.log(shares)).sum()
        return np.argsort(entropies.round(9), kind="stable")
