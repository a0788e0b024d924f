"""Tables side by side, in a form that can be compared."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.neighbors import NearestNeighbors

from .._cells import to_floats
from .._frames import check_frame, to_frame
from .._schema import Column, Schema

__all__ = [
    "MAX_ROWS",
    "N_BOOTSTRAPS",
    "TIE",
    "Side",
    "check_count",
    "kept_columns",
    "n_dimensions",
    "nearest",
    "place",
    "read_table",
    "side_by_side",
]

Floats = npt.NDArray[np.float64]

MAX_ROWS = 50_000
N_BOOTSTRAPS = 50
TIE = 1e-6  # distances closer than this are equal, about the error of a computed one
_LABELS = 500  # labels of a column with an indicator of their own; the rarer ones share one
_INDICATORS = 1000  # of all columns, beyond which each gets fewer
_KD_TREE = 12  # up to so many dimensions a tree finds neighbours faster than trying all


@dataclass
class Side:
    """One of the tables.

    Attributes
    ----------
    numbers : DataFrame of shape (n_rows, n_number_columns)
        float64, NaN where missing; times and durations in their unit.
    labels : DataFrame of shape (n_rows, n_label_columns)
        Codes that all tables share, -1 where missing.
    columns : dict of {column name: Column}
        What the columns are, as they stand in the table.
    texts : dict of {column name: ndarray}
        What the codes of labels stand for.
    """

    numbers: pd.DataFrame
    labels: pd.DataFrame
    columns: dict[Hashable, Column]
    texts: dict[Hashable, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Any) -> Side:
        """Give some of the rows."""
        return replace(self, numbers=self.numbers.iloc[rows], labels=self.labels.iloc[rows])

    def drop(self, name: Hashable) -> Side:
        """Leave a column out."""
        return replace(
            self,
            numbers=self.numbers.drop(columns=name, errors="ignore"),
            labels=self.labels.drop(columns=name, errors="ignore"),
            columns={key: column for key, column in self.columns.items() if key != name},
        )

    @property
    def order(self) -> list[Hashable]:
        """Names of the columns, as they stand in the table."""
        return list(self.columns)


def side_by_side(
    tables: Sequence[Any],
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = None,
    random_state: int = 0,
    names: Sequence[str] = ("real", "synthetic", "holdout"),
    like: Any = None,
) -> list[Side]:
    """Read tables of the same columns; what these are is read off `like`, or else the first.

    Raises
    ------
    ValueError
        Where a table lacks a column or a column cannot be read; the message names both.
    """
    if max_rows is not None:
        check_count("max_rows", max_rows, 1, "None or ")
    check_count("random_state", random_state, 0)
    random = np.random.default_rng(random_state)
    frames: list[pd.DataFrame] = []
    for name, table in zip(names, tables, strict=False):
        frame, is_array = read_table(table, name)
        if frames and is_array and frame.shape[1] == frames[0].shape[1]:
            frame = frame.set_axis(frames[0].columns, axis=1)
        missing = [column for column in frames[0] if column not in frame] if frames else []
        if missing:
            raise ValueError(f"{name} must have the columns of {names[0]}; missing {missing}.")
        frames.append(frame)
    # By all rows: among some of them labels may look like identifiers.
    kept = kept_columns(frames[0] if like is None else to_frame(like)[0], categorical)
    kept = {name: column for name, column in kept.items() if name in frames[0]}
    if not kept:
        raise ValueError("all columns are taken for identifiers or text: nothing to compare.")
    for number, frame in enumerate(frames):
        if max_rows is not None and len(frame) > max_rows:
            chosen = np.sort(random.choice(len(frame), max_rows, replace=False))
            frames[number] = frame.iloc[chosen].reset_index(drop=True)
    numbers: list[dict[Hashable, Any]] = [{} for _ in frames]
    labels: list[dict[Hashable, Any]] = [{} for _ in frames]
    texts: dict[Hashable, npt.NDArray[Any]] = {}
    for column in kept.values():
        series = [frame[column.name] for frame in frames]
        if column.has_numbers:
            for side, cells in zip(numbers, series, strict=True):
                side[column.name] = _numbers(column, cells)
            continue
        codes, texts[column.name] = _codes(series)
        for side, own in zip(labels, codes, strict=True):
            side[column.name] = own
    indices = [pd.RangeIndex(len(frame)) for frame in frames]
    return [
        Side(pd.DataFrame(one, index=index), pd.DataFrame(other, index=index), kept, texts)
        for one, other, index in zip(numbers, labels, indices, strict=True)
    ]


def read_table(table: Any, name: str) -> tuple[pd.DataFrame, bool]:
    """Read a table, and say whether it is an array; errors name it."""
    try:
        frame, container = to_frame(table)
        if len(frame) == 0:
            raise ValueError("it must have at least one row; got none.")
        check_frame(frame, min_rows=1)
    except (TypeError, ValueError) as error:
        reason = str(error) if np.ndim(table) == 2 else f"it must be a table; got {table!r:.80}."
        raise type(error)(f"{name}: {reason}") from error
    return frame, container.kind == "array"


def kept_columns(
    frame: pd.DataFrame, categorical: Collection[Hashable] | None
) -> dict[Hashable, Column]:
    """Tell what the columns of a table are, those left out that are identifiers or text."""
    unknown = [name for name in categorical or () if name not in frame]
    if unknown or isinstance(categorical, str):
        raise ValueError(
            f"categorical must hold column names of the table, {frame.columns.tolist()}; got "
            f"{unknown or categorical!r}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of identifiers
        schema = Schema.from_frame(frame, dict.fromkeys(categorical or (), "categorical"))
    return {column.name: column for column in schema if column.kind not in ("identifier", "text")}


def check_count(name: str, value: Any, least: int, other: str = "") -> None:
    """Raise a ValueError unless a parameter is an int that is large enough."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be {other}an int of at least {least}; got {value!r}.")


