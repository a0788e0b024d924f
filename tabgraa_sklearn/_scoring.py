"""Figures about rows: their likelihood, and how well they pass for real ones."""

from __future__ import annotations

import copy
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ._agreement import known_alone
from ._backbone import CompactBackbone
from ._protocols import Backbone
from ._reading import cell_nats, read_rows
from ._summing import blocks_of, columns_to_sum, expand_rows, most_combinations

__all__ = ["N_FOLDS", "log_likelihood", "row_log_likelihood", "two_sample_score"]

Floats = npt.NDArray[np.float64]

N_FOLDS = 3
_CELLS = 1 << 14  # cells that are scored at once, which bounds the memory
_READ_CELLS = 1 << 16  # of rows that are searched for common beginnings
_BEGINNINGS = 1024  # of rows, that go through the model at once


def row_log_likelihood(
    model: Backbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    order: list[int],
    codecs: list[Any],
    unseen: float,
    n_orders: int | None = None,
) -> Floats:
    """Log-probability of the cells of rows that are known, whatever the others are.

    Of a compact model, in the order of sampling, other columns are summed over where their values
    are few; else they are left out of the order.

    Parameters
    ----------
    model : Backbone
    token_ids : ndarray of shape (n_rows, n_digits)
        -1 marks a cell that has no token.
    known : ndarray of shape (n_rows, n_columns)
        Which cells count. They are read first, so that the others have no say.
    order : list of n_columns int
    codecs : list of n_columns Codec
    unseen : float
        What a known cell without a token counts.
    n_orders : int, optional
        The logarithm of the mean probability over so many random orders instead.

    Returns
    -------
    ndarray of shape (n_rows,), in nats
    """
    exact = _most_precise(model)
    random = np.random.default_rng(0)
    # The same orders whatever the rows: of each what a row lacks is left out.
    orders = [order]
    if n_orders is not None:
        orders = [random.permutation(order).tolist() for _ in range(n_orders)]
    logs = []
    for each in orders:
        if not isinstance(exact, CompactBackbone):
            logs.append(_left_out(exact, token_ids, known, each, unseen))
            continue
        # Random orders say each another thing of what is left out.
        most = most_combinations(exact.n_columns) if n_orders is None else 1
        logs.append(_summed(exact, token_ids, known, each, codecs, unseen, most))
    total: Floats = logsumexp(logs, axis=0) - np.log(len(logs))
    return total


def _left_out(
    exact: Backbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    order: list[int],
    unseen: float,
) -> Floats:
    """Log-probability of the known cells of rows, which are read before the others."""
    patterns, group = np.unique(known, axis=0, return_inverse=True)
    total = np.zeros(len(token_ids))
    for number, pattern in enumerate(patterns):
        if pattern.any():
            rows = np.flatnonzero(group.ravel() == number)
            # Stable: what counts comes first, in the order given.
            read = sorted(order, key=lambda column: not pattern[column])
            total[rows] = _cells(exact, token_ids[rows], read, unseen)[:, pattern].sum(1)
    return total


def _summed(
    exact: CompactBackbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    order: list[int],
    codecs: list[Any],
    unseen: float,
    most: int,
) -> Floats:
    """Log-probability of the known cells of rows, summed over up to `most` values of others."""
    total = np.zeros(len(token_ids))
    there = np.flatnonzero(known.any(1))
    if len(there) == 0:
        return total
    known = known[there]
    summed, combinations = columns_to_sum(known, order, codecs, most)
    for rows in blocks_of(combinations * exact.n_columns, _READ_CELLS):
        first_digits = exact.layout.first
        tokens, origin = expand_rows(token_ids[there[rows]], summed[rows], codecs, first_digits)
        orders = known_alone((known | summed)[rows][origin], order)
        nats = np.full(len(rows), -np.inf)
        np.logaddexp.at(nats, origin, _read(exact, tokens, orders, unseen).sum(1))
        total[there[rows]] = nats
    return total


def log_likelihood(
    model: Backbone, token_ids: npt.NDArray[Any], order: list[int], unseen: float
) -> Floats:
    """Log-probability of each cell given those before it in `order`.

    In double precision, so that a row's figure does not depend on the rows beside it; where an
    architecture computes in single precision only, in that.

    Parameters
    ----------
    model : Backbone
    token_ids : ndarray of shape (n_rows, n_digits)
        -1 marks a cell that has no token.
    order : list of n_columns int
        The columns as they are read.
    unseen : float
        What a cell without a token counts.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), in nats
    """
    return _cells(_most_precise(model), token_ids, order, unseen)


