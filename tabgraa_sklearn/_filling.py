"""Rows completed together, whatever cells each of them lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ._agreement import known_later, log_quotient, patterns_of
from ._attention import CellCache
from ._backbone import CompactBackbone
from ._drawing import OutputTables, Wanted, draw_cell, draw_rows
from ._protocols import Backbone
from ._sampling import Drawing, row_uniforms

__all__ = ["fill_tokens"]

Floats = npt.NDArray[np.float64]

_MANY = 4096  # rows that lack the same cells: worth a search for those that begin alike


@singledispatch
def fill_tokens(
    backbone: Backbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    *,
    seed: int,
    order: list[int],
    precision: torch.dtype,
    temperature: float = 1.0,
    allowed: dict[int, npt.NDArray[np.bool_]] | None = None,
    candidates: int = 1,
    corrected: npt.NDArray[np.bool_] | None = None,
    stratified: bool = False,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Draw the cells of rows that are not known, given those that are.

    Each row has an order of its own: its known cells first, which are read in one pass, then the
    others. Rows that know equally many cells go through the model together.

    The model knows the order of sampling best. Of several candidates for a row one is taken in
    proportion to its probability in that order over the one that it was drawn with (sampling
    importance resampling, Rubin 1987).

    Parameters
    ----------
    backbone : CompactBackbone
    token_ids : ndarray of shape (n_rows, n_digits)
        Anything where cells are not known.
    known : ndarray of shape (n_rows, n_columns)
    allowed : dict of {int: ndarray of shape (size of the first digit, size of the second or 1)}
        For some columns, which tokens may be drawn. Each cell is drawn on condition that it is one
        of these, given the cells before it: that the others may not be has no say in it.
    candidates : int
        Drawn for each row whose known cells do not come first in `order`.
    corrected : ndarray of shape (n_rows,), optional
        Whether they are needed of such a row, the same for all that know the same cells. None:
        of all.
    stratified : bool
        Whether rows that know the same, where they are many, are spread evenly, see
        :func:`draw_rows`.

    Returns
    -------
    token_ids : ndarray of shape (n_rows, n_digits)
    uniforms : ndarray of shape (n_rows, n_columns)
        What the tokenizer needs to place values within their cells.
    """
    assert isinstance(backbone, CompactBackbone)
    n_rows, n_digits = token_ids.shape
    width = n_digits + known.shape[1]
    drawing = Drawing.of(backbone, precision)
    filled = np.maximum(token_ids, 0).astype(np.int64)
    places = np.empty(known.shape)
    with drawing.mode():
        filler = _Filler(
            drawing,
            drawing.model.output_tables(precision),
            order,
            temperature,
            {c: torch.from_numpy(mask).to(drawing.device) for c, mask in (allowed or {}).items()},
            stratified,
        )
        seeds = [seed, *np.random.default_rng([seed, 11]).integers(2**31, size=candidates - 1)]
        for start in range(0, n_rows, drawing.block):
            part = slice(start, min(start + drawing.block, n_rows))
            more = known_later(known[part], order) & (candidates > 1)
            if corrected is not None:
                more &= corrected[part]
            used = seeds if more.any() else seeds[:1]
            numbers = [row_uniforms(int(one), part.start, part.stop, width + 1) for one in used]
            places[part] = numbers[0][:, n_digits:width]
            for rows, several in _groups(known[part], more):
                own = [each[rows] for each in numbers[: candidates if several else 1]]
                rows = rows + start
                filled[rows] = filler.fill(filled[rows], known[rows], own)
    return filled, places


def _groups(
    known: npt.NDArray[np.bool_], more: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[np.int64], bool]]:
    """Group rows that are not complete: by what they know where many do, else by how much.

    Also tells of each group whether several candidates are to be drawn, as `more` says of rows.
    """
    first, group, counts = patterns_of(known)
    sizes, several = known[first].sum(1), more[first]
    many = (counts >= _MANY) & ~several
    # Behind all numbers of cells, a number for each pattern of many rows.
    label = np.where(many, known.shape[1] + 1 + np.arange(len(first)), sizes)
    label = np.where(sizes == known.shape[1], -1, 2 * label + several)
    own = label[group]
    for number in np.unique(own[own >= 0]):
        yield np.flatnonzero(own == number), bool(number % 2)


