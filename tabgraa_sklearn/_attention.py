"""Attention over the few cells of a row or over its text, and the cache of what was read of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = [
    "ATTENTION",
    "TEXT_ATTENTION",
    "CellCache",
    "TreeCache",
    "attend_cell",
    "with_cache",
]

# Their names in transformers' register.
ATTENTION = "tabgraa_slots"
TEXT_ATTENTION = "tabgraa_text"

_FUTURE = -1e4  # finite, so that gradients stay finite
_LANES = 16
_SHORT_TEXT = 192


def with_cache(model: nn.Module, cache: Cache | None) -> dict[str, Any]:
    """Give the keywords by which a model of transformers takes a cache, or none."""
    return {_cache_keyword(type(model).forward): cache, "use_cache": cache is not None}


@functools.cache
def _cache_keyword(forward: Callable[..., Any]) -> str:
    """Give the name of the cache: transformers 5.24 calls it `cache`, and warns of the old name."""
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


class _CellLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, laid out once for all cells, row by row.

    What :meth:`update` gives has the usual shape (batch, heads, length, head_dim), and is a view.
    """

    def __init__(self, room: int, precision: torch.dtype | None) -> None:
        super().__init__()
        self.room, self.precision = room, precision
        self.length = 0
        self.laid_out: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Write the states of one or more cells behind those that are there."""
        new, stop = (key_states, value_states), self.length + key_states.shape[2]
        if self.length == 0 or stop > self.room:
            self._make_room(new, stop)
        for part, store in zip(new, self.laid_out, strict=True):
            store[:, :, self.length : stop] = part
        return self._show(stop)

    def _make_room(self, new: tuple[Tensor, Tensor], least: int) -> None:
        """Lay out memory, or twice as much as there was."""
        self.room = max(2 * self.room if self.length else self.room, least)
        stores = [
            part.new_empty(*part.shape[:2], self.room, part.shape[3], dtype=self.precision)
            for part in new
        ]
        for old, store in zip(self.laid_out, stores, strict=False):
            store[:, :, : self.length] = old[:, :, : self.length]
        self.laid_out = stores

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.length = length
        self.keys, self.values = (part[:, :, :length] for part in self.laid_out)
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True
        return self.keys, self.values

    def select(self, index: Tensor) -> _CellLayer:
        """Copy some of the sequences."""
        chosen = _CellLayer(self.room, self.precision)
        for part in self.laid_out:
            store = part.new_empty(len(index), *part.shape[1:])
            filled, taken = (whole[:, :, : self.length] for whole in (part, store))
            torch.index_select(filled, 0, index, out=taken)
            chosen.laid_out.append(store)
        chosen._show(self.length)
        return chosen

    def rewind(self, length: int) -> None:
        """Forget what was written behind the first cells."""
        self._show(length)


class CellCache(Cache):  # type: ignore[misc]
    """Keys and values of rows that are read cell by cell.

    Parameters
    ----------
    room : int
        Cells that a row has at the most, or tokens that a text is thought to have.
    precision : torch.dtype, optional
        Of what is kept. None: as it comes.
    """

    def __init__(self, room: int, precision: torch.dtype | None = None) -> None:
        self.room, self.precision = room, precision
        super().__init__(layer_class_to_replicate=lambda: _CellLayer(room, precision))

    def select(self, index: Tensor) -> CellCache:
        """Copy some of the rows, in the order of `index`."""
        chosen = CellCache(self.room, self.precision)
        chosen.layers = [layer.select(index) for layer in self.layers]
        return chosen

    def write(self, key_states: Tensor, value_states: Tensor, layer: int) -> None:
        """Write the states of one more cell of each row."""
        self.update(key_states, value_states, layer)

    def rewind(self, length: int) -> None:
        """Forget all but the first cells."""
        for layer in self.layers:
            layer.rewind(length)


@dataclass
class _Sequences:
    """Those that are read on next: the cells before, (n_sequences, n_before), and the new one's."""

    n_cells: int
    paths: Tensor
    start: int = 0


class _TreeLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer for every cell of a tree, each once."""

    def __init__(self, sequences: _Sequences) -> None:
        super().__init__()
        self.sequences, self.is_initialized = sequences, False

    def get_seq_length(self) -> int:
        """Cells before those that are read now."""
        return int(self.sequences.paths.shape[1]) - 1

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Write the states of one more cell of each sequence, and gather those on its path."""
        self.write(key_states, value_states)
        paths = self.sequences.paths
        index, found = paths.flatten(), []
        for store in self.stores:
            whole = store.index_select(0, index).view(*paths.shape, *store.shape[1:])
            found.append(whole.transpose(1, 2))
        return tuple(found)

    def write(self, key_states: Tensor, value_states: Tensor) -> None:
        """Write the states of one more cell of each sequence, (n_sequences, heads, 1, size)."""
        start, stop = self.sequences.start, self.sequences.start + len(key_states)
        new = key_states[:, :, 0], value_states[:, :, 0]
        if not self.is_initialized:
            n_cells = self.sequences.n_cells
            self.stores = [part.new_empty(n_cells, *part.shape[1:]) for part in new]
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized = True
        for part, store in zip(new, self.stores, strict=True):
            store[start:stop] = part


