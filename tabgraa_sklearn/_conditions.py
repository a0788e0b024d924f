"""What a user asks of rows, as tokens that are given and tokens that are allowed."""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ._cells import DateStringCells, DecimalCells, TimeCells
from ._codecs import Categories, Codec, FreshValues, nearest
from ._drawing import Wanted
from ._frames import to_frame
from ._given_cells import as_cells, as_time
from ._joining import filled_cells
from ._possible import Possible
from ._protocols import Tokenizer
from ._schema import Column
from .constraints import Constraint

__all__ = [
    "Request",
    "all_hold",
    "check_cells",
    "check_cells_together",
    "check_constraints",
    "constrain",
    "given_tokens",
    "order_for",
    "parse_conditions",
    "requests_of_cells",
    "restore_cells",
    "tokens_of_values",
]

Mask = npt.NDArray[np.bool_]
Allowed = npt.NDArray[Any]  # a mask of tokens, or whatever else a codec says of them


@dataclass
class Request:
    """Rows of which the same columns are given.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Where they stand in the result.
    tokens : ndarray of shape (n_rows, n_digits)
        Those of given cells.
    given : frozenset of int
        Columns whose cells are given.
    allowed : dict of {int: ndarray of shape (first, second or 1)}
        Tokens that other columns may take.
    cells : DataFrame of shape (n_rows, n_given)
        The given cells as they came, which tokens may stand for inexactly.
    limits : dict of {name: (low, high)}
        Ranges, in the column's numbers.
    choices : dict of {name: Series}
        Sets of numbers or times, the cells as they were given.
    turn : int
        Which of the values of a set that share a token comes first, and where numbers of a range
        that no token stands for begin.
    alike : bool
        Whether the same is asked of every row.
    constraints : list of Constraint
        What the finished rows must meet.
    possible : list of Possible
        What tells which tokens can meet them.
    """

    rows: npt.NDArray[np.int64]
    tokens: npt.NDArray[Any]
    given: frozenset[int]
    allowed: dict[int, Allowed] = field(default_factory=dict)
    cells: pd.DataFrame | None = None
    limits: dict[Hashable, tuple[Any, Any]] = field(default_factory=dict)
    choices: dict[Hashable, pd.Series] = field(default_factory=dict)
    turn: int = 0
    alike: bool = True
    constraints: list[Constraint] = field(default_factory=list)
    possible: list[Possible] = field(default_factory=list)

    def wanted(self, chosen: npt.NDArray[np.int64]) -> Wanted:
        """Give what is asked of some of the rows, by their place among `rows`."""
        return Wanted(
            torch.from_numpy(self.tokens[chosen].astype(np.int64)),
            self.given,
            {column: torch.from_numpy(mask) for column, mask in self.allowed.items()},
            torch.ones(len(chosen), dtype=torch.float64),
            self.possible,
        )

    def repeated(self, times: int) -> Request:
        """Ask for each of the rows so often, one after the other."""
        places = np.repeat(np.arange(len(self.rows)), times)
        cells = None
        if self.cells is not None:
            cells = self.cells.iloc[places].reset_index(drop=True)
        return replace(self, rows=np.arange(len(places)), tokens=self.tokens[places], cells=cells)

    def restore(
        self,
        frame: pd.DataFrame,
        tokenizer: Tokenizer,
        chosen: npt.NDArray[np.int64] | None = None,
    ) -> pd.DataFrame:
        """Put the cells that were given where tokens stand for them inexactly.

        The frame's rows are those `chosen`, by their place among `rows`; None: all.
        """
        for name, (low, high) in self.limits.items():
            column = tokenizer.schema_[name]
            drawn, missing = column.to_numbers(frame[name])
            codec = tokenizer.codecs_[tokenizer.schema_.position(name)]
            first = 0 if chosen is None or len(chosen) == 0 else int(chosen[0])
            drawn = codec.within(drawn, low, high, self.turn + first)
            frame[name] = column.from_numbers(np.clip(drawn, low, high), missing)
        for name, choices in self.choices.items():
            codec = tokenizer.codecs_[tokenizer.schema_.position(name)]
            frame[name] = _chosen(codec, frame[name], choices, self.turn)
        if self.cells is not None:
            for name in self.cells.columns:
                codec = tokenizer.codecs_[tokenizer.schema_.position(name)]
                if codec.inexact:
                    cells = self.cells[name]
                    cells = cells if chosen is None else cells.iloc[chosen]
                    frame[name] = _as_dtype(cells, frame[name].dtype, codec.column)
        return frame


