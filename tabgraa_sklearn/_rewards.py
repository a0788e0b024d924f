"""What an estimator of scikit-learn's kind is as a quality signal, and what it makes of rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from ._features import to_features
from ._protocols import Tokenizer
from ._tokenizer import TableTokenizer

__all__ = [
    "Digester",
    "Reward",
    "fit_signal",
    "log_odds",
    "log_ratios",
    "named",
    "observed_prior",
    "rewards",
    "seed_signal",
    "signal_kind",
    "sure_slope",
    "wants_frame",
    "with_names",
]

Floats = npt.NDArray[np.float64]
Reward = str | Callable[[Floats], Any]

_MOST_LOG_ODDS = 7.0  # about one in a thousand: no single row is surer than that
_MOST_SLOPE = 2.0
_TILT = 0.3  # nats by which a row gains that is one standard deviation better than the mean


def signal_kind(signal: Any) -> str:
    """Tell what a signal is: "classifier" or "detector".

    Raises
    ------
    ValueError
        Where it is neither.
    """
    # A mixture has predict_proba too, of its components: hence classifiers by their tags first.
    if isinstance(signal, type) or not _has_all(signal, "fit", "get_params", "__sklearn_tags__"):
        raise ValueError(f"signal must be an estimator of scikit-learn's kind; got {signal!r}.")
    # What a composed one can do may be known only when it is fitted: hence `estimators`.
    later = hasattr(signal, "estimators") and getattr(signal, "voting", "") != "hard"
    if is_classifier(signal) and (later or _has_any(signal, "predict_proba", "decision_function")):
        return "classifier"
    if hasattr(signal, "score_samples"):
        return "detector"
    if is_outlier_detector(signal) and _has_any(signal, "decision_function"):
        return "detector"
    if _has_any(signal, "predict_proba"):
        return "classifier"
    raise ValueError(
        "signal must be a classifier (predict_proba or decision_function) or a density or "
        "outlier detector (score_samples; LocalOutlierFactor needs novelty=True); got "
        f"{signal!r}."
    )


def _has_any(estimator: Any, *methods: str) -> bool:
    return any(hasattr(estimator, method) for method in methods)


def _has_all(estimator: Any, *methods: str) -> bool:
    return all(hasattr(estimator, method) for method in methods)


def wants_frame(signal: Any) -> bool:
    """Say whether a signal gets the table itself: a Pipeline, or whose tags say strings."""
    return isinstance(signal, Pipeline) or bool(get_tags(signal).input_tags.string)


class Digester:
    """Gives each signal a table in the form that it can digest.

    The table itself to pipelines and to estimators whose tags say that they take strings; one
    number per cell to those that take missing cells; to all others scaled numbers without
    missing cells, categories as indicators.

    Parameters
    ----------
    tokenizer : Tokenizer, default=None
        Fitted on the table; None: one is fitted where it is needed.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer

    def fit(self, X: Any) -> Digester:
        """Learn the columns of a DataFrame or array."""
        if self.tokenizer is None and isinstance(X, pd.DataFrame):
            self.tokenizer = TableTokenizer().fit(X)
        # A column without a number tells nothing, and not every estimator takes it.
        self._empty = np.isnan(self._cells(X)).all(0)
        self._scaler = self._make_scaler(X.shape[1]).fit(_square(self.numbers(X)))
        return self

    def feed(self, signal: Any, X: Any, numbers: Floats | None = None) -> Any:
        """Give `X` as `signal` wants it; `numbers` saves making them again."""
        if wants_frame(signal):
            # A copy: a foreign estimator may write into what it gets.
            return with_names(X).copy() if isinstance(signal, Pipeline) else X.copy()
        numbers = self.numbers(X) if numbers is None else numbers.copy()
        if get_tags(signal).input_tags.allow_nan:
            # With names: older LightGBM warns of every prediction from an array.
            return named(numbers)
        return self._scaler.transform(_square(numbers))

    def numbers(self, X: Any) -> Floats:
        """Give one number per cell, (n_rows, n_columns), NaN where a number is missing.

        0 in columns that are all missing in the table.
        """
        return np.where(self._empty, 0.0, self._cells(X))

    def _cells(self, X: Any) -> Floats:
        if isinstance(X, pd.DataFrame):
            assert self.tokenizer is not None
            return to_features(self.tokenizer, X)
        return np.asarray(X, dtype=np.float64)

    def _make_scaler(self, n_columns: int) -> ColumnTransformer:
        if self.tokenizer is None:
            is_number = np.ones(n_columns, dtype=bool)
        else:
            is_number = np.array(
                [
                    column.has_numbers
                    or np.isfinite(self.tokenizer.position_tables(column.name)[0]).any()
                    for column in self.tokenizer.schema_
                ]
            )
        return ColumnTransformer(
            [
                (
                    "numbers",
                    make_pipeline(
                        SimpleImputer(add_indicator=True, keep_empty_features=True),
                        StandardScaler(),
                    ),
                    np.flatnonzero(is_number),
                ),
                (
                    "categories",
                    OneHotEncoder(
                        max_categories=32,
                        handle_unknown="infrequent_if_exist",
                        sparse_output=False,
                    ),
                    np.flatnonzero(~is_number),
                ),
            ]
        )


