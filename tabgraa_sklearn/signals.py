"""Quality signals: scikit-learn estimators that say how good a synthetic row is.

A signal is told apart by what it can do. A *classifier* (``predict_proba``, else
``decision_function`` of a classifier) is fitted on real rows (1) against synthetic ones (0). A
*detector* (``score_samples``, else the ``decision_function`` of an outlier detector) is fitted on
real rows alone. Any estimator of scikit-learn's kind will do; these are the ones that scikit-learn
does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, cast

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from ._frames import as_booleans
from ._rewards import Digester, fit_signal, log_odds, signal_kind, wants_frame, with_names

__all__ = [
    "ClosestRecordDistance",
    "Forget",
    "PairwiseDependence",
    "TwoSampleClassifier",
    "WeightedSignal",
]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class TwoSampleClassifier(ClassifierMixin, BaseEstimator):
    """Calibrated probability that a row is real, from a classifier fitted out of fold.

    In each of `cv` folds a classifier is fitted on the other folds, and a sigmoid is laid over
    its outputs for the rows left out, so that its odds are those of rows that it has not seen.
    The probabilities of the folds are averaged.

    Parameters
    ----------
    estimator : classifier, default=None
        None takes LightGBM with few leaves and slow steps: the differences that are looked for
        are small.
    cv : int, default=3
        Folds; fewer where a class has fewer rows.
    n_jobs : int, default=None
        Threads of the default classifier; None means 1, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Draws the folds and seeds the default classifier.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`.
    calibrated_ : CalibratedClassifierCV
        The fitted ensemble.
    n_features_in_ : int
        Columns seen in :meth:`fit`.

    References
    ----------
    Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
    Platt, "Probabilistic Outputs for Support Vector Machines", 1999 (the sigmoid).

    Examples
    --------
    >>> import numpy as np
    >>> from tabgraa_sklearn.signals import TwoSampleClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(200, 2)), rng.normal(1.0, size=(200, 2))])
    >>> signal = TwoSampleClassifier(random_state=0).fit(X, np.repeat([1, 0], 200))
    >>> signal.predict_proba(X[:3]).shape
    (3, 2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        cv: int = 3,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> TwoSampleClassifier:
        """Fit a classifier and its calibration in each fold.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            NaN is allowed where the classifier takes it.
        y : array-like of shape (n_rows,)
            Which table each row is from; 1 for real rows by convention.

        Returns
        -------
        self : TwoSampleClassifier
        """
        self._validate_params()
        X, y = self._check_pair(X, y)
        check_classification_targets(y)
        classes, counts = np.unique(y, return_counts=True)
        if len(classes) < 2:
            raise ValueError("y must hold at least two classes; got one class only.")
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        estimator = self.estimator
        if estimator is None:
            estimator = small_steps_lightgbm(len(y), seed=seed, n_jobs=self.n_jobs)
        folds = min(self.cv, int(counts.min()))
        if folds < 2:
            raise ValueError(f"y must hold each class at least twice; got counts {counts}.")
        calibrated = CalibratedClassifierCV(
            estimator, cv=StratifiedKFold(folds, shuffle=True, random_state=seed)
        )
        self.calibrated_ = calibrated.fit(X, y)
        self.classes_ = calibrated.classes_
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Give the calibrated probability of each class, (n_rows, n_classes)."""
        check_is_fitted(self)
        return cast(Floats, self.calibrated_.predict_proba(self._check(X)))

    def predict(self, X: Any) -> Array:
        """Give the likeliest class of each row, (n_rows,)."""
        likeliest = self.predict_proba(X).argmax(1)
        return cast(Array, self.classes_[likeliest])

    def _check_pair(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Check what is fitted by what the classifier inside takes."""
        tags = self.__sklearn_tags__().input_tags
        if isinstance(X, pd.DataFrame) and tags.string:
            X = with_names(X)
            check_table(self, X, reset=True)
            return X, np.asarray(y)
        finite = "allow-nan" if tags.allow_nan else True
        X, y = validate_data(self, X, y, ensure_all_finite=finite)
        return X, y

    def _check(self, X: Any) -> Any:
        tags = self.__sklearn_tags__().input_tags
        if isinstance(X, pd.DataFrame) and tags.string:
            X = with_names(X)
            check_table(self, X, reset=False)
            return X
        finite = "allow-nan" if tags.allow_nan else True
        return validate_data(self, X, reset=False, ensure_all_finite=finite)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = None if self.estimator is None else get_tags(self.estimator).input_tags
        tags.input_tags.allow_nan = inner is None or inner.allow_nan
        tags.input_tags.string = inner is not None and wants_frame(self.estimator)
        return tags


def check_table(estimator: Any, X: pd.DataFrame, *, reset: bool) -> None:
    """Note, or compare, the columns of a table whose names need not be strings."""
    if reset:
        estimator.n_features_in_ = X.shape[1]
        estimator.__dict__.pop("feature_names_in_", None)
        if all(isinstance(name, str) for name in X.columns):
            estimator.feature_names_in_ = np.asarray(X.columns, dtype=object)
    elif X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )


def small_steps_lightgbm(
    n_rows: int, *, seed: int, n_jobs: int | None = None
) -> lightgbm.LGBMClassifier:
    """Give a LightGBM classifier for small differences between two tables.

    Few leaves, slow steps and leaves of a two-hundredth of the rows, 100 at the most: it finds
    what holds over many rows.
    """
    return lightgbm.LGBMClassifier(
        n_estimators=100,
        num_leaves=15,
        learning_rate=0.06,
        min_child_samples=int(np.clip(n_rows // 200, 2, 100)),
        reg_lambda=1.0 if n_rows < 2000 else 20.0,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.8,
        n_jobs=n_jobs or 1,
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )


class ClosestRecordDistance(BaseEstimator):
    """How near a row is to the closest real record, with a guard against rewarding copies.

    The score is minus the distance to the closest real record, but never better than the distance
    at which real records lie from each other: a row that is nearer than that gains nothing more.

    Parameters
    ----------
    guard : float, default=0.5
        Quantile of the distances between real records and their closest others below which
        nearness is not rewarded.
    max_rows : int, default=20000
        Of more real rows a random part is searched.
    n_jobs : int, default=None
        Processes of the search; None means 1, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Draws that part.

    Attributes
    ----------
    guard_distance_ : float
        The least distance that counts, in standard deviations of a column.
    n_features_in_ : int
        Columns seen in :meth:`fit`.

    Notes
    -----
    Distances are Euclidean after each column is scaled to unit variance. To reward nearness
    without rewarding memory, the rows for the fit should not be those that the model learnt.

    Examples
    --------
    >>> import numpy as np
    >>> from tabgraa_sklearn.signals import ClosestRecordDistance
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> signal = ClosestRecordDistance().fit(X)
    >>> near, far = signal.score_samples([[0.0, 0.0], [9.0, 9.0]])
    >>> bool(near > far)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "guard": [Interval(Real, 0, 1, closed="both")],
        "max_rows": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        guard: float = 0.5,
        max_rows: int = 20_000,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.guard = guard
        self.max_rows = max_rows
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ClosestRecordDistance:
        """Keep real records.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Real rows, at least two.
        y : ignored
        """
        self._validate_params()
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if len(X) > self.max_rows:
            random = check_random_state(self.random_state)
            X = X[random.choice(len(X), self.max_rows, replace=False)]
        spread = X.std(0)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._search = NearestNeighbors(n_neighbors=1, n_jobs=self.n_jobs).fit(X / self._scale)
        between = self._search.kneighbors()[0][:, 0]  # each row's distance to the next other one
        self.guard_distance_ = float(np.quantile(between, self.guard))
        return self

    def score_samples(self, X: Any) -> Floats:
        """Give minus the guarded distance to the closest real record, (n_rows,)."""
        check_is_fitted(self, "guard_distance_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        distances = self._search.kneighbors(X / self._scale)[0][:, 0]
        return cast(Floats, -np.maximum(distances, self.guard_distance_))


def _two_classes(y: Array) -> tuple[Array, Array]:
    """Give the two labels, and for each row which of them it has."""
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) != 2:
        raise ValueError(
            "Only binary classification is supported: y must hold two classes; got "
            f"{len(classes)} class{'es' if len(classes) != 1 else ''}."
        )
    return classes, codes


class _OddsMixin:
    """What a classifier of two classes is that gives their log-odds."""

    classes_: Array

    def decision_function(self, X: Any) -> Floats:
        raise NotImplementedError

    def predict_proba(self, X: Any) -> Floats:
        """Give the probability of both classes, (n_rows, 2)."""
        real = expit(self.decision_function(X))
        return np.stack([1 - real, real], 1)

    def predict(self, X: Any) -> Array:
        """Give the likelier class of each row, (n_rows,)."""
        is_real = self.decision_function(X) > 0
        return cast(Array, self.classes_[is_real.astype(int)])


class PairwiseDependence(_OddsMixin, ClassifierMixin, BaseEstimator):
    """Whether the pairs of cells of a row are as frequent among real rows as among synthetic ones.

    Every column is cut into bins. For each pair of columns the frequencies of pairs of bins are
    counted in both tables; the score of a row is the mean over its pairs of the logarithm of
    their ratio, and a sigmoid fitted to that one number makes it a probability.

    Parameters
    ----------
    n_bins : int, default=12
        Quantile bins of a column; a column of fewer values has one bin for each.
    smoothing : float, default=5.0
        Rows added to each pair of bins, spread as if the columns were independent.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels; the second is that of real rows.
    n_features_in_ : int
        Columns seen in :meth:`fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from tabgraa_sklearn.signals import PairwiseDependence
    >>> rng = np.random.default_rng(0)
    >>> real = np.repeat(rng.normal(size=(300, 1)), 2, axis=1)
    >>> apart = rng.normal(size=(300, 2))
    >>> signal = PairwiseDependence().fit(np.concatenate([real, apart]), np.repeat([1, 0], 300))
    >>> equal, opposed = signal.decision_function([[1.0, 1.0], [1.0, -1.0]])
    >>> bool(equal > opposed)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_bins": [Interval(Integral, 2, 256, closed="both")],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, *, n_bins: int = 12, smoothing: float = 5.0) -> None:
        self.n_bins = n_bins
        self.smoothing = smoothing

    def fit(self, X: Any, y: Any) -> PairwiseDependence:
        """Count the pairs of both tables.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            NaN is a bin of its own.
        y : array-like of shape (n_rows,)
            Two labels, the larger for real rows.
        """
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        classes, is_real = _two_classes(y)
        inner = np.linspace(0, 1, self.n_bins + 1)[1:-1]
        self._edges = [_edges(column, self.n_bins, inner) for column in X.T]
        bins = self._bin(X)
        one = X.shape[1] == 1
        self._pairs = [(0, 0)] if one else np.transpose(np.triu_indices(X.shape[1], 1)).tolist()
        sizes = [len(edges) + 2 for edges in self._edges]
        self._ratios = []
        for i, j in self._pairs:
            logs = []
            for label in (1, 0):
                rows = bins[is_real == label]
                cells = rows[:, i] * sizes[j] + rows[:, j]
                counts = np.bincount(cells, minlength=sizes[i] * sizes[j])
                table = counts.reshape(sizes[i], sizes[j])
                # Smoothed margins, so that no pair of bins is impossible.
                left, right = ((table.sum(axis) + 0.5) for axis in (1, 0))
                alone = np.outer(left / left.sum(), right / right.sum())
                logs.append(np.log((table + self.smoothing * alone) / (len(rows) + self.smoothing)))
            self._ratios.append(logs[0] - logs[1])
        self.classes_ = classes
        score = self._mean_ratio(bins)
        self._sigmoid = LogisticRegression(C=1e6).fit(score[:, None], is_real)
        return self

    def decision_function(self, X: Any) -> Floats:
        """Give the log-odds that rows are real, (n_rows,)."""
        check_is_fitted(self, "classes_")
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return cast(
            Floats, self._sigmoid.decision_function(self._mean_ratio(self._bin(X))[:, None])
        )

    def _bin(self, X: Floats) -> npt.NDArray[np.int64]:
        """Bin of each cell, (n_rows, n_columns); the last bin of a column is for NaN."""
        bins = np.empty(X.shape, dtype=np.int64)
        for number, edges in enumerate(self._edges):
            column = X[:, number]
            bins[:, number] = np.searchsorted(edges, column, side="left")
            bins[np.isnan(column), number] = len(edges) + 1
        return bins

    def _mean_ratio(self, bins: npt.NDArray[np.int64]) -> Floats:
        total = np.zeros(len(bins))
        for (i, j), ratio in zip(self._pairs, self._ratios, strict=True):
            total += ratio[bins[:, i], bins[:, j]]
        return total / len(self._pairs)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