def constrain(requests: list[Request], constraints: list[Constraint], tokenizer: Tokenizer) -> None:
    """Ask that rows meet constraints, too.

    Where a given number, or the end of a range, lies between the values that there are tokens for,
    a token says too little of it: the finished rows decide.

    Raises
    ------
    ValueError
        Where what is asked of a row leaves nothing that meets one of them.
    """
    rules = [each.possible(tokenizer) for each in constraints]
    for request in requests:
        untold = _untold(request, tokenizer)
        request.constraints, request.possible = constraints, []
        _check_given(request, tokenizer)
        for constraint, rule in zip(constraints, rules, strict=True):
            if rule is not None and not untold & set(rule.columns()):
                _check_allowed(request, constraint, rule, tokenizer)
                request.possible.append(rule)


def all_hold(constraints: list[Constraint], frame: pd.DataFrame) -> Mask:
    """Say which rows meet all constraints, each of which is asked on rows of its own."""
    met = np.ones(len(frame), dtype=bool)
    for constraint in constraints:
        met &= np.asarray(constraint.holds(frame.copy()), dtype=bool)
    return met


def check_cells_together(
    cells: pd.DataFrame,
    token_ids: npt.NDArray[Any],
    constraints: list[Constraint],
    tokenizer: Tokenizer,
) -> None:
    """Raise where given cells of rows, some of which may be missing, break a constraint."""
    for constraint in constraints:
        constraint.possible(tokenizer)  # raises where it is about columns that it cannot be about
        names = list(constraint.columns)
        if not names or not set(names) <= set(cells.columns):
            continue
        rows = np.flatnonzero(cells[names].notna().all(axis=1))
        if len(rows):
            own = cells.iloc[rows][names].reset_index(drop=True)
            given = frozenset(tokenizer.schema_.position(name) for name in names)
            request = Request(
                rows, token_ids[rows], given, cells=own, alike=False, constraints=[constraint]
            )
            _check_given(request, tokenizer)


def _untold(request: Request, tokenizer: Tokenizer) -> set[int]:
    """Give the columns of which tokens tell too little of the numbers that are asked for."""
    found = set()
    given = {} if request.cells is None else dict(request.cells.items())
    for name in {*request.limits, *request.choices, *given}:
        column, number = tokenizer.schema_[name], tokenizer.schema_.position(name)
        if not column.has_numbers:
            continue
        if name in request.limits:
            low, high = (np.array([end]) for end in request.limits[name])
        else:
            cells = request.choices[name] if name in request.choices else given[name]
            cells = cells[cells.notna()].drop_duplicates(ignore_index=True)
            low = high = column.to_numbers(cells)[0]
            back = column.from_numbers(low, np.zeros(len(low), dtype=bool))
            if (back.astype(object) != cells.astype(object)).any():  # off the column's grid
                found.add(number)
        if tokenizer.codecs_[number].untold(low, high).any():
            found.add(number)
    return found


def _check_given(request: Request, tokenizer: Tokenizer) -> None:
    """Raise where the given cells of a row are all that a constraint is about, and break it."""
    names = tokenizer.schema_.names
    given = {names[column] for column in request.given}
    known = [c for c in request.constraints if c.columns and given.issuperset(c.columns)]
    if not known:
        return
    places = np.arange(1 if request.alike else len(request.rows))
    tokens = np.maximum(request.tokens[places], 0)
    frame = tokenizer.decode(tokens, np.full((len(places), len(names)), 0.5))
    frame = replace(request, limits={}, choices={}).restore(frame, tokenizer, places)
    for constraint in known:
        broken = ~all_hold([constraint], frame)
        if broken.any():
            cells = frame[list(constraint.columns)].iloc[int(broken.argmax())].to_dict()
            raise ValueError(
                f"conditions contradict constraints: {constraint!r} does not hold for {cells}."
            )