def with_names(X: pd.DataFrame) -> pd.DataFrame:
    """Name columns by strings: scikit-learn takes no table of which only some are."""
    mixed = len({type(name) for name in X.columns}) > 1
    return X.set_axis(X.columns.map(str), axis=1) if mixed else X


def _square(numbers: Floats) -> Floats:
    """Keep numbers within what has a square."""
    return np.clip(numbers, -1e100, 1e100)


def named(numbers: Floats) -> pd.DataFrame:
    """Give the columns of a matrix names."""
    return pd.DataFrame(numbers).add_prefix("column_")


def fit_signal(signal: Any, X: Any, y: npt.NDArray[Any], digester: Digester | None = None) -> Any:
    """Fit a signal in place: a classifier on both tables, a detector on the real rows.

    Parameters
    ----------
    signal : estimator
        A clone.
    X : DataFrame or ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
        1 for real rows, 0 for synthetic ones.
    digester : Digester, optional
        What a signal gives its parts a table by, where it has any.
    """
    if digester is not None and hasattr(signal, "digest_as"):
        signal.digest_as(digester)
    given: tuple[Any, ...] = (X, y)
    if signal_kind(signal) == "detector":
        real = X[y == 1]
        given = (real.reset_index(drop=True) if isinstance(real, pd.DataFrame) else real,)
    try:
        signal.fit(*given)
    except Exception as error:  # whatever a foreign estimator raises
        what = "the table itself"
        if not wants_frame(signal):
            what = "its cells as numbers (a Pipeline gets the table: make_pipeline(signal))"
        raise ValueError(f"signal {signal!r} could not be fitted on {what}: {error}") from error
    return signal


def seed_signal(signal: Any, seed: int) -> None:
    """Seed a clone of the user's signal where it was given no seed."""
    seeded: dict[str, Any] = {}
    for name, value in sorted(signal.get_params().items()):
        if (name == "random_state" or name.endswith("__random_state")) and value is None:
            seeded[name] = seed
        elif hasattr(value, "split") and getattr(value, "random_state", 0) is None:
            seeded[name] = copy.copy(value)  # folds, which have no parameters of their own
            seeded[name].random_state = seed
    if seeded:
        signal.set_params(**seeded)


