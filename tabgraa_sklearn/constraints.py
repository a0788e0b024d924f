"""What every sampled row must meet: ``synthesizer.sample(n, constraints=[...])``.

Where the tokens of the columns can tell, only those that can meet a constraint are drawn, and rows
are drawn again with the odds that the model gives to what was allowed, so that the rows that come
back follow the model's own distribution among those that meet all constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._codecs import Codec, FreshValues, Quantiles
from ._frames import to_frame
from ._tokenizer import TableTokenizer

__all__ = ["Constraint", "FixedCombinations", "Inequality", "Predicate"]

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]


class Constraint:
    """What a row must meet; the base of all constraints.

    A constraint of your own needs `columns` and :meth:`holds`; `Predicate` is shorter.

    Attributes
    ----------
    columns : list of column names
        Those that it is about; empty: any.
    """

    columns: list[Hashable]

    def holds(self, frame: pd.DataFrame) -> Mask:
        """Say which rows meet it.

        Parameters
        ----------
        frame : DataFrame of shape (n_rows, n_columns)
            All columns of the table, in its dtypes.

        Returns
        -------
        ndarray of shape (n_rows,), bool
        """
        raise NotImplementedError

    def possible(self, tokenizer: TableTokenizer) -> Possible | None:
        """Give what tells which tokens can meet it; None: nothing but the finished row does."""
        return None


class Possible:
    """Which tokens of a column can still meet a constraint, given those drawn before."""

    def columns(self) -> list[int]:
        """Give the numbers of the columns concerned."""
        raise NotImplementedError

    def mask(self, column: int, known: dict[int, Ids], n_rows: int) -> Mask:
        """Say which first digits of a column are possible.

        Parameters
        ----------
        column : int
        known : dict of {int: ndarray of shape (n_rows,)}
            First digits of columns concerned that are drawn already.
        n_rows : int

        Returns
        -------
        ndarray of shape (n_rows, size of the first digit), bool
        """
        raise NotImplementedError


class FixedCombinations(Constraint):
    """Only combinations of values that a table holds.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        At least two columns of the fitted table, as ``df[["education", "education.num"]]``. A
        fitted synthesizer keeps no rows, so they are given here. Missing cells are values.

    Examples
    --------
    >>> import pandas as pd
    >>> from tabgraa_sklearn.constraints import FixedCombinations
    >>> seen = pd.DataFrame({"city": ["Bern", "Lyon"], "country": ["CH", "FR"]})
    >>> FixedCombinations(seen).holds(seen.assign(country=["CH", "CH"]))
    array([ True, False])
    """

    def __init__(self, table: Any) -> None:
        frame, _ = to_frame(table)
        if frame.shape[1] < 2 or len(frame) == 0:
            raise ValueError(
                "FixedCombinations needs a table of at least one row and two columns; got shape "
                f"{frame.shape}."
            )
        self.table = frame.drop_duplicates(ignore_index=True)
        self.columns = list(frame.columns)

    def __repr__(self) -> str:
        return f"FixedCombinations({self.columns}, {len(self.table)} combinations)"

    def holds(self, frame: pd.DataFrame) -> Mask:
        """Say which rows meet it, as a bool for each."""
        both = pd.concat([self.table, frame[self.columns]], ignore_index=True)
        keys = [pd.factorize(_plain(both[name]))[0] for name in self.columns]
        group = pd.DataFrame(np.column_stack(keys)).groupby(list(range(len(keys)))).ngroup()
        known = group[: len(self.table)]
        return np.asarray(group[len(self.table) :].isin(known))

    def possible(self, tokenizer: TableTokenizer) -> Possible:
        """Give what tells which tokens can meet it."""
        first = {}
        for name in self.columns:
            number = tokenizer.schema_.position(name)
            if isinstance(tokenizer.codecs_[number], FreshValues):
                raise ValueError(
                    f"constraints: {self!r} names {name!r}, whose values are drawn anew."
                )
            ids = tokenizer.encode_column(name, self.table[name], unknown="mark")
            first[number] = ids[:, 0].astype(np.int64)
        known = np.logical_and.reduce([ids >= 0 for ids in first.values()])
        if not known.any():
            raise ValueError(f"constraints: {self!r} has no combination that fit has seen.")
        sizes = {column: tokenizer.codecs_[column].sizes[0] for column in first}
        return _PossibleCombinations({c: ids[known] for c, ids in first.items()}, sizes)


class _PossibleCombinations(Possible):
    def __init__(self, combinations: dict[int, Ids], sizes: dict[int, int]) -> None:
        self.combinations, self.sizes = combinations, sizes

    def columns(self) -> list[int]:
        return list(self.combinations)

    def mask(self, column: int, known: dict[int, Ids], n_rows: int) -> Mask:
        tokens = self.combinations[column]
        if not known:
            mask = np.zeros((1, self.sizes[column]), dtype=bool)
            mask[0, tokens] = True
            return np.repeat(mask, n_rows, axis=0)
        drawn = np.column_stack(list(known.values()))
        there = np.column_stack([self.combinations[other] for other in known])
        # Rows that were drawn alike are looked up once.
        distinct, place = np.unique(drawn, axis=0, return_inverse=True)
        mask = np.zeros((len(distinct), self.sizes[column]), dtype=bool)
        for number, row in enumerate(distinct):
            mask[number, tokens[(there == row).all(1)]] = True
        return mask[place.ravel()]


class Inequality(Constraint):
    """One column of numbers, dates or durations is at most another one.

    Parameters
    ----------
    low, high : column names
    strict : bool, default=False
        Whether they must differ.

    Notes
    -----
    A row in which one of the two is missing meets it.

    Examples
    --------
    >>> import pandas as pd
    >>> from tabgraa_sklearn.constraints import Inequality
    >>> Inequality("start", "end").holds(pd.DataFrame({"start": [1, 5], "end": [3, 4]}))
    array([ True, False])
    """

    def __init__(self, low: Hashable, high: Hashable, *, strict: bool = False) -> None:
        self.low, self.high, self.strict = low, high, strict
        self.columns = [low, high]

    def __repr__(self) -> str:
        return f"Inequality({self.low!r} {'<' if self.strict else '<='} {self.high!r})"

    def holds(self, frame: pd.DataFrame) -> Mask:
        """Say which rows meet it, as a bool for each."""
        low, high = frame[self.low], frame[self.high]
        missing = (low.isna() | high.isna()).to_numpy()
        met = np.ones(len(frame), dtype=bool)
        there = ~missing
        low, high = low[there], high[there]
        try:
            compared = low < high if self.strict else low <= high
        except TypeError as error:
            raise ValueError(
                f"constraints: {self!r} compares columns of dtypes {low.dtype} and {high.dtype}."
            ) from error
        met[there] = compared.to_numpy(dtype=bool)
        return met

    def possible(self, tokenizer: TableTokenizer) -> Possible:
        """Give what tells which tokens can meet it."""
        numbers = [tokenizer.schema_.position(name) for name in self.columns]
        ends = []
        for name, number in zip(self.columns, numbers, strict=True):
            if not tokenizer.schema_[name].has_numbers:
                raise ValueError(
                    f"constraints: {self!r} names {name!r}, which holds no numbers or times."
                )
            ends.append(_token_ends(tokenizer.codecs_[number]))
        (least, _), (_, most) = ends
        empty = least.isna().to_numpy()[:, None] | most.isna().to_numpy()[None, :]
        pairs = pd.MultiIndex.from_product([range(len(least)), range(len(most))])
        table = pd.DataFrame(
            {
                "low": least.iloc[pairs.get_level_values(0)].reset_index(drop=True),
                "high": most.iloc[pairs.get_level_values(1)].reset_index(drop=True),
            }
        )
        met = Inequality("low", "high", strict=self.strict).holds(table)
        matrix = met.reshape(len(least), len(most)) | empty
        return _PossiblePairs(numbers[0], numbers[1], matrix)


class _PossiblePairs(Possible):
    def __init__(self, low: int, high: int, matrix: Mask) -> None:
        self.low, self.high, self.matrix = low, high, matrix

    def columns(self) -> list[int]:
        return [self.low, self.high]

    def mask(self, column: int, known: dict[int, Ids], n_rows: int) -> Mask:
        matrix = self.matrix if column == self.high else self.matrix.T
        if not known:
            return np.repeat(matrix.any(0, keepdims=True), n_rows, axis=0)
        (drawn,) = known.values()
        return np.asarray(matrix[drawn])


class Predicate(Constraint):
    """Whatever a function says of rows.

    Parameters
    ----------
    function : callable
        Takes a DataFrame with all columns of the table and gives one bool for each row.
    name : str, optional
        What messages call it.

    Examples
    --------
    >>> import pandas as pd
    >>> from tabgraa_sklearn.constraints import Predicate
    >>> adult = Predicate(lambda rows: rows["age"] >= 18, name="of age")
    >>> adult.holds(pd.DataFrame({"age": [17, 18]}))
    array([False,  True])
    """

    def __init__(self, function: Callable[[pd.DataFrame], Any], name: str | None = None) -> None:
        if not callable(function):
            raise ValueError(f"Predicate needs a function of a DataFrame; got {function!r}.")
        self.function, self.name = function, name
        self.columns = []

    def __repr__(self) -> str:
        return f"Predicate({self.name or getattr(self.function, '__name__', '...')})"

    def holds(self, frame: pd.DataFrame) -> Mask:
        """Say which rows meet it, as a bool for each."""
        met = np.asarray(self.function(frame))
        if met.shape != (len(frame),) or met.dtype.kind not in "bO":
            raise ValueError(
                f"constraints: {self!r} must give one bool for each of {len(frame)} rows; got an "
                f"array of shape {met.shape} and dtype {met.dtype}."
            )
        return np.asarray(pd.Series(met).fillna(False).astype(bool))


def _plain(cells: pd.Series) -> pd.Series:
    """Give cells as objects that compare by value, whatever their dtype."""
    return cells.astype(object).where(cells.notna(), None)


def _token_ends(codec: Codec) -> tuple[pd.Series, pd.Series]:
    """Give the least and the greatest cell of each first token; missing for that of missing."""
    size = codec.sizes[0]
    first = np.arange(size)
    if not isinstance(codec, Quantiles):
        cells = codec.decode(first[:, None], np.zeros(size))
        return cells, cells
    at_least = np.column_stack([first, np.zeros(size, dtype=np.int64)])
    last = np.where(first < codec.n_bins, codec.n_levels - 1, 0)
    # A hair inside of the cell: at its very ends decode may give the extreme of the column.
    hair = 0.5 / 8191
    low = codec.decode(at_least, np.full(size, hair))
    high = codec.decode(np.column_stack([first, last]), np.full(size, 1.0 - hair))
    return low, high