def _check_allowed(
    request: Request, constraint: Constraint, rule: Possible, tokenizer: Tokenizer
) -> None:
    """Raise where none of what is allowed of the columns of a constraint can meet it."""
    allowed: dict[int, Mask] = {}
    for column in rule.columns():
        if column in request.allowed:
            allowed[column] = np.any(request.allowed[column] > 0, axis=1)
        elif column in request.given and request.alike:
            name = tokenizer.schema_.names[column]
            first = request.tokens[0, tokenizer.digits(name)][0]
            allowed[column] = np.arange(tokenizer.codecs_[column].sizes[0]) == int(first)
    if not rule.some(allowed):
        if not allowed:
            raise ValueError(f"constraints: no values that were seen in fit meet {constraint!r}.")
        names = tokenizer.schema_.names[list(allowed)].tolist()
        raise ValueError(
            f"conditions contradict constraints: no row that meets {constraint!r} has what is "
            f"asked of {names}."
        )


def order_for(order: list[int], request: Request) -> list[int]:
    """Give the columns as they are drawn: given ones, those with a choice, the rest."""
    return sorted(
        order, key=lambda column: (column not in request.given, column not in request.allowed)
    )


def check_cells(conditions: Any, n_samples: int, tokenizer: Tokenizer) -> pd.DataFrame:
    """Give `conditions` of ``sample`` that are no dict as a frame of given cells.

    Raises
    ------
    ValueError
        Where it is none, has no rows or others than `n_samples`, or names an unknown column.
    """
    if not hasattr(conditions, "columns"):
        raise ValueError(
            "conditions must be a dict of {column: value, set, range or shares} or a "
            f"DataFrame of given cells; got {type(conditions).__name__}."
        )
    frame, _ = to_frame(conditions)
    if len(frame) == 0:
        raise ValueError("conditions must have at least one row; got none.")
    if n_samples not in (1, len(frame)):
        raise ValueError(
            f"n_samples must be 1 or the number of rows of conditions, {len(frame)}; got "
            f"{n_samples}."
        )
    _check_names(frame.columns, tokenizer)
    twice = frame.columns[frame.columns.duplicated()].unique().tolist()
    if twice:
        raise ValueError(f"conditions must name each column once; repeated are {twice}.")
    cells = {name: as_cells(tokenizer.schema_[name], frame[name]) for name in frame.columns}
    return pd.DataFrame(cells, columns=frame.columns, index=frame.index)


def parse_conditions(
    conditions: Mapping[Hashable, Any], n_samples: int, tokenizer: Tokenizer, seed: int
) -> list[Request]:
    """Read a dict of conditions.

    Raises
    ------
    ValueError
        Where a column is unknown or no row can meet what is asked; the message names both.
    """
    _check_names(conditions, tokenizer)
    shared = {name: value for name, value in conditions.items() if isinstance(value, Mapping)}
    plain = {name: value for name, value in conditions.items() if name not in shared}
    base = _request(plain, np.arange(n_samples), tokenizer)
    requests = [base]
    random = np.random.default_rng([seed, 2])
    base.turn = int(random.integers(1 << 31))
    for name, shares in shared.items():
        requests = [
            part
            for request in requests
            for part in _split(request, name, shares, tokenizer, random)
        ]
    return [request for request in requests if len(request.rows)]


def check_constraints(constraints: Any, tokenizer: Tokenizer) -> list[Constraint]:
    """Read the parameter `constraints` of ``sample``.

    Raises
    ------
    ValueError
        Where it is no list of constraints, or one names an unknown column.
    """
    if isinstance(constraints, Constraint) or not isinstance(constraints, list | tuple):
        raise ValueError(
            f"constraints must be a list of constraints; got {type(constraints).__name__}."
        )
    known = tokenizer.schema_.names
    for constraint in constraints:
        if not isinstance(constraint, Constraint):
            raise ValueError(
                "constraints must hold objects of tabgraa_sklearn.constraints; got "
                f"{constraint!r}. A function of rows goes into Predicate."
            )
        unknown = [name for name in constraint.columns if name not in known]
        if unknown:
            raise ValueError(
                f"constraints: {constraint!r} names unknown columns {unknown}; the columns are "
                f"{known.tolist()}."
            )
    return list(constraints)


