"""How like the real rows synthetic ones are."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterator
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import ClassifierMixin, clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ._measurement import Measurement, resamples
from ._tables import MAX_ROWS, N_BOOTSTRAPS, TIE, Side, nearest, place, side_by_side

__all__ = [
    "alpha_precision",
    "beta_recall",
    "classifier_two_sample",
    "column_shapes",
    "mutual_information",
    "pair_trends",
]

Floats = npt.NDArray[np.float64]

_BINS = 10  # of a number beside a label
_QUANTILES = 20  # of a number whose mutual information is taken
_MAX_PAIRS = 2000
_FOLDS = 3
_SHARES = np.linspace(0.0, 1.0, 30)  # at which the curves of precision and recall are taken


def column_shapes(
    real: Any,
    synthetic: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How alike the distributions of single columns are.

    One minus the Kolmogorov-Smirnov statistic of numbers and times, one minus the total variation
    distance of labels, missing cells left out; the mean over the columns.

    Parameters
    ----------
    real, synthetic : DataFrame or array-like of shape (n_rows, n_columns)
        The same columns; numbers of rows may differ.
    categorical : collection of column names, default=None
        Columns of numbers that are labels.
    max_rows : int or None, default=50_000
        Rows of each table that are compared at the most, drawn at random; None: all.
    n_bootstraps : int, default=50
        Resamples that the interval is made of; 0: no interval.
    random_state : int, default=0
        Seeds what is drawn.

    Returns
    -------
    Measurement
        In [0, 1], higher is better; `details` by column. Two samples of n rows of one table score
        about ``1 - 1 / sqrt(n)``.

    References
    ----------
    SDMetrics, "KSComplement" and "TVComplement" ("Column Shapes").

    Examples
    --------
    >>> from tabgraa_sklearn.datasets import load_adult
    >>> from tabgraa_sklearn.metrics import column_shapes
    >>> rows = load_adult().frame
    >>> column_shapes(rows[::2], rows[1::2])
    0.993... [0.99..., 0.995...]
    """
    sides, weights = _weighed(real, synthetic, categorical, max_rows, n_bootstraps, random_state)
    scores = {name: _shape(cells, weights) for name, cells in _columns(sides)}
    return _mean(scores, "column")


def _shape(cells: list[npt.NDArray[Any]], weights: list[Floats]) -> Floats:
    """One minus the distance of one column's distributions, for each line of weights."""
    is_number = cells[0].dtype.kind == "f"
    known = [~np.isnan(part) if is_number else part >= 0 for part in cells]
    if not known[0].any() or not known[1].any():
        return np.full(len(weights[0]), float(known[0].any() == known[1].any()))
    both = np.concatenate([part[there] for part, there in zip(cells, known, strict=True)])
    ranks = np.unique(both, return_inverse=True)[1]
    codes = np.split(ranks, [int(known[0].sum())])
    size = int(max(part.max() for part in codes)) + 1
    scores = np.empty(len(weights[0]))
    for line in range(len(scores)):
        one, other = (
            np.bincount(part, weight[line][there], minlength=size)
            for part, weight, there in zip(codes, weights, known, strict=True)
        )
        difference = one / max(one.sum(), 1e-300) - other / max(other.sum(), 1e-300)
        if is_number:
            scores[line] = 1.0 - np.abs(difference.cumsum()).max()
        else:
            scores[line] = 1.0 - 0.5 * np.abs(difference).sum()
    return scores


