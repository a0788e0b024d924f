"""One column as one or two digits, and back.

Categories, and numbers of few distinct values, are one digit whose tokens are the values
themselves. Numbers of many values are two digits of their rank; many categories two digits of
their number. Missing is the last token of the first digit, where it was seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tabgraa_sklearn._fresh import Fresh, make_fresh
from tabgraa_sklearn._schema import Column

__all__ = ["Codec", "make_codec", "nearest"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_MAX_ATOMS = 128
_LARGEST = np.uint64(2**64 - 1)
_END_ROWS = 16  # of a table of 16,000 rows or more
_END_SHARE = 0.4
_GOLDEN = 0.6180339887498949  # whose multiples, without their whole part, are spread evenly
_END_KNOTS = 16  # of the extreme values at either end, each is a knot


class Codec:
    """Codes the cells of one column.

    Attributes
    ----------
    column : Column
        What is coded.
    sizes : tuple of int
        Number of tokens of each of the one or two digits.
    positions : list of ndarray
        For each digit the position in [0, 1] of each token, NaN for those without order.
    allowed : ndarray of shape (sizes[0], sizes[1]) or None
        Which tokens of the second digit may follow each of the first.
    base, step : ndarray of shape (sizes[0],)
        Position of the cell: ``base[first] + step[first] * (second + 0.5)``.
    inexact : bool
        Whether a token may stand for several cells.
    listed : bool
        Whether the tokens are few enough to be listed.
    """

    inexact = False
    listed = True

    def __init__(self, column: Column, n_tokens: int, positions: Floats) -> None:
        self.column = column
        self.has_missing = column.n_missing > 0
        self.missing = n_tokens  # its token, if any
        self.sizes: tuple[int, ...] = (n_tokens + self.has_missing,)
        first = np.concatenate([positions, np.full(int(self.has_missing), np.nan)])
        self.positions = [first]
        self.allowed: npt.NDArray[np.bool_] | None = None
        self.base = first.copy()
        self.step = np.zeros(len(first))

    def encode(self, series: pd.Series) -> Ids:
        """Give the tokens, of shape (n_rows, n_digits); -1 for cells that have none."""
        raise NotImplementedError

    def decode(self, ids: Ids, uniforms: Floats) -> pd.Series:
        """Give the cells of tokens of shape (n_rows, n_digits), one uniform number for each."""
        raise NotImplementedError

    def log_widths(self, ids: Ids) -> Floats:
        """Logarithm of the length of the interval that each cell stands for, 0 of single values.

        In steps of the column's last place, at least one; without one, in the column's unit.
        """
        return np.zeros(len(ids))

    def everything(self, *, missing: bool = True) -> Array:
        """Give all tokens as a mask (first, second or 1), with or without the missing cell."""
        mask: npt.NDArray[np.bool_] = np.ones((self.sizes[0], 1), dtype=bool)
        if self.allowed is not None:
            mask = self.allowed.copy()
        if self.has_missing and not missing:
            mask[self.missing] = False
        return mask

    def chosen(self, ids: Ids) -> Array:
        """Give the tokens of some cells, of shape (first, second or 1).

        A mask; or, where a token stands for many cells, the weight of those cells in it, relative
        to the largest.
        """
        mask = np.zeros_like(self.everything())
        mask[ids[:, 0], ids[:, 1] if ids.shape[1] == 2 else 0] = True
        return mask

    def between(self, low: Any, high: Any) -> Array:
        """Give the tokens of numbers from `low` to `high`; where none is, those nearest to them.

        As :meth:`chosen` does, a token counts with the share of its numbers that lie there.
        """
        raise NotImplementedError

    def within(self, numbers: Array, low: Any, high: Any, turn: int) -> Array:
        """Move numbers whose token a range cuts into the range; `turn` stands in for a seed."""
        return numbers

    def untold(self, low: Array, high: Array) -> npt.NDArray[np.bool_]:
        """Say of ranges of numbers whether tokens, those nearest to them, tell too little of them.

        Parameters
        ----------
        low, high : ndarray of shape (n_ranges,)
        """
        return np.zeros(len(low), dtype=bool)

    def readings(self) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
        """Give what each pair of tokens stands for, and which of them are no cells.

        Returns
        -------
        values : Series of shape (n_first * n_second,)
            The middle of a cell that is an interval.
        absent : ndarray of shape (n_first * n_second,)
            Missing cells, and pairs that there are not.
        """
        n_second = self.sizes[1] if len(self.sizes) == 2 else 1
        first, second = np.divmod(np.arange(int(np.prod(self.sizes))), n_second)
        ids = np.column_stack([first, second])[:, : len(self.sizes)]
        possible = np.ones(len(ids), dtype=bool)
        if self.allowed is not None:
            possible = self.allowed[first, second]
            ids = np.where(possible[:, None], ids, 0)
        values = self.decode(ids, np.full(len(ids), 0.5))
        absent = ~possible
        if self.has_missing:
            absent |= first == self.missing
        return values, absent

    def _second_digit(self, size: int, counts: Array, positions: Floats) -> None:
        """Add a digit of which the first `counts` tokens may follow each first token."""
        free = np.ones(self.sizes[0], dtype=np.int64)
        free[: len(counts)] = counts
        self.sizes = (self.sizes[0], size)
        self.positions = [self.positions[0], positions]
        self.allowed = np.arange(size) < free[:, np.newaxis]

    def _mark_missing(self, ids: Ids, missing: npt.NDArray[np.bool_]) -> Ids:
        ids[missing] = 0
        ids[missing, 0] = self.missing
        if not self.has_missing:
            ids[missing] = -1
        return ids


class NumberValues(Codec):
    """Numbers of few distinct values: the tokens are the values in order; lossless."""

    inexact = True

    def __init__(self, column: Column, values: Array, counts: Array, tail_weight: float) -> None:
        super().__init__(column, len(values), spread(values, counts, tail_weight))
        self.values = values

    def encode(self, series: pd.Series) -> Ids:
        numbers, missing = self.column.to_numbers(series)
        ids = nearest(self.values, numbers) if len(self.values) else np.full(len(numbers), -1)
        return self._mark_missing(ids[:, np.newaxis], missing)

    def decode(self, ids: Ids, uniforms: Floats) -> pd.Series:
        missing = ids[:, 0] >= len(self.values)
        values = self.values if len(self.values) else np.zeros(1, dtype=self.values.dtype)
        return self.column.from_numbers(values[np.where(missing, 0, ids[:, 0])], missing)

    def between(self, low: Any, high: Any) -> Array:
        inside = np.zeros((self.sizes[0], 1), dtype=bool)
        values = self.values
        chosen = (values >= low) & (values <= high)
        if not chosen.any():
            right = min(int(np.searchsorted(values, low)), len(values) - 1)
            chosen[[max(right - 1, 0), right]] = True
        inside[: len(values), 0] = chosen
        return inside

    def untold(self, low: Array, high: Array) -> npt.NDArray[np.bool_]:
        first = np.searchsorted(self.values, np.asarray(low, dtype=self.values.dtype))
        last = np.searchsorted(self.values, np.asarray(high, dtype=self.values.dtype), "right")
        return np.asarray(first == last)


class Categories(Codec):
    """Values without arithmetic: one digit, or two where there are very many."""

    def __init__(self, column: Column, series: pd.Series, max_values: int) -> None:
        codes, keys, values = column.cells.factorize(series)
        order, ordered = _order(values, np.bincount(codes[codes >= 0], minlength=len(keys)))
        self.keys, self.values = keys[order], values.take(order)
        n = len(keys)
        self.group = n if n <= max_values else int(np.ceil(np.sqrt(n)))
        n_groups = -(-n // self.group) if n else 0
        n_first = n if n <= max_values else n_groups
        positions = np.linspace(0, 1, n_first) if n_first > 1 else np.full(n_first, 0.5)
        super().__init__(column, n_first, positions if ordered else np.full(n_first, np.nan))
        if n > max_values:
            counts = np.minimum(n - self.group * np.arange(n_groups), self.group)
            inner = (np.arange(self.group) + 0.5) / self.group if ordered else np.nan
            self._second_digit(self.group, counts, np.full(self.group, inner))
            if ordered:
                width = self.group / n
                self.base[:n_groups] = width * np.arange(n_groups)
                self.step[:n_groups] = 1 / n

    def encode(self, series: pd.Series) -> Ids:
        codes, keys, _ = self.column.cells.factorize(series)
        found = self.keys.get_indexer(keys)
        ranks = np.append(found, -1)[codes]
        ids = ranks[:, np.newaxis]
        if len(self.sizes) == 2:
            ids = np.column_stack(np.divmod(ranks, self.group))
            ids[ranks < 0] = -1
        return self._mark_missing(ids.astype(np.int64), codes < 0)

    def decode(self, ids: Ids, uniforms: Floats) -> pd.Series:
        missing = ids[:, 0] >= self.missing
        ranks = ids[:, 0] if ids.shape[1] == 1 else ids[:, 0] * self.group + ids[:, 1]
        return self.column.cells.from_values(self.values, np.where(missing, -1, ranks))


class Quantiles(Codec):
    """Numbers of many values: bins of rank and magnitude, levels within; repeated values apart.

    ``G`` is the monotone map of numbers to [0, 1] that :func:`spread` gives, linear between
    stored knots. The digits are those of ``G`` in base ``n_bins`` and, below, ``n_levels``.
    """

    inexact = True

    def __init__(
        self,
        column: Column,
        values: Array,
        counts: Array,
        atoms: npt.NDArray[np.bool_],
        n_bins: int,
        n_levels: int,
        tail_weight: float,
    ) -> None:
        # A range that is no float any more is handled at a quarter of its size.
        with np.errstate(over="ignore"):
            self.factor = 1.0 if np.isfinite(values[-1] - values[0]) else 0.25
        values = self._scaled(values)
        rest, weights = values[~atoms], counts[~atoms]
        n_rest = int(weights.sum())
        # Eight rows for a bin, four cells for a row: finer ones have nothing to tell.
        self.n_bins = min(n_bins, max(4, n_rest // 8))
        self.n_levels = min(n_levels, max(8, -(-4 * n_rest // self.n_bins)))
        self.atoms = values[atoms]
        places = spread(rest, weights, tail_weight)
        self.x_knots, self.u_knots = _knots(rest, places, self.n_bins * self.n_levels)
        # The rows at each end that may become the end itself, see decode.
        at_end = min(_END_ROWS, n_rest // 1000)
        ends = np.cumsum(weights)
        self.tails = (
            places[np.searchsorted(ends, at_end)] if at_end and not atoms[0] else -1.0,
            places[np.searchsorted(ends, n_rest - at_end)] if at_end and not atoms[-1] else 2.0,
        )
        bins = (np.arange(self.n_bins) + 0.5) / self.n_bins
        at_atoms = self.rank(self.atoms)
        super().__init__(column, self.n_bins + len(self.atoms), np.append(bins, at_atoms))
        self._second_digit(
            self.n_levels,
            np.full(self.n_bins, self.n_levels),
            (np.arange(self.n_levels) + 0.5) / self.n_levels,
        )
        self.base = self.positions[0].copy()
        self.base[: self.n_bins] = np.arange(self.n_bins) / self.n_bins
        self.step[: self.n_bins] = 1 / (self.n_bins * self.n_levels)
        # On a grid: the first of its numbers in each cell, atoms left out of the count.
        self.starts = None if column.grid is None else self._cell_starts()
        if self.starts is not None:
            assert self.allowed is not None
            held = (self.starts[1:] > self.starts[:-1]).reshape(self.n_bins, self.n_levels)
            # The model gives every bin some probability; one without numbers takes the nearest.
            held[~held.any(1), 0] = True
            held.flat[self._cell(self.x_knots[-1:])] = True
            self.allowed[: self.n_bins] = held

    def _scaled(self, numbers: Array) -> Array:
        return numbers if self.factor == 1.0 else numbers * self.factor

    def rank(self, numbers: Array) -> Floats:
        """Compute G of numbers."""
        knots = self.x_knots
        left = np.clip(np.searchsorted(knots, numbers, side="right") - 1, 0, len(knots) - 2)
        numbers = np.clip(numbers, knots[left], knots[left + 1])
        inside = (numbers - knots[left]).astype(np.float64)
        share = inside / (knots[left + 1] - knots[left]).astype(np.float64)
        u = self.u_knots
        return np.clip(u[left] + share * (u[left + 1] - u[left]), 0.0, 1.0)

    def unrank(self, ranks: Floats) -> Array:
        """Compute the number of which G is the given rank."""
        u, x = self.u_knots, self.x_knots
        left = np.clip(np.searchsorted(u, ranks, side="right") - 1, 0, len(u) - 2)
        share = np.clip((ranks - u[left]) / (u[left + 1] - u[left]), 0.0, 1.0)
        gap = x[left + 1] - x[left]
        if x.dtype == np.float64:
            return np.clip(x[left] + share * gap, x[left], x[left + 1])
        part = np.minimum(np.rint(share * gap.astype(np.float64)), np.nextafter(2.0**64, 0))
        return x[left] + np.minimum(part.astype(np.uint64), gap)

    def _cell(self, numbers: Array) -> Ids:
        """Find the cell of numbers, counted through all bins."""
        n_cells = self.n_bins * self.n_levels
        return np.minimum((self.rank(numbers) * n_cells).astype(np.int64), n_cells - 1)

    def _cell_starts(self) -> Array:
        """Count the numbers of the grid, without atoms, below each cell and below the end."""
        n_cells = self.n_bins * self.n_levels
        low, high = self.x_knots[0], self.x_knots[-1]
        found = self.unrank(np.arange(n_cells) / n_cells)
        # As `encode` has it: the first number that it finds there, next to where it should be.
        found = np.maximum(found, low + np.uint64(2)) - np.uint64(2)
        for _ in range(4):
            found = found + ((self._cell(found) < np.arange(n_cells)) & (found < high))
        # (Of a range of 2**64 the very last number does not count.)
        starts = np.append(found, high + np.uint64(high < _LARGEST))
        return starts - np.searchsorted(self.atoms, starts).astype(np.uint64)

    def _on_grid(self, cells: Ids, uniforms: Floats) -> Array:
        """Choose one of the grid's numbers in each cell that is no atom; of none, the next one."""
        assert self.starts is not None
        return self._numbered(self.starts[cells], self.starts[cells + 1], uniforms)

    def _numbered(self, start: Array, stop: Array, uniforms: Floats) -> Array:
        """Choose one of the grid's numbers from one to before another, atoms left out."""
        counts = (stop - start).astype(np.float64)
        last = np.maximum(counts - 1.0, 0.0)
        numbers = start + np.minimum(np.floor(uniforms * counts), last).astype(np.uint64)
        # Back to the numbers themselves: up by the atoms that lie below.
        before = self.atoms - np.arange(len(self.atoms), dtype=np.uint64)
        numbers = numbers + np.searchsorted(before, numbers, side="right").astype(np.uint64)
        return np.minimum(numbers, self.x_knots[-1])

    def encode(self, series: pd.Series) -> Ids:
        numbers, missing = self.column.to_numbers(series)
        numbers = self._scaled(numbers)
        cells = np.where(missing, 0, self._cell(np.where(missing, self.x_knots[0], numbers)))
        ids = np.column_stack(np.divmod(cells, self.n_levels))
        if len(self.atoms):
            near = np.minimum(np.searchsorted(self.atoms, numbers), len(self.atoms) - 1)
            is_atom = self.atoms[near] == numbers
            ids[is_atom, 0] = self.n_bins + near[is_atom]
            ids[is_atom, 1] = 0
        return self._mark_missing(ids, missing)

    def decode(self, ids: Ids, uniforms: Floats) -> pd.Series:
        first, second = ids[:, 0], ids[:, 1]
        n_cells = self.n_bins * self.n_levels
        cells = first * self.n_levels + second
        ranks = np.minimum((cells + uniforms) / n_cells, 1.0)
        if self.starts is None:
            numbers = self.unrank(ranks)
        else:
            numbers = self._on_grid(np.minimum(cells, n_cells - 1), uniforms)
        # An extreme is one row of the table: most tables drawn would lack it, and have another
        # range. So some of the rows that fall among the outermost few take it exactly: about
        # six in a table of the size that was fitted. The later digits of the uniform decide.
        chosen = (uniforms * 8191.0) % 1.0 < _END_SHARE
        numbers[chosen & (ranks <= self.tails[0])] = self.x_knots[0]
        numbers[chosen & (ranks >= self.tails[1]) & (first < self.n_bins)] = self.x_knots[-1]
        missing = first >= self.missing
        is_atom = (first >= self.n_bins) & ~missing
        numbers[is_atom] = self.atoms[first[is_atom] - self.n_bins]
        if self.factor != 1.0:
            numbers = numbers / self.factor
        return self.column.from_numbers(numbers, missing)

    def between(self, low: Any, high: Any) -> Array:
        mask = self.everything(missing=False)
        inside = np.zeros(mask.shape, dtype=np.float32)
        ends = self._scaled(np.array([low, high], dtype=self.x_knots.dtype))
        n_cells = self.n_bins * self.n_levels
        is_atom = (self.atoms >= ends[0]) & (self.atoms <= ends[1])
        if not self._is_beyond(*ends):
            shares = self._shares(*ends)
            inside[: self.n_bins] = shares.reshape(self.n_bins, self.n_levels)
        inside[self.n_bins : self.n_bins + len(self.atoms), 0] = is_atom
        inside *= mask
        if not inside.any():
            first, last = np.clip((self.rank(ends) * n_cells).astype(np.int64), 0, n_cells - 1)
            cells = np.arange(n_cells).reshape(self.n_bins, self.n_levels)
            inside[: self.n_bins] = (cells >= first) & (cells <= last)
            inside *= mask
        return inside

    def _shares(self, low: Any, high: Any) -> Floats:
        """Give the share of each cell's numbers, atoms left out, that lie in a range."""
        n_cells = self.n_bins * self.n_levels
        if self.starts is not None:
            start, stop = self._inside(np.arange(n_cells), low, high)
            counts = (self.starts[1:] - self.starts[:-1]).astype(np.float64)
            return (stop - start).astype(np.float64) / np.maximum(counts, 1.0)
        first, last = self.rank(np.array([low, high])) * n_cells
        cells = np.arange(n_cells)
        shares = np.minimum(cells + 1, last) - np.maximum(cells, first)
        # Of two ends that are one number something is left.
        touched = (cells >= min(np.floor(first), n_cells - 1)) & (cells <= last)
        shares = np.where(touched, np.clip(shares, 1e-12, 1.0), 0.0)
        return np.asarray(shares)

    def _inside(self, cells: Ids, low: Any, high: Any) -> tuple[Array, Array]:
        """Count the grid's numbers below those of some cells that lie in a range, and with them."""
        assert self.starts is not None
        below = low - np.uint64(np.searchsorted(self.atoms, low))
        upto = high - np.uint64(np.searchsorted(self.atoms, high, side="right"))
        upto = upto + np.uint64(upto < _LARGEST)
        start = np.clip(below, self.starts[cells], self.starts[cells + 1])
        return start, np.clip(upto, start, self.starts[cells + 1])

    def untold(self, low: Array, high: Array) -> npt.NDArray[np.bool_]:
        low, high = (self._scaled(np.asarray(end, dtype=self.x_knots.dtype)) for end in (low, high))
        beyond = (high < self.x_knots[0]) | (low > self.x_knots[-1])
        first = np.searchsorted(self.atoms, low)
        last = np.searchsorted(self.atoms, high, side="right")
        return np.asarray(beyond & (first == last))

    def _is_beyond(self, low: Any, high: Any) -> bool:
        """Say whether a range lies wholly outside of what the cells cover."""
        return bool(high < self.x_knots[0] or low > self.x_knots[-1])

    def chosen(self, ids: Ids) -> Array:
        # Each number of a cell is as likely as the others.
        weights, widths = np.zeros(self.everything().shape), self.log_widths(ids)
        np.add.at(weights, (ids[:, 0], ids[:, 1]), np.exp(widths.min() - widths))
        if self.starts is None:
            # Without a grid cells hold no count of numbers: they are weighed among themselves, and
            # repeated and missing values are as likely as they are.
            weights[: self.n_bins] /= max(float(weights[: self.n_bins].max()), 1e-300)
            weights[self.n_bins :] = weights[self.n_bins :] > 0
        return (weights / weights.max()).astype(np.float32)

    def within(self, numbers: Array, low: Any, high: Any, turn: int) -> Array:
        """Spread numbers whose cell a range cuts over the part of the cell that lies inside.

        Cut off at the ends of the range instead, they would heap there.
        """
        n_cells = self.n_bins * self.n_levels
        scaled, ends = (
            self._scaled(part) for part in (numbers, np.array([low, high], numbers.dtype))
        )
        scaled_low, scaled_high = ends
        if self._is_beyond(scaled_low, scaled_high):
            # Between an atom and the cells no number was seen: any is as good as another.
            shares = (turn + np.arange(len(numbers)) + 0.5) * _GOLDEN % 1.0
            if self.column.grid is None:
                places = low + shares * (high - low)
            else:
                steps = np.floor(shares * (float(high - low) + 1.0)).astype(numbers.dtype)
                places = low + np.minimum(steps, numbers.dtype.type(high - low))
            return np.where(np.isin(scaled, self.atoms), numbers, places)
        if self.starts is not None:
            return self._within_grid(scaled, scaled_low, scaled_high, turn)
        ranks, first, last = self.rank(scaled), *self.rank(ends)
        cells = np.minimum((ranks * n_cells).astype(np.int64), n_cells - 1)
        start, stop = np.maximum(cells / n_cells, first), np.minimum((cells + 1) / n_cells, last)
        cut = (start > cells / n_cells) | (stop < (cells + 1) / n_cells)
        cut &= (stop >= start) & ~np.isin(scaled, self.atoms)
        share = ranks * n_cells - cells
        # Extremes are drawn for many of the rows at an end; outside of the range they are as good
        # as any number of its outermost cell.
        for end, bound in ((self.x_knots[0], first), (self.x_knots[-1], last)):
            away = (scaled == end) & ((scaled < scaled_low) | (scaled > scaled_high))
            cell = min(int(bound * n_cells), n_cells - 1)
            start[away], stop[away] = max(cell / n_cells, first), min((cell + 1) / n_cells, last)
            share[away] = (np.arange(away.sum()) + 0.5) / max(away.sum(), 1)
            cut |= away
        moved = self.unrank(start + share * (stop - start))
        result = np.where(cut, moved, scaled)
        return result if self.factor == 1.0 else result / self.factor

    def _within_grid(self, numbers: Array, low: Any, high: Any, turn: int) -> Array:
        """Give rows whose cell a range cuts one of the grid's numbers inside, each as often."""
        assert self.starts is not None
        cells, outside = self._cell(numbers), (numbers < low) | (numbers > high)
        # Extremes are drawn for many of the rows at an end; outside of the range they are as good
        # as any number of its outermost cell.
        for end, bound in ((self.x_knots[0], low), (self.x_knots[-1], high)):
            cells = np.where(outside & (numbers == end), self._cell(np.array([bound])), cells)
        start, stop = self._inside(cells, low, high)
        held = self.starts[cells + 1] - self.starts[cells]
        cut = (stop > start) & (outside | (stop - start < held)) & ~np.isin(numbers, self.atoms)
        shares = np.asarray((turn + np.arange(len(numbers)) + 0.5) * _GOLDEN % 1.0, np.float64)
        return np.where(cut, self._numbered(start, stop, shares), numbers)

    def log_widths(self, ids: Ids) -> Floats:
        is_cell = (ids[:, 0] >= 0) & (ids[:, 0] < self.n_bins)
        cells = np.where(is_cell, ids[:, 0] * self.n_levels + ids[:, 1], 0)
        if self.starts is not None:
            widths = (self.starts[cells + 1] - self.starts[cells]).astype(np.float64)
            return np.where(is_cell, np.log(np.maximum(widths, 1.0)), 0.0)
        n_cells = self.n_bins * self.n_levels
        low, high = (self.unrank((cells + k) / n_cells) for k in (0, 1))
        # No number has neighbours nearer than its last bit.
        widths = np.maximum(high - low, np.spacing(np.maximum(np.abs(low), np.abs(high))))
        return np.where(is_cell, np.log(widths) - np.log(self.factor), 0.0)