def given_tokens(
    frame: pd.DataFrame, tokenizer: Tokenizer, *, strict: bool
) -> tuple[npt.NDArray[np.int64], Mask]:
    """Give the tokens of the cells that are there.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, any of the columns)
    strict : bool
        Whether a cell without a token is an error; else it is passed over.

    Returns
    -------
    tokens : ndarray of shape (n_rows, n_digits)
        -1 where there is none.
    known : ndarray of shape (n_rows, n_columns)
    """
    n_digits = len(tokenizer.digit_sizes)
    tokens = np.full((len(frame), n_digits), -1, dtype=np.int64)
    known = np.zeros((len(frame), len(tokenizer.codecs_)), dtype=bool)
    for name in frame.columns:
        number = tokenizer.schema_.position(name)
        there = frame[name].notna().to_numpy()
        if not there.any():
            continue
        cells = frame[name][there]
        if strict:
            _check_bounds(tokenizer.schema_[name], cells)
        ids = tokenizer.encode_column(name, cells, unknown="raise" if strict else "mark")
        tokens[np.ix_(there, np.arange(n_digits)[tokenizer.digits(name)])] = ids
        known[there, number] = ids[:, 0] >= 0
    return tokens, known


def tokens_of_values(tokenizer: Tokenizer) -> dict[int, Allowed]:
    """Give which tokens of a column are not its missing cell, where it has one among others."""
    allowed = {}
    for number, codec in enumerate(tokenizer.codecs_):
        if codec.has_missing and codec.missing > 0:
            allowed[number] = codec.everything(missing=False)
    return allowed


def restore_cells(drawn: pd.DataFrame, given: pd.DataFrame, tokenizer: Tokenizer) -> pd.DataFrame:
    """Put given cells where tokens stand for them inexactly; missing ones are as drawn."""
    for name in given.columns:
        codec = tokenizer.codecs_[tokenizer.schema_.position(name)]
        there = given[name].notna().to_numpy()
        if there.any() and codec.inexact:
            cells = _as_dtype(given[name].reset_index(drop=True), drawn[name].dtype, codec.column)
            drawn[name] = filled_cells(cells, drawn[name], ~there)
    return drawn


def requests_of_cells(frame: pd.DataFrame, tokenizer: Tokenizer) -> list[Request]:
    """Ask for the rows of a frame, of any of the columns, whose missing cells are to be drawn.

    Those of which the same cells are there are asked for together.
    """
    tokens, known = given_tokens(frame, tokenizer, strict=True)
    patterns, group = np.unique(known, axis=0, return_inverse=True)
    requests = []
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(group.ravel() == number)
        given = frozenset(np.flatnonzero(pattern).tolist())
        names = [tokenizer.schema_.names[column] for column in sorted(given)]
        requests.append(
            Request(
                rows,
                tokens[rows],
                given,
                cells=frame.iloc[rows][names].reset_index(drop=True),
                alike=False,
            )
        )
    return requests


def _check_names(names: Any, tokenizer: Tokenizer) -> None:
    known = tokenizer.schema_.names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"conditions name unknown columns {unknown}; the columns are {known.tolist()}."
        )


