"""Cells as a user writes them, made cells of the column that they are meant for."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

from ._cells import (
    DecimalCells,
    IntegerCells,
    NumberCells,
    TimeCells,
    WholeFloatCells,
    plain_dtype,
)
from ._schema import Column

__all__ = ["as_cells", "as_time"]


def as_cells(column: Column, cells: pd.Series) -> pd.Series:
    """Give cells the type that the column's have, exactly; missing ones stay.

    Parameters
    ----------
    column : Column
    cells : Series of shape (n_rows,)
        Of any dtype: times may be strings, decimals floats, whole numbers floats.

    Returns
    -------
    Series of shape (n_rows,), object

    Raises
    ------
    ValueError
        Where one is no cell of the column; the message names both.
    """
    try:
        return _as_cells(column, cells)
    except ValueError as error:
        if error.__cause__ is None or str(error).startswith("conditions"):
            raise
        # What reads a column tells of its cells, not which of them it was.
        given = cells[cells.notna()]
        good, bad = 0, len(given)  # so many of the first cells can be read, so many cannot
        while bad - good > 1:
            some = (good + bad) // 2
            good, bad = (some, bad) if _are_cells(column, given.iloc[:some]) else (good, some)
        wrong = given.iloc[bad - 1]
        raise ValueError(
            f"conditions[{column.name!r}] must hold cells of dtype {column.dtype}; got {wrong!r}: "
            f"{error.__cause__}"
        ) from error


def _are_cells(column: Column, cells: pd.Series) -> bool:
    try:
        _as_cells(column, cells)
    except ValueError:
        return False
    return True


def _as_cells(column: Column, cells: pd.Series) -> pd.Series:
    reader = column.cells
    there = cells.notna().to_numpy()
    if not isinstance(reader, NumberCells) or not column.has_numbers or not there.any():
        if isinstance(reader, IntegerCells) and there.any():  # identifiers
            return _exact(column, cells.astype(object), there)
        kinds = {"string": str, "bytes": bytes, "uuid": uuid.UUID}
        if column.kind in ("identifier", "text") and reader.form in kinds:
            for cell in cells[there]:
                if not isinstance(cell, kinds[reader.form]):
                    raise _no_cell(column, cell)
        return cells
    result = cells.astype(object)
    if isinstance(reader, TimeCells):
        result[there] = [as_time(column, cell) for cell in result[there]]
    if isinstance(reader, DecimalCells):
        decimals = [_decimal(column, cell) for cell in result[there]]
        result[there] = pd.Series(decimals, index=result.index[there], dtype=object)
        return result
    if reader.form == "float" and not isinstance(reader, WholeFloatCells):
        column.read(result)  # raises where they are none
        narrow = plain_dtype(column.dtype)
        if narrow in (np.float32, np.float16):
            floats = result[there].astype(np.float64).astype(narrow)
            result[there] = pd.Series(list(floats), index=floats.index, dtype=object)
        return result
    return _exact(column, result, there)


def _exact(column: Column, cells: pd.Series, there: Any) -> pd.Series:
    """Read cells and write them again: they must be what they were."""
    reader = column.cells
    assert isinstance(reader, NumberCells)
    given = cells[there]
    if isinstance(reader, WholeFloatCells):
        column.read(given)
        return cells
    raw, _ = column.read(given)
    back = reader.from_raw(raw, np.zeros(len(raw), dtype=bool)).astype(object)
    compared = [given, back]
    if reader.form == "string":
        is_time = isinstance(reader, TimeCells)  # read by one format: what was read is right
        compared = [back, back] if is_time else [pd.to_numeric(part) for part in compared]
    one, other = (part.to_numpy(dtype=object) for part in compared)
    wrong = np.asarray(one != other, dtype=bool)
    if wrong.any():
        raise _no_cell(column, given.iloc[int(wrong.argmax())])
    cells = cells.copy()
    cells[there] = pd.Series(list(back), index=given.index, dtype=object)
    return cells


def _decimal(column: Column, cell: Any) -> Decimal:
    try:
        return cell if isinstance(cell, Decimal) else Decimal(str(cell))
    except InvalidOperation as error:
        raise _no_cell(column, cell) from error


def _no_cell(column: Column, cell: Any) -> ValueError:
    return ValueError(
        f"conditions[{column.name!r}] is impossible: {cell!r} is no cell of dtype {column.dtype}."
    )


def as_time(column: Column, cell: Any) -> Any:
    """Give a time as the column's cells have it; other cells as they are.

    Raises
    ------
    ValueError
        Where a string is none; the message names the column.
    """
    bound = column.bounds[0] if column.bounds is not None else None
    try:
        if column.kind == "datetime" and isinstance(cell, str | datetime.date | np.datetime64):
            if isinstance(bound, pd.Timestamp):
                time = pd.Timestamp(cell)
                return time.tz_localize(bound.tz) if bound.tz and time.tz is None else time
            if isinstance(bound, datetime.datetime):
                time = pd.Timestamp(cell)
                zone = bound.tzinfo if time.tz is None else None
                return (time.tz_localize(zone) if zone else time).to_pydatetime()
            if isinstance(bound, datetime.date):
                time = pd.Timestamp(cell)
                return time.date() if time == time.normalize() else time
        if column.kind == "timedelta" and isinstance(cell, str | np.timedelta64):
            return pd.Timedelta(cell)
    except Exception as error:  # pytz has errors of its own, of times that summer time skips
        raise ValueError(
            f"conditions[{column.name!r}] must hold cells of dtype {column.dtype}; got {cell!r}: "
            f"{error!r}"
        ) from error
    return cell
