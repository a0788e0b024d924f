"""The distribution of one column given others, read off the model without drawing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ._backbone import CompactBackbone
from ._codecs import Codec, FreshValues
from ._conditions import given_tokens
from ._tokenizer import TableTokenizer

__all__ = ["cell_values", "distributions", "reduce_numbers"]

Floats = npt.NDArray[np.float64]

_CELLS = 1 << 22  # probabilities that are held at once
_ROWS = 1024  # and rows


def cell_values(codec: Codec) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
    """Give what each pair of tokens of a column stands for, and which of them are no cells.

    Returns
    -------
    values : Series of shape (n_first * n_second,)
        The middle of a cell that is an interval.
    absent : ndarray of shape (n_first * n_second,)
        Missing cells, and pairs that there are not.
    """
    first, second = np.divmod(np.arange(_size(codec)), _n_second(codec))
    ids = np.column_stack([first, second])[:, : len(codec.sizes)]
    possible = np.ones(len(ids), dtype=bool)
    if codec.allowed is not None:
        possible = codec.allowed[first, second]
        ids = np.where(possible[:, None], ids, 0)
    values = codec.decode(ids, np.full(len(ids), 0.5))
    absent = ~possible
    if codec.has_missing:
        absent |= first == codec.missing
    return values, absent


def distributions(
    model: CompactBackbone,
    tokenizer: TableTokenizer,
    order: list[int],
    frame: pd.DataFrame,
    target: int,
) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
    """Probability of each cell of a column given the cells of each row that are there.

    Missing cells of the other columns are left out: each row is read in the order of the columns
    that it has, together with the rows that have equally many.

    Yields
    ------
    rows : ndarray of shape (n,)
        Which rows of `frame` they are.
    probabilities : ndarray of shape (n, n_first * n_second)
        Of the cells that are not missing; each row sums to 1.
    """
    codec = tokenizer.codecs_[target]
    assert not isinstance(codec, FreshValues)
    absent = cell_values(codec)[1]
    device = model.begin.device
    # MPS has no double precision; elsewhere a row's figures do not depend on the rows beside it.
    dtype = torch.float32 if device.type == "mps" else torch.float64
    exact = copy.deepcopy(model).to(dtype).eval()
    block = min(max(_CELLS // _size(codec), 1), _ROWS)
    token_ids, known = given_tokens(frame, tokenizer, strict=False)
    place = np.argsort(order)
    rank = np.where(known, place, 2 * len(order) + place)
    rank[:, target] = len(order)  # behind the cells that are there
    orders, sizes = rank.argsort(1), known.sum(1)
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        for rows in np.split(alike, range(block, len(alike), block)):
            tokens = torch.from_numpy(np.maximum(token_ids[rows], 0)).to(device)
            read = torch.from_numpy(orders[rows, : size + 1]).to(device)
            with torch.inference_mode():
                states = exact.read(tokens, read)
                probabilities = _cells(exact, codec, states, target).cpu().double().numpy()
            probabilities[:, absent] = 0.0
            total = probabilities.sum(1, keepdims=True)
            yield rows, probabilities / np.maximum(total, 1e-300)


def reduce_numbers(values: Floats, probabilities: Floats, statistic: Any) -> Floats:
    """Reduce distributions over numbers to their mean, median or quantiles.

    Returns
    -------
    ndarray of shape (n_rows,), or (n_rows, n_quantiles)
    """
    if statistic == "mean":
        mean: Floats = probabilities @ values
        return mean
    order = np.argsort(values, kind="stable")
    cumulative = probabilities[:, order].cumsum(1)
    levels = np.atleast_1d(0.5 if statistic == "median" else statistic)
    places = [(cumulative < level - 1e-12).sum(1).clip(max=len(values) - 1) for level in levels]
    found = values[order][np.stack(places, 1)]
    scalar = statistic == "median" or np.ndim(statistic) == 0
    result: Floats = found[:, 0] if scalar else found
    return result


def _size(codec: Codec) -> int:
    return int(np.prod(codec.sizes))


def _n_second(codec: Codec) -> int:
    return codec.sizes[1] if len(codec.sizes) == 2 else 1


def _cells(model: CompactBackbone, codec: Codec, states: torch.Tensor, column: int) -> torch.Tensor:
    """Probability of each pair of tokens, (n, n_first * n_second)."""
    rows = model.vocabulary.slot(column)
    logits = states @ model.vocabulary.weights()[rows].T + model.vocabulary.bias[rows]
    first = logits.softmax(-1)
    if len(codec.sizes) == 1:
        return first
    rows = model.level_vocabulary.slot(model.two_digit.index(column))
    weights, bias = model.level_vocabulary.weights()[rows], model.level_vocabulary.bias[rows]
    opens = model.opens[model.first_start[column] : model.first_start[column + 1]].tolist()
    joint = first.new_zeros(len(states), *codec.sizes)
    for token in range(codec.sizes[0]):
        if not opens[token]:
            joint[:, token, 0] = first[:, token]
            continue
        index = torch.full((len(states),), token, device=states.device)
        inner = model.level_states(states, index + model.first_start[column])
        logits = inner @ weights.T + bias
        barred = model.barred(column, index)
        levels = (logits if barred is None else logits + barred).softmax(-1)
        joint[:, token] = first[:, token, None] * levels
    return joint.flatten(1)