def _request(
    conditions: Mapping[Hashable, Any], rows: npt.NDArray[np.int64], tokenizer: Tokenizer
) -> Request:
    """Read a dict without shares."""
    tokens = np.full((1, len(tokenizer.digit_sizes)), -1, dtype=np.int64)
    request = Request(rows, tokens, frozenset())
    given, cells = set(), {}
    for name, value in conditions.items():
        number = tokenizer.schema_.position(name)
        codec, column = tokenizer.codecs_[number], tokenizer.schema_[name]
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, tuple):
            request.allowed[number] = _range(codec, column, value, request)
        elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
            request.allowed[number] = _set(codec, column, list(value), request)
        else:
            cell = as_cells(column, pd.Series([value], dtype=object))
            given.add(number)
            tokens[0, tokenizer.digits(name)] = _encode(codec, column, cell)[0]
            cells[name] = pd.concat([cell] * max(len(rows), 1), ignore_index=True)
    request.given = frozenset(given)
    request.tokens = np.repeat(tokens, len(rows), axis=0)
    request.cells = pd.DataFrame(cells) if cells else None
    return request


def _split(
    request: Request,
    name: Hashable,
    shares: Mapping[Any, Any],
    tokenizer: Tokenizer,
    random: np.random.Generator,
) -> list[Request]:
    """Give each value of a column its share of the rows."""
    weights = np.array([_share(name, value, share) for value, share in shares.items()])
    if len(weights) == 0 or weights.sum() <= 0:
        raise ValueError(
            f"conditions[{name!r}] must hold at least one positive share; got {shares!r}."
        )
    # Rounded at random: of few rows each value gets its share on average.
    exact = np.cumsum(weights) / weights.sum() * len(request.rows)
    edges = np.floor(exact.round(9) + random.random()).astype(int).clip(max=len(request.rows))
    edges[-1] = len(request.rows)
    shuffled = random.permutation(len(request.rows))
    parts = []
    for value, start, stop in zip(shares, [0, *edges[:-1]], edges, strict=True):
        places = np.sort(shuffled[start:stop])
        one = _request({name: value}, request.rows[places], tokenizer)
        both = np.where(one.tokens >= 0, one.tokens, request.tokens[places])
        cells = [
            part.reset_index(drop=True)
            for part in (
                None if request.cells is None else request.cells.iloc[places],
                one.cells,
            )
            if part is not None
        ]
        parts.append(
            Request(
                request.rows[places],
                both,
                request.given | one.given,
                {**request.allowed, **one.allowed},
                pd.concat(cells, axis=1) if cells else None,
                {**request.limits, **one.limits},
                {**request.choices, **one.choices},
                request.turn,
            )
        )
    return parts


def _share(name: Hashable, value: Any, share: Any) -> float:
    known = isinstance(share, numbers.Real) and not isinstance(share, bool)
    if not known or not 0 <= float(share) < math.inf:
        raise ValueError(
            f"conditions[{name!r}][{value!r}] must be a share of at least 0; got {share!r}."
        )
    return float(share)


def _encode(codec: Codec, column: Column, cells: pd.Series) -> npt.NDArray[np.int64]:
    """Give the tokens of cells, or say which of them no row can have."""
    _check_bounds(column, cells[cells.notna()])
    try:
        ids = codec.encode(cells)
    except TypeError as error:
        raise ValueError(f"conditions[{column.name!r}] holds what is no cell: {error}.") from error
    if (ids < 0).any():
        value = cells.iloc[int((ids[:, 0] < 0).argmax())]
        what = "has no missing cells" if pd.isna(value) is True else f"never holds {value!r}"
        raise ValueError(f"conditions[{column.name!r}] is impossible: the column {what} in fit.")
    return ids


def _check_bounds(column: Column, cells: pd.Series) -> None:
    if column.bounds is None or len(cells) == 0 or not column.has_numbers:
        return
    raw, _ = column.read(cells)
    ends, _ = column.read(pd.Series(list(column.bounds), dtype=object))
    outside = (raw < ends[0]) | (raw > ends[1])
    if outside.any():
        value = cells.astype(object).iloc[int(outside.argmax())]
        raise ValueError(
            f"conditions[{column.name!r}] is impossible: {value!r} lies outside of what the column "
            f"held in fit, {column.bounds[0]!r} to {column.bounds[1]!r}."
        )


