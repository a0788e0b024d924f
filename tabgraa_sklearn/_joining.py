"""Frames put together: batches into one table, a target and its features, cells and gaps."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils import column_or_1d

from ._frames import Container, check_frame, to_frame

__all__ = ["as_column", "assemble", "check_lengths", "cut", "filled_cells", "join_target"]

_NO_ROOM = (TypeError, ValueError, OverflowError)  # what pandas raises for cells of other dtypes


def assemble(parts: Iterator[pd.DataFrame], n_rows: int) -> pd.DataFrame:
    """Join batches of rows in the memory of the result and of one batch.

    The cells of NumPy columns are written where they stay; the other kinds of columns are small
    codes, masks or buffers and are joined one column at a time.
    """
    first = next(parts)
    if len(first) == n_rows:
        return first
    places = range(first.shape[1])
    plain = [isinstance(dtype, np.dtype) for dtype in first.dtypes]
    filled: list[Any] = [
        np.empty(n_rows, dtype=first.dtypes.iloc[i]) if plain[i] else [] for i in places
    ]
    start = 0
    for part in itertools.chain([first], parts):
        for i in places:
            if plain[i]:
                filled[i][start : start + len(part)] = part.iloc[:, i].to_numpy()
            else:
                filled[i].append(part.iloc[:, i])
        start += len(part)
    columns = {}
    for i in places:
        cells, filled[i] = filled[i], None
        # The dtype is named, else pandas would read objects as the times or strings they hold.
        columns[i] = (
            pd.Series(cells, dtype=first.dtypes.iloc[i])
            if plain[i]
            else pd.concat(cells, ignore_index=True)
        )
    return pd.DataFrame(columns, copy=False).set_axis(first.columns, axis=1)


def cut(parts: Iterator[pd.DataFrame], n_rows: int) -> Iterator[pd.DataFrame]:
    """Cut a stream of frames anew, into frames of `n_rows` rows and a rest."""
    waiting: list[pd.DataFrame] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) < n_rows:
            continue
        rows = pd.concat(waiting, ignore_index=True)
        whole = len(rows) // n_rows * n_rows
        for start in range(0, whole, n_rows):
            yield rows.iloc[start : start + n_rows].reset_index(drop=True)
        waiting = [rows.iloc[whole:]] if whole < len(rows) else []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def join_target(X: Any, y: Any) -> tuple[pd.DataFrame, Container]:
    """Give `X` with `y` as its last column."""
    frame, container = to_frame(X)
    if frame.shape[1] == 0:
        check_frame(frame)  # `y` alone would be a table, but not what was meant
    if hasattr(y, "columns"):
        if y.shape[1] != 1:
            raise ValueError(f"y should be a 1d array, got a table of shape {y.shape} instead.")
        y = y[y.columns[0]]
    named = getattr(y, "name", None)
    # The columns of an array have no names that `y` could have taken.
    nameless = named is None or named == "" or (container.kind == "array" and named in frame)
    name: Any = "target" if nameless else named
    name = str(name) if container.kind == "polars" else name
    if name in frame.columns:
        raise ValueError(f"y is named {name!r}, which is a column of X already; rename one.")
    if container.kind == "polars":
        import polars

        target = y if isinstance(y, polars.Series) else _as_polars(as_column(y))
        check_lengths(len(frame), len(target))
        return to_frame(X.with_columns(target.alias(name)))
    column = as_column(y)
    check_lengths(len(frame), len(column))
    frame[name] = column.array
    if container.kind == "array":
        parts = [frame.dtypes.iloc[0], frame[name].dtype]
        numeric = all(isinstance(part, np.dtype) and part.kind in "biuf" for part in parts)
        dtype = np.result_type(*parts) if numeric else np.dtype(object)
        container = dataclasses.replace(container, dtype=dtype)
    return frame, container


def as_column(y: Any) -> pd.Series:
    if isinstance(y, np.ma.MaskedArray):
        return pd.Series(np.ma.ravel(y) if y.ndim == 2 and y.shape[1] == 1 else y)
    if isinstance(y, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(y)
    cells = column_or_1d(y, warn=True)
    # The dtype is named, else pandas would read objects as the times or strings they hold.
    return pd.Series(cells, dtype=object if cells.dtype == object else None)


def _as_polars(column: pd.Series) -> Any:
    """Give a pandas column as a polars one, missing cells as nulls; pyarrow is not needed."""
    import polars

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufMm":
        return polars.Series(column.to_numpy())
    cells = column.astype(object)
    return polars.Series(cells.where(cells.notna(), None).tolist(), strict=False)


def check_lengths(n_rows: int, n_targets: int) -> None:
    if n_rows != n_targets:
        raise ValueError(
            f"X and y must have the same number of rows; got {n_rows} and {n_targets}."
        )


def filled_cells(cells: pd.Series, drawn: pd.Series, missing: npt.NDArray[np.bool_]) -> pd.Series:
    """Put drawn cells where cells are missing, in the fitted dtype where it takes the given ones.

    Which dtype it is depends on the given cells, and on drawn ones only where it cannot hold them.
    """
    if cells.dtype == drawn.dtype:
        return cells.where(~missing, drawn)
    both = cells.astype(object).where(~missing, drawn.astype(object))
    given = both[~missing]
    for dtype in (drawn.dtype, _dtype_of_both(cells.dtype, drawn.dtype)):
        if _takes(dtype, given):
            try:
                return both.astype(dtype)
            except _NO_ROOM:  # for a drawn cell, outside of the range of such times
                continue
    return both


def _takes(dtype: Any, given: pd.Series) -> bool:
    """Whether a dtype holds cells as they are."""
    if isinstance(dtype, pd.CategoricalDtype) and not given.isin(dtype.categories).all():
        return False
    try:
        return bool(given.astype(dtype).astype(object).eq(given).all())
    except _NO_ROOM:
        return False


def _dtype_of_both(cells: Any, drawn: Any) -> Any:
    """Give a dtype for cells that the fitted dtype, which is that of the drawn ones, has not."""
    if isinstance(cells, pd.CategoricalDtype):
        if isinstance(drawn, pd.CategoricalDtype):
            more = cells.categories.difference(drawn.categories, sort=False)
            return pd.CategoricalDtype([*drawn.categories, *more])
        cells = cells.categories.dtype
    if all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in (cells, drawn)):
        return np.result_type(cells, drawn)
    return cells