def _edges(column: Floats, n_bins: int, inner: Floats) -> Floats:
    """Give the upper edges between the bins of a column."""
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) <= n_bins:
        return values[:-1]
    return np.unique(np.quantile(known, inner, method="lower"))


_AS_IT_IS = {"dtype": None, "ensure_all_finite": False}


class Forget(BaseEstimator):
    """A region of the table that is to be suppressed.

    Rows for which `predicate` holds count as synthetic for certain, all others as likely real as
    not, so that an alignment moves rows out of the region. Where the values of one column tell who
    is in it, as much is left as `certainty` says. Where it takes several columns, the others come
    right again, and the region empty, over more rounds than the default's: ``n_rounds=8``. The
    rounds are kept unless they make the others less likely by more than a nat per column; a warning
    says so where they have become less like the table's. ``sample(refine=True)`` leaves out nearly
    all of the rows that are left.

    Parameters
    ----------
    predicate : callable, default=None
        ``predicate(X)`` gets the rows and gives a boolean for each: whether it is to be
        forgotten; missing ones count as no. In a synthesizer the rows are always a pandas
        DataFrame, with the columns 0, 1, ... where an array was fitted. None forgets nothing. A
        synthesizer is pickled with it: a function of a module can be, a lambda cannot.
    certainty : float, default=0.999
        Probability with which a row of the region counts as synthetic, below 1: the more, the
        less is left of it.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        0 for synthetic, 1 for real.

    Examples
    --------
    >>> import pandas as pd
    >>> from tabgraa_sklearn.signals import Forget
    >>> people = pd.DataFrame({"age": [30, 70], "sex": ["f", "m"]})
    >>> signal = Forget(lambda rows: rows["age"] >= 65).fit(people)
    >>> signal.predict_proba(people)[:, 1].round(3).tolist()
    [0.5, 0.001]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "predicate": [callable, None],
        "certainty": [Interval(Real, 0.5, 1, closed="left")],
    }

    def __init__(
        self, predicate: Callable[[Any], Any] | None = None, *, certainty: float = 0.999
    ) -> None:
        self.predicate = predicate
        self.certainty = certainty

    def fit(self, X: Any, y: Any = None) -> Forget:
        """Check the parameters; there is nothing to learn."""
        self._validate_params()
        self._check(X, reset=True)
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Give (1/2, 1/2), and (certainty, 1 - certainty) in the region, (n_rows, 2)."""
        check_is_fitted(self, "classes_")
        X = self._check(X, reset=False)
        inside = np.zeros(_num_samples(X), dtype=bool)
        if self.predicate is not None:
            try:
                found = self.predicate(X.copy())
            except Exception as error:  # whatever a user's function raises
                raise ValueError(
                    f"predicate {self.predicate!r} could not be applied to the rows: {error!r}"
                ) from error
            try:
                inside = as_booleans(found, _num_samples(X))
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"predicate must give one boolean for each of the {_num_samples(X)} rows; "
                    f"{error}"
                ) from error
        real = np.where(inside, 1.0 - self.certainty, 0.5)
        return np.stack([1 - real, real], 1)

    def _check(self, X: Any, reset: bool) -> Any:
        if isinstance(X, pd.DataFrame):
            check_table(self, X, reset=reset)
            return X
        return validate_data(self, X, reset=reset, **_AS_IT_IS)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


