"""What the rounds make of signals of all kinds: same meaning, clear errors, no accidents."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from lightgbm import LGBMClassifier
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tabgraa_sklearn._alignment import Aligner
from tabgraa_sklearn._judging import judge_of_another_family
from tabgraa_sklearn._objectives import group_weights
from tabgraa_sklearn._rewards import observed_prior
from tabgraa_sklearn._training import Trainer
from tabgraa_sklearn.signals import Forget, TwoSampleClassifier, WeightedSignal


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    n = 500
    kind = random.choice(["a", "b", "c"], n, p=[0.7, 0.1, 0.2])
    size = random.normal(size=n).round(3) + (kind == "b")
    return pd.DataFrame({"kind": kind, "size": size, "none": np.full(n, np.nan)})


def aligned(tiny, **params):
    usual = {"n_rounds": 1, "max_epochs": 3, "align_pool_size": 400, "align_learning_rate": 1e-3}
    return tiny(**{**usual, **params})


def is_b(rows):
    return rows["kind"] == "b"


@pytest.mark.parametrize(
    "signal",
    [
        RandomForestClassifier(10),
        HistGradientBoostingClassifier(max_iter=10),
        TwoSampleClassifier(RandomForestClassifier(10)),
        StackingClassifier([("one", LogisticRegression())]),
    ],
    ids=["forest judged by boosting", "boosting", "calibrated forest", "stacking"],
)
def test_a_column_that_is_all_missing_is_no_obstacle(tiny, table, signal):
    rows = aligned(tiny, signal=signal).fit(table).sample(20, random_state=0)
    assert rows["none"].isna().all()


# -- refinement ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_to_be_forgotten_is_refined_away_however_rare(tiny, table, seed):
    signal = WeightedSignal([("away", Forget(is_b)), ("odds", LogisticRegression())])
    model = aligned(tiny, signal=signal, random_state=seed, n_rounds=3).fit(table)
    entries = model.history_frame().query("stage == 'alignment' and round > 0")
    assert entries["group_gap"].iloc[0] > 1  # though most rows earn the same
    assert is_b(model.sample(4000, refine=True, random_state=0)).mean() < 0.002


def test_a_detector_refines_only_as_far_as_it_tells_rows_apart(tiny, table):
    model = aligned(tiny, signal=IsolationForest(n_estimators=20, random_state=0)).fit(table)
    scores = np.random.default_rng(0).normal(size=400)
    model._rounds.slope = 0.0
    plain = model.sample(300, random_state=3)
    pd.testing.assert_frame_equal(model.sample(300, refine=True, random_state=3), plain)
    assert model.refinement_ == {"drawn": 300, "returned": 300}
    given = {"conditions": {"kind": "a"}, "random_state": 3}
    pd.testing.assert_frame_equal(model.sample(50, refine=True, **given), model.sample(50, **given))
    # The slope is that of the log density ratio on the score, in the units of the score.
    aligner = Aligner(None, [], torch.device("cpu"), torch.float32)
    aligner._has_unseen = True
    better, detector = scores + 1.0, IsolationForest()
    slope = aligner._slope(detector, 50 * better, 50 * scores)
    assert slope == pytest.approx(1 / 50, rel=0.2)
    assert aligner._slope(detector, scores, scores[::-1]) == 0.0


# -- sums of signals, and what they take for granted ---------------------------------------


def test_a_signal_gets_the_same_in_a_sum_as_alone(tiny, table):
    alone = aligned(tiny, signal=LogisticRegression()).fit(table).signal_
    summed = aligned(tiny, signal=WeightedSignal([("odds", LogisticRegression())])).fit(table)
    assert summed.signal_.signals_[0][1].n_features_in_ == alone.n_features_in_


def test_a_region_of_no_weight_is_not_forgotten(tiny, table):
    parts = [("odds", LogisticRegression()), ("away", Forget(is_b))]
    model = aligned(tiny, signal=WeightedSignal(parts, weights=[1, 0])).fit(table)
    assert is_b(model.sample(2000, random_state=0)).mean() > 0.05


def test_the_prior_is_what_unseen_rows_show():
    random = np.random.default_rng(0)
    spread = random.normal(size=3000)
    counted = math.log(1 / 6)
    assert observed_prior(spread[:500] + counted, spread + counted, counted) == counted
    # A classifier that weighs its classes, and the sum of two that do not.
    assert observed_prior(spread[:500], spread, counted) == pytest.approx(0, abs=0.1)
    both = observed_prior(spread[:500] + 2 * counted, spread + 2 * counted, counted)
    assert both == pytest.approx(2 * counted, abs=0.1)
    # Where rows are told apart for sure, nothing lies at the middle.
    assert observed_prior(spread[:500] + 30, spread - 30, counted) == counted
    few = observed_prior(spread[:3], spread[:10], 0.5)
    assert few == 0.5  # too few to contradict


@pytest.mark.parametrize("signal", [LogisticRegression(class_weight="balanced"), Forget(is_b)])
def test_rewards_get_probabilities_without_the_prior(tiny, table, signal):
    seen = []

    def reward(probabilities):
        seen.append(np.median(probabilities))
        return probabilities

    aligned(tiny, signal=signal, reward=reward, align_pool_size=2000).fit(table)
    assert seen
    np.testing.assert_allclose(seen, 0.5, atol=0.1)
    assert abs(logit(seen[0])) < abs(math.log(475 / 2000)) / 3


def test_rows_at_the_middle_are_of_no_group_but_where_there_is_no_other():
    reward = torch.tensor([[0.0, 0, 0, 0], [0, 7, 0, 1], [0, 0, 0, 2], [0, 0, -7, 3]])
    high, low = group_weights(reward)
    assert high.T.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert low.T.tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]]


# -- judges --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "judge"),
    [
        (None, ExtraTreesClassifier),
        (LogisticRegression(), ExtraTreesClassifier),
        (LGBMClassifier(), ExtraTreesClassifier),
        (RandomForestClassifier(), HistGradientBoostingClassifier),
        (make_pipeline(StandardScaler(), RandomForestClassifier()), HistGradientBoostingClassifier),
        (BaggingClassifier(), HistGradientBoostingClassifier),
        (VotingClassifier([("a", RandomForestClassifier())]), HistGradientBoostingClassifier),
        (LGBMClassifier(boosting_type="rf"), HistGradientBoostingClassifier),
        (WeightedSignal([("a", RandomForestClassifier()), ("b", LGBMClassifier())]), Pipeline),
        (WeightedSignal([("a", RandomForestClassifier()), ("b", TwoSampleClassifier())]), Pipeline),
    ],
)
def test_the_judge_is_of_another_family(signal, judge):
    found = judge_of_another_family(signal, 0, 1)
    assert isinstance(found, judge)
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 2))
    X[::7, 0] = np.nan
    assert found.fit(X, random.integers(0, 2, 200)).predict_proba(X).shape == (200, 2)
    assert found.fit(X[:6], [0, 1] * 3).predict_proba(X).shape == (200, 2)


# -- errors --------------------------------------------------------------------------------


class Bad(ClassifierMixin, BaseEstimator):
    """A classifier that gives whatever it is told to."""

    def __init__(self, given=None):
        self.given = given

    def fit(self, X, y):
        self.classes_ = np.unique(y)

    def predict_proba(self, X):
        return self.given(len(X))


class Nothing(ClassifierMixin):
    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (Bad(lambda n: np.full((3, 2), 0.5)), "signal must give scores of shape"),
        (Bad(lambda n: np.full(n, 0.5)), "signal must give scores of shape"),
        (Bad(lambda n: np.full((n, 1), 0.5)), "signal must give scores of shape"),
        (Bad(lambda n: np.full((n, 2), 1.5)), "between 0 and 1"),
        (Bad(lambda n: np.full((n, 2), np.nan)), "NaN"),
        (Nothing(), "signal must be an estimator"),
        (LogisticRegression, "signal must be an estimator"),
        (VotingClassifier([("a", LogisticRegression())]), "signal must be a classifier"),
        (
            make_pipeline(StandardScaler(), LogisticRegression()),
            r"signal Pipeline(.|\n)*the table itself",
        ),
        (WeightedSignal([("a", 3)]), "signal must be an estimator"),
        (WeightedSignal([LogisticRegression()]), r"\(name, estimator\) tuples"),
    ],
)
def test_a_bad_signal_is_named(tiny, table, signal, message):
    with pytest.raises(ValueError, match=message):
        aligned(tiny, signal=signal).fit(table)


def test_the_divergence_holds_back_supervised_steps_too(tiny, table):
    settings = {"objective": "sft", "align_learning_rate": 1e-2}
    free, held = (
        aligned(tiny, align_retain=retain, **settings).fit(table).history_[-1]["log_ratio_std"]
        for retain in (None, "kl")
    )
    assert 0 < held < 0.8 * free


def test_a_beta_that_overflows_is_named(tiny, table):
    with pytest.raises(ValueError, match="'beta' parameter"):
        aligned(tiny, beta=1e300).fit(table)


# -- the table of another fit --------------------------------------------------------------


def test_further_rounds_on_other_rows_are_warned_of(tiny, table):
    model = aligned(tiny, warm_start=True).fit(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.set_params(n_rounds=2).fit(table)
    with pytest.warns(UserWarning, match="X is not the table of the last fit"):
        model.set_params(n_rounds=3).fit(table.sample(frac=1, random_state=0))


def test_nullable_columns_are_found_in_memory(tiny, table, tmp_path, monkeypatch):
    fits, run = [], Trainer.run

    def counted(trainer, *args):
        fits.append(1)
        return run(trainer, *args)

    monkeypatch.setattr(Trainer, "run", counted)
    for _ in range(2):
        # Fresh dtypes, which have not been asked for anything.
        numbers = pd.Series([1, 2, None] * 100, dtype=pd.Int64Dtype())
        flags = pd.Series([True, None, False] * 100, dtype=pd.BooleanDtype())
        floats = pd.Series([0.5, None, 1.5] * 100, dtype=pd.Float32Dtype())
        frame = pd.DataFrame({"number": numbers, "flag": flags, "float": floats})
        tiny(n_rounds=0, max_epochs=1, memory=str(tmp_path)).fit(frame)
    assert len(fits) == 1
