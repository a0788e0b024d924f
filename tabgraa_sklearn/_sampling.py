"""Rows out of a trained model: in blocks, with randomness that belongs to the row."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from ._backbone import CompactBackbone
from ._device import autocast
from ._drawing import Wanted, draw_rows

__all__ = ["row_uniforms", "sample_tokens"]

Floats = npt.NDArray[np.float64]

_SEED_ROWS = 1024  # rows that share a seed
_BLOCK_ROWS = 1 << 16  # rows that are drawn together


def row_uniforms(seed: int, start: int, stop: int, width: int) -> Floats:
    """Uniform numbers of the rows `start` to `stop` of an endless table.

    Row i gets the same numbers whatever range it is asked for in.

    Returns
    -------
    ndarray of shape (stop - start, width), in [0, 1)
    """
    blocks = range(start // _SEED_ROWS, -(-stop // _SEED_ROWS))
    drawn = [np.random.default_rng([seed, block]).random((_SEED_ROWS, width)) for block in blocks]
    offset = start - blocks.start * _SEED_ROWS
    return np.concatenate(drawn)[offset : offset + stop - start]


def sample_tokens(
    backbone: CompactBackbone,
    n_samples: int,
    *,
    seed: int,
    order: list[int],
    precision: torch.dtype,
    temperature: float = 1.0,
    batch_size: int = 65536,
    wanted: Wanted | None = None,
) -> Iterator[tuple[npt.NDArray[Any], Floats]]:
    """Draw rows as token ids.

    Rows are drawn in blocks, whose size depends on the columns and the device and not on
    `batch_size`: a matrix product may round differently for another number of rows, and a row
    must not change with the batch that it came in.

    What is `wanted` of the `n_samples` rows is on the CPU.

    Yields
    ------
    token_ids : ndarray of shape (n_rows, n_digits)
    uniforms : ndarray of shape (n_rows, n_columns)
        What the tokenizer needs to place values within their cells.
    """
    layout = backbone.layout
    device = backbone.begin.device
    # Rows are drawn together in blocks, of which so many sequences go through the model at once;
    # of wide rows fewer, for each cell is cached.
    block = _at_most(_BLOCK_ROWS, (1 << 20) // layout.n_columns)
    share = device.type == "cpu"
    largest, most_cells = (1 << 12, 1 << 17) if share else (1 << 14, 1 << 20)
    most = _at_most(largest, most_cells // layout.n_columns)
    rows_at_once = max(block, batch_size // block * block)
    model = _with_products_in(backbone, precision).eval()
    tables = None
    for start in range(0, n_samples, rows_at_once):
        stop = min(start + rows_at_once, n_samples)
        uniforms = row_uniforms(seed, start, stop, layout.n_digits + layout.n_columns)
        # Rounding to float32 may give 1, which is no number of [0, 1).
        drawing = np.minimum(uniforms[:, : layout.n_digits], 1 - 2**-24).astype(np.float32)
        with torch.inference_mode(), autocast(device, precision):
            tables = tables or model.output_tables(precision)
            drawn = []
            for number, part in enumerate(torch.from_numpy(drawing).split(block)):
                first_row = start + number * block
                asked = _asked(wanted, slice(first_row, first_row + len(part)), device)
                part = part.to(device)
                rows = draw_rows(model, part, order, tables, temperature, most, share, asked)
                drawn.append(rows.cpu())
                if wanted is not None and asked is not None:
                    wanted.chances[first_row : first_row + len(part)] = asked.chances.cpu()
        yield torch.cat(drawn).numpy(), uniforms[:, layout.n_digits :]


def _asked(wanted: Wanted | None, rows: slice, device: torch.device) -> Wanted | None:
    """Give what is asked of a block of rows, on the model's device."""
    if wanted is None:
        return None
    allowed = {column: mask.to(device) for column, mask in wanted.allowed.items()}
    tokens, chances = (part[rows] for part in (wanted.tokens, wanted.chances))
    if device.type == "mps":  # it has no double precision
        chances = chances.float()
    tokens, chances = tokens.to(device), chances.to(device)
    return Wanted(tokens, wanted.given, allowed, chances, wanted.possible)


def _at_most(largest: int, bound: int) -> int:
    """Give the largest power of 2 up to both, but 64 at least."""
    return max(64, min(largest, 1 << max(bound.bit_length() - 1, 0)))


def _with_products_in(backbone: CompactBackbone, precision: torch.dtype) -> CompactBackbone:
    """Copy a model with the weights of its matrix products in `precision`.

    Autocast would convert them again at every step.
    """
    if precision is torch.float32:
        return backbone
    model = copy.deepcopy(backbone)
    for module in model.modules():
        if isinstance(module, (nn.Linear, Conv1D)):
            module.to(precision)
    return model