def log_odds(signal: Any, X: Any) -> Floats:
    """Give what a fitted signal says of each row, (n_rows,): larger is better.

    The log-odds that it is real, by a classifier, within those of one in a thousand; the score
    of a detector as it is.
    """
    n_rows = len(X)
    if signal_kind(signal) == "detector":
        score = getattr(signal, "score_samples", None) or signal.decision_function
        return _finite(_scores(score, X, (n_rows,)))
    if hasattr(signal, "predict_proba"):
        probabilities = _scores(signal.predict_proba, X, (n_rows, 2))
        if not ((probabilities >= 0) & (probabilities <= 1) | np.isnan(probabilities)).all():
            raise ValueError("signal must give probabilities between 0 and 1; it gave others.")
        odds = logit(_finite(probabilities[:, _place_of_real(signal)]))
    elif hasattr(signal, "decision_function"):
        odds = _finite(_scores(signal.decision_function, X, (n_rows,)))
    else:
        raise ValueError(
            "signal must give probabilities or a decision function when it is fitted; got "
            f"{signal!r}."
        )
    return cast(Floats, np.clip(odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))


def _place_of_real(signal: Any) -> int:
    """Where probabilities of real rows stand; without `classes_` last."""
    classes = np.asarray(getattr(signal, "classes_", (0, 1))).tolist()
    if classes not in ([0, 1], [1, 0], ["0", "1"], ["1", "0"]):
        raise ValueError(
            "signal must have the labels that it is fitted on as classes_, 1 for real rows and 0 "
            f"for synthetic ones; got {classes}."
        )
    return classes.index(max(classes))


def _scores(score: Callable[[Any], Any], X: Any, shape: tuple[int, ...]) -> Floats:
    """Give what a signal says of rows as numbers, which must have this shape."""
    try:
        numbers = np.asarray(score(X), dtype=np.float64)
    except Exception as error:  # whatever a foreign estimator raises
        raise ValueError(f"signal could not score rows: {error!r}") from error
    if numbers.shape != shape:
        raise ValueError(f"signal must give scores of shape {shape}; it gave {numbers.shape}.")
    return numbers


def _finite(scores: Floats) -> Floats:
    """Replace infinite scores by the worst and the best of the others."""
    if np.isnan(scores).any():
        raise ValueError("signal must give numbers as scores; it gave NaN for some rows.")
    finite = scores[np.isfinite(scores)]
    if len(finite) == len(scores):
        return scores
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return cast(Floats, np.clip(scores, low, high))


def sure_slope(on_real: Floats, on_synthetic: Floats) -> float:
    """Give what log density ratios must be multiplied by to hold on rows not seen before.

    It is the slope of a logistic regression of "real" on them, with both kinds of rows of equal
    weight, less its standard error: with few rows, or a classifier that has learnt chance, it is
    near 0.

    Parameters
    ----------
    on_real : ndarray of shape (n_real,)
        Log-odds of real rows that the classifier was not fitted on.
    on_synthetic : ndarray of shape (n_synthetic,)
        Log-odds of synthetic rows that it was not fitted on.

    Returns
    -------
    float
        In [0, 2].

    References
    ----------
    Cox, "Two further applications of a model for binary regression", Biometrika 1958 (slope of
    calibration); White, "Maximum likelihood estimation of misspecified models", Econometrica 1982
    (its standard error).
    """
    scores = np.concatenate([on_real, on_synthetic])
    is_real = np.repeat([1.0, 0.0], [len(on_real), len(on_synthetic)])
    if np.ptp(scores) < 1e-9:
        return 0.0
    weights = np.where(is_real == 1.0, 1.0 / len(on_real), 1.0 / len(on_synthetic))
    design = np.column_stack([np.ones(len(scores)), scores - scores.mean()])
    # A ridge far below one row's weight keeps separable scores finite.
    regression = LogisticRegression(C=1e4, tol=1e-8).fit(
        design[:, 1:], is_real, sample_weight=weights * len(on_real)
    )
    probability = regression.predict_proba(design[:, 1:])[:, 1]
    information = (design * (weights * probability * (1 - probability))[:, None]).T @ design
    gradients = design * (weights * (is_real - probability))[:, None]
    try:
        inverse = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return 0.0
    error = float(np.sqrt((inverse @ (gradients.T @ gradients) @ inverse)[1, 1]))
    return float(np.clip(regression.coef_[0, 0] - error, 0.0, _MOST_SLOPE))


