"""One more cell of many sequences through the compact model's transformer, in few operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPTBigCodeModel

from ._attention import CellCache, TreeCache, attend_cell

__all__ = ["can_step", "step"]


def can_step(transformer: nn.Module) -> bool:
    """Say whether it is the architecture that :func:`step` knows."""
    if type(transformer) is not GPTBigCodeModel:
        return False
    config: Any = transformer.config
    return bool(config.multi_query)


def step(
    transformer: GPTBigCodeModel, inputs: Tensor, cache: CellCache | TreeCache, *, states: bool
) -> Tensor:
    """Compute what ``transformer(inputs_embeds=inputs[:, None], cache=cache)`` does.

    On so few numbers the calls between the products take as long as these: here are only those
    that one cell needs, in evaluation mode and without gradients. No hooks are called.

    Parameters
    ----------
    transformer : GPTBigCodeModel
    inputs : Tensor of shape (n_sequences, width)
    cache : CellCache or TreeCache
        Grows by one cell.
    states : bool
        False: none is asked for; of the last layer only keys and values are computed.

    Returns
    -------
    Tensor of shape (n_sequences, width)
        Zeros, if none is asked for.
    """
    n, width = inputs.shape
    hidden = inputs + transformer.wpe.weight[cache.get_seq_length()]
    for number, block in enumerate(transformer.h):
        attention = block.attn
        joint, size = attention.c_attn, attention.head_dim
        normed = block.ln_1(hidden)
        if not states and number == len(transformer.h) - 1:
            key, value = F.linear(normed, joint.weight[width:], joint.bias[width:]).split(size, 1)
            cache.write(key[:, None, None], value[:, None, None], number)
            return torch.zeros_like(hidden)
        query, key, value = joint(normed).split((width, size, size), 1)
        keys, values = cache.update(key[:, None, None], value[:, None, None], number)
        query = (query * attention.scaling).view(n, 1, -1, size)
        mixed = attend_cell(query, keys, values).view(n, width)
        hidden += attention.c_proj(mixed)
        mlp = block.mlp
        hidden += mlp.c_proj(mlp.act(mlp.c_fc(block.ln_2(hidden))))
    return transformer.ln_f(hidden)
