"""Signals: scikit-learn's checks, and what each says of rows."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._rewards import Digester, log_odds, rewards, signal_kind, sure_slope
from tabgraa_sklearn.signals import (
    ClosestRecordDistance,
    Forget,
    PairwiseDependence,
    TwoSampleClassifier,
    WeightedSignal,
    suppression,
)


@parametrize_with_checks(
    [
        TwoSampleClassifier(random_state=0),
        ClosestRecordDistance(),
        PairwiseDependence(),
        Forget(),
        WeightedSignal(),
        WeightedSignal(
            [("near", ClosestRecordDistance()), ("pairs", PairwiseDependence())],
            weights=[0.5, 1.0],
        ),
    ]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def two_tables():
    random = np.random.default_rng(0)
    real = np.repeat(random.normal(size=(600, 1)), 3, axis=1) + random.normal(0, 0.3, (600, 3))
    apart = random.normal(0, 1.05, (600, 3))
    return np.concatenate([real, apart]), np.repeat([1, 0], 600)


# -- the two-sample classifier -------------------------------------------------------------


def test_probabilities_are_calibrated(two_tables):
    """Among rows given the probability p, the share of real ones is p."""
    random = np.random.default_rng(1)
    x = random.normal(size=(6000, 1))
    y = (random.random(6000) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    signal = TwoSampleClassifier(random_state=0).fit(x[:3000], y[:3000])
    p = signal.predict_proba(x[3000:])[:, 1]
    for low, high in [(0.0, 0.35), (0.35, 0.65), (0.65, 1.0)]:
        chosen = (p >= low) & (p < high)
        assert y[3000:][chosen].mean() == pytest.approx(p[chosen].mean(), abs=0.07)


def test_two_equal_tables_give_odds_near_one():
    random = np.random.default_rng(0)
    signal = TwoSampleClassifier(random_state=0).fit(
        random.normal(size=(2000, 4)), np.repeat([1, 0], 1000)
    )
    assert np.abs(signal.predict_proba(random.normal(size=(500, 4)))[:, 1] - 0.5).mean() < 0.05


def test_any_classifier_can_stand_inside(two_tables):
    X, y = two_tables
    signal = TwoSampleClassifier(LogisticRegression(), cv=2, random_state=0).fit(X, y)
    assert signal.predict_proba(X).shape == (1200, 2)
    with pytest.raises(ValueError, match="'cv' parameter"):
        TwoSampleClassifier(cv=1).fit(X, y)


# -- the closest record --------------------------------------------------------------------


def test_distances_are_those_of_a_loop():
    random = np.random.default_rng(0)
    real, rows = random.normal(size=(40, 3)) * [1, 10, 100], random.normal(size=(5, 3)) * 50
    signal = ClosestRecordDistance(guard=0.0).fit(real)
    spread = real.std(0)
    expected = [min(np.linalg.norm((row - other) / spread) for other in real) for row in rows]
    expected = np.maximum(expected, signal.guard_distance_)
    np.testing.assert_allclose(signal.score_samples(rows), -expected)


def test_a_copy_earns_no_more_than_a_neighbour():
    real = np.arange(100.0)[:, None]
    signal = ClosestRecordDistance(guard=0.5).fit(real)
    copy, near, far = signal.score_samples([[50.0], [50.2], [300.0]])
    assert copy == near == -signal.guard_distance_
    assert far < near
    assert signal.guard_distance_ == pytest.approx(1 / real.std())


def test_constant_columns_do_not_count():
    real = np.column_stack([np.arange(50.0), np.ones(50)])
    assert np.isfinite(ClosestRecordDistance().fit(real).score_samples(real)).all()


def test_a_part_of_many_records_is_searched():
    real = np.random.default_rng(0).normal(size=(500, 2))
    one, other = (ClosestRecordDistance(max_rows=50, random_state=s).fit(real) for s in (0, 0))
    np.testing.assert_array_equal(one.score_samples(real), other.score_samples(real))
    assert (one.score_samples(real) < -one.guard_distance_).any()


# -- dependence of pairs -------------------------------------------------------------------


def test_pairs_are_counted_as_by_hand():
    real = np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0)
    synthetic = np.repeat([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], 25, axis=0)
    signal = PairwiseDependence(smoothing=1e-3).fit(
        np.concatenate([real, synthetic]), np.repeat([1, 0], 100)
    )
    score = signal._mean_ratio(signal._bin(np.array([[0.0, 0.0], [0.0, 1.0]])))
    assert score[0] == pytest.approx(np.log(0.5 / 0.25), abs=1e-3)
    assert score[1] < -8


def test_missing_cells_are_a_bin_of_their_own():
    random = np.random.default_rng(0)
    real = random.integers(0, 3, (300, 2)).astype(float)
    synthetic = real.copy()
    synthetic[:150, 0] = np.nan
    signal = PairwiseDependence().fit(np.concatenate([real, synthetic]), np.repeat([1, 0], 300))
    missing, known = signal.predict_proba([[np.nan, 1.0], [1.0, 1.0]])[:, 1]
    assert missing < 0.1 < 0.5 < known


def test_one_column_is_its_own_pair():
    X = np.concatenate([np.zeros(50), np.ones(50)])[:, None]
    signal = PairwiseDependence().fit(X, np.repeat([1, 0], 50))
    assert signal.predict(X).tolist() == [1] * 50 + [0] * 50


# -- regions and sums ----------------------------------------------------------------------


def test_a_predicate_must_give_one_boolean_a_row():
    frame = pd.DataFrame({"age": [1, 2, 3]})
    signal = Forget(lambda rows: [True]).fit(frame)
    with pytest.raises(ValueError, match="one boolean for each of the 3 rows"):
        signal.predict_proba(frame)
    with pytest.raises(ValueError, match="'certainty' parameter"):
        Forget(certainty=1.0).fit(frame)


def test_what_is_forgotten_is_found_inside_sums():
    frame = pd.DataFrame({"age": [1, 70, 3], "sex": ["f", "m", "m"]})
    old, male = Forget(lambda rows: rows["age"] > 60), Forget(lambda rows: rows["sex"] == "m")
    assert (suppression(old, frame) < 0).tolist() == [False, True, False]
    nested = WeightedSignal([("a", old), ("b", WeightedSignal([("c", male)]))])
    assert (suppression(nested, frame) < 0).tolist() == [False, True, True]
    assert not suppression(LogisticRegression(), frame).any()
    assert not suppression(None, frame).any()


def test_a_sum_of_one_classifier_is_that_classifier(two_tables):
    X, y = two_tables
    alone = PairwiseDependence().fit(X, y)
    summed = WeightedSignal([("pairs", PairwiseDependence())]).fit(X, y)
    np.testing.assert_allclose(summed.decision_function(X), log_odds(alone, X))
    doubled = WeightedSignal([("pairs", PairwiseDependence())], weights=[2.0]).fit(X, y)
    np.testing.assert_allclose(doubled.decision_function(X), 2 * summed.decision_function(X))


def test_detectors_count_in_standard_deviations(two_tables):
    X, y = two_tables
    summed = WeightedSignal([("near", ClosestRecordDistance())]).fit(X, y)
    scores = summed.decision_function(X)
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    assert scores.std() == pytest.approx(1)


def test_nested_parameters_are_reached_and_cloned(two_tables):
    signal = WeightedSignal([("pairs", PairwiseDependence()), ("near", ClosestRecordDistance())])
    signal.set_params(near__guard=0.2, pairs__n_bins=5)
    assert signal.get_params()["near__guard"] == 0.2
    copied = clone(signal)
    assert copied.get_params()["pairs__n_bins"] == 5
    copied.set_params(near=PairwiseDependence())
    assert type(dict(copied.signals)["near"]) is PairwiseDependence
    synthesizer = TabGRAASynthesizer(signal=signal).set_params(signal__near__guard=0.7)
    assert dict(synthesizer.signal.signals)["near"].guard == 0.7


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"signals": []}, "at least one"),
        ({"signals": [("a", PairwiseDependence())], "weights": [1, 2]}, "weights must be 1 finite"),
        ({"signals": [("a", PairwiseDependence())] * 2}, "not unique"),
    ],
)
def test_bad_sums_are_named(two_tables, params, message):
    with pytest.raises(ValueError, match=message):
        WeightedSignal(**params).fit(*two_tables)


def test_a_sum_takes_a_table_with_strings_and_missing_cells():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": np.where(random.random(300) < 0.1, np.nan, random.integers(20, 80, 300)),
            "sex": random.choice(["f", "m"], 300),
        }
    )
    y = (frame["sex"] == "m").to_numpy().astype(int)
    signal = WeightedSignal(
        [
            ("near", ClosestRecordDistance()),
            ("boosting", TwoSampleClassifier(random_state=0)),
            ("old", Forget(is_old)),
        ]
    ).fit(frame, y)
    assert signal.predict_proba(frame).shape == (300, 2)
    assert (signal.predict_proba(frame[frame["age"] > 65])[:, 1] < 0.2).all()


def is_old(rows):
    return rows["age"] > 65


# -- what is made of any estimator ---------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (LogisticRegression(), "classifier"),
        (SVC(), "classifier"),
        (GaussianMixture(), "detector"),  # its predict_proba is of components
        (IsolationForest(), "detector"),
        (LocalOutlierFactor(novelty=True), "detector"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "classifier"),
        (make_pipeline(StandardScaler(), GaussianMixture()), "detector"),
        (Forget(), "classifier"),
        (WeightedSignal(), "classifier"),
    ],
)
def test_estimators_are_told_apart_by_what_they_can_do(estimator, kind):
    assert signal_kind(estimator) == kind


@pytest.mark.parametrize("estimator", [LinearRegression(), LocalOutlierFactor(), StandardScaler()])
def test_what_scores_no_rows_is_no_signal(estimator):
    with pytest.raises(ValueError, match="signal must be a classifier"):
        signal_kind(estimator)


def test_log_odds_are_bounded_and_of_the_real_class():
    X = np.array([[-100.0], [100.0]] * 20)
    y = np.array([0, 1] * 20)
    tree = DecisionTreeClassifier().fit(X, y)
    np.testing.assert_allclose(log_odds(tree, X[:2]), [-7, 7])
    svm = SVC().fit(X, y)
    assert log_odds(svm, X[:2])[1] > 0 > log_odds(svm, X[:2])[0]


def test_rewards_are_the_log_density_ratio_or_a_tilt_of_three_tenths():
    scores = np.array([-1.0, 0.0, 2.0])
    signal = LogisticRegression()
    np.testing.assert_allclose(rewards(signal, scores, "realism", prior=0.5), scores - 0.5)
    near = rewards(signal, scores, "indistinguishability")
    assert near.argmax() == 1
    assert near.mean() == pytest.approx(0)
    assert near.std() == pytest.approx(0.3)
    p = 1 / (1 + np.exp(-scores))
    own = rewards(signal, scores, lambda given: given**2)
    np.testing.assert_allclose(own, 0.3 * (p**2 - (p**2).mean()) / (p**2).std())
    detected = rewards(GaussianMixture(), scores, "realism")
    np.testing.assert_allclose(detected, 0.3 * (scores - scores.mean()) / scores.std())
    assert (rewards(GaussianMixture(), np.ones(3), "realism") == 0).all()


def test_the_sure_slope_is_what_log_odds_must_be_multiplied_by():
    random = np.random.default_rng(0)
    # Two normal distributions one apart: the log density ratio of x is x.
    real, synthetic = random.normal(0.5, 1, 20_000), random.normal(-0.5, 1, 40_000)
    assert sure_slope(real, synthetic) == pytest.approx(1, abs=0.05)
    assert sure_slope(2 * real, 2 * synthetic) == pytest.approx(0.5, abs=0.03)
    assert sure_slope(5 * real, 5 * synthetic) == pytest.approx(0.2, abs=0.02)
    assert sure_slope(0.1 * real, 0.1 * synthetic) == 2  # at the most
    # Of few rows it is less sure, of chance and of the contrary nothing is.
    fewer = synthetic[:2000]
    few = np.mean([sure_slope(part, fewer) for part in real[:8000].reshape(-1, 20)])
    assert 0.4 < few < 0.9
    chance = [sure_slope(part, fewer) for part in random.choice(synthetic, (200, 50))]
    assert np.mean(np.array(chance) == 0) > 0.75
    assert sure_slope(synthetic, real) == 0
    assert sure_slope(np.zeros(5), np.zeros(9)) == 0
    assert 0 <= sure_slope(np.full(3, 9.0), np.zeros(9)) <= 2  # separable


def test_each_signal_gets_the_form_that_it_can_digest():
    frame = pd.DataFrame({"age": [1.0, np.nan, 3.0] * 10, "sex": ["f", "m", "f"] * 10})
    digester = Digester().fit(frame)
    for whole in (make_pipeline(LogisticRegression()), Forget()):
        fed = digester.feed(whole, frame)
        pd.testing.assert_frame_equal(fed, frame)
        assert fed is not frame  # it may be written into
    numbers = digester.feed(LGBMClassifier(), frame)
    assert numbers.shape == (30, 2)
    assert np.isnan(np.asarray(numbers)[1, 0])
    scaled = np.asarray(digester.feed(LogisticRegression(), frame))
    assert np.isfinite(scaled).all()
    assert scaled.shape == (30, 4)  # the age, whether it is missing, two indicators of sex
    unseen = pd.DataFrame({"age": [2.0], "sex": ["x"]})
    assert np.isfinite(np.asarray(digester.feed(LogisticRegression(), unseen))).all()
