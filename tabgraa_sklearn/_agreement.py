"""How far rows that were drawn in another order than that of sampling follow the model.

Given cells are read first. The model knows the order of sampling best, and where the two say
different things of a row, the order of sampling is right: rows drawn in the other are weighted by
the quotient of their probabilities.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ._backbone import CompactBackbone
from ._protocols import Backbone
from ._sampling import Drawing
from ._sizes import rows_per_pass

__all__ = [
    "CANDIDATES",
    "advantage",
    "candidates_of",
    "known_alone",
    "known_first",
    "known_later",
    "log_quotient",
    "orders_disagree",
    "patterns_of",
    "probed",
    "probed_groups",
]

Floats = npt.NDArray[np.float64]

CANDIDATES = 16  # for each row, where the orders disagree
_PROBED = 16  # rows, on which it is found out whether they do
_FEW_COLUMNS = 8
# Of the candidates of a row, the share that their weights leave in effect. Tables of few columns
# can be counted, and their candidates cost little; else only what is clearly wrong is corrected.
_ENOUGH_OF_FEW, _ENOUGH = 0.998, 0.5


@singledispatch
def advantage(
    backbone: Backbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    own: npt.NDArray[np.int64],
    order: list[int],
    precision: torch.dtype,
) -> Floats:
    """Log-probability of rows in the order of sampling, less that of what was drawn in theirs.

    Parameters
    ----------
    token_ids : ndarray of shape (n_rows, n_digits)
    known : ndarray of shape (n_rows, n_columns)
        The cells that were given.
    own : ndarray of shape (n_rows, n_columns), or (1, n_columns)
        The order in which each row was drawn, or all were.
    order : list of n_columns int
        The order of sampling.

    Returns
    -------
    ndarray of shape (n_rows,), in nats
    """
    assert isinstance(backbone, CompactBackbone)
    drawing = Drawing.of(backbone, precision)
    if (own == own[0]).all():
        own = own[:1]  # one order of all rows is read faster
    with drawing.mode():
        ids, given, orders = (
            torch.from_numpy(part).to(drawing.device) for part in (token_ids, known, own)
        )
        return log_quotient(drawing.model, ids, given, orders, order).cpu().double().numpy()


def log_quotient(
    model: CompactBackbone,
    token_ids: Tensor,
    known: Tensor,
    own: Tensor,
    order: list[int],
    barred: dict[int, Tensor] | None = None,
) -> Tensor:
    """Give :func:`advantage`, (n_rows,), where the model is and in its mode.

    Rows that are the same go through the model once. Of some columns the first tokens that were
    `barred`, (n_first,), when a cell was drawn are out of the question in both orders.
    """
    in_order = torch.tensor([order], device=token_ids.device)
    kept, group = _distinct([token_ids, known] if len(own) == 1 else [token_ids, known, own])
    found = []
    for rows in kept.split(rows_per_pass(len(order))):
        ids, given = token_ids[rows].long(), known[rows]
        masks = {c: ~given[:, c, None] & mask for c, mask in (barred or {}).items()}
        drawn = model(ids, own if len(own) == 1 else own[rows], masks) * ~given
        found.append(model(ids, in_order, masks).sum(1) - drawn.sum(1))
    return torch.cat(found)[group]


def _distinct(keys: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Give one row of each kind, and which of them each row is like; on a GPU all are taken."""
    if keys[0].device.type != "cpu":
        every = torch.arange(len(keys[0]), device=keys[0].device)
        return every, every
    first, group, _ = _same(torch.cat([part.to(torch.int32) for part in keys], 1).numpy())
    return torch.from_numpy(first), torch.from_numpy(group)


def _same(keys: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], ...]:
    """Find equal rows: one of each kind, the kind of each row, and how many there are of each."""
    keys = np.ascontiguousarray(keys)
    whole = keys.view(np.dtype((np.void, keys.shape[1] * keys.itemsize)))[:, 0]
    _, first, group, counts = np.unique(
        whole, return_index=True, return_inverse=True, return_counts=True
    )
    return first, group.ravel(), counts


def known_first(known: npt.NDArray[np.bool_], order: list[int]) -> npt.NDArray[np.int64]:
    """Give the columns of each row as they are read: known ones, then the others."""
    rank = np.argsort(order) + len(order) * ~known
    return np.argsort(rank, axis=1)


def known_alone(known: npt.NDArray[np.bool_], order: list[int]) -> npt.NDArray[np.int64]:
    """Give the known columns of each row as they are read, and -1 behind them."""
    columns = known_first(known, order)
    columns[np.arange(len(order)) >= known.sum(1)[:, None]] = -1
    return columns


def known_later(known: npt.NDArray[np.bool_], order: list[int]) -> npt.NDArray[np.bool_]:
    """Say of each row whether a known cell comes behind an unknown one in the order of sampling."""
    later = known[:, order[1:]] & ~known[:, order[:-1]]
    return np.asarray(later.any(1))


def patterns_of(known: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], ...]:
    """Group rows that know the same cells.

    Returns
    -------
    first : ndarray of shape (n_patterns,)
        A row of each pattern.
    group : ndarray of shape (n_rows,)
        Which of the patterns each row has.
    counts : ndarray of shape (n_patterns,)
    """
    return _same(np.packbits(known, axis=1))


def candidates_of(n_columns: int) -> int:
    """Give how many candidates of a row are drawn where it is not probed whether one would do."""
    return CANDIDATES if n_columns <= _FEW_COLUMNS else CANDIDATES // 2


def probed(n_rows: int, n_probed: int = _PROBED) -> npt.NDArray[np.int64]:
    """Give some of the rows, each as often as candidates are drawn of one."""
    # At random: what rows lack may repeat itself from row to row.
    some = np.random.default_rng(0).permutation(n_rows)[:n_probed]
    repeats = -(-n_probed // len(some))
    return np.repeat(np.tile(some, repeats), CANDIDATES)


def probed_groups(known: npt.NDArray[np.bool_], order: list[int]) -> list[tuple[Any, Any]]:
    """Group rows whose known cells do not come first in the order of sampling.

    By what they know, for what is true of one pattern may not be of another; where there are more
    patterns than rows to probe, all are one group.

    Returns
    -------
    list of (rows, probed) : ndarrays of int
        The rows of each group, and some of them as by :func:`probed`.
    """
    later = np.flatnonzero(known_later(known, order))
    if len(later) == 0:
        return []
    first, group, _ = patterns_of(known[later])
    if len(first) > _PROBED:
        return [(later, later[probed(len(later))])]
    groups = [later[group == number] for number in range(len(first))]
    return [(rows, rows[probed(len(rows), _PROBED // len(first))]) for rows in groups]


def orders_disagree(nats: Floats, n_columns: int) -> bool:
    """Say whether rows are to be corrected, by the advantages of those that are `probed`.

    By the effective sample size of the candidates of each row, (sum w)^2 / sum w^2 relative to
    their number.

    References
    ----------
    Kong, "A Note on Importance Sampling using Standardized Weights", 1992.
    """
    weights = nats.reshape(-1, CANDIDATES)
    weights = np.exp(weights - weights.max(1, keepdims=True))
    effective = weights.sum(1) ** 2 / (weights**2).sum(1) / CANDIDATES
    return bool(effective.mean() < (_ENOUGH_OF_FEW if n_columns <= _FEW_COLUMNS else _ENOUGH))
