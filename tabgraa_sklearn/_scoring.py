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

from ._backbone import CompactBackbone
from ._protocols import Backbone
from ._reading import cell_nats, read_rows

__all__ = ["N_FOLDS", "log_likelihood", "row_log_likelihood", "two_sample_score"]

Floats = npt.NDArray[np.float64]

N_FOLDS = 3
_CELLS = 1 << 14  # cells that are scored at once, which bounds the memory
_READ_CELLS = 1 << 17  # of rows that are searched for common beginnings
_BEGINNINGS = 1024  # of rows, that go through the model at once


def row_log_likelihood(
    model: Backbone,
    token_ids: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    order: list[int],
    unseen: float,
    n_orders: int | None = None,
) -> Floats:
    """Log-probability of the cells of rows that are known, whatever the others are.

    Parameters
    ----------
    model : Backbone
    token_ids : ndarray of shape (n_rows, n_digits)
        -1 marks a cell that has no token.
    known : ndarray of shape (n_rows, n_columns)
        Which cells count. They are read first, so that the others have no say.
    order : list of n_columns int
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
    patterns, group = np.unique(known, axis=0, return_inverse=True)
    total = np.zeros(len(token_ids))
    for number, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        rows = np.flatnonzero(group.ravel() == number)
        logs = []
        for each in orders:
            # Stable: what counts comes first, in the order given.
            read = sorted(each, key=lambda column: not pattern[column])
            cells = _cells(exact, token_ids[rows], read, unseen)
            logs.append(cells[:, pattern].sum(1))
        total[rows] = logsumexp(logs, axis=0) - np.log(len(logs))
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
    columns = torch.tensor([order], device=exact.device)
    compact = exact if isinstance(exact, CompactBackbone) else None
    block = max((_READ_CELLS if compact else _CELLS) // exact.n_columns, 1)
    parts = []
    with torch.inference_mode():
        for ids in np.split(token_ids, range(block, len(token_ids), block)):
            known = torch.from_numpy(np.maximum(ids, 0).astype(np.int64)).to(exact.device)
            found = _read(compact, known, columns) if compact else exact(known, columns)
            parts.append(found.cpu().numpy())
    cells: Floats = np.concatenate(parts)
    missing = token_ids[:, exact.layout.first] < 0
    return np.where(missing, unseen, cells)


def _read(exact: CompactBackbone, token_ids: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Log-probability of each cell, (n_rows, n_columns); what rows share is computed once."""
    at_once = min(_BEGINNINGS, 1 << (len(token_ids) - 1).bit_length())
    tables = exact.output_tables(exact.begin.dtype)
    cells = exact.begin.new_empty(len(token_ids), exact.n_columns)
    levels = read_rows(exact, token_ids, order.expand(len(token_ids), -1), at_once)
    for column, (states, own) in zip(order[0].tolist(), levels, strict=True):
        digits = exact.digits_of(column, token_ids)
        cells[:, column] = cell_nats(exact, tables, column, states, own, digits, at_once)
    return cells


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
