"""What a caller passes as a table becomes a pandas frame, and goes back as what it was.

Inside the package a table is always a :class:`pandas.DataFrame` with a plain ``RangeIndex``.
:func:`to_frame` makes one, and returns a :class:`Container` that turns another frame into the
kind of table that came in; :func:`check_frame` says what is wrong with a table.
"""

from __future__ import annotations

import io
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from tabgraa_sklearn._cells import type_set

__all__ = ["Container", "as_booleans", "check_frame", "to_frame"]

_RESHAPE = (
    "Reshape your data either using array.reshape(-1, 1) if your data has a single feature or "
    "array.reshape(1, -1) if it contains a single sample."
)
_SPARSE = (
    "Sparse data was passed, but dense data is required. Use '.toarray()' to convert to a dense "
    "numpy array."
)


@dataclass(frozen=True)
class Container:
    """The kind of table that came in.

    Attributes
    ----------
    kind : {"pandas", "polars", "array"}
        What :meth:`restore` gives back.
    dtype : numpy.dtype or None
        The array's dtype; None for frames.
    polars_schema : bytes or None
        An empty polars frame as Arrow IPC: the exact schema, in a form that can be pickled
        and copied where polars is not installed.
    polars_nan : frozenset of str
        Float columns whose missing cells are NaN; elsewhere they are null.
    """

    kind: Literal["pandas", "polars", "array"] = "pandas"
    dtype: np.dtype[Any] | None = None
    polars_schema: bytes | None = None
    polars_nan: frozenset[str] = frozenset()

    def restore(self, frame: pd.DataFrame) -> Any:
        """Give `frame` back as the kind of table that came in.

        Parameters
        ----------
        frame : pandas.DataFrame of shape (n_rows, n_columns)
            Any of the columns that came in, in any order, with the dtypes of :func:`to_frame`.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or numpy.ndarray of shape (n_rows, n_columns)
        """
        if self.kind == "polars":
            return _to_polars(frame, self)
        if self.kind == "array":
            if self.dtype is not None and self.dtype.kind in "US":
                # Widths are found anew: a fresh identifier may be longer than those seen.
                cells = frame.to_numpy(dtype=object).astype(self.dtype.kind)
                return cells.astype(np.promote_types(cells.dtype, self.dtype))
            return _as_array(frame, self.dtype)
        return frame


def to_frame(X: Any) -> tuple[pd.DataFrame, Container]:
    """Turn a table into a pandas frame, and remember what it was.

    Parameters
    ----------
    X : pandas.DataFrame, polars.DataFrame or array-like of shape (n_rows, n_columns)
        Never modified. The index of a frame is ignored; columns of an array are named 0, 1, ...

    Returns
    -------
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        With a ``RangeIndex``.
    container : Container
        Gives frames back as the kind of table that `X` is.

    Raises
    ------
    TypeError
        If `X` is sparse.
    ValueError
        If `X` is not two-dimensional, or complex.
    """
    if isinstance(X, pd.DataFrame):
        return X.set_axis(pd.RangeIndex(len(X)), axis=0), Container()
    module = type(X).__module__.partition(".")[0]
    if module == "polars":
        if type(X).__name__ == "LazyFrame":
            raise TypeError("Expected a collected table, got a polars LazyFrame: call .collect().")
        if hasattr(X, "iter_columns"):
            return _from_polars(X)
    if sparse.issparse(X):
        raise TypeError(_SPARSE)
    if isinstance(X, pd.Series) or module == "polars":
        raise ValueError(
            f"Expected a 2-dimensional container but got {type(X)} instead. Pass a DataFrame "
            f"containing a single row or a single column instead. {_RESHAPE}"
        )
    return _from_array(X)