def observed_prior(on_real: Floats, on_synthetic: Floats, counted: float) -> float:
    """Log-odds that a classifier takes for granted, whatever the row is.

    Those of the counts that it was fitted on, unless rows that it has not seen contradict: one
    that weighs its classes has none, a sum of several classifiers that of each.

    Parameters
    ----------
    on_real, on_synthetic : ndarray of shape (n_real,) and (n_synthetic,)
        Log-odds of rows that it was not fitted on.
    counted : float
        Log-odds of real rows among those that it was fitted on.
    """

    def excess(prior: float) -> float:
        """How much more than half of the rows, kinds weighted alike, is taken for real."""
        return float(expit(on_real - prior).mean() + expit(on_synthetic - prior).mean()) - 1.0

    low = min(on_real.min(), on_synthetic.min()) - 1.0
    high = max(on_real.max(), on_synthetic.max()) + 1.0
    found = float(brentq(excess, low, high))
    shares = [expit(part - found) for part in (on_real, on_synthetic)]
    if sum(float((part * (1.0 - part)).mean()) for part in shares) < 0.05:  # .5 at the most
        return counted  # rows are told apart for sure: hardly one says where the middle is
    # Of log-odds that tell nothing; those that tell something vary less.
    error = 2.0 * math.sqrt(1.0 / len(on_real) + 1.0 / len(on_synthetic))
    return found if abs(found - counted) > 3.0 * error else counted


def log_ratios(
    scores: Floats, prior: float, slope: float, suppressed: Floats | float = 0.0
) -> Floats:
    """Turn scores of rows into log density ratios, (n_rows,).

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        What :func:`log_odds` gave.
    prior, slope : float
        As in :func:`rewards`.
    suppressed : ndarray of shape (n_rows,)
        Negative for rows that are to be forgotten: of them this is the ratio, whatever the signal
        says, which has seen no real row there.
    """
    return np.where(np.less(suppressed, 0.0), suppressed, slope * (scores - prior))


def rewards(
    signal: Any,
    scores: Floats,
    reward: Reward,
    prior: float = 0.0,
    slope: float = 1.0,
    suppressed: Floats | float = 0.0,
) -> Floats:
    """Turn what a signal says of rows into rewards in nats, (n_rows,).

    A row that earns one nat more than another should become e times as likely, relative to it.

    Parameters
    ----------
    signal : estimator
    scores : ndarray of shape (n_rows,)
        What :func:`log_odds` gave.
    reward : {"realism", "indistinguishability"} or callable
        The log density ratio of real rows to synthetic ones; how near the probability is to one
        half, ``1 - |p - 1/2|``; or a function of the probabilities that rows are real (of the
        scores, by a detector), that gives a figure for each.
    prior : float
        Log-odds of real rows in the data that a classifier was fitted on.
    slope : float
        What the log density ratios are multiplied by.
    suppressed : ndarray of shape (n_rows,)
        As in :func:`log_ratios`.

    Returns
    -------
    ndarray of shape (n_rows,)
        What is no log density ratio is brought to mean 0 and a standard deviation of .3.
    """
    is_classifier_ = signal_kind(signal) == "classifier"
    if reward == "realism" and is_classifier_:
        return log_ratios(scores, prior, slope, suppressed)
    values: Any = scores
    if is_classifier_:
        values = 1.0 / (1.0 + np.exp(prior - scores))
    if reward == "indistinguishability" and is_classifier_:
        values = 1.0 - np.abs(values - 0.5)
    elif callable(reward):
        try:
            values = np.asarray(reward(values), dtype=np.float64)
        except Exception as error:  # whatever a user's function raises
            raise ValueError(f"reward {reward!r} could not be computed: {error!r}") from error
        n_finite = int(np.isfinite(values).sum())
        if values.shape != scores.shape or n_finite < len(scores):
            raise ValueError(
                f"reward must give one finite number for each of the {len(scores)} rows; got an "
                f"array of shape {values.shape}, with {n_finite} finite ones."
            )
    spread = float(values.std())
    if spread < 1e-12:
        return np.zeros(len(scores))
    return cast(Floats, _TILT * (values - values.mean()) / spread)
