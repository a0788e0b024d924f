"""What each column of a table is: kind, dtype, missing cells, decimals, bounds."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tabgraa_sklearn._cells import (
    Cells,
    IntegerCells,
    NumberCells,
    StringCells,
    TimeCells,
    UUIDCells,
)
from tabgraa_sklearn._inference import find_cells, read_date_strings, read_number_strings

__all__ = ["KINDS", "Column", "ColumnKindWarning", "Grid", "Schema"]

KINDS = ("categorical", "numeric", "datetime", "timedelta", "identifier", "text")
_LUCK = 10  # pairs of equal numbers expected; none at all has a chance of exp(-10)
_MIN_ROWS = 50  # with fewer rows, that all cells differ says little
_DISTINCT = 0.95  # "nearly every value its own"
_MANY_CATEGORIES = 1000
_FEW_ROWS = 10  # from here on, that most strings differ is worth a warning
_WORDS_OF_TEXT = 3.0

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class ColumnKindWarning(UserWarning):
    """A column is treated in a way that its owner may want to change (`column_kinds`)."""


@dataclass(frozen=True)
class Grid:
    """The numbers ``origin + step * k`` for k from 0 to `top`, exact over all of 64 bits."""

    origin: int
    step: int
    top: int
    unsigned: bool = False

    @classmethod
    def of(cls, raw: Array) -> Grid:
        """Find the coarsest grid on which all of the distinct, sorted `raw` integers lie."""
        origin = int(raw[0])
        offsets = _offset(raw, origin)
        step = max(int(np.gcd.reduce(offsets)), 1)
        return cls(origin, step, int(offsets[-1]) // step, raw.dtype == np.uint64)

    def index(self, raw: Array) -> npt.NDArray[np.uint64]:
        """Give the k (uint64) of the grid's number nearest to each raw one."""
        bounds = np.array([self.origin, self.origin + self.step * self.top], dtype=raw.dtype)
        offsets = _offset(np.clip(raw, bounds[0], bounds[1]), self.origin)
        index, rest = np.divmod(offsets, np.uint64(self.step))
        return index + (rest > np.uint64(self.step // 2))

    def raw(self, index: npt.NDArray[np.uint64]) -> Array:
        """Give the numbers of the indices k."""
        raw = index * np.uint64(self.step) + np.uint64(self.origin % 2**64)
        return raw if self.unsigned else raw.view(np.int64)


@dataclass(frozen=True)
class Column:
    """One column: what it is, and the way from its cells to numbers and back.

    Attributes
    ----------
    name : hashable
        The column's name, not necessarily a string.
    kind : str
        How it is modelled, one of ``KINDS``.
    dtype : numpy.dtype or pandas extension dtype
        The dtype that comes back.
    cells : Cells
        Reads and restores the cells.
    n_distinct : int
        Number of distinct values seen, missing ones not counted.
    n_missing : int
        Number of missing cells seen.
    grid : Grid or None
        Where all numbers lie; None for floats without a short decimal form.
    counts_rows : bool
        Whether it is an integer that counts rows, in any order and with gaps.
    bounds : tuple or None
        The smallest and the largest cell of a column of numbers or times.
    """

    name: Hashable
    kind: str
    dtype: Any
    cells: Cells
    n_distinct: int
    n_missing: int
    grid: Grid | None = None
    counts_rows: bool = False
    bounds: tuple[Any, Any] | None = None

    @property
    def has_numbers(self) -> bool:
        """Whether the cells are modelled as numbers on a line."""
        return self.kind in ("numeric", "datetime", "timedelta")

    @property
    def decimals(self) -> int | None:
        """Decimals that all numbers have; None where they have no finite, short form."""
        return self.cells.decimals if isinstance(self.cells, NumberCells) else None

    def to_numbers(self, series: pd.Series) -> tuple[Array, Mask]:
        """Turn cells into grid indices (uint64), or into float64 where there is no grid.

        Parameters
        ----------
        series : pandas.Series of shape (n_rows,)
            Cells of any dtype that reads as the column's; they need not lie on the grid.

        Returns
        -------
        numbers : ndarray of shape (n_rows,), uint64 or float64
            Of the nearest cell within the bounds; anything where missing.
        missing : ndarray of shape (n_rows,), bool
        """
        raw, missing = self.read(series)
        return raw if self.grid is None else self.grid.index(raw), missing

    def read(self, series: pd.Series) -> tuple[Array, Mask]:
        """Turn cells into raw numbers, in or out of bounds; ValueError where they are none."""
        cells = self.cells
        assert isinstance(cells, NumberCells)
        try:
            return cells.to_raw(series)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ValueError(
                f"Column {self.name!r} is {self.kind} with dtype {self.dtype} and cannot "
                f"be read from dtype {series.dtype}: {error}"
            ) from error

    def from_numbers(self, numbers: Array, missing: Mask) -> pd.Series:
        """Turn what :meth:`to_numbers` gives back into cells of the column's dtype."""
        assert isinstance(self.cells, NumberCells)
        raw = numbers if self.grid is None else self.grid.raw(numbers)
        return self.cells.from_raw(raw, missing)

    def from_fresh(self, values: Array, missing: Mask) -> pd.Series:
        """Give fresh identifiers or texts the column's dtype."""
        cells = self.cells
        if isinstance(cells, IntegerCells) and values.dtype != object:
            return cells.from_raw(values, missing)
        if isinstance(cells, StringCells):
            return cells.from_strings(values, missing)
        return cells.from_objects(values, missing)


class Schema:
    """What each column of a table is.

    Attributes
    ----------
    columns : tuple of Column
        In the order of the table.
    names : pandas.Index
        The column names as they came, dtype and name of the index included.
    """

    def __init__(self, columns: tuple[Column, ...], names: pd.Index) -> None:
        self.columns = columns
        self.names = names

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, kinds: Mapping[Hashable, str] | None = None) -> Schema:
        """Find out what the columns of a table are.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            A table that passes ``check_frame``.
        kinds : dict of {column name: kind}, optional
            What the user knows better; the kinds are those in ``KINDS``.

        Raises
        ------
        ValueError
            If `kinds` names an unknown column or kind, or a kind that the column cannot have.

        Warns
        -----
        ColumnKindWarning
            For identifiers, free text and very many categories.
        """
        kinds = dict(kinds or {})
        unknown = [name for name in kinds if name not in frame.columns]
        if unknown:
            raise ValueError(
                f"column_kinds names unknown columns {unknown}; the columns are "
                f"{frame.columns.tolist()}."
            )
        for name, kind in kinds.items():
            if kind not in KINDS:
                raise ValueError(
                    f"column_kinds[{name!r}] must be one of {list(KINDS)}, got {kind!r}."
                )
        columns = tuple(_find_column(n, frame[n], kinds.get(n)) for n in frame.columns)
        return cls(columns, frame.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: Hashable) -> Column:
        return self.columns[self.position(name)]

    def position(self, name: Hashable) -> int:
        """Give a column's number; ValueError where there is none of this name."""
        if name not in self.names:
            raise ValueError(f"Unknown column {name!r}; the columns are {self.names.tolist()}.")
        place: Any = self.names.get_loc(name)
        return int(place)

    def align(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give the columns of `frame` in the table's order; ValueError where they differ."""
        missing = [name for name in self.names if name not in frame.columns]
        extra = [name for name in frame.columns if name not in self.names]
        if missing or extra:
            parts = [f"missing {missing}"] * bool(missing) + [f"unknown {extra}"] * bool(extra)
            raise ValueError(
                f"Columns must be those seen in fit, {self.names.tolist()}: {', '.join(parts)}."
            )
        return frame if frame.columns.equals(self.names) else frame[list(self.names)]

    def to_frame(self) -> pd.DataFrame:
        """Give one row per column: kind, dtype, distinct values, missing cells, bounds."""
        rows = [
            {
                "kind": column.kind,
                "dtype": str(column.dtype),
                "distinct": column.n_distinct,
                "missing": column.n_missing,
                "decimals": "" if column.decimals is None else column.decimals,
                "min": "" if column.bounds is None else column.bounds[0],
                "max": "" if column.bounds is None else column.bounds[1],
            }
            for column in self.columns
        ]
        return pd.DataFrame(rows, index=pd.Index(self.names, name="column"))

    def __repr__(self) -> str:
        return self.to_frame().to_string(max_rows=100)

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(max_rows=100))


def _find_column(name: Hashable, series: pd.Series, kind: str | None) -> Column:
    cells = find_cells(series)
    if kind is not None and kind not in cells.kinds:
        raise ValueError(
            f"column_kinds[{name!r}]={kind!r} is not possible for cells of dtype {series.dtype}; "
            f"possible: {list(cells.kinds)}."
        )
    if isinstance(cells, StringCells) and kind in ("numeric", "datetime"):
        read = read_number_strings if kind == "numeric" else read_date_strings
        try:
            cells = read(series, cells)
        except ValueError as error:
            raise ValueError(f"column_kinds[{name!r}]={kind!r} is not possible: {error}") from error
    given = kind is not None
    kind = kind or cells.kinds[0]
    n_missing = int(series.isna().sum())
    if isinstance(cells, NumberCells) and kind != "categorical":
        return _find_numbers(name, series, kind, cells, n_missing, given)
    distinct = cells.factorize(series)[1]
    n_present = len(series) - n_missing
    if not given:
        kind = _guess_kind(name, series, cells, len(distinct), n_present)
    return Column(name, kind, series.dtype, cells, len(distinct), n_missing)


def _find_numbers(
    name: Hashable, series: pd.Series, kind: str, cells: NumberCells, n_missing: int, given: bool
) -> Column:
    raw, missing = cells.to_raw(series)
    present = raw[~missing]
    distinct = np.unique(present)
    grid = None
    if cells.decimals is not None or isinstance(cells, TimeCells):
        # An empty column has a grid too: no numbers, but a dtype to be restored.
        grid = Grid.of(distinct if len(distinct) else np.zeros(1, dtype=raw.dtype))
    is_key, counts = False, False
    if isinstance(cells, IntegerCells) and len(distinct) == len(present) >= _MIN_ROWS:
        assert grid is not None
        span = (int(distinct[-1]) - int(distinct[0])) // int(grid.step) + 1
        has_room = cells.largest - int(distinct[-1]) > 10 * len(present)
        # Of numbers drawn from so narrow a span some would be equal: they were handed out.
        is_key = has_room and len(present) * (len(present) - 1) / 2 / span > _LUCK
        counts = is_key and span < 2 * len(present)
    if not given and is_key:
        kind = "identifier"
        _warn(
            name,
            "holds every number once, more densely than chance allows, so that it is taken for an "
            "identifier: sampled rows get new numbers",
            "numeric",
        )
    column = Column(name, kind, series.dtype, cells, len(distinct), n_missing, grid, counts)
    if len(distinct) == 0:
        return column
    ends = distinct[[0, -1]] if grid is None else np.array([0, grid.top], dtype=np.uint64)
    low, high = column.from_numbers(ends, np.zeros(2, dtype=bool)).tolist()
    return replace(column, bounds=(low, high))


def _guess_kind(
    name: Hashable, series: pd.Series, cells: Cells, n_distinct: int, n_present: int
) -> str:
    """Tell identifiers and free text from categories, with a warning."""
    if isinstance(cells, UUIDCells):
        _warn(name, "holds UUIDs, an identifier: sampled rows get new ones", "categorical")
        return "identifier"
    nearly_all = n_present >= _MIN_ROWS and n_distinct > _DISTINCT * n_present
    if isinstance(cells, StringCells) and n_present >= _MIN_ROWS and n_distinct > n_present / 2:
        if "text" in cells.kinds and _words(series) >= _WORDS_OF_TEXT:
            _warn(
                name,
                "holds free text: sampled rows get words of the column, strung together at random",
                "categorical",
            )
            return "text"
        if nearly_all:
            _warn(
                name,
                f"has {n_distinct} distinct values in {n_present} rows, so that it is taken for "
                "an identifier: sampled rows get new values that look alike",
                "categorical",
            )
            return "identifier"
    many = n_distinct > _MANY_CATEGORIES and n_distinct > n_present / 5
    if isinstance(cells, StringCells):
        many |= n_present >= _FEW_ROWS and n_distinct > n_present / 2
    if nearly_all or many:
        other = "identifier" if "identifier" in cells.kinds else None
        _warn(
            name,
            f"has {n_distinct} distinct values in {n_present} rows and is taken for categorical: "
            "sampled rows repeat real values",
            other,
        )
    return "categorical"


def _words(series: pd.Series) -> float:
    """Give the mean number of words, judged by at most 10,000 cells."""
    present = series[series.notna().to_numpy()]
    sample = present.iloc[:: max(1, len(present) // 10_000)].astype(object)
    return float(sample.str.count(r"\S+").mean())


def _warn(name: Hashable, what: str, other: str | None) -> None:
    change = (
        f"Pass column_kinds={{{name!r}: {other!r}}} to change this."
        if other
        else "No other kind is possible for its dtype (column_kinds); convert it (to str, for new "
        "values that look alike) or drop it if this is not wanted."
    )
    warnings.warn(
        f"Column {name!r} {what}. {change}", ColumnKindWarning, stacklevel=_level_of_caller()
    )


def _level_of_caller() -> int:
    """Find the stack level, as seen by whoever calls this, of the code that uses the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"].startswith(
        ("tabgraa_sklearn.", "sklearn.", "joblib.")
    ):
        level, frame = level + 1, frame.f_back
    return level


def _offset(raw: Array, origin: int) -> npt.NDArray[np.uint64]:
    # Unsigned arithmetic wraps, so that offsets are exact over the whole range of 64 bits.
    return raw.astype(np.uint64) - np.uint64(origin % 2**64)
