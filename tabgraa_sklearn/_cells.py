"""The cells of one column as numbers or values, and back exactly, by what a cell is.

Every class reads the cells of a column (:meth:`Cells.factorize`, :meth:`NumberCells.to_raw`)
and gives them back in the dtype that came in. Raw numbers are int64 or uint64 wherever that is
exact: integers, times in units of their resolution, floats in units of their last decimal.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import take
from pandas.api.types import (
    is_integer_dtype,
    is_numeric_dtype,
    is_string_dtype,
)

__all__ = [
    "ByteCells",
    "Cells",
    "DateStringCells",
    "DecimalCells",
    "DurationCells",
    "IntegerCells",
    "MixedCells",
    "NumberCells",
    "NumberStringCells",
    "StringCells",
    "TimeCells",
    "UUIDCells",
    "WholeFloatCells",
    "plain_dtype",
    "to_floats",
    "type_set",
]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """Cells that are nothing but values: bools, categories, periods, whatever is hashable.

    Attributes
    ----------
    dtype : numpy.dtype or pandas extension dtype
        The dtype that comes back.
    marker : object
        What stands for a missing cell in an object column.
    """

    dtype: Any
    marker: Any = None
    form: ClassVar[str] = "values"
    kinds: ClassVar[tuple[str, ...]] = ("categorical",)

    def factorize(self, series: pd.Series) -> tuple[Array, pd.Index, Any]:
        """Give each distinct cell a number, in order of appearance.

        Returns
        -------
        codes : ndarray of shape (n_rows,), int64
            -1 where missing.
        keys : pandas.Index of shape (n_distinct,)
            Objects by which equal cells are recognised, whatever the dtype of `series`.
        values : array of shape (n_distinct,)
            The distinct cells, in the dtype of `series`.
        """
        array: Any = series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array
        codes, values = pd.factorize(array)
        if series.dtype.kind in "mM":  # NumPy would make integers of nanoseconds
            return codes, pd.Index(values).astype(object), values
        return codes, _index(np.asarray(values, dtype=object)), values

    def from_values(self, values: Any, codes: Array) -> pd.Series:
        """Look cells up in `values`; the code -1 gives a missing cell."""
        if self.dtype == object or len(values) == 0:
            cells = _objects([*values, self.marker])
            return self.from_objects(cells[codes], codes < 0)
        if isinstance(self.dtype, pd.ArrowDtype) and values.dtype != self.dtype:
            # Distinct values of an Arrow dictionary have int32 indices, whatever they came from.
            values = pd.Series(np.asarray(values, dtype=object), dtype=self.dtype).array
        if not (codes < 0).any():
            return pd.Series(values.take(codes), dtype=self.dtype)
        fill = None
        if isinstance(values, np.ndarray):
            fill = values.dtype.type("NaT") if values.dtype.kind in "mM" else np.nan
        taken = take(values, codes, allow_fill=True, fill_value=fill)
        return pd.Series(taken, dtype=self.dtype)

    def from_objects(self, cells: Any, missing: Mask) -> pd.Series:
        """Give cells the column's dtype and its marker of missing ones."""
        if self.dtype == object:
            cells = np.array(cells, dtype=object)
            cells[missing] = self.marker
            return pd.Series(cells, dtype=object)
        if getattr(cells, "dtype", None) == object:
            cells = np.where(missing, None, cells)
            return pd.Series(pd.array(cells, dtype=self.dtype))
        series = pd.Series(cells).astype(self.dtype)
        if missing.any():
            series[missing] = None
        return series


@dataclass(frozen=True)
class MixedCells(Cells):
    """Objects of several types: 1, 1.0 and True are equal, and still are different cells."""

    def factorize(self, series: pd.Series) -> tuple[Array, pd.Index, Any]:
        cells = series.to_numpy(dtype=object)
        codes, _ = pd.factorize(cells)
        kinds, _ = pd.factorize(series.map(type).to_numpy())
        pairs = codes.astype(np.int64) * (kinds.max(initial=0) + 1) + kinds
        _, first, codes_of_pairs = np.unique(
            pairs[codes >= 0], return_index=True, return_inverse=True
        )
        values = cells[codes >= 0][first]
        new_codes = np.full(len(cells), -1)
        new_codes[codes >= 0] = codes_of_pairs
        return new_codes, _index([(type(v).__qualname__, v) for v in values]), values