def check_frame(frame: pd.DataFrame, *, min_rows: int = 1) -> None:
    """Raise an error that names what is wrong with a table.

    Parameters
    ----------
    frame : pandas.DataFrame
        As :func:`to_frame` gives it. Missing cells are fine: missing is a value.
    min_rows : int, default=1
        The smallest number of rows allowed.

    Raises
    ------
    TypeError
        Sparse columns, or cells that are lists, dicts or other unhashable objects.
    ValueError
        Too few rows, no columns, a ``MultiIndex`` of columns, duplicate or missing column names,
        complex or infinite numbers.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        raise ValueError(
            f"Column names must have one level, got a MultiIndex of {frame.columns.nlevels} "
            "levels. Join them first: X.columns = ['_'.join(map(str, name)) for name in X.columns]."
        )
    if frame.shape[1] < 1:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={frame.shape}) while a minimum of 1 is required."
        )
    if len(frame) < min_rows:
        raise ValueError(
            f"Found array with {len(frame)} sample(s) (shape={frame.shape}) while a minimum of "
            f"{min_rows} is required."
        )
    duplicated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if duplicated:
        raise ValueError(f"Column names must be unique, got duplicate names: {duplicated}.")
    if frame.columns.isna().any():
        raise ValueError(f"Column names must not be missing, got {frame.columns.tolist()}.")
    for name in frame.columns:
        _check_column(name, frame[name])


def _check_column(name: Hashable, column: pd.Series) -> None:
    dtype = column.dtype
    if isinstance(dtype, pd.SparseDtype):
        raise TypeError(f"{_SPARSE[:-1]}: column {name!r} has dtype {dtype}.")
    if isinstance(dtype, pd.CategoricalDtype):
        column = pd.Series(dtype.categories)  # few, and they hold whatever the cells hold
        dtype = column.dtype
    if dtype == object:
        if pd.api.types.infer_dtype(column, skipna=True) == "string":
            return  # the usual case, told many times as fast as cell by cell
        _check_objects(name, column)
        # Decimals and floats alike: comparison, not conversion.
        infinite = column.isin([np.inf, -np.inf]).to_numpy()
    elif pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"Complex data not supported: column {name!r} has dtype {dtype}.")
    elif pd.api.types.is_float_dtype(dtype):
        infinite = np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan))
    elif isinstance(dtype, pd.ArrowDtype) and _is_nested(dtype):
        raise TypeError(_unsupported(name, str(dtype), column.iloc[:1].tolist()))
    else:
        return
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(
            f"Input X contains infinity in column {name!r}: numbers must be finite (or missing), "
            f"got {column.iloc[row]!r} in row {row}."
        )


def _check_objects(name: Hashable, column: pd.Series) -> None:
    for kind in type_set(column):
        if issubclass(kind, complex | np.complexfloating):
            raise ValueError(f"Complex data not supported: column {name!r} holds complex numbers.")
        if not issubclass(kind, Hashable):
            cells = column[column.map(type) == kind]
            raise TypeError(_unsupported(name, kind.__name__, cells.iloc[:1].tolist()))
    try:
        column.nunique()
    except TypeError as error:  # a tuple that holds a list passes for hashable until it is hashed
        raise TypeError(_unsupported(name, str(error), column.iloc[:1].tolist())) from error


def _unsupported(name: Hashable, what: str, cells: list[Any]) -> str:
    return (
        f"Unsupported objects in column {name!r}: {what}, such as {cells}. The argument must be a "
        "table of strings, numbers, booleans, dates, times or other hashable cells."
    )


def _is_nested(dtype: pd.ArrowDtype) -> bool:
    import pyarrow as pa

    kind = dtype.pyarrow_dtype
    return bool(pa.types.is_nested(kind))


def _from_array(X: Any) -> tuple[pd.DataFrame, Container]:
    masked = isinstance(X, np.ma.MaskedArray)
    if isinstance(X, np.ndarray):
        array = X
    else:
        array = np.asarray(X)
        if array.dtype.kind in "US" and not hasattr(X, "dtype"):
            # NumPy would turn every cell of a list of mixed lists into a string.
            array = np.asarray(X, dtype=object)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{array}\n")
    if array.ndim < 2:
        what = "scalar array" if array.ndim == 0 else "1D array"
        raise ValueError(f"Expected 2D array, got {what} instead:\narray={array}.\n{_RESHAPE}")
    if array.ndim > 2:
        raise ValueError(f"Found array with dim {array.ndim}, while dim <= 2 is required.")
    if array.dtype.kind not in "biufOUSMm":
        raise TypeError(f"Unsupported dtype {array.dtype}: expected numbers, strings or objects.")
    if masked:
        frame = pd.DataFrame(array)  # masked cells become missing, ints then floats
        dtypes = set(frame.dtypes)
        dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(object)
    else:
        dtype = array.dtype
        # Lists and matrices alike; a copy, so that no one writes through the caller's memory.
        kind = np.dtype(object) if dtype.kind in "US" else dtype
        cells = np.array(array, dtype=kind, subok=False)
        # The dtype is given, or pandas 3 would take objects for strings.
        frame = pd.DataFrame(cells, copy=False, dtype=kind if kind == object else None)
    frame.columns = pd.RangeIndex(frame.shape[1])
    return frame, Container("array", dtype=dtype)


def _from_polars(X: Any) -> tuple[pd.DataFrame, Container]:
    """Convert column by column: exact integers with nulls, without pyarrow."""
    columns = {series.name: _polars_column(series) for series in X.iter_columns()}
    frame = pd.DataFrame(columns, index=pd.RangeIndex(X.height))
    buffer = io.BytesIO()
    # Python objects cannot be written; check_frame refuses most of them anyway.
    X.select(s for s in X.iter_columns() if str(s.dtype) != "Object").clear().write_ipc(buffer)
    nan = frozenset(
        s.name
        for s in X.iter_columns()
        if s.dtype.is_float() and not s.null_count() and s.is_nan().any()
    )
    return frame, Container("polars", polars_schema=buffer.getvalue(), polars_nan=nan)


def _polars_column(series: Any) -> pd.Series:
    import polars as pl

    dtype = series.dtype
    if str(dtype) in ("Int128", "UInt128"):
        raise ValueError(
            f"Column {series.name!r} has dtype {dtype}, which NumPy has not; cast it to Int64, "
            "UInt64 or String."
        )
    missing = series.is_null().to_numpy()
    if dtype.is_integer() or dtype == pl.Boolean:
        if not missing.any():
            return pd.Series(series.to_numpy())
        if dtype == pl.Boolean:
            return pd.Series(pd.arrays.BooleanArray(series.fill_null(False).to_numpy(), missing))
        return pd.Series(pd.arrays.IntegerArray(series.fill_null(0).to_numpy(), missing))
    if dtype.is_float():
        return pd.Series(series.to_numpy())
    if isinstance(dtype, pl.Enum):
        categories = dtype.categories.to_list()
        cells = series.to_numpy()
        return pd.Series(pd.Categorical(cells, categories=categories, ordered=True))
    if dtype == pl.Categorical:
        return pd.Series(pd.Categorical(series.to_numpy()))
    if isinstance(dtype, pl.Datetime):
        column = pd.Series(series.dt.replace_time_zone(None).to_numpy())
        if dtype.time_zone is not None:
            utc = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
            column = pd.Series(utc).dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone)
        return column
    if isinstance(dtype, pl.Duration):
        return pd.Series(series.to_numpy())
    # Dates, times, decimals, strings and whatever check_frame refuses: Python objects.
    return pd.Series(series.to_list(), dtype=object)


def _as_array(frame: pd.DataFrame, dtype: Any) -> Any:
    """Give an array of a dtype, or of a wider one where a number has no room in it."""
    if dtype is None or dtype.kind != "f" or dtype.itemsize >= 8:
        return frame.to_numpy(dtype=dtype)
    whole = frame.to_numpy(dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = whole.astype(dtype)
    return whole if (np.isfinite(whole) & ~np.isfinite(narrow)).any() else narrow


def _to_polars(frame: pd.DataFrame, container: Container) -> Any:
    try:
        import polars as pl
    except ImportError as error:
        raise ImportError(
            "The table came as a polars DataFrame: install polars to get one back."
        ) from error
    known = pl.read_ipc(io.BytesIO(container.polars_schema or b"")).schema
    columns = []
    for name in frame.columns:
        dtype = known.get(name)
        try:
            # Cells that were drawn for a column without any have a type of their own.
            dtype = None if dtype == pl.Null and frame[name].notna().any() else dtype
            series = _to_polars_column(pl, str(name), frame[name], dtype)
        except pl.exceptions.InvalidOperationError:  # a drawn cell has no room in that type
            series = _to_polars_column(pl, str(name), frame[name], None)
        if series.dtype.is_float() and name not in container.polars_nan:
            series = series.fill_nan(None)
        columns.append(series)
    return pl.DataFrame(columns)


def _to_polars_column(pl: Any, name: str, column: pd.Series, dtype: Any) -> Any:
    missing = column.isna().to_numpy()
    cells: Any
    if dtype is None:
        return pl.Series(name, column.astype(object).where(~missing, None).tolist(), strict=False)
    if dtype.is_integer() or dtype == pl.Boolean:
        kind = bool if dtype == pl.Boolean else column.dtype.name.lower()
        if pd.api.types.is_extension_array_dtype(column.dtype):
            cells = column.to_numpy(dtype=kind, na_value=0)
        else:
            cells = column.to_numpy()
        series = pl.Series(name, cells).cast(dtype)
    elif dtype.is_float():
        return pl.Series(name, column.to_numpy()).cast(dtype)
    elif isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            naive = column.dt.tz_convert("UTC").dt.tz_localize(None)
            series = pl.Series(name, naive.to_numpy()).dt.replace_time_zone("UTC").cast(dtype)
        else:
            series = pl.Series(name, column.to_numpy()).cast(dtype)
    elif isinstance(dtype, pl.Duration):
        series = pl.Series(name, column.to_numpy()).cast(dtype)
    else:
        cells = column.astype(object).where(~missing, None)
        return pl.Series(name, cells.tolist(), dtype=dtype)
    if missing.any():
        series = series.zip_with(pl.Series(~missing), pl.Series(name, [None], dtype=dtype))
    return series


def as_booleans(answers: Any, n_rows: int) -> npt.NDArray[np.bool_]:
    """Give what a function says of each row as booleans; missing answers count as no.

    Raises
    ------
    TypeError, ValueError
        Where there is not one for each of the rows, or they are no booleans.
    """
    if np.shape(answers) != (n_rows,):
        raise ValueError(f"got an answer of shape {np.shape(answers)}.")
    found = pd.Series(np.asarray(answers, dtype=object), dtype="boolean")
    return found.to_numpy(dtype=bool, na_value=False)