class FreshValues(Codec):
    """Identifiers and texts: present or missing is all there is to learn."""

    inexact = True

    def __init__(self, column: Column, series: pd.Series) -> None:
        present = column.n_missing < len(series)
        super().__init__(column, int(present), np.full(int(present), np.nan))
        self.fresh: Fresh | None = make_fresh(column, series) if present else None

    def encode(self, series: pd.Series) -> Ids:
        missing = series.isna().to_numpy()
        ids = np.full((len(series), 1), 0 if self.fresh is not None else -1)
        return self._mark_missing(ids, missing)

    def decode(self, ids: Ids, uniforms: Floats) -> pd.Series:
        missing = ids[:, 0] >= self.missing
        if self.fresh is None:
            return self.column.from_fresh(np.full(len(ids), None, dtype=object), missing)
        return self.column.from_fresh(self.fresh.draw(uniforms), missing)


def make_codec(
    column: Column,
    series: pd.Series,
    *,
    n_bins: int,
    n_levels: int,
    max_values: int,
    tail_weight: float,
) -> Codec:
    """Choose and fit the code of a column."""
    if column.kind in ("identifier", "text"):
        return FreshValues(column, series)
    if not column.has_numbers:
        return Categories(column, series, max_values)
    numbers, missing = column.to_numbers(series)
    values, counts = np.unique(numbers[~missing], return_counts=True)
    if len(values) > max_values:
        atoms = _find_atoms(counts)
        if (~atoms).sum() > 2:
            return Quantiles(column, values, counts, atoms, n_bins, n_levels, tail_weight)
    return NumberValues(column, values, counts, tail_weight)