class TreeCache(Cache):  # type: ignore[misc]
    """Keys and values of rows that are read cell by cell, where many begin alike.

    Each beginning is a cell of a tree, of which the keys and values are stored once; a sequence is
    the path to its cell.

    Parameters
    ----------
    n_cells : int
        Cells that the tree may come to have.
    """

    def __init__(self, n_cells: int) -> None:
        sequences = _Sequences(n_cells, torch.empty(0, 0, dtype=torch.int64))
        self.sequences = sequences  # not self in the layers, which would outlive its last use
        super().__init__(layer_class_to_replicate=lambda: _TreeLayer(sequences))

    def at(self, paths: Tensor, start: int) -> TreeCache:
        """Say which sequences are read on next, and the number of the first of their new cells.

        Parameters
        ----------
        paths : Tensor of shape (n_sequences, n_before), int64
            The cells of each so far.
        start : int
        """
        own = torch.arange(start, start + len(paths), device=paths.device)[:, None]
        self.sequences.paths, self.sequences.start = torch.cat([paths, own], 1), start
        return self

    def write(self, key_states: Tensor, value_states: Tensor, layer: int) -> None:
        """Write the states of one more cell of each sequence, without looking at those before."""
        while len(self.layers) <= layer:
            self.layers.append(self.layer_class_to_replicate())
        self.layers[layer].write(key_states, value_states)


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
    batch, heads, length, size = query.shape
    sources, total = key.shape[1:3]  # heads of keys and values, each read by several of the queries
    query = query.transpose(1, 2) * (size**-0.5 if scaling is None else scaling)
    query = query.view(batch, length, sources, heads // sources, size).transpose(1, 2)
    if length == 1:
        return attend_cell(query[:, :, 0], key, value).reshape(batch, 1, heads, size), None
    # Heads that read the same keys stand below each other: one product for all of them.
    query = query.reshape(batch, sources, -1, size)  # (batch, sources, length * shared, size)
    # A softmax over fewer than 16 numbers, or of bf16, is not vectorised on a CPU.
    filled = max(total, _LANES)
    key, value = (F.pad(part, (0, 0, 0, filled - total)) for part in (key, value))
    scores = (query @ key.transpose(-1, -2)).view(batch, sources, length, -1, filled)
    future = torch.full((length, filled), _FUTURE, device=scores.device, dtype=torch.float32)
    scores = scores + future.triu(1 + total - length)[:, None]
    weights = scores.softmax(-1).to(value.dtype).flatten(2, 3)
    mixed = (weights @ value).view(batch, sources, length, -1, size).transpose(1, 2)
    return mixed.reshape(batch, length, heads, size), None


def attend_cell(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of one cell, (batch, sources, shared, head_dim).

    The keys are the left factor, as they lie in memory, and the softmax runs over the first
    dimension: each is several times as fast on a CPU as the usual way round.
    """
    scores = key @ query.transpose(-1, -2)  # (batch, sources, length, shared)
    weights = scores.permute(2, 0, 1, 3).contiguous().softmax(0)
    return weights.permute(1, 2, 3, 0).to(value.dtype) @ value


def _text_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention by torch's fused kernels, as transformers calls them, but without copies of keys.

    Where several heads read the same keys, transformers copies these for each of the heads when
    there is a mask. Here such heads stand below each other, as more of the text. Plain products
    where the fused kernel's gradient is slower than theirs: for short texts on a CPU in bf16.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, length, head_dim)
    key, value : Tensor of shape (batch, heads or a divisor, past + length, head_dim)
    attention_mask : Tensor of shape (batch, 1, length, past + length), optional

    Returns
    -------
    mixed : Tensor of shape (batch, length, heads, head_dim)
    weights : None
    """
    batch, heads, length, size = query.shape
    sources, total = key.shape[1:3]
    more = settings.get("position_bias") is not None or settings.get("softcap") is not None
    causal = settings.get("is_causal", getattr(module, "is_causal", True))
    if attention_mask is None and causal and not more and _gradient_is_slow(query, settings):
        return _attention(module, query, key, value, None, settings.get("scaling"))
    if attention_mask is None or heads == sources or more:
        usual: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **settings
        )
        return usual
    shared = heads // sources
    mask = attention_mask[:, :, None].expand(-1, -1, shared, -1, -1)
    mixed = F.scaled_dot_product_attention(
        query.reshape(batch, sources, shared * length, size),
        key,
        value,
        attn_mask=mask.reshape(len(mask), 1, shared * length, total),
        dropout_p=settings.get("dropout", 0.0),
        scale=settings.get("scaling"),
    )
    mixed = mixed.view(batch, heads, length, -1).transpose(1, 2)
    return mixed.contiguous(), None


def _gradient_is_slow(query: Tensor, settings: dict[str, Any]) -> bool:
    """Whether plain products beat the gradient of the fused kernel, which is laid out for length.

    They keep the weights of all layers, which long texts have too many of.
    """
    return (
        torch.is_grad_enabled()
        and query.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and query.shape[2] <= _SHORT_TEXT
        and not settings.get("dropout")
    )


AttentionInterface.register(ATTENTION, _attention)
AttentionInterface.register(TEXT_ATTENTION, _text_attention)
AttentionMaskInterface.register(TEXT_ATTENTION, sdpa_mask)
