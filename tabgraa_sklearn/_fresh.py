"""Fresh identifiers and texts: like the real ones, but never one of them.

A model has nothing to learn from values of which every row has its own, and must not repeat
them. What is kept of the real ones is their look (templates, words that occur again) and their
hashes, so that a collision is seen. All draws are functions of one uniform number per cell.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tabgraa_sklearn._cells import IntegerCells, StringCells, UUIDCells
from tabgraa_sklearn._schema import Column

__all__ = ["Fresh", "make_fresh"]

Array = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]

_REDRAWS = 8
_SAMPLE = 20_000  # cells looked at to learn the templates
_MAX_TEMPLATES = 64
_MAX_WORDS = 200
_DIGITS = "0123456789"


@dataclass(frozen=True)
class Fresh:
    """Draws values of one column that were not seen in training.

    Attributes
    ----------
    column : Column
        An identifier or free text.
    seen : ndarray of uint64
        Sorted hashes of the real values.
    """

    column: Column
    seen: Hashes

    def draw(self, uniforms: npt.NDArray[np.float64]) -> Array:
        """Draw one value for each uniform number in [0, 1).

        Returns
        -------
        values : ndarray of shape (n,)
            A function of the uniform number alone: equal ones give equal values.
        """
        seeds = _mix(np.ascontiguousarray(uniforms, dtype=np.float64).view(np.uint64))
        values = self._make(seeds)
        for attempt in range(1, _REDRAWS + 1):
            again = np.flatnonzero(self._was_seen(values))
            if len(again) == 0:
                return values
            values[again] = self._make(_stream(seeds[again], 1_000_000 + attempt))
        while len(again := np.flatnonzero(self._was_seen(values))):
            values[again] = self._extend(values[again], seeds[again])
        return values

    def _was_seen(self, values: Array) -> npt.NDArray[np.bool_]:
        hashes = _hash_values(values)
        places = np.minimum(np.searchsorted(self.seen, hashes), len(self.seen) - 1)
        found: npt.NDArray[np.bool_] = self.seen[places] == hashes
        return found

    def _make(self, seeds: Hashes) -> Array:
        raise NotImplementedError

    def _extend(self, values: Array, seeds: Hashes) -> Array:
        """Make values that collided again and again different: one more digit at the end."""
        longer: Array = values + np.array(list(_DIGITS), dtype=object)[_pick(seeds, 2_000_000, 10)]
        return longer


@dataclass(frozen=True)
class FreshIntegers(Fresh):
    """Raw integers from `start` on; after the last real one for counters of rows."""

    start: int = 0
    width: int = 1

    def _make(self, seeds: Hashes) -> Array:
        offset = (_uniform(seeds, 0) * float(self.width)).astype(np.uint64)
        raw = offset + np.uint64(self.start % 2**64)
        assert isinstance(self.column.cells, IntegerCells)
        return raw if self.column.cells.unsigned else raw.view(np.int64)

    def _extend(self, values: Array, seeds: Hashes) -> Array:
        # The next number; the range is many times as wide as the table is long.
        return np.where(values < self.start + self.width - 1, values + 1, self.start)


@dataclass(frozen=True)
class FreshUUIDs(Fresh):
    """UUIDs of the version of the real ones."""

    version: int | None = 4

    def _make(self, seeds: Hashes) -> Array:
        high, low = _stream(seeds, 0).astype(object), _stream(seeds, 1).astype(object)
        make = np.frompyfunc(lambda a, b: uuid.UUID(int=(a << 64) | b, version=self.version), 2, 1)
        cells: Array = make(high, low)
        return cells


@dataclass(frozen=True)
class Template:
    """Strings of one look: at each position one of the characters seen there."""

    share: float
    alphabets: tuple[str, ...]

    def make(self, seeds: Hashes) -> Array:
        codes = np.empty((len(seeds), len(self.alphabets)), dtype=np.uint32)
        for place, alphabet in enumerate(self.alphabets):
            letters = np.array([ord(letter) for letter in alphabet], dtype=np.uint32)
            codes[:, place] = letters[_pick(seeds, 1 + place, len(letters))]
        if codes.size == 0:
            return np.full(len(seeds), "", dtype=object)
        return codes.view(f"U{codes.shape[1]}")[:, 0].astype(object)


@dataclass(frozen=True)
class FreshStrings(Fresh):
    """Strings by templates."""

    templates: tuple[Template, ...] = ()

    def _make(self, seeds: Hashes) -> Array:
        shares = np.cumsum([template.share for template in self.templates])
        which = np.searchsorted(shares / shares[-1], _uniform(seeds, 0), side="right")
        values = np.empty(len(seeds), dtype=object)
        for number, template in enumerate(self.templates):
            rows = np.flatnonzero(which == number)
            values[rows] = template.make(seeds[rows])
        return values


@dataclass(frozen=True)
class FreshText(Fresh):
    """Words of the column, as many as its texts have, at random."""

    words: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    lengths: tuple[int, ...] = ()

    def _make(self, seeds: Hashes) -> Array:
        words = np.array(self.words, dtype=object)
        cumulative = np.cumsum(self.weights)
        cumulative /= cumulative[-1]
        lengths = np.array(self.lengths)[_pick(seeds, 0, len(self.lengths))]
        values = np.full(len(seeds), "", dtype=object)
        for place in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > place)
            index = np.searchsorted(cumulative, _uniform(seeds[rows], 1 + place), side="right")
            values[rows] += ("" if place == 0 else " ") + words[index]
        return values


def make_fresh(column: Column, series: pd.Series) -> Fresh:
    """Learn what fresh values of a column look like.

    Parameters
    ----------
    column : Column
        Of kind "identifier" or "text".
    series : pandas.Series
        The real cells, at least one of them not missing.
    """
    present = series[series.notna().to_numpy()]
    cells = column.cells
    if isinstance(cells, IntegerCells):
        return _learn_integers(column, present, cells)
    values = np.asarray(pd.unique(present.astype(object)), dtype=object)
    if isinstance(cells, UUIDCells):
        versions = pd.Series(values[:_SAMPLE]).map(lambda cell: cell.version)
        mode = versions.mode()
        version = int(mode.iloc[0]) if len(mode) else None
        return FreshUUIDs(column, np.sort(_hash_values(values)), version)
    assert isinstance(cells, StringCells)
    strings = cells.to_strings(values)
    seen = np.sort(_hash_values(strings))
    if column.kind == "text":
        return _learn_text(column, seen, strings)
    return FreshStrings(column, seen, _learn_templates(strings))


def _learn_integers(column: Column, present: pd.Series, cells: IntegerCells) -> Fresh:
    raw, _ = cells.to_raw(present)
    n, low, high = len(raw), int(raw.min()), int(raw.max())
    # Wide enough that two of n draws hardly ever meet, but not absurd to look at.
    width = min(max(1000 * n * n, 1_000_000), 2**52)
    start = high + 1
    if column.counts_rows:
        width = min(width, cells.largest - high)
    else:
        start, width = low, min(max(width, high - low + 1), cells.largest - low + 1)
    if width < 10 * n:
        raise ValueError(
            f"Column {column.name!r} cannot be an identifier: dtype {column.dtype} has no room for "
            "fresh numbers. Use a wider dtype, or column_kinds="
            f"{{{column.name!r}: 'numeric'}}."
        )
    return FreshIntegers(column, np.sort(_hash_values(raw)), start, width)


def _learn_text(column: Column, seen: Hashes, strings: Array) -> Fresh:
    sample: Any = pd.Series(strings[:: max(1, len(strings) // _SAMPLE)], dtype=object)
    sample = sample.str.split()
    lengths = sample.str.len().clip(upper=_MAX_WORDS).sort_values()
    # A word of a single text may be a name: only words of two texts or more are used.
    words = sample.map(set).explode().value_counts()
    words = words[words > 1]
    if words.empty:
        return FreshStrings(column, seen, _learn_templates(strings))
    words = words.sort_index().sort_values(ascending=False, kind="stable").iloc[:5000]
    quantiles = lengths.iloc[np.linspace(0, len(lengths) - 1, 101).astype(int)]
    lengths_seen = tuple(int(n) for n in quantiles)
    return FreshText(column, seen, tuple(words.index), tuple(words.astype(float)), lengths_seen)


def _learn_templates(strings: Array) -> tuple[Template, ...]:
    """Group strings by their look, as finely as a few templates allow."""
    sample = pd.Series(strings[:: max(1, len(strings) // _SAMPLE)], dtype=object)
    marks = sample.str.replace(r"\d", "0", regex=True)
    fine = marks.str.replace(r"[^\W\d_]", "a", regex=True)
    coarse = fine.str.replace("0", "a")
    for looks in (fine, coarse, sample.str.len()):
        counts = looks.value_counts().iloc[:_MAX_TEMPLATES]
        if counts.sum() >= 0.95 * len(sample):
            break
    shares = counts.sort_index() / len(sample)
    return tuple(
        Template(float(share), _alphabets(sample[looks == look], share * len(strings)))
        for look, share in shares.items()
    )


def _alphabets(sample: pd.Series, n_values: float) -> tuple[str, ...]:
    """Find the characters of each position, wide enough for fresh values to be distinct."""
    width = len(sample.iloc[0])
    codes = np.array(sample.tolist(), dtype=f"U{max(width, 1)}")
    letters = codes.view(np.uint32).reshape(len(codes), -1)[:, :width]
    alphabets = [_complete("".join(map(chr, np.unique(column)))) for column in letters.T]

    def room() -> float:
        return float(np.log([len(alphabet) for alphabet in alphabets]).sum())

    # So much that two of n draws hardly ever meet, where the digits there are allow it ...
    for place in reversed(range(width)):  # from the end: prefixes tend to mean something
        if room() >= np.log(1000.0) + 2 * np.log(n_values + 10):
            break
        if len(alphabets[place]) > 1 or alphabets[place] in _DIGITS:
            alphabets[place] = _whole_class(alphabets[place])
    # ... and enough to be fresh at all: by digits behind the last one, or what else varies.
    digits = [place for place, each in enumerate(alphabets) if set(each) <= set(_DIGITS)]
    varying = [place for place, each in enumerate(alphabets) if len(each) > 1]
    end = max(digits or varying or [width - 1]) + 1
    while room() < np.log(100.0) + np.log(n_values + 10):
        alphabets.insert(end, _DIGITS)
    return tuple(alphabets)


_LOWER = "abcdefghijklmnopqrstuvwxyz"
_CLASSES = (
    _DIGITS,
    _DIGITS + "abcdef",
    _DIGITS + "ABCDEF",
    _LOWER,
    _LOWER.upper(),
    _DIGITS + _LOWER,
    _DIGITS + _LOWER.upper(),
)


def _complete(alphabet: str) -> str:
    """Widen an alphabet of which most was seen to its whole class."""
    whole = _whole_class(alphabet)
    return whole if 2 * len(alphabet) > len(whole) else alphabet


def _whole_class(alphabet: str) -> str:
    for whole in _CLASSES:
        if set(alphabet) <= set(whole):
            return whole
    return alphabet


def _hash_values(values: Array) -> Hashes:
    if values.dtype == object and len(values) and not isinstance(values[0], str):
        values = pd.Series(values).astype(str).to_numpy(dtype=object)
    return pd.util.hash_array(values, categorize=False)


def _mix(bits: Hashes) -> Hashes:
    """Scramble 64 bits one to one (the finaliser of splitmix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _stream(seeds: Hashes, number: int) -> Hashes:
    """Give the random bits of one stream of each seed."""
    return _mix(seeds + np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64))


def _uniform(seeds: Hashes, number: int) -> npt.NDArray[np.float64]:
    return (_stream(seeds, number) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _pick(seeds: Hashes, number: int, size: int) -> npt.NDArray[np.int64]:
    return (_uniform(seeds, number) * size).astype(np.int64)