def suppression(signal: Any, X: pd.DataFrame) -> Floats:
    """Log-odds by which a signal, or a part of it, suppresses rows that are to be forgotten.

    Returns
    -------
    ndarray of shape (n_rows,)
        0 outside of the regions, negative within.
    """
    total = np.zeros(len(X))
    for weight, part in _parts(signal):
        if isinstance(part, Forget):
            total += weight * logit(clone(part).fit(X).predict_proba(X)[:, 1])
    return total


def forgets(signal: Any) -> bool:
    """Say whether a signal, or a part of it, is to forget a region."""
    return any(
        isinstance(part, Forget) and part.predicate is not None and part.certainty > 0.5
        for _, part in _parts(signal)
    )


def check_forgetting(signal: Any) -> None:
    """Raise where a region to be forgotten stands where nobody looks for it."""
    found = {id(part) for _, part in _all_parts(signal)}
    for name, part in signal.get_params(deep=True).items():
        if isinstance(part, Forget) and id(part) not in found:
            raise ValueError(
                "signal must be a Forget, or a WeightedSignal with one among its signals, to "
                f"forget a region; got one as {name} of {signal!r}. What its predicate needs to "
                "know of a row it can compute itself."
            )


def _parts(signal: Any) -> list[tuple[float, Any]]:
    """Give a signal, or the signals that count in a weighted sum, with their weights."""
    return [(weight, part) for weight, part in _all_parts(signal) if weight > 0]


