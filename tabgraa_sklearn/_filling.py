"""Rows completed together, whatever cells each of them lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ._attention import CellCache
from ._backbone import CompactBackbone
from ._drawing import OutputTables, Wanted, draw_cell, draw_rows
from ._sampling import Drawing, row_uniforms

__all__ = ["fill_tokens"]

Floats = npt.NDArray[np.float64]

_MANY = 4096  # rows that lack the same cells: worth a search for those that begin alike


def fill_tokens(
    backbone: CompactBackbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    *,
    seed: int,
    order: list[int],
    precision: torch.dtype,
    temperature: float = 1.0,
    allowed: dict[int, npt.NDArray[np.bool_]] | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Draw the cells of rows that are not known, given those that are.

    Each row has an order of its own: its known cells first, which are read in one pass, then the
    others. Rows that know equally many cells go through the model together.

    Parameters
    ----------
    backbone : CompactBackbone
    token_ids : ndarray of shape (n_rows, n_digits)
        Anything where cells are not known.
    known : ndarray of shape (n_rows, n_columns)
    allowed : dict of {int: ndarray of shape (size of the first digit, size of the second or 1)}
        For some columns, which tokens may be drawn.

    Returns
    -------
    token_ids : ndarray of shape (n_rows, n_digits)
    uniforms : ndarray of shape (n_rows, n_columns)
        What the tokenizer needs to place values within their cells.
    """
    n_rows, n_digits = token_ids.shape
    drawing = Drawing.of(backbone, precision)
    device = backbone.begin.device
    masks = {column: torch.from_numpy(mask).to(device) for column, mask in (allowed or {}).items()}
    uniforms = row_uniforms(seed, 0, n_rows, n_digits + known.shape[1])
    filled = np.maximum(token_ids, 0).astype(np.int64)
    with drawing.mode():
        tables = drawing.model.output_tables(precision)
        for start in range(0, n_rows, drawing.block):
            stop = min(start + drawing.block, n_rows)
            for rows in _alike(known[start:stop]):
                rows = rows + start
                numbers = Drawing.uniforms(uniforms[rows, :n_digits]).to(device)
                tokens = torch.from_numpy(filled[rows]).to(device)
                there = known[rows]
                if (there == there[0]).all():
                    given = frozenset(np.flatnonzero(there[0]).tolist())
                    free = {column: mask for column, mask in masks.items() if column not in given}
                    wanted = Wanted(tokens, given, free, numbers.new_ones(len(rows)))
                    own = [column for column in order if column in given]
                    own += [column for column in order if column not in given]
                    drawn = draw_rows(
                        drawing.model,
                        numbers,
                        own,
                        tables,
                        temperature,
                        drawing.most,
                        drawing.share,
                        wanted,
                    )
                    filled[rows] = drawn.cpu().numpy()
                    continue
                for part in torch.arange(len(rows)).split(drawing.most):
                    drawn = _complete(
                        drawing.model,
                        tokens[part],
                        torch.from_numpy(there[part.numpy()]).to(device),
                        numbers[part],
                        order,
                        tables,
                        temperature,
                        masks,
                    )
                    filled[rows[part.numpy()]] = drawn.cpu().numpy()
    return filled, uniforms[:, n_digits:]


def _alike(known: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Group rows that are not complete: by what they know where many do, else by how much."""
    patterns, group, counts = np.unique(known, axis=0, return_inverse=True, return_counts=True)
    sizes = patterns.sum(1)
    many = counts >= _MANY
    # Behind all numbers of cells, a number for each pattern of many rows.
    label = np.where(many, known.shape[1] + 1 + np.arange(len(patterns)), sizes)
    label[sizes == known.shape[1]] = -1
    own = label[group.ravel()]
    return [np.flatnonzero(own == number) for number in np.unique(own) if number >= 0]


def _complete(
    model: CompactBackbone,
    token_ids: Tensor,
    known: Tensor,
    uniforms: Tensor,
    order: list[int],
    tables: OutputTables,
    temperature: float,
    allowed: dict[int, Tensor],
) -> Tensor:
    """Draw what is not known of rows that know equally many cells, (n_rows, n_digits)."""
    n_columns = known.shape[1]
    token_ids = token_ids.clone()
    place = torch.empty(n_columns, dtype=torch.long, device=known.device)
    place[torch.tensor(order, device=known.device)] = torch.arange(n_columns, device=known.device)
    orders = (place + n_columns * ~known).argsort(1)
    n_given = int(known[0].sum())
    cache = CellCache(n_columns)
    states = model.read(token_ids, orders[:, : n_given + 1], cache)
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
                tables,
                temperature,
                allowed.get(column),
            )
            token_ids[rows, digit] = first
            if model.layout.second[column] >= 0:
                token_ids[rows, digit + 1] = level
            inputs[rows] = model.embed_cell(column, first, level).to(inputs.dtype)
        if step + 1 < n_columns:
            states = model.advance(inputs, orders[:, step + 1], cache)
    return token_ids
