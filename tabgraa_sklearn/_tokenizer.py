"""A table as token ids, one or two digits per column, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tabgraa_sklearn._codecs import Codec, make_codec
from tabgraa_sklearn._layout import TokenLayout
from tabgraa_sklearn._schema import Schema

__all__ = ["TableTokenizer"]

Ids = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class TableTokenizer:
    """Codes a table as token ids, and decodes it with the dtypes that came in.

    Every column has one or two digits, each with a vocabulary of its own. The digits of a
    column stand next to each other, the columns in the order of the table.

    Parameters
    ----------
    n_bins, n_levels : int, default=64
        Tokens of the first and the second digit of a number with many values; fewer for
        short tables.
    max_values : int, default=256
        Up to so many distinct values are one digit, of which the tokens are the values.
    tail_weight : float, default=0.2
        In [0, 1): how much of the place of a number comes from its magnitude rather than
        from its rank.
    column_kinds : dict of {column name: kind}, optional
        What the user knows better than the dtypes.

    Attributes
    ----------
    schema_ : Schema
        What the columns are.
    codecs_ : list of Codec
        The code of each column.
    digit_sizes : ndarray of shape (n_digits,)
        Vocabulary size of each digit.
    digit_columns : ndarray of shape (n_digits,)
        Number of the column that each digit belongs to.
    token_positions : list of ndarray
        For each digit the position in [0, 1] of its tokens; NaN for those without order.
    allowed : list of (None or ndarray of bool)
        For the second digit of a column, which tokens (second axis) may follow each token of
        the first digit (first axis); None for first digits. Where the second digit does not
        apply, only its token 0 is allowed.
    """

    def __init__(
        self,
        *,
        n_bins: int = 64,
        n_levels: int = 64,
        max_values: int = 256,
        tail_weight: float = 0.2,
        column_kinds: Mapping[Hashable, str] | None = None,
    ) -> None:
        self.n_bins = n_bins
        self.n_levels = n_levels
        self.max_values = max_values
        self.tail_weight = tail_weight
        self.column_kinds = column_kinds

    def fit(self, frame: pd.DataFrame) -> TableTokenizer:
        """Learn the code of a table that passes ``check_frame``."""
        schema = Schema.from_frame(frame, self.column_kinds)
        codecs = self._make_codecs(schema, frame)
        self.schema_ = schema
        self.codecs_ = codecs
        self.digit_sizes = np.array([size for codec in codecs for size in codec.sizes])
        self.digit_columns = np.repeat(np.arange(len(codecs)), [len(c.sizes) for c in codecs])
        self.token_positions = [place for codec in codecs for place in codec.positions]
        self.allowed = [
            allowed for codec in codecs for allowed in (None, codec.allowed)[: len(codec.sizes)]
        ]
        return self

    def _make_codecs(self, schema: Schema, frame: pd.DataFrame) -> list[Codec]:
        return [
            make_codec(
                column,
                frame[column.name],
                n_bins=self.n_bins,
                n_levels=self.n_levels,
                max_values=self.max_values,
                tail_weight=self.tail_weight,
            )
            for column in schema
        ]

    def layout(self) -> Any:
        """Give what the language model has to know."""
        tables = [self.position_tables(column.name) for column in self.schema_]
        return TokenLayout(
            sizes=self.digit_sizes,
            columns=self.digit_columns,
            positions=self.token_positions,
            bases=[base for base, _ in tables],
            steps=[step for _, step in tables],
            allowed=self.allowed,
        )

    def digits(self, name: Hashable) -> slice:
        """Give the digits of a column."""
        return self._digits(self.schema_.position(name))

    def _digits(self, column: int) -> slice:
        start, stop = np.searchsorted(self.digit_columns, [column, column + 1])
        return slice(int(start), int(stop))

    def encode(self, frame: pd.DataFrame, *, unknown: Literal["raise", "mark"] = "raise") -> Ids:
        """Give the token ids of a table.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            The columns seen in fit, in any order.
        unknown : {"raise", "mark"}, default="raise"
            Whether a cell that has no token (a category, or a missing cell in a column,
            that was not seen in fit) is an error, or -1 in all digits of its column.

        Returns
        -------
        ids : ndarray of shape (n_rows, n_digits), int16 or int32
        """
        frame = self.schema_.align(frame)
        ids = np.empty((len(frame), len(self.digit_sizes)), dtype=self._dtype)
        for number, column in enumerate(self.schema_):
            ids[:, self._digits(number)] = self.encode_column(
                column.name, frame[column.name], unknown=unknown
            )
        return ids

    def encode_column(
        self, name: Hashable, series: pd.Series, *, unknown: Literal["raise", "mark"] = "raise"
    ) -> Ids:
        """Give the token ids, of shape (n_rows, 1 or 2), of cells of one column."""
        codec = self.codecs_[self.schema_.position(name)]
        ids = codec.encode(series)
        if unknown == "raise" and (ids < 0).any():
            row = int((ids[:, 0] < 0).argmax())
            raise ValueError(_describe_unknown(codec, series.iloc[row]))
        return ids.astype(self._dtype)

    def decode(self, ids: Ids, uniforms: Floats) -> pd.DataFrame:
        """Give the table of token ids.

        Parameters
        ----------
        ids : ndarray of shape (n_rows, n_digits)
            Tokens, within the vocabularies and as ``allowed``.
        uniforms : ndarray of shape (n_rows, n_columns), float64
            Numbers in [0, 1): all the randomness there is, one number for each cell. A cell
            depends on nothing but its tokens and its number.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            Columns and dtypes of the table of :meth:`fit`.
        """
        ids, uniforms = np.asarray(ids), np.asarray(uniforms, dtype=np.float64)
        expected = (len(ids), len(self.digit_sizes)), (len(ids), len(self.codecs_))
        if (ids.shape, uniforms.shape) != expected:
            raise ValueError(
                f"ids and uniforms must have shapes {expected}, got {ids.shape}, {uniforms.shape}."
            )
        if ((ids < 0) | (ids >= self.digit_sizes)).any():
            raise ValueError("ids must lie within the vocabularies: 0 <= ids < digit_sizes.")
        cells = {
            number: codec.decode(ids[:, self._digits(number)].astype(np.int64), uniforms[:, number])
            for number, codec in enumerate(self.codecs_)
        }
        frame = pd.DataFrame(cells, index=pd.RangeIndex(len(ids)))
        frame.columns = self.schema_.names
        return frame

    def position_tables(self, name: Hashable) -> tuple[Floats, Floats]:
        """Give the position of a column's cells as two tables by first token.

        Returns
        -------
        base, step : ndarray of shape (size of the first digit,)
            A cell lies at ``base[first] + step[first] * (second + 0.5)`` in [0, 1]; NaN for
            cells without order.
        """
        codec = self.codecs_[self.schema_.position(name)]
        return codec.base, codec.step

    @property
    def _dtype(self) -> Any:
        return np.int16 if self.digit_sizes.max() <= 2**15 - 1 else np.int32


def _describe_unknown(codec: Codec, cell: Any) -> str:
    name = codec.column.name
    if pd.isna(cell) is True:
        return f"Column {name!r} has missing cells, which it had not in fit."
    return f"Column {name!r} holds {cell!r}, which is none of the values seen in fit."