@dataclass(frozen=True)
class StringCells(Cells):
    """Strings; they stay strings, whatever is written in them."""

    form: ClassVar[str] = "string"
    kinds: ClassVar[tuple[str, ...]] = ("categorical", "identifier", "text", "numeric", "datetime")

    def to_strings(self, values: Any) -> Array:
        """Give an array of cells without missing ones as strings."""
        return np.asarray(values, dtype=object)

    def from_strings(self, strings: Array, missing: Mask) -> pd.Series:
        """Give strings the column's dtype."""
        return self.from_objects(strings, missing)


@dataclass(frozen=True)
class ByteCells(StringCells):
    """Bytes, which latin-1 maps to strings and back one by one."""

    form: ClassVar[str] = "bytes"
    kinds: ClassVar[tuple[str, ...]] = ("categorical", "identifier")

    def to_strings(self, values: Any) -> Array:
        cells = pd.Series(np.asarray(values, dtype=object), dtype=object)
        return cells.str.decode("latin-1").to_numpy(dtype=object)

    def from_strings(self, strings: Array, missing: Mask) -> pd.Series:
        cells = pd.Series(strings, dtype=object).str.encode("latin-1", errors="replace")
        return self.from_objects(cells.to_numpy(dtype=object), missing)


@dataclass(frozen=True)
class UUIDCells(Cells):
    """`uuid.UUID` objects."""

    form: ClassVar[str] = "uuid"
    kinds: ClassVar[tuple[str, ...]] = ("identifier", "categorical")


@dataclass(frozen=True)
class NumberCells(Cells):
    """Floats (decimals None) and floats with finitely many decimals.

    Attributes
    ----------
    decimals : int or None
        Raw numbers are integers in units of the last decimal; float64 where this is None.
    unsigned : bool
        Whether raw integers are uint64 instead of int64.
    """

    decimals: int | None = None
    unsigned: bool = False
    form: ClassVar[str] = "float"
    kinds: ClassVar[tuple[str, ...]] = ("numeric", "categorical")

    def to_raw(self, series: pd.Series) -> tuple[Array, Mask]:
        """Read cells of any suitable dtype.

        Returns
        -------
        raw : ndarray of shape (n_rows,), int64, uint64 or float64
            Anything where missing.
        missing : ndarray of shape (n_rows,), bool
        """
        values = to_floats(series)
        if self.decimals is None:
            return values, np.isnan(values)
        return _round(values * 10.0**self.decimals, unsigned=False), np.isnan(values)

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        """Give raw numbers the column's dtype."""
        # The quotient of two exact integers is the float closest to the decimal number.
        values = raw if self.decimals is None else raw / 10.0**self.decimals
        return self.from_objects(values.astype(np.float64), missing)


@dataclass(frozen=True)
class IntegerCells(NumberCells):
    """Integers of every width, exact beyond 2**53."""

    form: ClassVar[str] = "integer"
    kinds: ClassVar[tuple[str, ...]] = ("numeric", "categorical", "identifier")

    @property
    def largest(self) -> int:
        """The largest integer that the dtype holds."""
        if self.dtype == object:
            return 2**63 - 1
        return int(np.iinfo(plain_dtype(self.dtype)).max)

    def to_raw(self, series: pd.Series) -> tuple[Array, Mask]:
        missing = series.isna().to_numpy()
        dtype = np.uint64 if self.unsigned else np.int64
        if is_integer_dtype(series.dtype):
            raw = series.to_numpy(dtype=plain_dtype(series.dtype), na_value=0)
            if raw.dtype == np.uint64 and not self.unsigned:
                raw = np.minimum(raw, np.uint64(2**63 - 1))
            elif self.unsigned and raw.dtype != np.uint64:
                raw = np.maximum(raw, 0)
            return raw.astype(dtype), missing
        if series.dtype == object and _all_of(series, (int, np.integer)):
            low, high = (0, 2**64 - 1) if self.unsigned else (-(2**63), 2**63 - 1)
            cells = np.where(missing, 0, series.to_numpy(dtype=object))
            return np.clip(cells, low, high).astype(dtype), missing
        return _round(to_floats(series), unsigned=self.unsigned), missing

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        return self.from_objects(raw, missing)


@dataclass(frozen=True)
class WholeFloatCells(IntegerCells):
    """Integers in a column of floats, as pandas keeps them where some are missing."""

    form: ClassVar[str] = "float"

    @property
    def largest(self) -> int:
        """The largest integer up to which the dtype holds every one."""
        return int(2 ** (np.finfo(plain_dtype(self.dtype)).nmant + 1))

    def to_raw(self, series: pd.Series) -> tuple[Array, Mask]:
        return NumberCells.to_raw(self, series)

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        return NumberCells.from_raw(self, raw, missing)


