"""A table as the texts of its cells, written in the tokens of a language model, and back."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._automata import Automaton, ClockGrammar, DigitGrammar, Trie
from ._cells import DurationCells, NumberCells, TimeCells
from ._codecs import Categories, Codec, FreshValues, NumberValues, make_codec
from ._schema import Column, Schema
from ._text_layout import TextLayout
from ._tokenizer import TableTokenizer

__all__ = ["TextTokenizer", "WrittenNumbers"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_MOST = 9 * 10**17  # larger numbers are not written digit by digit: 64 bits hold ten times this
_DECIMALS = 15  # of numbers with more, the last places are written as whole numbers
_SIGNIFICANT = 6  # digits of the spread of floats that have no last decimal
_KNOTS = 256  # values that a distribution is reported by
_ENDS = (",", "\n", ";", "|", "\t")
_WORDS = ("missing", "none", "nothing", "unknown", "empty")
_PER_DAY = {"D": 1, "s": 86_400, "ms": 86_400_000, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
_YEARS = (-354_285, 2_932_896)  # days since 1970 of the years 1000 to 9999


class WrittenNumbers(Codec):
    """Numbers of many values, each its own cell: whole numbers of the last place written.

    Attributes
    ----------
    low, high : int
        The least and the greatest, in units of the last place.
    decimals : int
        How many of the digits stand behind the point.
    """

    inexact = True
    listed = False

    def __init__(self, column: Column, numbers: Array, missing: Any, decimals: int | None) -> None:
        self.column = column
        self.has_missing = column.n_missing > 0
        self.allowed = None
        self.positions = [np.empty(0)]
        self.base = self.step = np.empty(0)
        self.per_day = 0  # ticks, of what is written as a point in time
        self.decimals, self.places, self.divisor = 0, 0, 0
        present = np.sort(numbers[~missing])
        grid = column.grid
        if grid is None:
            self.places = _places(present) if decimals is None else decimals
            most = max(abs(float(present[0])), abs(float(present[-1])), 1e-300)
            self.places = min(self.places, 14 - math.ceil(math.log10(most)), 300)
            self.decimals = self.places if 0 < self.places <= _DECIMALS else 0
            self.ends = present[[0, -1]]
        else:
            self._choose_unit(column, decimals)
        low, high = self._units(present[[0, -1]]).tolist()
        self.low, self.high = low, high
        self.stride = 1
        if grid is not None and self.divisor > 0 and grid.step % self.divisor == 0:
            self.stride = grid.step // self.divisor
        self.missing = self.high - self.low + 1
        self.sizes = (self.missing + self.has_missing,)
        places = np.linspace(0, len(present) - 1, _KNOTS).astype(np.int64)
        self.knots = np.unique(self._units(present[places]) - low)

    def _choose_unit(self, column: Column, decimals: int | None) -> None:
        """Choose what one step of the written number is worth, in the column's raw numbers."""
        grid, cells = column.grid, column.cells
        assert grid is not None and isinstance(cells, NumberCells)
        last = grid.origin + grid.step * grid.top
        share = math.gcd(grid.origin, grid.step)
        if isinstance(cells, DurationCells):
            self.divisor = share
        elif isinstance(cells, TimeCells):
            per_day = _PER_DAY.get(cells.unit, 0)
            if per_day and _YEARS[0] < grid.origin // per_day and last // per_day < _YEARS[1]:
                ticks = [1, 1440, *(86_400 * 10**k for k in range(10))]
                ticks = [n for n in ticks if n <= per_day and per_day % n == 0]
                fits = [n for n in ticks if share % (per_day // n) == 0]
                if fits:
                    self.per_day, self.divisor = fits[0], per_day // fits[0]
                    return
        else:
            known = cells.decimals or 0
            self.decimals = known if decimals is None else min(known, max(decimals, 0))
            self.divisor = 10 ** (known - self.decimals)
        many = self.decimals > _DECIMALS
        if many or not self.divisor or max(abs(grid.origin), abs(last)) // self.divisor >= _MOST:
            # Counted from the least, coarsely where there are too many.
            self.decimals, self.divisor = 0, -max(-(-(grid.top + 1) // _MOST), 1)

    def _units(self, numbers: Array) -> Ids:
        """Turn the column's numbers into units of the last place."""
        if self.divisor == 0:
            return np.rint(numbers * 10.0**self.places).astype(np.int64)
        if self.divisor < 0:
            return (numbers // np.uint64(-self.divisor)).astype(np.int64)
        assert self.column.grid is not None
        raw = self.column.grid.raw(numbers).astype(np.int64)
        units: Ids = (raw + self.divisor // 2) // self.divisor if self.divisor > 1 else raw
        return units

    def _numbers(self, units: Ids) -> Array:
        """Turn units of the last place into the column's numbers."""
        if self.divisor == 0:
            numbers = units / 10.0**self.places if self.places > 0 else units * 10.0**-self.places
            return np.clip(numbers, *self.ends)
        grid = self.column.grid
        assert grid is not None
        if self.divisor < 0:
            index = units.astype(np.uint64) * np.uint64(-self.divisor)
            return np.minimum(index, np.uint64(grid.top))
        raw = units * self.divisor
        return grid.index(raw.astype(np.uint64) if grid.unsigned else raw)

    def encode(self, series: pd.Series) -> Ids:
        numbers, missing = self.column.to_numbers(series)
        units = self._units(np.where(missing, self._numbers(np.array([self.low])), numbers))
        return self._mark_missing(np.clip(units - self.low, 0, self.missing - 1)[:, None], missing)

    def decode(self, ids: Ids, uniforms: Floats) -> pd.Series:
        codes = ids[:, 0].astype(np.int64)  # encoded cells may have too few bits for what they mean
        missing = codes >= self.missing
        units = np.where(missing, 0, codes) + self.low
        return self.column.from_numbers(self._numbers(units), missing)

    def everything(self, *, missing: bool = True) -> Array:
        """Give all cells as intervals of codes, both ends included, (n, 2)."""
        return np.array([[0, self.missing if missing and self.has_missing else self.missing - 1]])

    def chosen(self, ids: Ids) -> Array:
        codes = np.unique(ids[:, 0])
        return np.column_stack([codes, codes])

    def between(self, low: Any, high: Any) -> Array:
        dtype = np.float64 if self.column.grid is None else np.uint64
        if low > high:
            return np.empty((0, 2), dtype=np.int64)
        units = self._units(np.array([low, high], dtype=dtype)) - self.low
        return np.clip(units, 0, self.missing - 1)[None]

    def readings(self) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
        """Give up to 256 values of the column, and that none of them is missing."""
        values = self.decode(self.knots[:, None], np.zeros(len(self.knots)))
        return values, np.zeros(len(values), dtype=bool)

    def log_widths(self, ids: Ids) -> Floats:
        codes = ids[:, 0].astype(np.int64)
        is_cell = (codes >= 0) & (codes < self.missing)
        if self.divisor == 0:
            width: Any = -self.places * math.log(10.0)
        else:
            width = np.log(self._alike(np.where(is_cell, codes, 0) + self.low))
        return np.where(is_cell, width, 0.0)

    def _alike(self, units: Ids) -> Floats:
        """Count the column's numbers that are written alike."""
        grid = self.column.grid
        assert grid is not None
        if self.divisor < 0:
            return np.full(len(units), float(-self.divisor))
        first = units * self.divisor - self.divisor // 2 - grid.origin
        last = (first + self.divisor - 1) // grid.step
        # What lies beyond the ends is written as they are.
        top = min(grid.top, np.iinfo(np.int64).max)
        within = np.clip(last, 0, top) - np.clip(-(-first // grid.step), 0, top) + 1
        return np.maximum(within, 1).astype(np.float64)


class TextTokenizer(TableTokenizer):
    """Codes each cell as one whole number, and knows the text of each in tokens of a model.

    Every value of a category, every number as it is written, is a cell of its own; nothing is
    rounded unless `decimals` says so or floats have no last decimal.

    Parameters
    ----------
    language : transformers tokenizer
        Not kept after :meth:`fit`.
    decimals : int, optional
        Numbers are written with so many at the most.
    max_values : int, default=256
        Up to so many distinct numbers are a list; of more, any number of their range may come.
    column_kinds : dict of {column name: kind}, optional
        As in `TableTokenizer`.
    """

    def __init__(
        self,
        language: Any,
        *,
        decimals: int | None = None,
        max_values: int = 256,
        column_kinds: Mapping[Hashable, str] | None = None,
    ) -> None:
        super().__init__(max_values=max_values, column_kinds=column_kinds)
        self.decimals = decimals
        self._language = language

    def fit(self, frame: pd.DataFrame) -> TextTokenizer:
        """Learn the cells of a table that passes ``check_frame``, and write them."""
        super().fit(frame)
        self._layout = _write(self.codecs_, _Writer(self._language))
        del self._language
        return self

    def layout(self) -> TextLayout:
        """Give what the language model has to know."""
        return self._layout

    def _make_codecs(self, schema: Schema, frame: pd.DataFrame) -> list[Codec]:
        codecs: list[Codec] = []
        for column in schema:
            series = frame[column.name]
            learnt = column.kind not in ("identifier", "text")
            if learnt and column.has_numbers and column.n_distinct > self.max_values:
                numbers, missing = column.to_numbers(series)
                codecs.append(WrittenNumbers(column, numbers, missing, self.decimals))
                continue
            codecs.append(
                make_codec(
                    column,
                    series,
                    n_bins=self.n_bins,
                    n_levels=self.n_levels,
                    max_values=max(len(series), 1),
                    tail_weight=self.tail_weight,
                )
            )
        return codecs

    @property
    def _dtype(self) -> Any:
        return np.int64 if self.digit_sizes.max() > 2**31 - 1 else super()._dtype


class _Writer:
    """Pieces of text as tokens, each piece on its own, so that a text has one way to be written."""

    def __init__(self, language: Any) -> None:
        self.language = language
        self.vocabulary: dict[str, int] = language.get_vocab()
        self.begin = language.bos_token_id
        if self.begin is None:
            self.begin = language.eos_token_id
        self.characters = {mark: self.character(mark) for mark in "0123456789-.: "}
        if len(set(self.characters.values())) < len(self.characters):
            raise ValueError("backbone must have a tokenizer that knows each digit as a token.")

    def tokens(self, text: str) -> list[int]:
        try:
            return list(map(int, self.language.encode(text, add_special_tokens=False)))
        except TypeError as error:  # lone surrogates, of badly decoded files
            raise ValueError(
                f"X must hold text that can be encoded as UTF-8 for a text backbone; got {text!r}."
            ) from error

    def character(self, mark: str) -> int:
        """Give the token of one character."""
        written = self.language.tokenize(mark) if mark != " " else []
        names = [mark, "\u0120", "\u2581"] if mark == " " else [mark]
        for name in [*names, *written[-1:]]:
            if name in self.vocabulary:
                return int(self.vocabulary[name])
        if not (tokens := self.tokens(mark)):
            raise ValueError(
                f"backbone must have a tokenizer that has a token for each character; {mark!r} "
                "has none."
            )
        return tokens[-1]

    def spelled(self, text: str) -> list[int]:
        """Write a number character by character, as far as it consists of such."""
        if all(mark in self.characters for mark in text):
            return [self.characters[mark] for mark in f" {text}"]
        return self.tokens(f" {text}")


def _write(codecs: list[Codec], writer: _Writer) -> TextLayout:
    """Write all that rows of a table can hold."""
    listed = {number: _listed(codec, writer) for number, codec in enumerate(codecs) if codec.listed}
    used = {token for texts in listed.values() for text in texts for token in text}
    used |= set(writer.characters.values())
    end = _end(writer, used)
    names, automata = [], []
    spelled = _distinct([writer.tokens(f" {codec.column.name} is") for codec in codecs], writer)
    for number, (codec, name) in enumerate(zip(codecs, spelled, strict=True)):
        automaton: Automaton | None = None
        if number in listed:
            if len(listed[number]) > 1:
                automaton = Trie([[*text, end] for text in _distinct(listed[number], writer)])
        else:
            assert isinstance(codec, WrittenNumbers)
            name = [*name, writer.characters[" "]]
            automaton = _grammar(codec, writer, end)
        names.append(np.array(name, dtype=np.int64))
        automata.append(automaton)
    begin = end if writer.begin is None else int(writer.begin)
    return TextLayout([begin], names, automata, [int(codec.sizes[0]) for codec in codecs])


def _end(writer: _Writer, used: set[int]) -> int:
    """Choose a token behind cells that no cell contains."""
    candidates = [tokens[-1] for mark in _ENDS if len(tokens := writer.tokens(mark)) == 1]
    if writer.language.eos_token_id is not None:
        candidates.append(int(writer.language.eos_token_id))
    candidates += sorted(writer.vocabulary.values(), reverse=True)
    for token in candidates:
        if token not in used:
            return token
    raise ValueError("backbone must have a tokenizer with a token that no cell contains.")


def _listed(codec: Codec, writer: _Writer) -> list[list[int]]:
    """Write each cell of a list of values; a missing one comes last."""
    if isinstance(codec, FreshValues):
        texts = [writer.tokens(" present")] * codec.missing
    elif isinstance(codec, NumberValues):
        texts = [writer.spelled(text) for text in _numbers_as_text(codec)]
    else:
        assert isinstance(codec, Categories)
        # A comma ends most cells: it is part of a value only where it must be.
        texts = [writer.tokens(f" {value}") for value in list(codec.values)]
    if codec.has_missing:
        texts.append(_word(writer, texts, " "))
    return texts


def _numbers_as_text(codec: NumberValues) -> list[str]:
    column = codec.column
    cells = codec.column.from_numbers(codec.values, np.zeros(len(codec.values), dtype=bool))
    decimals = column.decimals if not isinstance(column.cells, TimeCells) else None
    if decimals and column.cells.form == "float":
        return [f"{float(cell):.{decimals}f}" for cell in cells]
    if column.cells.form == "float" and decimals == 0:
        return [str(int(cell)) for cell in cells]
    return [str(cell) for cell in cells]


def _word(writer: _Writer, cells: list[list[int]], space: str) -> list[int]:
    """Choose what stands for a missing cell: a word that parts from all cells where they begin.

    Where it is barred, its probability must go to all of them alike. A beginning that all have in
    common, such as a space, is no difference.
    """
    shared = min((_alike_at_first(cells[0], cell) for cell in cells[1:]), default=sys.maxsize)
    free = sorted(set(writer.vocabulary.values()) - set(writer.language.all_special_ids))
    words = (writer.tokens(f"{space}{word}") for word in _WORDS)
    for text in itertools.chain(words, ([*cells[0][:shared], token] for token in free)):
        if text and max((_alike_at_first(text, cell) for cell in cells), default=0) <= shared:
            return text
    raise ValueError("backbone must have a tokenizer with a token that no cell begins with.")


def _alike_at_first(text: list[int], other: list[int]) -> int:
    """Count the tokens that two texts begin with alike."""
    pairs = zip(text, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))


def _distinct(texts: list[list[int]], writer: _Writer) -> list[list[int]]:
    """Make texts that a tokenizer does not tell apart differ, by a number behind them."""
    seen: set[tuple[int, ...]] = set()
    result = []
    for text in texts:
        number, written = 1, text
        while tuple(written) in seen:
            number += 1
            written = text + [writer.characters[mark] for mark in f" - {number}"]
        seen.add(tuple(written))
        result.append(written)
    return result


def _grammar(codec: WrittenNumbers, writer: _Writer, end: int) -> Automaton:
    characters = writer.characters
    word = None
    if codec.has_missing:
        word = _word(writer, [[token] for token in characters.values()], "")
    ends = codec.low, codec.high, codec.stride
    if codec.per_day:
        return ClockGrammar(*ends, codec.per_day, characters, end, word)
    return DigitGrammar(*ends, codec.decimals, characters, end, word)


def _places(present: Floats) -> int:
    """Give how many decimals keep six digits of the spread of floats."""
    low, high = present[len(present) // 4] / 4, present[3 * len(present) // 4] / 4
    spread = high - low if high > low else present[-1] / 4 - present[0] / 4
    # Four times the spread may be more than there is.
    return _SIGNIFICANT - 1 - math.floor(math.log10(max(float(spread), 1e-300)) + math.log10(4))