def pair_trends(
    real: Any,
    synthetic: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    max_pairs: int | None = _MAX_PAIRS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How alike the dependence of pairs of columns is.

    Of two columns of numbers one minus half the difference of their correlations (over rows in
    which neither is missing); of two columns of labels one minus the total variation distance of
    their contingency tables, missing cells being a label; of a number and a label the same, the
    number cut into ten bins of equal width between the ends of the real one. The mean over pairs.

    Parameters
    ----------
    real, synthetic, categorical, max_rows, n_bootstraps, random_state
        As in :func:`column_shapes`.
    max_pairs : int or None, default=2000
        Pairs that are looked at, at the most, drawn at random; None: all.

    Returns
    -------
    Measurement
        In [0, 1], higher is better; `details` by pair. Pairs of numbers of which one is constant
        in the real table are left out; where it is so in the synthetic one, their correlation
        there is 0.

    References
    ----------
    SDMetrics, "CorrelationSimilarity" and "ContingencySimilarity" ("Column Pair Trends"). Its
    report cuts the numbers of either table at that table's own ends.
    """
    sides, weights = _weighed(real, synthetic, categorical, max_rows, n_bootstraps, random_state)
    cells = dict(_columns(sides))
    codes = {name: _binned(part, _width_edges) for name, part in cells.items()}
    scores = {}
    for one, other in _pairs(list(cells), max_pairs, random_state):
        if cells[one][0].dtype.kind == cells[other][0].dtype.kind == "f":
            curves = [
                _correlations(first, second, weight)
                for first, second, weight in zip(cells[one], cells[other], weights, strict=True)
            ]
            if np.isnan(curves[0][0]):
                continue
            # A constant column correlates with nothing; resamples that happen to be constant tell
            # nothing.
            curves[1] = curves[1] if not np.isnan(curves[1][0]) else np.zeros_like(curves[1])
            score = 1.0 - np.abs(curves[0] - curves[1]) / 2.0
            score = np.where(np.isnan(score), score[0], score)
        else:
            tables = _contingency(codes[one], codes[other], weights)
            score = np.array(
                [1.0 - 0.5 * np.abs(line[0] - line[1]).sum() for line in zip(*tables, strict=True)]
            )
        scores[one, other] = score
    return _mean(scores, "columns")


def mutual_information(
    real: Any,
    synthetic: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    max_pairs: int | None = _MAX_PAIRS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How alike the dependence of pairs of columns is, by their mutual information.

    ``1 - sum_ij w_ij |NMI_ij(real) - NMI_ij(synthetic)| / sum_ij w_ij`` over pairs of columns. NMI
    is the mutual information divided by the mean of both entropies, and w_ij its sum over both
    tables: what hangs together in either counts. Numbers are cut at the 20-quantiles of the real
    ones; missing cells are a value of their own. As many rows of either kind, for few rows look
    dependent.

    Parameters
    ----------
    real, synthetic, categorical, max_rows, max_pairs, n_bootstraps, random_state
        As in :func:`pair_trends`.

    Returns
    -------
    Measurement
        In [0, 1], higher is better; `details` by pair: the two figures. 1 where no columns hang
        together in either table.

    References
    ----------
    After the measure of TabPC (arXiv 2603.23016), which cuts numbers into bins of equal width.
    """
    sides = _equal_sides(real, synthetic, categorical, max_rows, random_state)
    random = np.random.default_rng([random_state, 1])
    weights = [resamples(len(side), n_bootstraps, random) for side in sides]
    codes = {name: _binned(part, _quantile_edges) for name, part in _columns(sides)}
    difference = total = np.zeros(len(weights[0]))
    found = {}
    for one, other in _pairs(list(codes), max_pairs, random_state):
        first, second = (
            np.array([_normalised_information(line, joint) for line in lines])
            for joint, lines in _joint(codes[one], codes[other], weights)
        )
        difference = difference + (first + second) * np.abs(first - second)
        total = total + first + second
        found[one, other] = first[0], second[0]
    values = np.where(total > 0, 1.0 - difference / np.maximum(total, 1e-300), 1.0)
    details = pd.DataFrame(found.values(), columns=["real", "synthetic"])
    details.insert(0, "columns", list(found))
    return Measurement.of(values, 0.0, 1.0, details)


def classifier_two_sample(
    real: Any,
    synthetic: Any,
    *,
    classifier: str | ClassifierMixin = "lightgbm",
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How hard synthetic rows are to tell from real ones.

    A classifier is trained to tell them apart, in three stratified folds, on as many rows of
    either kind. With A the area under its ROC curve on the rows left out, the figure is
    ``2 - 2 * max(A, 1/2)``, the mean over the folds.

    Parameters
    ----------
    real, synthetic, categorical, max_rows, n_bootstraps, random_state
        As in :func:`column_shapes`.
    classifier : {"lightgbm", "logistic"} or classifier, default="lightgbm"
        LightGBM at its defaults, logistic regression on scaled numbers, or any classifier of
        scikit-learn's kind that takes numbers with NaN.

    Returns
    -------
    Measurement
        In [0, 1], higher is better: 1 if rows cannot be told apart, 0 if they always can.

    References
    ----------
    Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017; SDMetrics'
    "LogisticDetection".
    """
    sides = _equal_sides(real, synthetic, categorical, max_rows, random_state)
    random = np.random.default_rng([random_state, 1])
    size = len(sides[0])
    if size < _FOLDS:
        raise ValueError(f"real and synthetic must have at least {_FOLDS} rows; got {size}.")
    model = _classifier(classifier, random_state)
    features = np.concatenate(_features(sides))
    is_real = np.repeat([1, 0], size)
    weights = np.hstack([resamples(size, n_bootstraps, random) for _ in sides])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=random_state)
    areas = np.full((_FOLDS, len(weights)), 0.5)
    for fold, (learn, judge) in enumerate(folds.split(features, is_real)):
        fitted = clone(model).fit(features[learn], is_real[learn])
        scores, truth = _scores(fitted, features[judge]), is_real[judge]
        for line, weight in enumerate(weights[:, judge]):
            if weight[truth == 1].any() and weight[truth == 0].any():  # else nothing to tell
                area = float(roc_auc_score(truth, scores, sample_weight=weight))
                areas[fold, line] = max(area, 0.5)
    return Measurement.of(2.0 - 2.0 * areas.mean(0), 0.0, 1.0)


def alpha_precision(
    real: Any,
    synthetic: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How far synthetic rows lie where the real ones do.

    P(a) is the share of synthetic rows within the ball around the mean of the real ones that
    holds a share a of these. The figure is ``1 - sum |P(a) - a| / sum a`` over 30 values of a.
    Rows lie in a space of scaled numbers and indicators of labels.

    Parameters
    ----------
    real, synthetic, categorical, max_rows, n_bootstraps, random_state
        As in :func:`column_shapes`.

    Returns
    -------
    Measurement
        In [0, 1], higher is better; fresh real rows reach about 1, but less in tables of few
        labels, whose rows lie at few distances: compare with what held-out rows score.

    References
    ----------
    Alaa et al., "How Faithful is your Synthetic Data?", ICML 2022, without an embedding, as the
    naive form of synthcity.
    """
    sides, weights = _weighed(real, synthetic, categorical, max_rows, n_bootstraps, random_state)
    rows, fresh = place(sides)
    middle = rows.mean(0)
    radii = np.quantile(np.linalg.norm(rows - middle, axis=1), _SHARES)
    inside = np.linalg.norm(fresh - middle, axis=1)[:, None] <= radii
    return _from_diagonal(weights[1] @ inside / len(fresh))


def beta_recall(
    real: Any,
    synthetic: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How far real rows have synthetic ones near them.

    R(b) is the share of real rows whose nearest synthetic row is no farther than the nearest
    other real row, and lies in the innermost share b of such rows around the synthetic mean. The
    figure is ``1 - sum |R(b) - b| / sum b`` over 30 values of b. As many rows of either kind.

    Parameters
    ----------
    real, synthetic, categorical, max_rows, n_bootstraps, random_state
        As in :func:`column_shapes`.

    Returns
    -------
    Measurement
        In [0, 1]. Fresh real rows reach about .5 (more in tables of labels, where many rows are
        equal), copies of the real ones 1: beyond what held-out rows score it is no better but a
        sign of memorising.

    References
    ----------
    As of :func:`alpha_precision`.
    """
    sides = _equal_sides(real, synthetic, categorical, max_rows, random_state)
    random = np.random.default_rng([random_state, 1])
    size = len(sides[0])
    rows, fresh = place(sides)
    to_other = nearest(rows, rows, min(2, size))[0][:, -1]
    distance, which = (part[:, 0] for part in nearest(fresh, rows))
    from_middle = np.linalg.norm(fresh[which] - fresh.mean(0), axis=1)
    radii = np.quantile(from_middle, _SHARES)
    covered = (distance <= to_other + TIE)[:, None] & (from_middle[:, None] <= radii)
    return _from_diagonal(resamples(size, n_bootstraps, random) @ covered / size)


def _from_diagonal(curves: Floats) -> Measurement:
    """How near to the diagonal curves lie, (1 + n_bootstraps, n_shares)."""
    away = np.abs(_SHARES - curves).sum(1) / _SHARES.sum()
    return Measurement.of(np.clip(1.0 - away, 0.0, 1.0), 0.0, 1.0)


# -- what the measures share ---------------------------------------------------------------


def _weighed(
    real: Any,
    synthetic: Any,
    categorical: Collection[Hashable] | None,
    max_rows: int | None,
    n_bootstraps: int,
    random_state: int,
) -> tuple[list[Side], list[Floats]]:
    """Read two tables, and give the weights of their rows in each resample."""
    sides = side_by_side(
        [real, synthetic], categorical=categorical, max_rows=max_rows, random_state=random_state
    )
    random = np.random.default_rng([random_state, 1])
    return sides, [resamples(len(side), n_bootstraps, random) for side in sides]


def _equal_sides(
    real: Any,
    synthetic: Any,
    categorical: Collection[Hashable] | None,
    max_rows: int | None,
    random_state: int,
) -> list[Side]:
    """Read two tables, and take as many rows of either."""
    sides = side_by_side(
        [real, synthetic], categorical=categorical, max_rows=max_rows, random_state=random_state
    )
    random = np.random.default_rng(random_state)
    size = min(map(len, sides))
    return [side.take(np.sort(random.choice(len(side), size, replace=False))) for side in sides]


def _columns(sides: list[Side]) -> Iterator[tuple[Hashable, list[npt.NDArray[Any]]]]:
    for name in sides[0].order:
        part = "numbers" if name in sides[0].numbers else "labels"
        yield name, [getattr(side, part)[name].to_numpy() for side in sides]


def _mean(scores: dict[Any, Floats], heading: str) -> Measurement:
    """Average over columns or pairs of them; 1 where there are none."""
    if not scores:
        return Measurement(1.0, details=pd.DataFrame(columns=[heading, "score"]))
    details = pd.DataFrame({"score": [float(score[0]) for score in scores.values()]})
    details.insert(0, heading, pd.Series(list(scores), dtype=object))
    return Measurement.of(np.mean(list(scores.values()), axis=0), 0.0, 1.0, details)


def _pairs(
    names: list[Hashable], max_pairs: int | None, random_state: int
) -> list[tuple[Hashable, Hashable]]:
    pairs = list(itertools.combinations(names, 2))
    if max_pairs is None or len(pairs) <= max_pairs:
        return pairs
    chosen = np.random.default_rng([random_state, 2]).choice(len(pairs), max_pairs, replace=False)
    return [pairs[number] for number in np.sort(chosen)]


def _width_edges(known: Floats) -> Floats:
    low, high = known.min(), known.max()
    part = np.arange(1, _BINS) / _BINS
    # Each end by itself: their difference may be more than a float holds, or nothing.
    return np.unique(low * (1.0 - part) + high * part) if low < high else np.empty(0)


def _quantile_edges(known: Floats) -> Floats:
    return np.unique(np.quantile(known, np.linspace(0, 1, _QUANTILES + 1)[1:-1]))


def _binned(cells: list[npt.NDArray[Any]], edges_of: Any) -> list[npt.NDArray[np.int64]]:
    """Give both columns as codes of labels or of bins of the first; 0 where missing."""
    if cells[0].dtype.kind != "f":
        return [part + 1 for part in cells]
    known = cells[0][~np.isnan(cells[0])]
    edges = edges_of(known) if len(known) else np.empty(0)
    return [
        np.where(np.isnan(part), 0, 1 + np.searchsorted(edges, part, side="right"))
        for part in cells
    ]


def _joint(
    one: list[npt.NDArray[np.int64]], other: list[npt.NDArray[np.int64]], weights: list[Floats]
) -> Iterator[tuple[tuple[Any, Any], list[Floats]]]:
    """Give the shares of the pairs of codes of each table, and what the pairs are."""
    width = int(max(part.max() for part in other)) + 1
    together = np.concatenate([a * width + b for a, b in zip(one, other, strict=True)])
    pairs, codes = np.unique(together, return_inverse=True)
    parts = np.split(codes, [len(one[0])])
    for part, weight in zip(parts, weights, strict=True):
        lines = [np.bincount(part, line, len(pairs)) / len(part) for line in weight]
        yield np.divmod(pairs, width), lines


def _contingency(
    one: list[npt.NDArray[np.int64]], other: list[npt.NDArray[np.int64]], weights: list[Floats]
) -> list[list[Floats]]:
    """Give the shares of the pairs of codes of both tables, for each line of weights."""
    return [lines for _, lines in _joint(one, other, weights)]


def _normalised_information(shares: Floats, codes: tuple[Any, Any]) -> float:
    """Mutual information of two columns over the mean of their entropies."""
    marginals = [np.bincount(code, shares) for code in codes]
    entropies = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in marginals]
    there = shares > 0
    expected = np.multiply(*(p[code] for p, code in zip(marginals, codes, strict=True)))
    information = (shares[there] * np.log(shares[there] / expected[there])).sum()
    mean = sum(entropies) / 2.0
    return float(max(information, 0.0) / mean) if mean > 1e-12 else 0.0


def _correlations(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Pearson's correlation for each line of weights; NaN where a column is constant."""
    known = ~(np.isnan(one) | np.isnan(other))
    if known.sum() < 2:
        return np.full(len(weights), np.nan)
    scaled = []
    for part in (one[known], other[known]):
        part = part / max(np.abs(part).max(), 1e-300)
        spread = np.ptp(part)
        if spread <= 0.0:
            return np.full(len(weights), np.nan)
        scaled.append((part - part.mean()) / spread)
    first, second = scaled
    weight = weights[:, known]
    sums = weight @ np.column_stack([first, second, first**2, second**2, first * second])
    total = np.maximum(weight.sum(1), 1e-300)
    mean_one, mean_other, square_one, square_other, product = sums.T / total
    # Where all rows of a resample are equal, what remains of a variance is rounding.
    variances = [square_one - mean_one**2, square_other - mean_other**2]
    least = [1e-12 * np.maximum(square, 1e-300) for square in (square_one, square_other)]
    known_lines = (variances[0] > least[0]) & (variances[1] > least[1])
    product = product - mean_one * mean_other
    bounded = np.sqrt(np.where(known_lines, variances[0] * variances[1], 1.0))
    return np.where(known_lines, product / bounded, np.nan)


def _classifier(classifier: Any, random_state: int) -> Any:
    if isinstance(classifier, str):
        if classifier == "lightgbm":
            return lightgbm.LGBMClassifier(
                random_state=random_state, deterministic=True, force_row_wise=True, verbosity=-1
            )
        if classifier == "logistic":
            return make_pipeline(
                SimpleImputer(keep_empty_features=True),
                StandardScaler(),
                LogisticRegression(max_iter=1000),
            )
    elif hasattr(classifier, "fit"):
        return classifier
    raise ValueError(
        f"classifier must be 'lightgbm', 'logistic' or a classifier; got {classifier!r}."
    )


def _features(sides: list[Side]) -> list[Floats]:
    """Give numbers as they are, labels as indicators."""
    labels = [replace(side, numbers=side.numbers.iloc[:, :0]) for side in sides]
    return [
        np.hstack([side.numbers.to_numpy(dtype=np.float64), part])
        for side, part in zip(sides, place(labels, range(len(sides))), strict=True)
    ]


def _scores(model: Any, features: Floats) -> Floats:
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(features)[:, 1], dtype=np.float64)
    return np.asarray(model.decision_function(features), dtype=np.float64)
