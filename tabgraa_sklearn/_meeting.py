"""Rows that meet a request, by drawing again where the model's own odds demand it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ._backbone import CompactBackbone
from ._conditions import Request, order_for
from ._sampling import sample_tokens

__all__ = ["meet"]

Floats = npt.NDArray[np.float64]

_CANDIDATES = (1, 4, 16, 64)  # rows drawn for each that is still wanted, round by round


def meet(
    model: CompactBackbone,
    request: Request,
    *,
    order: list[int],
    precision: torch.dtype,
    temperature: float,
    seed: int,
) -> tuple[npt.NDArray[Any], Floats]:
    """Draw rows that meet a request.

    Given cells come first, then columns with a choice, then the rest. One column with a choice is
    drawn from its distribution among what is allowed, which is exact. Of several, the later ones
    weigh the earlier: a row is accepted with the probability that the model gives to what is
    allowed later. After 85 candidates a row takes one of the last 64 by these weights.

    Returns
    -------
    token_ids : ndarray of shape (n_rows, n_digits)
    uniforms : ndarray of shape (n_rows, n_columns)
    """
    order = order_for(order, request)
    n_rows = len(request.rows)
    token_ids = np.empty((n_rows, model.layout.n_digits), dtype=np.int64)
    uniforms = np.empty((n_rows, model.n_columns))
    random = np.random.default_rng([seed, 1])
    pending = np.arange(n_rows)
    weigh = request.exact and len(request.allowed) > 1
    for number, candidates in enumerate(_CANDIDATES if weigh else (1,)):
        chosen = np.repeat(pending, candidates)
        wanted = request.wanted(chosen)
        parts = list(
            sample_tokens(
                model,
                len(chosen),
                seed=seed + number,
                order=order,
                precision=precision,
                temperature=temperature,
                wanted=wanted,
            )
        )
        ids, numbers = (np.concatenate(part) for part in zip(*parts, strict=True))
        chances = wanted.chances.double().numpy().reshape(-1, candidates)
        if not weigh:
            taken = np.zeros(len(pending), dtype=np.int64)
            found = np.ones(len(pending), dtype=bool)
        elif number + 1 < len(_CANDIDATES):
            accepted = random.random(chances.shape) < chances
            found = np.asarray(accepted.any(1))
            taken = accepted.argmax(1)
        else:
            # The least of exponential variables divided by weights: one drawn by the weights.
            races = random.exponential(size=chances.shape) / np.maximum(chances, 1e-300)
            found, taken = np.ones(len(pending), dtype=bool), races.argmin(1)
        places = (np.arange(len(pending)) * candidates + taken)[found]
        token_ids[pending[found]], uniforms[pending[found]] = ids[places], numbers[places]
        pending = pending[~found]
        if len(pending) == 0:
            break
    return token_ids, uniforms