def _range(codec: Codec, column: Column, value: tuple[Any, ...], request: Request) -> Allowed:
    """Tokens of a range with both ends, an end of None being open."""
    if len(value) != 2:
        raise ValueError(
            f"conditions[{column.name!r}] must be a range (low, high), ends of None open; got "
            f"{value!r}. A set of values is a list."
        )
    low, high = (None if pd.api.types.is_scalar(end) and pd.isna(end) else end for end in value)
    if column.has_numbers:
        ends = [_end(column, end, is_low) for end, is_low in ((low, True), (high, False))]
        if column.bounds is None or ends[0] > ends[1]:
            raise ValueError(_empty(column, value))
        request.limits[column.name] = (ends[0], ends[1])
        inside = codec.between(ends[0], ends[1])
    elif np.isfinite(codec.base).any():
        places = _places(codec)
        inside = codec.everything(missing=False) & np.isfinite(places)
        for end, below in ((low, True), (high, False)):
            if end is not None:
                end = _seen(codec, column, end, below)
                ids = _encode(codec, column, pd.Series([end], dtype=object))[0]
                place = places[tuple(ids) if len(ids) == 2 else (ids[0], 0)]
                inside &= places >= place - 1e-12 if below else places <= place + 1e-12
    else:
        raise ValueError(
            f"conditions[{column.name!r}] is a range, but the column's values have no order; a set "
            "of values is a list."
        )
    if not (inside.size and (inside.dtype != bool or inside.any())):
        raise ValueError(_empty(column, value))
    return inside


def _seen(codec: Codec, column: Column, end: Any, below: bool) -> Any:
    """Give an end of a range of ordered categories as one that was seen, inside the range."""
    if not isinstance(column.dtype, pd.CategoricalDtype) or end not in column.dtype.categories:
        return end
    assert isinstance(codec, Categories)
    categories = column.dtype.categories
    places = np.sort(categories.get_indexer(pd.Index(codec.values)))
    place = int(categories.get_indexer(pd.Index([end]))[0])
    inside = places[places >= place][:1] if below else places[places <= place][-1:]
    if len(inside) == 0:
        raise ValueError(
            f"conditions[{column.name!r}] is impossible: no cell lies beyond {end!r} in fit."
        )
    return categories[inside[0]]


def _empty(column: Column, value: Any) -> str:
    held = (
        "" if column.bounds is None else f" It held {column.bounds[0]!r} to {column.bounds[1]!r}."
    )
    return f"conditions[{column.name!r}] is impossible: no cell lies in {value!r}.{held}"


def _end(column: Column, end: Any, is_low: bool) -> Any:
    """Give an end of a range as one of the column's numbers, inside the range."""
    if isinstance(end, np.floating):
        end = float(end)  # which is compared with cells of single precision as if it were one
    if column.bounds is None:
        return 0
    bound = column.bounds[0 if is_low else 1]
    if isinstance(bound, str):
        return _end_of_strings(column, bound if end is None else end, is_low)
    end = bound if end is None else as_time(column, end)
    if isinstance(column.cells, DecimalCells) and isinstance(end, float):
        end = Decimal(str(end))
    try:
        beyond = end < bound if is_low else end > bound
    except TypeError as error:
        raise ValueError(
            f"conditions[{column.name!r}] must be a range of cells of dtype {column.dtype}; got "
            f"{end!r}."
        ) from error
    end = bound if beyond else end
    if isinstance(end, float) and isinstance(bound, numbers.Integral):
        end = math.ceil(end) if is_low else math.floor(end)
    number = column.to_numbers(pd.Series([end], dtype=object))[0]
    if column.grid is None:
        return number[0]
    cell = column.from_numbers(number, np.zeros(1, dtype=bool)).iloc[0]
    if is_low and cell < end:
        return _after(number[0])
    if not is_low and cell > end:
        # Numbers count up from 0: below them there is nothing.
        return int(number[0]) - 1
    return number[0]


def _after(number: np.uint64) -> Any:
    """Give the next number; behind the last one is none of a column's."""
    return int(number) + 1 if number == np.iinfo(np.uint64).max else number + np.uint64(1)


