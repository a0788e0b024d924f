"""Rows accepted by a signal: rejection sampling whose cost is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["CANDIDATES", "chosen_candidates", "refined"]

Floats = npt.NDArray[np.float64]

_MOST = 4.0  # a density ratio counts as at most so many times the mean
_BLOCK_ROWS = 16_384  # rows that are drawn and judged together, at the most
CANDIDATES = 8  # rows of which one is chosen, where each row is asked for on its own
_PER_ROW = 32  # rows drawn for each that is returned, at the most


def refined(
    fresh: Callable[[int, int], Iterator[pd.DataFrame]],
    score: Callable[[pd.DataFrame], Floats],
    n_samples: int,
    *,
    seed: int,
    report: dict[str, int],
    verbose: int = 0,
) -> Iterator[pd.DataFrame]:
    """Accept fresh rows with a probability that grows with their density ratio.

    A row of density ratio w, relative to the mean of the first block, is accepted with
    probability min(w, b) / b, where the bound b is the largest w of that block, 4 at the most:
    about one row in four is, fewer where a few rows have most of the weight. After 32 rows for each
    that is asked for every further row is taken.

    Parameters
    ----------
    fresh : callable
        ``fresh(n_rows, seed)`` draws rows.
    score : callable
        ``score(frame)`` gives the logarithm of the density ratio of each row.
    n_samples : int
        Exactly so many rows come back, in all frames together.
    seed : int
    report : dict
        Its "drawn" and "returned" count up.
    verbose : int

    Yields
    ------
    DataFrame
    """
    random = np.random.default_rng([seed, 1])
    mean_ratio, bound, rate = None, _MOST, 1.0
    left = n_samples
    while left:
        # A tenth more than it takes at the rate so far.
        n_rows = int(np.clip(1.1 * left / rate, 1024, _BLOCK_ROWS))
        frame = pd.concat(list(fresh(n_rows, int(random.integers(2**31)))))
        ratio = np.exp(score(frame))
        if mean_ratio is None:
            mean_ratio = max(float(ratio.mean()), np.finfo(float).tiny)
            bound = min(float(ratio.max()) / mean_ratio, _MOST)
        accepted = random.random(len(frame)) * bound < ratio / mean_ratio
        if report["drawn"] >= _PER_ROW * n_samples:
            accepted[:] = True
        rate = max(float(accepted.mean()), 1.0 / _PER_ROW)
        kept = frame[accepted].head(left)
        report["drawn"] += len(frame)
        report["returned"] += len(kept)
        left -= len(kept)
        if len(kept):
            yield kept.reset_index(drop=True)
    if verbose:
        print(f"refined: {report['drawn']:,} rows drawn for {n_samples:,}", flush=True)


def chosen_candidates(scores: Floats, seed: int) -> npt.NDArray[np.int64]:
    """Choose one of the candidates for each row, by their density ratios.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_candidates)
        Logarithms of the density ratios. A ratio counts as at most four times the mean.
    seed : int

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    ratio = np.exp(scores - scores.max())
    ratio = np.minimum(ratio, _MOST * ratio.mean())
    races = np.random.default_rng([seed, 1]).exponential(size=ratio.shape)
    return (races / np.maximum(ratio, 1e-300)).argmin(1)
