"""What the rest of the package asks of a tokenizer and of a language model of rows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from ._codecs import Codec
from ._schema import Schema

__all__ = ["Backbone", "Layout", "Tokenizer"]

Array = npt.NDArray[Any]


class Tokenizer(Protocol):
    """Codes a table as token ids, some adjacent digits for each column, and decodes them."""

    schema_: Schema
    codecs_: list[Codec]
    digit_sizes: Array

    def encode(self, frame: pd.DataFrame, *, unknown: Literal["raise", "mark"] = "raise") -> Array:
        """Give the token ids of a table, (n_rows, n_digits)."""

    def encode_column(
        self, name: Hashable, series: pd.Series, *, unknown: Literal["raise", "mark"] = "raise"
    ) -> Array:
        """Give the token ids of cells of one column, (n_rows, its digits)."""

    def decode(self, ids: Array, uniforms: npt.NDArray[np.float64]) -> pd.DataFrame:
        """Give the table of token ids, with one uniform number for each cell."""

    def digits(self, name: Hashable) -> slice:
        """Give the digits of a column."""

    def position_tables(self, name: Hashable) -> tuple[Array, Array]:
        """Give the position of a column's cells on its axis, as two tables by first token."""

    def layout(self) -> Any:
        """Give what the language model has to know, a `Layout`."""


class Layout(Protocol):
    """Where the tokens of a row stand."""

    n_columns: int
    n_digits: int
    first: Array

    def surest_first(self, token_ids: Array, weights: Array) -> Array:
        """Give the columns by rising entropy of their cells."""


class Backbone(nn.Module):
    """A language model of rows: the probability of each cell given those before it.

    A class and no Protocol, for it is a Module everywhere. Rows are drawn, filled and asked for
    distributions by functions that dispatch on it: `sample_tokens`, `fill_tokens`,
    `distributions`.

    Attributes
    ----------
    layout : Layout
    n_columns : int
    draws_sets_exactly : bool
        Whether one column of which some tokens are allowed is drawn from its distribution among
        them; else the odds of a row are known once it is drawn, and it is weighed by them.
    has_marginals : bool
        Whether :meth:`match_marginals` does anything.
    rows_per_step, rows_per_pool : int
        Of alignment, at the most.
    align_learning_rate : float
        Of alignment, by default.
    """

    layout: Any
    n_columns: int
    draws_sets_exactly = True
    has_marginals = True
    rows_per_step = 512
    rows_per_pool = 65_536
    align_learning_rate = 4e-4

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        raise NotImplementedError

    def forward(self, token_ids: Tensor, order: Tensor | None = None) -> Tensor:
        """Give the log-probability of each cell given those before it, (batch, n_columns)."""
        raise NotImplementedError

    def start_from(self, token_ids: Any, weights: Any) -> None:
        """Start from the marginal frequencies of a table, where the model has such."""

    def token_counts(self, token_ids: Tensor, weights: Tensor) -> Any:
        """Count what :meth:`match_marginals` matches."""

    def match_marginals(
        self, token_ids: Tensor, weights: Tensor, order: Tensor, observed: Any = None
    ) -> None:
        """Set the output biases so that each token is as frequent as it was observed."""

    def figures(self, token_ids: Tensor, order: Tensor) -> dict[str, float]:
        """Give further figures of a trained model, on held-out rows."""
        return {}