def _end_of_strings(column: Column, end: Any, is_low: bool) -> Any:
    """Give an end of a range of numbers or dates that are stored as strings."""
    cells = column.cells
    if isinstance(cells, DateStringCells) and isinstance(end, datetime.date | np.datetime64):
        end = pd.Timestamp(end).strftime(cells.text_format)
    assert column.bounds is not None

    def value(cell: Any) -> Any:
        """Of a number what it is, of a date its raw number."""
        if isinstance(cells, DateStringCells):
            return int(column.read(pd.Series([cell], dtype=object))[0][0])
        column.read(pd.Series([str(cell)], dtype=object))  # raises where it is none
        return float(cell)

    low, high, wanted = (value(cell) for cell in (*column.bounds, end))
    inside = column.bounds[0] if wanted < low else column.bounds[1] if wanted > high else str(end)
    number = column.to_numbers(pd.Series([inside], dtype=object))[0]
    found = value(column.from_numbers(number, np.zeros(1, dtype=bool)).iloc[0])
    # Beyond an end of the column there is nothing, else the next number inside the range.
    if is_low:
        return _after(number[0]) if found < wanted and column.grid else number[0]
    return int(number[0]) - 1 if found > wanted and column.grid else number[0]


def _set(codec: Codec, column: Column, values: list[Any], request: Request) -> Allowed:
    """Tokens of a set of values; None among them allows missing cells."""
    if not values:
        raise ValueError(f"conditions[{column.name!r}] is an empty set of values.")
    if isinstance(codec, FreshValues):
        raise ValueError(
            f"conditions[{column.name!r}] must be one value: the column is taken for "
            f"{column.kind}, whose values are drawn anew."
        )
    cells = as_cells(column, pd.Series(values, dtype=object))
    if column.has_numbers:  # else 1 and True may be two values, which pandas takes for one
        cells = cells.drop_duplicates(ignore_index=True)
    ids = _encode(codec, column, cells)
    present = cells[cells.notna()]
    if column.has_numbers and len(present):
        request.choices[column.name] = present.reset_index(drop=True)
    return codec.chosen(ids)


def _chosen(codec: Codec, drawn: pd.Series, choices: pd.Series, turn: int) -> pd.Series:
    """Put cells of a set where their tokens were drawn; those that share a token take turns."""
    keys, of_drawn = (
        codec.encode(cells) @ np.array([1 << 32, 1])[: len(codec.sizes)]
        for cells in (choices, drawn)
    )
    order = np.argsort(keys, kind="stable")
    start, stop = (np.searchsorted(keys[order], of_drawn, side) for side in ("left", "right"))
    turns = (turn + np.arange(len(drawn))) % np.maximum(stop - start, 1)
    places = order[np.minimum(start + turns, len(order) - 1)]
    astray = start == stop  # rounded out of their cells
    if astray.any():
        numbers_, of_astray = (
            codec.column.to_numbers(part)[0] for part in (choices, drawn[astray])
        )
        rising = np.argsort(numbers_, kind="stable")
        places[astray] = rising[nearest(numbers_[rising], of_astray)]
    cells = pd.Series(choices.to_numpy(dtype=object)[places], index=drawn.index, dtype=object)
    there = drawn.notna()
    return _as_dtype(cells.where(there, drawn.astype(object)), drawn.dtype, codec.column)


def _places(codec: Codec) -> npt.NDArray[np.float64]:
    """Place of each cell on the axis, (first, second or 1)."""
    second = np.arange(codec.sizes[1]) if len(codec.sizes) == 2 else np.zeros(1)
    places: npt.NDArray[np.float64] = codec.base[:, None] + codec.step[:, None] * (second + 0.5)
    return places


def _as_dtype(cells: pd.Series, dtype: Any, column: Column) -> pd.Series:
    """Give cells the dtype of a column where they can take it."""
    reader = column.cells
    if isinstance(reader, TimeCells) and dtype.kind in "mM":
        # Which may not fit in nanoseconds: pandas takes the wrong ones for them then.
        return reader.from_raw(*reader.to_raw(cells.reset_index(drop=True)))
    try:
        return pd.Series(cells.to_numpy(dtype=object), dtype=dtype)
    except (TypeError, ValueError):
        return pd.Series(cells.array)