@dataclass
class _Filler:
    """Completes groups of rows."""

    drawing: Drawing
    tables: OutputTables
    order: list[int]
    temperature: float
    allowed: dict[int, Tensor]
    stratified: bool

    def fill(
        self,
        token_ids: npt.NDArray[np.int64],
        known: npt.NDArray[np.bool_],
        uniforms: list[Floats],
    ) -> npt.NDArray[np.int64]:
        """Complete rows that know equally many cells, with one candidate for each of `uniforms`."""
        device, n_digits = self.drawing.device, token_ids.shape[1]
        tokens, there = torch.from_numpy(token_ids).to(device), torch.from_numpy(known).to(device)
        numbers = [self.drawing.uniforms(part[:, :n_digits]) for part in uniforms]
        # The largest of scores with Gumbel noise is one drawn by their exponentials.
        last = np.stack([part[:, -1] for part in uniforms], 1)
        noise = torch.from_numpy(-np.log(-np.log(np.clip(last, 1e-300, 1 - 1e-16)))).float()
        if len(numbers) == 1 and (known == known[0]).all():
            return self._alike(tokens, frozenset(np.flatnonzero(known[0]).tolist()), numbers[0])
        done = []
        for part in torch.arange(len(tokens), device=device).split(self.drawing.most):
            given = [each[part] for each in numbers]
            drawn = self._complete(tokens[part], there[part], given)
            if len(drawn) == 1:
                done.append(drawn[0])
                continue
            candidates = torch.stack(drawn, 1)
            scores = self._advantage(candidates, there[part])
            best = (scores / self.temperature + noise.to(device)[part]).argmax(1)
            done.append(candidates[torch.arange(len(part), device=device), best])
        return torch.cat(done).cpu().numpy()

    def _alike(self, tokens: Tensor, given: frozenset[int], uniforms: Tensor) -> Any:
        """Complete rows that know the same; those that begin alike share their computation."""
        drawing = self.drawing
        free = {column: mask for column, mask in self.allowed.items() if column not in given}
        own = [column for column in self.order if column in given]
        own += [column for column in self.order if column not in given]
        drawn = draw_rows(
            drawing.model,
            uniforms,
            own,
            self.tables,
            self.temperature,
            drawing.most,
            drawing.share,
            Wanted(tokens, given, free, uniforms.new_ones(len(tokens))),
            self.stratified,
        )
        return drawn.cpu().numpy()

    def _complete(self, token_ids: Tensor, known: Tensor, uniforms: list[Tensor]) -> list[Tensor]:
        """Complete rows, each in its order, once for each of `uniforms`."""
        orders, n_given = self._orders(known), int(known[0].sum())
        cache = CellCache(len(self.order))
        states = self.drawing.model.read(token_ids, orders[:, : n_given + 1], cache)
        drawn = []
        for each in uniforms:
            cache.rewind(n_given + 1)
            drawn.append(self._draw(token_ids.clone(), orders, n_given, each, states, cache))
        return drawn

    def _draw(
        self,
        token_ids: Tensor,
        orders: Tensor,
        n_given: int,
        uniforms: Tensor,
        states: Tensor,
        cache: CellCache,
    ) -> Tensor:
        """Draw what follows the given cells, which have been read, into `token_ids`."""
        model, n_columns = self.drawing.model, len(self.order)
        for step in range(n_given, n_columns):
            asked = orders[:, step]
            inputs = torch.empty_like(states, dtype=model.begin.dtype)
            for column in asked.unique().tolist():
                rows = (asked == column).nonzero()[:, 0]
                digit = int(model.layout.first[column])
                first, level, _ = draw_cell(
                    model,
                    states[rows],
                    None,
                    column,
                    uniforms[rows],
                    self.tables,
                    self.temperature,
                    self.allowed.get(column),
                )
                token_ids[rows, digit] = first
                if model.layout.second[column] >= 0:
                    token_ids[rows, digit + 1] = level
                inputs[rows] = model.embed_cell(column, first, level).to(inputs.dtype)
            if step + 1 < n_columns:
                states = model.advance(inputs, orders[:, step + 1], cache)
        return token_ids

    def _orders(self, known: Tensor) -> Tensor:
        """Give the columns of each row in the order in which it is drawn."""
        order = torch.tensor(self.order, device=known.device)
        return (order.argsort() + len(order) * ~known).argsort(1)

    def _advantage(self, candidates: Tensor, known: Tensor) -> Tensor:
        """Log-probability in the order of sampling, less that of what was drawn in its own.

        Of each candidate of each row, (n_rows, n_candidates). Where known cells are the same, the
        difference is one of what was drawn alone. What may not be drawn has no say in either.
        """
        n_rows, n_candidates, _ = candidates.shape
        known = known.repeat_interleave(n_candidates, 0)
        barred = {column: ~mask.any(1) for column, mask in self.allowed.items()}
        found = log_quotient(
            self.drawing.model,
            candidates.flatten(0, 1),
            known,
            self._orders(known),
            self.order,
            barred,
        )
        return found.view(n_rows, n_candidates)
