"""What every sampled row must meet: ``synthesizer.sample(n, constraints=[...])``.

Where the tokens of the columns can tell, only those that can meet a constraint are drawn, and rows
are drawn again with the odds that the model gives to what was allowed, so that the rows that come
back follow the model's own distribution among those that meet all constraints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._codecs import FreshValues, Quantiles
from ._frames import as_booleans, to_frame
from ._possible import Possible, PossibleCombinations, PossiblePairs, token_ends
from ._protocols import Tokenizer

__all__ = ["Constraint", "FixedCombinations", "Inequality", "Predicate"]

Mask = npt.NDArray[np.bool_]


class Constraint(ABC):
    """What a row must meet; the base of all constraints.

    A constraint of your own needs :meth:`holds`; `Predicate` is shorter.

    Attributes
    ----------
    columns : sequence of column names
        Those that it is about; empty: any.
    """

    columns: Sequence[Hashable] = ()

    @abstractmethod
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

    def possible(self, tokenizer: Tokenizer) -> Possible | None:
        """Give what tells which tokens can meet it; None: nothing but the finished row does."""
        return None


class FixedCombinations(Constraint):
    """Only combinations of values that a table holds.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        At least two columns of the fitted table, as ``df[["education", "education.num"]]``. A
        fitted synthesizer keeps no rows, so they are given here. Missing cells are values. Numbers
        with so many values that they are learnt by intervals have no combinations: fit them with
        ``column_kinds={name: "categorical"}``.

    Examples
    --------
    >>> import pandas as pd
    >>> from tabgraa_sklearn.constraints import FixedCombinations
    >>> seen = pd.DataFrame({"city": ["Bern", "Lyon"], "country": ["CH", "FR"]})
    >>> FixedCombinations(seen).holds(seen.assign(country=["CH", "CH"]))
    array([ True, False])
    """

    def __init__(self, table: Any) -> None:
        frame, container = to_frame(table)
        if container.kind == "array":
            raise ValueError(
                "FixedCombinations needs a DataFrame with names of fitted columns; got an array."
            )
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

    def possible(self, tokenizer: Tokenizer) -> Possible | None:
        """Give what tells which tokens can meet it; None where these are too many to list."""
        first = {}
        for name in self.columns:
            number = tokenizer.schema_.position(name)
            if isinstance(tokenizer.codecs_[number], FreshValues):
                raise ValueError(
                    f"constraints: {self!r} names {name!r}, whose values are drawn anew."
                )
            if isinstance(tokenizer.codecs_[number], Quantiles):
                raise ValueError(
                    f"constraints: {self!r} names {name!r}, whose many values are learnt by "
                    f'intervals; fit with column_kinds={{{name!r}: "categorical"}}.'
                )
            if not tokenizer.codecs_[number].listed:
                return None
            ids = tokenizer.encode_column(name, self.table[name], unknown="mark")
            first[number] = ids[:, 0].astype(np.int64)
        known = np.logical_and.reduce([ids >= 0 for ids in first.values()])
        if not known.any():
            raise ValueError(f"constraints: {self!r} has no combination that fit has seen.")
        sizes = {column: tokenizer.codecs_[column].sizes[0] for column in first}
        return PossibleCombinations({c: ids[known] for c, ids in first.items()}, sizes)


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
            try:  # pandas may know one way round only
                compared = high > low if self.strict else high >= low
            except TypeError:
                raise ValueError(
                    f"constraints: {self!r} compares columns of dtypes {low.dtype} and "
                    f"{high.dtype}."
                ) from error
        met[there] = compared.to_numpy(dtype=bool)
        return met

    def possible(self, tokenizer: Tokenizer) -> Possible | None:
        """Give what tells which tokens can meet it; None where these are too many to list."""
        numbers = [tokenizer.schema_.position(name) for name in self.columns]
        for name in self.columns:
            if not tokenizer.schema_[name].has_numbers:
                raise ValueError(
                    f"constraints: {self!r} names {name!r}, which holds no numbers or times."
                )
            if tokenizer.schema_[name].cells.form == "string":
                raise ValueError(
                    f"constraints: {self!r} compares {name!r}, which is stored as strings; convert "
                    "it to numbers or dates before fit."
                )
        codecs = [tokenizer.codecs_[number] for number in numbers]
        if not all(codec.listed for codec in codecs):
            return None
        ends = [token_ends(codec) for codec in codecs]
        (least, _), (_, most) = ends
        empty = least.isna().to_numpy()[:, None] | most.isna().to_numpy()[None, :]
        pairs = pd.MultiIndex.from_product([range(len(least)), range(len(most))])
        table = pd.DataFrame(
            {
                self.low: least.iloc[pairs.get_level_values(0)].reset_index(drop=True),
                self.high: most.iloc[pairs.get_level_values(1)].reset_index(drop=True),
            }
        )
        met = self.holds(table)
        matrix = met.reshape(len(least), len(most)) | empty
        return PossiblePairs(numbers[0], numbers[1], matrix)


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

    def __repr__(self) -> str:
        return f"Predicate({self.name or getattr(self.function, '__name__', '...')})"

    def holds(self, frame: pd.DataFrame) -> Mask:
        """Say which rows meet it, as a bool for each."""
        met = self.function(frame)
        try:
            return as_booleans(met, len(frame))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"constraints: {self!r} must give one bool for each of {len(frame)} rows; {error}"
            ) from error


def _plain(cells: pd.Series) -> pd.Series:
    """Give cells as objects that compare by value, whatever their dtype."""
    return cells.astype(object).where(cells.notna(), None)