@dataclass(frozen=True)
class DecimalCells(NumberCells):
    """`decimal.Decimal` objects and Arrow decimals, at the scale of the finest of them."""

    form: ClassVar[str] = "decimal"

    def to_raw(self, series: pd.Series) -> tuple[Array, Mask]:
        if series.dtype.kind in "iuf":
            return NumberCells.to_raw(self, series)
        missing = series.isna().to_numpy()
        codes, cells = pd.factorize(series.to_numpy(dtype=object))
        bound = 2**63 - 1
        scaled = [round(Decimal(cell).scaleb(self.decimals or 0)) for cell in cells]
        raw = np.array([*(max(-bound, min(bound, k)) for k in scaled), 0], dtype=np.int64)
        return raw[codes], missing

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        distinct, codes = np.unique(raw, return_inverse=True)
        cells = [Decimal(int(k)).scaleb(-(self.decimals or 0)) for k in distinct]
        return self.from_objects(_objects(cells)[codes], missing)


@dataclass(frozen=True)
class NumberStringCells(NumberCells):
    """Numbers stored as strings, which the user asks to be treated as numbers.

    Attributes
    ----------
    fixed : bool
        Whether all strings have the same number of decimals.
    """

    fixed: bool = True
    form: ClassVar[str] = "string"

    def to_raw(self, series: pd.Series) -> tuple[Array, Mask]:
        numbers = pd.to_numeric(series.astype(object))
        if self.decimals == 0:
            whole = IntegerCells(np.dtype(np.int64), unsigned=self.unsigned)
            return whole.to_raw(numbers)
        return super().to_raw(numbers)

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        if self.decimals == 0:
            strings = raw.astype(str)
        elif self.decimals is not None and self.fixed:
            strings = np.char.mod(f"%.{self.decimals}f", raw / 10.0**self.decimals)
        else:
            strings = (raw / 10.0 ** (self.decimals or 0)).astype(str)
        return self.from_objects(strings.astype(object), missing)


@dataclass(frozen=True)
class TimeCells(NumberCells):
    """Points in time and durations, raw in units of their resolution (UTC).

    Attributes
    ----------
    letter : {"M", "m"}
        NumPy's letter of the type: points in time or durations.
    unit : str
        Resolution: "D", "s", "ms", "us" or "ns".
    tz : tzinfo, str or None
        Time zone.
    cell : type or None
        Type of the cells of an object column.
    wall : bool
        Whether raw numbers are local time, in which days are equally long, instead of UTC.
    """

    letter: str = "M"
    unit: str = "ns"
    tz: Any = None
    cell: type | None = None
    wall: bool = False
    form: ClassVar[str] = "datetime"
    kinds: ClassVar[tuple[str, ...]] = ("datetime", "categorical")

    def to_raw(self, series: pd.Series) -> tuple[Array, Mask]:
        missing = series.isna().to_numpy()
        if missing.all():  # nothing there that would tell about zones
            return np.zeros(len(series), dtype=np.int64), missing
        series = self._times(series, missing)
        zoned = isinstance(series.dtype, pd.DatetimeTZDtype)
        if series.dtype.kind != self.letter or zoned != (self.tz is not None):
            raise ValueError(f"expected times {'with' if self.tz else 'without'} a time zone")
        if zoned:
            series = series.dt.tz_convert(self.tz if self.wall else "UTC").dt.tz_localize(None)
        raw = series.to_numpy().astype(f"{self.letter}8[{self.unit}]").view(np.int64)
        return np.where(missing, 0, raw), missing

    def _times(self, series: pd.Series, missing: Mask) -> pd.Series:
        """Cells of any dtype as datetime64 or timedelta64, with their zone."""
        dtype: Any = series.dtype
        if isinstance(dtype, pd.ArrowDtype):
            arrow = dtype.pyarrow_dtype
            if str(arrow).startswith(("timestamp", "duration")):
                zone = getattr(arrow, "tz", None)
                zoned: Any = pd.DatetimeTZDtype(arrow.unit, zone) if zone else None
                plain: Any = f"{self.letter}8[{arrow.unit}]"
                return series.astype(zoned or plain)
            series = series.astype(object)
        if series.dtype == object or is_string_dtype(dtype):
            python = _all_of(series, (dt.date, dt.timedelta))
            if self.tz is None and python and not _all_of(series, (pd.Timestamp, pd.Timedelta)):
                # NumPy reads years that do not fit in nanoseconds; pandas knows no days.
                cells: Any = series.to_numpy(dtype=object, copy=True)
                cells[missing] = None
                cells = cells.astype(f"{self.letter}8[{self.unit}]")
                return pd.Series(cells.astype("M8[s]") if self.unit == "D" else cells)
            times = series[~missing]
            if any(isinstance(t, pd.Timestamp | pd.Timedelta) and t.unit != "ns" for t in times):
                return self._in_own_unit(series, missing)
            return pd.to_timedelta(series) if self.letter == "m" else pd.to_datetime(series)
        return series

    def _in_own_unit(self, series: pd.Series, missing: Mask) -> pd.Series:
        """Read times that may not fit in nanoseconds, which pandas reads wrongly or not at all."""
        kind: Any = pd.Timedelta if self.letter == "m" else pd.Timestamp
        times = [kind(cell) for cell in series[~missing]]
        zones = {getattr(time, "tz", None) for time in times}
        if len(zones) > 1:
            raise ValueError("expected times of one time zone")
        zone = zones.pop()
        cells = np.full(len(series), "NaT", dtype=f"{self.letter}8[{self.unit}]")
        cells[~missing] = [time.asm8 for time in times]  # in UTC
        read = pd.Series(cells.astype("M8[s]") if self.unit == "D" else cells)
        return read if zone is None else read.dt.tz_localize("UTC").dt.tz_convert(zone)

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        values: Any = raw.view(f"{self.letter}8[{self.unit}]")
        if self.cell is dt.date or (self.cell in (dt.datetime, dt.timedelta) and self.tz is None):
            return self.from_objects(values.astype(object), missing)
        if self.tz is not None:
            if self.wall:
                # A midnight that does not exist is the first moment of its day.
                ambiguous = np.ones(len(raw), dtype=bool)
                values = pd.DatetimeIndex(values).tz_localize(
                    self.tz, ambiguous=ambiguous, nonexistent="shift_forward"
                )
            else:
                values = pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(self.tz)
            if self.cell is dt.datetime:
                values = values.to_pydatetime()
        if self.cell in (pd.Timestamp, pd.Timedelta):
            values = pd.Series(values).astype(object).to_numpy()
        return self.from_objects(values, missing)