def _numbers(column: Column, series: pd.Series) -> Floats:
    if series.isna().all():
        return np.full(len(series), np.nan)
    if column.kind == "numeric":  # as they are, whatever decimals the real ones have
        try:
            values = to_floats(series)
            narrow = column.dtype if column.dtype in (np.float32, np.float16) else np.float64
            return values.astype(narrow).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Column {column.name!r} holds numbers and cannot be read from dtype "
                f"{series.dtype}: {error}"
            ) from error
    raw, missing = column.read(series)
    return np.where(missing, np.nan, raw.astype(np.float64))


def _codes(columns: list[pd.Series]) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[Any]]:
    """Give labels as codes that all columns share, and the labels.

    1, 1.0 and "1" are one, and True is one with 1 where another table has numbers.
    """
    of_numbers = any(is_numeric_dtype(part) and not is_bool_dtype(part) for part in columns)
    texts = pd.concat([_texts(column, of_numbers) for column in columns], ignore_index=True)
    codes, labels = pd.factorize(texts, sort=True)
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return np.split(codes.astype(np.int64), ends), np.asarray(labels, dtype=object)


def _texts(column: pd.Series, of_numbers: bool) -> pd.Series:
    """Give labels as texts, missing ones as None."""
    codes, values = pd.factorize(column.astype(object))
    texts = np.array([_text(value, of_numbers) for value in values] + [None], dtype=object)
    return pd.Series(texts[codes], dtype=object)  # -1, the last: missing


def _text(value: Any, of_numbers: bool) -> str:
    if isinstance(value, bool | np.bool_) and of_numbers:
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def place(sides: Sequence[Side], reference: Sequence[int] = (0,)) -> list[Floats]:
    """Put rows in a space in which a full range and another label are both one apart (L2).

    Numbers are scaled by the range of the sides of `reference`; a missing one lies at the middle,
    with an indicator beside it. Labels have an indicator each, divided by the root of two.

    Returns
    -------
    list of ndarray of shape (n_rows, n_dimensions)
    """
    known = pd.concat([sides[number].numbers for number in reference])
    # Divided first: the range of numbers near the largest float is none.
    unit = known.abs().max().where(lambda largest: largest > 1e300, 1.0)
    low, high = (known.min() / unit).fillna(0.0), (known.max() / unit).fillna(0.0)
    span = (high - low).where(high > low, 1.0)
    scaled = [((side.numbers / unit - low) / span).to_numpy(dtype=np.float64) for side in sides]
    missing = [np.isnan(part) for part in scaled]
    some = np.logical_or.reduce([part.any(0) for part in missing])
    blocks = [
        [np.where(gap, 0.5, part), gap[:, some].astype(np.float64)]
        for part, gap in zip(scaled, missing, strict=True)
    ]
    most = _most_indicators(sides)
    for name in sides[0].labels.columns:
        codes = pd.concat([sides[number].labels[name] for number in reference])
        frequent = codes.value_counts().index[:most].sort_values()
        slots = [frequent.get_indexer(side.labels[name]) for side in sides]
        rest = any((slot < 0).any() for slot in slots)
        for block, slot in zip(blocks, slots, strict=True):
            indicators = np.zeros((len(slot), len(frequent) + rest))
            indicators[np.arange(len(slot)), slot] = np.sqrt(0.5)  # -1: the last, of the rest
            block.append(indicators)
    return [np.hstack(block) for block in blocks]


def n_dimensions(sides: Sequence[Side]) -> int:
    """Dimensions that :func:`place` makes at the most."""
    most = _most_indicators(sides)
    labels = sum(min(len(sides[0].texts[name]), most) + 1 for name in sides[0].labels)
    return 2 * sides[0].numbers.shape[1] + labels


def _most_indicators(sides: Sequence[Side]) -> int:
    """Indicators of a column of labels at the most."""
    labels = sides[0].labels.columns
    wanted = sum(min(len(sides[0].texts[name]), _LABELS) for name in labels)
    return _LABELS if wanted <= _INDICATORS else max(_INDICATORS // len(labels), 4)


def nearest(rows: Floats, queries: Floats, n_neighbors: int = 1) -> tuple[Floats, Any]:
    """Distances of each query to its nearest rows, and which they are, (n_queries, n_neighbors)."""
    algorithm = "brute" if rows.shape[1] > _KD_TREE else "kd_tree"
    index = NearestNeighbors(n_neighbors=n_neighbors, algorithm=algorithm).fit(rows)
    distances, places = index.kneighbors(queries)
    return distances, places
