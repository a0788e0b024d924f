"""Known rows, read cell by cell: those that begin alike are read once."""

from __future__ import annotations

import torch
from torch import Tensor

from ._attention import CellCache
from ._backbone import CompactBackbone

__all__ = ["read_rows"]


def read_rows(
    model: CompactBackbone, token_ids: Tensor, orders: Tensor, at_once: int
) -> tuple[Tensor, Tensor]:
    """State from which the last of some columns is predicted, given the others before it.

    What :meth:`CompactBackbone.read` computes, but beginnings that rows share are read once. Always
    as many sequences go through the model together: a matrix product may round differently for
    another number of rows, and a row's figures must not depend on those beside it.

    Parameters
    ----------
    model : CompactBackbone
    token_ids : Tensor of shape (n_rows, n_digits), int64
    orders : Tensor of shape (n_rows, n_read + 1), int64
        The columns of each row in the order in which they are read, and the one asked for.
    at_once : int
        Sequences that go through the model together.

    Returns
    -------
    states : Tensor of shape (n_distinct, width)
        Repeated up to a multiple of `at_once`.
    own : Tensor of shape (n_rows,)
        Which of the states is each row's.
    """
    cells = _numbered(model, token_ids).gather(1, orders[:, :-1])
    ranked = _lexicographic(torch.cat([cells, orders[:, -1:]], 1))
    cells, orders, token_ids = cells[ranked], orders[ranked], token_ids[ranked]
    # A row parts from the one before it where a cell differs, or what is asked for next.
    parted = torch.ones_like(orders, dtype=torch.bool)
    parted[1:] = orders[1:] != orders[:-1]
    parted[1:, 1:] |= cells[1:] != cells[:-1]
    parted = parted.cummax(1).values
    cache, spare = CellCache(orders.shape[1]), None
    sequence = torch.zeros_like(ranked)
    for step, fresh in enumerate(parted.T):
        kept = fresh.nonzero()[:, 0]
        asked = orders[kept, step]
        if step == 0:
            # One sequence for each column that comes first, of which there are few.
            room = -(-model.n_columns // at_once) * at_once
            states = model.advance(model.begin.expand(room, -1), _repeated(asked, room), cache)
        else:
            room = -(-len(kept) // at_once) * at_once
            inputs = _embedded(model, token_ids[kept], orders[kept, step - 1], at_once)
            inputs = _repeated(inputs, room)
            asked = _repeated(asked, room)
            cache, spare = cache.select(_repeated(sequence[kept], room), spare), cache
            parts = torch.arange(room, device=asked.device).split(at_once)
            states = torch.cat(
                [model.advance(inputs[p], asked[p], cache.part(int(p[0]), at_once)) for p in parts]
            )
            cache.lengthen()
        sequence = fresh.cumsum(0) - 1
    return states, torch.empty_like(sequence).scatter_(0, ranked, sequence)


def _numbered(model: CompactBackbone, token_ids: Tensor) -> Tensor:
    """Number of each cell among those of all columns, (n_rows, n_columns)."""
    first = token_ids[:, model.first] + model.start
    levels = torch.zeros_like(first)
    if model.two_digit:
        levels[:, model.two] = token_ids[:, model.second]
    return first * int(model.layout.sizes.max()) + levels


def _lexicographic(keys: Tensor) -> Tensor:
    """Order of rows by their first number, then by their second, and so on."""
    ranked = torch.arange(len(keys), device=keys.device)
    for column in reversed(keys.T):
        ranked = ranked[column[ranked].argsort(stable=True)]
    return ranked


def _embedded(model: CompactBackbone, token_ids: Tensor, columns: Tensor, at_once: int) -> Tensor:
    """Embed one cell of each row, (n_rows, width)."""
    cells = model.begin.new_empty(len(token_ids), len(model.begin))
    for column in columns.unique().tolist():
        rows = (columns == column).nonzero()[:, 0]
        digit, second = int(model.layout.first[column]), int(model.layout.second[column])
        first = token_ids[rows, digit]
        level = token_ids[rows, second] if second >= 0 else torch.zeros_like(first)
        room = -(-len(rows) // at_once) * at_once
        parts = (_repeated(digits, room).split(at_once) for digits in (first, level))
        embedded = [model.embed_cell(column, *part) for part in zip(*parts, strict=True)]
        cells[rows] = torch.cat(embedded)[: len(rows)].to(cells.dtype)
    return cells


def _repeated(sequences: Tensor, wanted: int) -> Tensor:
    """Repeat the first of the sequences until there are as many as wanted."""
    filling = sequences[:1].expand(wanted - len(sequences), *sequences.shape[1:])
    return torch.cat([sequences, filling])