@dataclass(frozen=True)
class DurationCells(TimeCells):
    """Durations."""

    form: ClassVar[str] = "timedelta"
    kinds: ClassVar[tuple[str, ...]] = ("timedelta", "categorical")


@dataclass(frozen=True)
class DateStringCells(TimeCells):
    """Dates stored as strings, which the user asks to be treated as dates."""

    text_format: str = "%Y-%m-%d"
    form: ClassVar[str] = "string"

    def _times(self, series: pd.Series, missing: Mask) -> pd.Series:
        if series.dtype.kind == "M":
            return series
        return pd.to_datetime(series.astype(object), format=self.text_format)

    def from_raw(self, raw: Array, missing: Mask) -> pd.Series:
        times = pd.DatetimeIndex(raw.view(f"M8[{self.unit}]"))
        return self.from_objects(times.strftime(self.text_format).to_numpy(object), missing)


def type_set(series: pd.Series) -> list[type]:
    """Give the types of the cells of an object column, missing ones left out."""
    present = series[series.notna().to_numpy()]
    return list(present.map(type).unique())


def _all_of(series: pd.Series, kinds: Any) -> bool:
    return all(issubclass(kind, kinds) for kind in type_set(series))


def plain_dtype(dtype: Any) -> np.dtype[Any]:
    """Give the NumPy dtype of a nullable or Arrow one."""
    return np.dtype(getattr(dtype, "numpy_dtype", dtype))


def to_floats(series: pd.Series) -> npt.NDArray[np.float64]:
    if not (is_numeric_dtype(series.dtype) or series.dtype == object):
        raise ValueError("expected numbers")
    if series.dtype == object and any(issubclass(kind, str | bytes) for kind in type_set(series)):
        raise ValueError("expected numbers, got strings")
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))


def _round(values: npt.NDArray[np.float64], *, unsigned: bool) -> Array:
    """Round to integers; what does not fit comes to the nearest one that does."""
    low, high = (0.0, 2.0**64) if unsigned else (-(2.0**63), 2.0**63)
    inside = np.clip(np.nan_to_num(np.rint(values)), low, np.nextafter(high, 0))
    return inside.astype(np.uint64 if unsigned else np.int64)


def _index(cells: Any) -> pd.Index:
    cells = cells if isinstance(cells, np.ndarray) else _objects(cells)
    return pd.Index(cells, dtype=object, tupleize_cols=False)


def _objects(cells: list[Any]) -> Array:
    """Make an array of objects, without looking into them."""
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array
