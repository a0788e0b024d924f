"""Attention over the few cells of a row or over its text, and the cache of what was read of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["ATTENTION", "TEXT_ATTENTION", "CellCache", "with_cache"]

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
        self.whole = [
            part.new_empty(*part.shape[:2], self.room, part.shape[3], dtype=self.precision)
            for part in new
        ]
        for old, store in zip(self.laid_out, self.whole, strict=False):
            store[:, :, : self.length] = old[:, :, : self.length]
        self.laid_out = self.whole

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.length = length
        self.keys, self.values = (part[:, :, :length] for part in self.laid_out)
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True
        return self.keys, self.values

    def select(self, index: Tensor, spare: _CellLayer | None) -> _CellLayer:
        """Copy some of the sequences."""
        chosen = _CellLayer(self.room, self.precision)
        chosen.whole = []
        for number, part in enumerate(self.laid_out):
            if spare is not None and len(spare.whole[number]) >= len(index):
                whole = spare.whole[number]
            else:
                whole = part.new_empty(len(index), *part.shape[1:])
            filled, taken = (store[:, :, : self.length] for store in (part, whole[: len(index)]))
            torch.index_select(filled, 0, index, out=taken)
            chosen.whole.append(whole)
        chosen.laid_out = [whole[: len(index)] for whole in chosen.whole]
        chosen._show(self.length)
        return chosen

    def part(self, start: int, n: int) -> _CellLayer:
        """Show some of the sequences, in place."""
        shown = _CellLayer(self.room, self.precision)
        shown.laid_out = [store[start : start + n] for store in self.laid_out]
        shown._show(self.length)
        return shown

    def lengthen(self) -> None:
        """Take in a cell that was written through all parts."""
        self._show(self.length + 1)

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

    def select(self, index: Tensor, spare: CellCache | None = None) -> CellCache:
        """Copy some of the rows, in the order of `index`.

        Into the memory of `spare`, which is lost, where that is large enough: fresh memory costs
        more than what is written to it.
        """
        chosen = CellCache(self.room, self.precision)
        spares = spare.layers if spare is not None and spare.layers else [None] * len(self.layers)
        chosen.layers = [
            layer.select(index, old) for layer, old in zip(self.layers, spares, strict=True)
        ]
        return chosen

    def part(self, start: int, n: int) -> CellCache:
        """Show `n` of the rows, from `start` on: what is written to them is written here."""
        shown = CellCache(self.room, self.precision)
        shown.layers = [layer.part(start, n) for layer in self.layers]
        return shown

    def lengthen(self) -> None:
        """Take in the cells that were written through all parts."""
        for layer in self.layers:
            layer.lengthen()

    def rewind(self, length: int) -> None:
        """Forget all but the first cells."""
        for layer in self.layers:
            layer.rewind(length)


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
        return _attend_cell(query[:, :, 0], key, value).reshape(batch, 1, heads, size), None
    # Heads that read the same keys stand below each other: one product for all of them.
    query = query.reshape(batch, sources, -1, size)  # (batch, sources, length * shared, size)
    # A softmax over fewer than 16 numbers, or of bf16, is not vectorised on a CPU.
    filled = max(total, _LANES)
    key, value = (F.pad(part, (0, 0, 0, filled - total)) for part in (key, value))
    scores = (query @ key.transpose(-1, -2)).view(batch, sources, length, -1, filled)
    future = torch.full((length, filled), _FUTURE, device=scores.device)
    scores = scores + future.triu(1 + total - length)[:, None]
    weights = scores.softmax(-1).to(value.dtype).flatten(2, 3)
    mixed = (weights @ value).view(batch, sources, length, -1, size).transpose(1, 2)
    return mixed.reshape(batch, length, heads, size), None


def _attend_cell(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
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