def spread(values: Array, counts: Array, tail_weight: float) -> Floats:
    """Place sorted distinct numbers in [0, 1], by rank mixed with magnitude.

    ``(1 - tail_weight) * F + tail_weight * V``: F is the empirical distribution function
    (the middle of a value's ranks), V the share of the range on a robust arcsinh scale. F
    alone would give a long tail one wide bin, whose magnitudes would be lost.
    """
    if len(values) < 2:
        return np.full(len(values), 0.5)
    ends = np.cumsum(counts)
    ranks = ends - counts / 2
    ranks = (ranks - ranks[0]) / (ranks[-1] - ranks[0])
    x = values.astype(np.float64) / 4  # so that no difference overflows
    low, middle, high = x[np.searchsorted(ends, np.array([0.25, 0.5, 0.75]) * ends[-1])]
    scale = (high - low) / 1.349  # of a normal distribution: its standard deviation
    if scale <= 0:
        scale = (x[-1] - x[0]) / 100
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        magnitudes = np.arcsinh((x - middle) / scale)
        magnitudes -= magnitudes[0]
    if not np.isfinite(magnitudes).all() or magnitudes[-1] <= 0:
        return ranks  # magnitudes that do not fit in a float
    return (1 - tail_weight) * ranks + tail_weight * (magnitudes / magnitudes[-1])


