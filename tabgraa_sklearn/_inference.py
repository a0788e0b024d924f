"""Tell what the cells of a column are, by dtype and for objects by their types.

Names of columns decide nothing, nor do the values: strings of numbers stay strings, unless the
user says otherwise.
"""

from __future__ import annotations

import datetime as dt
import uuid
import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype, is_string_dtype

from tabgraa_sklearn._cells import (
    ByteCells,
    Cells,
    DateStringCells,
    DecimalCells,
    DurationCells,
    IntegerCells,
    MixedCells,
    NumberCells,
    NumberStringCells,
    StringCells,
    TimeCells,
    UUIDCells,
    WholeFloatCells,
    plain_dtype,
    to_floats,
    type_set,
)

__all__ = ["find_cells", "read_date_strings", "read_number_strings"]

_MAX_DECIMALS = 15
_EXACT = 2.0**53  # floats hold integers exactly up to here


def find_cells(series: pd.Series) -> Cells:
    """Tell by its dtype, and for objects by their types, what the cells of a column are."""
    dtype: Any = series.dtype
    missing = series.isna().to_numpy()
    marker = _marker(series, missing) if dtype == object else None
    present = series[~missing]
    if dtype == object:
        return _find_objects(present, marker)
    if isinstance(dtype, pd.CategoricalDtype) or is_bool_dtype(dtype):
        return Cells(dtype)
    if is_integer_dtype(dtype):
        raw = present.to_numpy(dtype=plain_dtype(dtype))
        return IntegerCells(dtype, decimals=0, unsigned=raw.dtype == np.uint64)
    if is_float_dtype(dtype):
        narrow = np.float64 if isinstance(dtype, pd.ArrowDtype) else plain_dtype(dtype)
        decimals = _decimals(to_floats(present), narrow)
        whole = decimals == 0 and missing.any() and not isinstance(dtype, pd.ArrowDtype)
        return WholeFloatCells(dtype, None, 0) if whole else NumberCells(dtype, decimals=decimals)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return _whole_days(present, TimeCells(dtype, unit=dtype.unit, tz=dtype.tz))
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        unit = np.datetime_data(dtype)[0]
        kind = TimeCells if dtype.kind == "M" else DurationCells
        return kind(dtype, letter=dtype.kind, unit=unit)
    if isinstance(dtype, pd.ArrowDtype):
        return _find_arrow(present, dtype)
    return StringCells(dtype) if is_string_dtype(dtype) else Cells(dtype)


def _find_arrow(present: pd.Series, dtype: pd.ArrowDtype) -> Cells:
    arrow = dtype.pyarrow_dtype
    name = str(arrow)
    if name.startswith("timestamp"):
        return _whole_days(present, TimeCells(dtype, unit=arrow.unit, tz=arrow.tz))
    if name.startswith("duration"):
        return DurationCells(dtype, letter="m", unit=arrow.unit)
    if name.startswith("date32"):
        return TimeCells(dtype, unit="D", cell=dt.date)
    if name.startswith("decimal"):
        return _find_decimals(present.astype(object), dtype, None)
    return StringCells(dtype) if is_string_dtype(dtype) else Cells(dtype)


def _find_objects(present: pd.Series, marker: Any) -> Cells:
    dtype = np.dtype(object)
    types = type_set(present)

    def are(*kinds: type) -> bool:
        return all(issubclass(kind, kinds) for kind in types)

    def some(kind: type) -> bool:
        return any(issubclass(found, kind) for found in types)

    if not types:
        return Cells(dtype, marker)
    if are(str):
        return StringCells(dtype, marker)
    if are(bytes):
        return ByteCells(dtype, marker)
    if are(uuid.UUID):
        return UUIDCells(dtype, marker)
    if are(int, float, np.integer, np.floating) and not some(bool):
        if not are(int, np.integer):
            try:
                return NumberCells(dtype, marker, _decimals(to_floats(present), np.float64))
            except OverflowError:  # an integer that no float holds
                return MixedCells(dtype, marker)
        low, high = int(present.min()), int(present.max())
        unsigned = high >= 2**63
        if low >= (0 if unsigned else -(2**63)) and high < 2**64:
            return IntegerCells(dtype, marker, 0, unsigned)
    if are(Decimal):
        return _find_decimals(present, dtype, marker)
    if are(pd.Timedelta):
        return DurationCells(dtype, marker, letter="m", unit="ns", cell=pd.Timedelta)
    if are(dt.timedelta) and not some(pd.Timedelta):
        return DurationCells(dtype, marker, letter="m", unit="us", cell=dt.timedelta)
    if are(pd.Timestamp) or (are(dt.datetime) and not some(pd.Timestamp)):
        return _find_datetimes(present, dtype, marker, are(pd.Timestamp))
    if are(dt.date) and not some(dt.datetime):
        return TimeCells(dtype, marker, unit="D", cell=dt.date)
    return Cells(dtype, marker) if len(types) == 1 else MixedCells(dtype, marker)