def _most_precise(model: Backbone) -> Backbone:
    """Copy a model in double precision, or in single where that is all that it computes in."""
    # MPS has no double precision.
    device = torch.device("cpu") if model.device.type == "mps" else model.device
    exact = copy.deepcopy(model).to(device, torch.float64).eval()
    row = np.zeros((1, model.layout.n_digits), dtype=np.int64)
    try:
        _cells(exact, row, list(range(model.n_columns)), 0.0)
    except RuntimeError:  # kernels for experts, and constants, of some language models
        return exact.to(torch.float32)
    return exact


def _cells(exact: Backbone, token_ids: npt.NDArray[Any], order: list[int], unseen: float) -> Floats:
    """Log-probability of each cell, (n_rows, n_columns)."""
    if isinstance(exact, CompactBackbone):
        return _read(exact, token_ids, np.tile(order, (len(token_ids), 1)), unseen)
    device, parts = exact.device, []
    block = max(_CELLS // exact.n_columns, 1)
    with torch.inference_mode():
        for ids in np.split(token_ids, range(block, len(token_ids), block)):
            known = torch.from_numpy(np.maximum(ids, 0).astype(np.int64)).to(device)
            parts.append(exact(known, torch.tensor([order], device=device)).cpu().numpy())
    missing = token_ids[:, exact.layout.first] < 0
    return np.where(missing, unseen, np.concatenate(parts))


def _read(
    exact: CompactBackbone,
    token_ids: npt.NDArray[Any],
    orders: npt.NDArray[np.int64],
    unseen: float,
) -> Floats:
    """Log-probability of each cell in an order of each row; what rows share is computed once.

    Parameters
    ----------
    token_ids : ndarray of shape (n_rows, n_digits)
    orders : ndarray of shape (n_rows, n_columns)
        -1 behind the columns that count.
    unseen : float

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        0 of columns that do not count.
    """
    block = max(_READ_CELLS // exact.n_columns, 1)
    parts = []
    with torch.inference_mode():
        tables = exact.output_tables(exact.begin.dtype)
        for start in range(0, len(token_ids), block):
            ids, each = token_ids[start : start + block], orders[start : start + block]
            known = torch.from_numpy(np.maximum(ids, 0).astype(np.int64)).to(exact.device)
            asked = torch.from_numpy(each[:, : int((each >= 0).sum(1).max())]).to(exact.device)
            at_once = min(_BEGINNINGS, 1 << (len(ids) - 1).bit_length())
            cells = exact.begin.new_zeros(len(ids), exact.n_columns)
            for step, (states, own) in enumerate(read_rows(exact, known, asked, at_once)):
                for column in asked[:, step].unique().tolist():
                    if column < 0:
                        continue
                    rows = (asked[:, step] == column).nonzero()[:, 0]
                    first, level = exact.digits_of(column, known)
                    digits = first[rows], level[rows]
                    cells[rows, column] = cell_nats(
                        exact, tables, column, states, own[rows], digits, at_once
                    )
            parts.append(cells.cpu().numpy())
    nats: Floats = np.concatenate(parts)
    missing = token_ids[:, exact.layout.first] < 0
    counted = np.zeros(nats.shape, dtype=bool)
    np.put_along_axis(counted, np.where(orders >= 0, orders, orders[:, :1]), True, axis=1)
    return np.where(missing & counted, unseen, nats)


def two_sample_score(real: Floats, synthetic: Floats, n_jobs: int | None = None) -> float:
    """How hard it is to tell two tables apart: 1 impossible, 0 every row.

    Parameters
    ----------
    real, synthetic : ndarray of shape (n_rows, n_features)
        At least `N_FOLDS` rows each; NaN is allowed.
    n_jobs : int, optional
        Threads of the classifier.

    References
    ----------
    Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
    """
    is_real = np.repeat([1, 0], [len(real), len(synthetic)])
    # With names: older LightGBM warns of every prediction from an array.
    features = pd.DataFrame(np.concatenate([real, synthetic])).add_prefix("column_")
    probabilities = cross_val_predict(
        lightgbm.LGBMClassifier(
            n_jobs=n_jobs or 1, random_state=0, deterministic=True, verbosity=-1
        ),
        features,
        is_real,
        cv=StratifiedKFold(N_FOLDS, shuffle=True, random_state=0),
        method="predict_proba",
    )
    return float(2.0 - 2.0 * max(roc_auc_score(is_real, probabilities[:, 1]), 0.5))