def _find_atoms(counts: Array) -> npt.NDArray[np.bool_]:
    """Find the values that repeat so often that they are tokens of their own."""
    often = np.flatnonzero(counts >= max(counts.sum() / 400, 5))
    often = often[np.argsort(-counts[often], kind="stable")[:_MAX_ATOMS]]
    return np.isin(np.arange(len(counts)), often)


def _knots(values: Array, places: Floats, n_cells: int) -> tuple[Array, Floats]:
    """Choose where the map is exact: everywhere, or at the edges of cells and the extremes."""
    keep = np.arange(len(values))
    if len(values) > n_cells + 1:
        edges = np.searchsorted(places, np.linspace(0, 1, n_cells + 1))
        keep = np.union1d(np.clip(edges, 0, len(values) - 1), keep[:_END_KNOTS])
        keep = np.union1d(keep, np.arange(len(values))[-_END_KNOTS:])
    # Strictly increasing, so that the map has an inverse.
    _, first = np.unique(places[keep], return_index=True)
    keep = keep[first]
    keep[-1] = len(values) - 1
    u = places[keep]
    u[0], u[-1] = 0.0, 1.0
    return values[keep], u


def nearest(values: Array, numbers: Array) -> Ids:
    """Find the nearest of sorted `values` to each number, the smaller one in the middle."""
    right = np.minimum(np.searchsorted(values, numbers), len(values) - 1)
    left = np.maximum(right - 1, 0)
    inside = np.clip(numbers, values[left], values[right])  # differences of uint64 wrap below 0
    with np.errstate(over="ignore"):
        return np.where(inside - values[left] <= values[right] - inside, left, right)


def _order(values: Any, counts: Array) -> tuple[Ids, bool]:
    """Sort values: by their own order where the dtype has one, else by frequency."""
    if isinstance(values, pd.Categorical) and values.ordered:
        return np.argsort(values.codes), True
    if isinstance(values, pd.arrays.PeriodArray | pd.arrays.IntervalArray):
        return np.asarray(values.argsort()), True
    if values.dtype == bool:
        return np.argsort(values), False
    return np.argsort(-counts, kind="stable"), False
