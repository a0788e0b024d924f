"""Causal attention over the few cells of a row, and the cache of what was read of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicLayer

__all__ = ["ATTENTION", "CellCache"]

ATTENTION = "tabgraa_slots"  # its name in transformers' register

_FUTURE = -1e4  # finite, so that gradients stay finite
_LANES = 16


class _CellLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, laid out once for all cells, cell by cell.

    What :meth:`update` gives has the usual shape (batch, heads, length, head_dim), and is a view.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Write the states of one or more cells behind those that are there."""
        new = [states.permute(2, 0, 1, 3) for states in (key_states, value_states)]
        if self.length == 0:
            self.laid_out = [part.new_empty(self.room, *part.shape[1:]) for part in new]
        stop = self.length + len(new[0])
        for part, store in zip(new, self.laid_out, strict=True):
            store[self.length : stop] = part
        return self._show(stop)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.length = length
        self.keys, self.values = (part[:length].permute(1, 2, 0, 3) for part in self.laid_out)
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True
        return self.keys, self.values

    def select(self, index: Tensor) -> _CellLayer:
        """Copy some of the sequences."""
        chosen = _CellLayer(self.room)
        chosen.laid_out = []
        batch = self.laid_out[0].shape[1]
        cells = torch.arange(self.length, device=index.device)[:, None] * batch
        flat = (cells + index).flatten()
        for part in self.laid_out:
            copy = part.new_empty(self.room, len(index), *part.shape[2:])
            # By the first dimension alone is several times as fast as by the second, or brackets.
            old, new = (store[: self.length].flatten(0, 1) for store in (part, copy))
            torch.index_select(old, 0, flat, out=new)
            chosen.laid_out.append(copy)
        chosen._show(self.length)
        return chosen


class CellCache(Cache):  # type: ignore[misc]
    """Keys and values of rows that are read cell by cell.

    Parameters
    ----------
    room : int
        Cells that a row has at the most.
    """

    def __init__(self, room: int) -> None:
        super().__init__(layer_class_to_replicate=lambda: _CellLayer(room))

    def select(self, index: Tensor) -> CellCache:
        """Copy some of the rows, in the order of `index`."""
        room = self.layers[0].room
        chosen = CellCache(room)
        chosen.layers = [layer.select(index) for layer in self.layers]
        return chosen


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention in plain products.

    On rows of a few dozen cells this is several times as fast on a CPU as torch's fused kernels,
    which are laid out for long sequences.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, length, head_dim)
    key, value : Tensor of shape (batch, heads or a divisor, past + length, head_dim)

    Returns
    -------
    mixed : Tensor of shape (batch, length, heads, head_dim)
    weights : None
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # grouped-query attention
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if query.shape[2] == 1 and groups == 1 and key.device.type == "cpu":
        return _attend_cell(query, key, value), None
    scores = query @ key.transpose(-1, -2)  # (batch, heads, length, past + length)
    length, total = scores.shape[-2:]
    # A softmax over fewer than 16 numbers, or of bf16, is not vectorised on a CPU.
    filled = max(total, _LANES)
    future = torch.full((length, filled), _FUTURE, device=scores.device).triu(1 + total - length)
    weights = (F.pad(scores, (0, filled - total)) + future).softmax(-1)[..., :total]
    mixed = weights.to(value.dtype) @ value
    return mixed.transpose(1, 2).contiguous(), None


def _attend_cell(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of one cell, on keys and values that stand in memory cell by cell.

    Thousands of products of a vector with a small matrix are slow; one elementwise product of all
    keys with the query, summed over each head by a product with indicators, is not.
    """
    batch, heads, _, size = query.shape
    width = heads * size
    head = torch.eye(heads, dtype=query.dtype).repeat_interleave(size, 1)  # (heads, width)
    key, value = (part.permute(2, 0, 1, 3).reshape(-1, batch, width) for part in (key, value))
    scores = (key * query.reshape(batch, width)) @ head.T  # (cells, batch, heads)
    weights = scores.softmax(0) @ head  # (cells, batch, width)
    return (weights * value).sum(0).view(batch, 1, heads, size)


AttentionInterface.register(ATTENTION, _attention)