def _all_parts(signal: Any) -> list[tuple[float, Any]]:
    if not isinstance(signal, WeightedSignal):
        return [(1.0, signal)]
    signals = signal._named()
    weights = np.ones(len(signals)) if signal.weights is None else signal.weights
    return [
        (max(weight, 0.0) * inner, kind)
        for (_, part), weight in zip(signals, weights, strict=False)
        for inner, kind in _all_parts(part)
    ]


class WeightedSignal(_OddsMixin, ClassifierMixin, _BaseComposition):
    """A weighted sum of signals.

    The log-odds of classifiers, and the scores of detectors in standard deviations of those of
    the rows in :meth:`fit`, are multiplied by their weights and added up. The sum is read as the
    log-odds that a row is real.

    Parameters
    ----------
    signals : list of (str, estimator) tuples, default=None
        Signals and their names. Nested parameters are reached as in a Pipeline:
        ``signal__closeness__guard`` from a synthesizer, ``closeness__guard`` from here. None
        takes one :class:`TwoSampleClassifier`.
    weights : list of float, default=None
        How much each counts; None: 1 each.

    Attributes
    ----------
    signals_ : list of (str, estimator) tuples
        The fitted signals.
    classes_ : ndarray of shape (2,)
        Labels; the second is that of real rows.

    Examples
    --------
    >>> import numpy as np
    >>> from tabgraa_sklearn.signals import (
    ...     ClosestRecordDistance, PairwiseDependence, WeightedSignal
    ... )
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(100, 2)), rng.normal(2.0, size=(100, 2))])
    >>> signal = WeightedSignal(
    ...     [("pairs", PairwiseDependence()), ("near", ClosestRecordDistance())], weights=[1, 0.3]
    ... )
    >>> signal.set_params(near__guard=0.1).fit(X, np.repeat([1, 0], 100)).predict_proba(X).shape
    (200, 2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "signals": [list, None],
        "weights": ["array-like", None],
    }

    _given_digester: Digester | None = None

    def __init__(
        self,
        signals: list[tuple[str, Any]] | None = None,
        *,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.signals = signals
        self.weights = weights

    def fit(self, X: Any, y: Any) -> WeightedSignal:
        """Fit every signal, classifiers on both tables and detectors on the real one.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            As a DataFrame every signal gets what it can digest.
        y : array-like of shape (n_rows,)
            Two labels, the larger for real rows.
        """
        self._validate_params()
        signals = self._named()
        weights = np.ones(len(signals)) if self.weights is None else np.asarray(self.weights, float)
        if weights.shape != (len(signals),) or not np.isfinite(weights).all():
            raise ValueError(
                f"weights must be {len(signals)} finite numbers, one for each signal; "
                f"got {self.weights!r}."
            )
        self._validate_names([name for name, _ in signals])
        if isinstance(X, pd.DataFrame):
            check_table(self, X, reset=True)
            y = np.asarray(y)
        else:
            X, y = validate_data(self, X, y, ensure_all_finite="allow-nan")
        classes, codes = _two_classes(y)
        given, self._given_digester = self._given_digester, None  # of this table alone
        self._digester = given or Digester().fit(X)
        self.signals_, self._scales = [], []
        for name, signal in signals:
            digested = self._digester.feed(signal, X)
            fitted = fit_signal(clone(signal), digested, codes, self._digester)
            scores = log_odds(fitted, digested)
            spread = float(scores.std())
            scale = 1.0 if signal_kind(signal) == "classifier" or spread == 0 else 1.0 / spread
            centre = 0.0 if signal_kind(signal) == "classifier" else float(scores.mean())
            self.signals_.append((name, fitted))
            self._scales.append((centre, scale))
        self._weights = weights
        self.classes_ = classes
        return self

    def decision_function(self, X: Any) -> Floats:
        """Give the weighted sum of scores, (n_rows,)."""
        check_is_fitted(self, "classes_")
        if isinstance(X, pd.DataFrame):
            check_table(self, X, reset=False)
        else:
            X = validate_data(self, X, ensure_all_finite="allow-nan", reset=False)
        total = np.zeros(_num_samples(X))
        for (_, signal), (centre, scale), weight in zip(
            self.signals_, self._scales, self._weights, strict=True
        ):
            scores = log_odds(signal, self._digester.feed(signal, X))
            total += weight * scale * (scores - centre)
        return total

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the parameters, with `deep` those of the signals too."""
        if self.signals is None:
            return cast("dict[str, Any]", BaseEstimator.get_params(self, deep=deep))
        return cast("dict[str, Any]", self._get_params("signals", deep=deep))

    def set_params(self, **params: Any) -> WeightedSignal:
        """Set parameters, also those of the signals by ``name__parameter``."""
        self._set_params("signals", **params)
        return self

    def digest_as(self, digester: Digester) -> None:
        """Let columns be, in the next fit, what a table knows of them, not what `X` looks like."""
        self._given_digester = digester

    def _named(self) -> list[tuple[str, Any]]:
        if self.signals is None:
            return [("two_sample", TwoSampleClassifier(random_state=0))]
        if not self.signals:
            raise ValueError("signals must hold at least one (name, estimator) tuple; got [].")
        for pair in self.signals:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ValueError(f"signals must hold (name, estimator) tuples; got {pair!r}.")
            signal_kind(pair[1])
        return self.signals

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        # The table itself, so that each of the signals gets what it would get on its own.
        tags.input_tags.string = True
        return tags
