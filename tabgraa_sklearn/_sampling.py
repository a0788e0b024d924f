"""Rows out of a trained model: in blocks, with randomness that belongs to the row."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ._backbone import CompactBackbone
from ._device import autocast
from ._drawing import Wanted, draw_rows
from ._protocols import Backbone

__all__ = ["Drawing", "row_uniforms", "sample_tokens", "with_products_in"]

Floats = npt.NDArray[np.float64]
Model = TypeVar("Model", bound=nn.Module)

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


@singledispatch
def sample_tokens(
    backbone: Backbone,
    n_samples: int,
    *,
    seed: int,
    order: list[int],
    precision: torch.dtype,
    temperature: float = 1.0,
    batch_size: int = 65536,
    wanted: Wanted | None = None,
    stratified: bool = True,
) -> Iterator[tuple[npt.NDArray[Any], Floats]]:
    """Draw rows as token ids.

    Rows are drawn in blocks, whose size depends on the columns and the device and not on
    `batch_size`: a matrix product may round differently for another number of rows, and a row
    must not change with the batch that it came in.

    What is `wanted` of the `n_samples` rows is on the CPU. Rows of one block are `stratified`, see
    :func:`draw_rows`: they change with the number of rows in the last block.

    Yields
    ------
    token_ids : ndarray of shape (n_rows, n_digits)
    uniforms : ndarray of shape (n_rows, n_columns)
        What the tokenizer needs to place values within their cells.
    """
    assert isinstance(backbone, CompactBackbone)
    layout = backbone.layout
    drawing = Drawing.of(backbone, precision)
    device, block = drawing.device, drawing.block
    rows_at_once = max(block, batch_size // block * block)
    tables = None
    for start in range(0, n_samples, rows_at_once):
        stop = min(start + rows_at_once, n_samples)
        uniforms = row_uniforms(seed, start, stop, layout.n_digits + layout.n_columns)
        numbers = drawing.uniforms(uniforms[:, : layout.n_digits])
        with drawing.mode():
            tables = tables or drawing.model.output_tables(precision)
            drawn = []
            for number, part in enumerate(numbers.split(block)):
                first_row = start + number * block
                asked = _asked(wanted, slice(first_row, first_row + len(part)), device)
                rows = draw_rows(
                    drawing.model,
                    part,
                    order,
                    tables,
                    temperature,
                    drawing.most,
                    drawing.share,
                    asked,
                    stratified,
                )
                drawn.append(rows.cpu())
                if wanted is not None and asked is not None:
                    wanted.chances[first_row : first_row + len(part)] = asked.chances.cpu()
        yield torch.cat(drawn).numpy(), uniforms[:, layout.n_digits :]


@dataclass
class Drawing:
    """A model made ready to draw from.

    Attributes
    ----------
    model : CompactBackbone
    device : torch.device
    precision : torch.dtype
    block : int
        Rows that are drawn together.
    most : int
        Sequences that go through the model at once; of wide rows fewer, for each cell is cached.
    share : bool
        Whether rows that begin alike are one sequence.
    """

    model: CompactBackbone
    device: torch.device
    precision: torch.dtype
    block: int
    most: int
    share: bool

    @classmethod
    def of(cls, backbone: CompactBackbone, precision: torch.dtype) -> Drawing:
        """Choose what the device and the number of columns ask for."""
        device, n_columns = backbone.device, backbone.layout.n_columns
        share = device.type == "cpu"
        largest, most_cells = (1 << 12, 1 << 17) if share else (1 << 14, 1 << 20)
        return cls(
            with_products_in(backbone, precision).eval(),
            device,
            precision,
            _at_most(_BLOCK_ROWS, (1 << 20) // n_columns),
            _at_most(largest, most_cells // n_columns),
            share,
        )

    @contextlib.contextmanager
    def mode(self) -> Iterator[None]:
        """Neither gradients nor more precision than asked for."""
        with torch.inference_mode(), autocast(self.device, self.precision):
            yield

    def uniforms(self, numbers: Floats) -> Tensor:
        """Give numbers of [0, 1) on the device; MPS has no double precision."""
        single = self.device.type == "mps"
        return torch.from_numpy(numbers.astype(np.float32) if single else numbers).to(self.device)


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


def with_products_in(backbone: Model, precision: torch.dtype) -> Model:
    """Copy a model with the weights of its matrix products in `precision`.

    Autocast would convert them again at every step. Of the compact model those of the whole
    transformer: what flows between its products is in `precision`, too, or it would be converted
    to and fro at each of them. Other weights are shared, not copied.
    """
    if precision is torch.float32:
        return backbone
    converted: dict[int, nn.Parameter] = {}
    modules = list(backbone.modules())
    tables = {id(module.weight) for module in modules if isinstance(module, nn.Embedding)}
    inner = set(backbone.transformer.modules()) if isinstance(backbone, CompactBackbone) else set()
    for module in modules:
        for parameter in module.parameters(recurse=False):
            product = isinstance(module, (nn.Linear, Conv1D)) and id(parameter) not in tables
            if product or module in inner:
                converted[id(parameter)] = nn.Parameter(
                    parameter.detach().to(precision), requires_grad=False
                )
    if isinstance(backbone, CompactBackbone):
        return _copied(backbone, converted, {})
    memo: dict[int, Any] = {id(parameter): parameter for parameter in backbone.parameters()}
    return copy.deepcopy(backbone, memo | converted)


def _copied(
    module: nn.Module, converted: dict[int, nn.Parameter], copies: dict[int, nn.Module]
) -> Any:
    """Copy a tree of modules that shares everything but some parameters with the original.

    A deep copy would take as long as hundreds of rows do.
    """
    if id(module) not in copies:
        own = copies[id(module)] = copy.copy(module)
        own._parameters = {
            name: None if parameter is None else converted.get(id(parameter), parameter)
            for name, parameter in module._parameters.items()
        }
        own._buffers = dict(module._buffers)
        own._modules = {
            name: None if child is None else _copied(child, converted, copies)
            for name, child in module._modules.items()
        }
    return copies[id(module)]