def _find_datetimes(present: pd.Series, dtype: Any, marker: Any, timestamps: bool) -> Cells:
    cell, unit = (pd.Timestamp, "ns") if timestamps else (dt.datetime, "us")
    # By name: pytz has an object for summer time and another one for winter time.
    zones = present.map(lambda cell: None if cell.tzinfo is None else str(cell.tzinfo)).unique()
    if len(zones) > 1:
        return MixedCells(dtype, marker)
    try:
        zone = None if zones[0] is None else pd.to_datetime(present).dt.tz
    except pd.errors.OutOfBoundsDatetime:  # too far away for pandas to know the zone's offset
        return Cells(dtype, marker)
    return _whole_days(present, TimeCells(dtype, marker, unit=unit, tz=zone, cell=cell))


def _whole_days(present: pd.Series, cells: TimeCells) -> TimeCells:
    """Count in local time where all cells of a zone are midnights, whatever summer time does."""
    if cells.tz is None or present.empty:
        return cells
    local = replace(cells, wall=True)
    raw, missing = local.to_raw(present)
    seconds = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    if (raw % (86_400 * seconds[cells.unit])).any():
        return cells
    back, _ = cells.to_raw(local.from_raw(raw, missing))
    return local if (back == cells.to_raw(present)[0]).all() else cells


def _find_decimals(present: pd.Series, dtype: Any, marker: Any) -> Cells:
    cells = present.unique()
    scale = max((-cell.as_tuple().exponent for cell in cells), default=0)
    digits = max((cell.adjusted() + 1 for cell in cells if cell), default=0)
    scale = max(scale, 0)
    if scale + digits > 18:  # does not fit in int64
        return Cells(dtype, marker)
    return DecimalCells(dtype, marker, decimals=scale)


def read_number_strings(series: pd.Series, cells: Cells) -> NumberStringCells:
    """Read a column of strings as numbers; ValueError where they are not."""
    present = series[series.notna().to_numpy()].astype(object)
    numbers = pd.to_numeric(present, errors="coerce")
    values = to_floats(numbers)
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise ValueError(f"cells such as {present[wrong].iloc[0]!r} are not finite numbers")
    written = present.str.partition(".")[2].str.len()
    fixed = bool(written.nunique() <= 1)
    if is_integer_dtype(numbers.dtype):
        unsigned = numbers.dtype == np.uint64
        return NumberStringCells(cells.dtype, cells.marker, 0, unsigned, fixed=True)
    decimals = int(written.max()) if fixed and len(written) else None
    found = _decimals(values, np.float64)
    if found is None or decimals is None or found > decimals:
        decimals, fixed = found, False
    if decimals == 0 and not fixed:
        decimals = 1 if found == 0 else found  # "1.0" next to "2": written as floats
    return NumberStringCells(cells.dtype, cells.marker, decimals, fixed=fixed)


def read_date_strings(series: pd.Series, cells: Cells) -> DateStringCells:
    """Read a column of strings as dates of one format; ValueError where they are not."""
    present = series[series.notna().to_numpy()].astype(object)
    for day_first in (False, True):
        text_format = _guess_format(present, day_first)
        if text_format is not None:
            return DateStringCells(cells.dtype, cells.marker, text_format=text_format)
    raise ValueError(f"cells such as {present.iloc[0]!r} are not dates of one known format")


def _guess_format(present: pd.Series, day_first: bool) -> str | None:
    """Find the format of the first cell, if all the others are of it."""
    if present.empty:
        return "%Y-%m-%d"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # days and months are told apart by trying
        text_format = pd.tseries.api.guess_datetime_format(present.iloc[0], dayfirst=day_first)
    if text_format is None or "%z" in text_format:
        return None
    read = pd.to_datetime(present, format=text_format, errors="coerce")
    return text_format if read.notna().all() else None


def _marker(series: pd.Series, missing: npt.NDArray[np.bool_]) -> Any:
    """Find the most frequent of the objects that stand for missing."""
    kinds = series[missing].map(type).value_counts()
    markers = {type(None): None, type(pd.NA): pd.NA, type(pd.NaT): pd.NaT, Decimal: Decimal("NaN")}
    return markers.get(kinds.index[0], np.nan) if len(kinds) else None


def _decimals(values: npt.NDArray[np.float64], dtype: Any) -> int | None:
    """Find the number of decimals that all values have, judged at the precision of `dtype`.

    Where steps of the last decimal are finer than those of `dtype`, any value would have them: of
    most values they must be coarser.
    """
    values = np.unique(values)
    steps = 2.0 ** (np.finfo(dtype).nmant + 1)
    usual = float(np.sort(np.abs(values))[len(values) // 2]) if len(values) else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for decimals in range(_MAX_DECIMALS + 1):
            # A few first: most columns fail at once.
            for part in (values[:100], values):
                scaled = np.rint(part * 10.0**decimals)
                if not (np.abs(scaled) < _EXACT).all():
                    return None
                if decimals and usual >= steps / 10.0**decimals:
                    return None
                back = (scaled / 10.0**decimals).astype(dtype)
                if not (back == part.astype(dtype)).all():
                    break
            else:
                return decimals
    return None
