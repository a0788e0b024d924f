"""Rows to be forgotten, signals that cannot work, and what refinement says when it has none."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFdr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from tabgraa_sklearn import _alignment, _synthesizer
from tabgraa_sklearn._alignment import Aligner
from tabgraa_sklearn._judging import is_worse
from tabgraa_sklearn._rewards import rewards
from tabgraa_sklearn._trial import try_signal
from tabgraa_sklearn.constraints import Predicate
from tabgraa_sklearn.signals import (
    ClosestRecordDistance,
    Forget,
    PairwiseDependence,
    TwoSampleClassifier,
    WeightedSignal,
    suppression,
)

FOREST = RandomForestClassifier(30, min_samples_leaf=5, random_state=0)


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(0)
    age = random.integers(20, 80, 300)
    kind = np.array(["a", "b", "c"])[random.integers(0, 3, 300)]
    return pd.DataFrame({"age": age, "kind": kind, "pay": age * 3 + random.integers(0, 9, 300)})


def aligned(tiny, **params):
    usual = {"n_rounds": 1, "max_epochs": 3, "align_pool_size": 400, "align_learning_rate": 1e-3}
    return tiny(**{**usual, **params})


def is_old(rows):
    return rows["age"] > 60


# -- what is asked for is done -------------------------------------------------------------


def test_a_signal_is_used_whatever_the_size_of_the_table(tiny, people):
    model = aligned(tiny, n_rounds=None, signal=Forget(is_old), align_learning_rate=3e-3)
    drawn = model.fit(people).sample(2000, random_state=0)
    assert model.best_round_ == model.n_rounds_ >= 2  # until there are none left
    assert is_old(people).mean() > 0.2
    assert is_old(drawn).mean() < 0.1


def test_rounds_that_forget_are_kept_and_their_cost_is_told(tiny, people, monkeypatch):
    monkeypatch.setattr(_alignment, "is_worse", lambda *_: True)
    with pytest.warns(UserWarning, match="rounds that forget have made the other rows less like"):
        model = aligned(tiny, n_rounds=2, signal=Forget(is_old)).fit(people)
    assert (model.best_round_, model.rounds_stop_reason_) == (2, "n_rounds")
    # Other signals are not asked for at any cost, nor is a region that is empty.
    empty = WeightedSignal([("odds", FOREST), ("none", Forget(lambda rows: rows["age"] > 100))])
    for signal in (FOREST, empty, WeightedSignal([("odds", FOREST), ("off", Forget())])):
        model = aligned(tiny, max_epochs=1, signal=signal).fit(people)
        assert (model.n_rounds_, model.best_round_) == (1, 0)


def test_rounds_that_diverge_are_never_kept(tiny, people):
    for rate in (1e2, 1e10):
        with pytest.warns(UserWarning, match="No round was kept, and so nothing is forgotten"):
            model = aligned(tiny, signal=Forget(is_old), align_learning_rate=rate).fit(people)
        assert (model.n_rounds_, model.best_round_) == (1, 0)
        assert np.isfinite(model.score_samples(people)).all()
    model = aligned(tiny, max_epochs=1, signal=FOREST, align_learning_rate=1e10).fit(people)
    assert (model.n_rounds_, model.best_round_) == (1, 0)
    fine = {"judge_score": 0.9, "judge_error": 0.1, "_held_out": np.zeros(3)}
    assert is_worse({**fine, "_held_out": np.full(3, math.nan)}, fine)
    assert is_worse({**fine, "judge_score": math.nan}, fine)
    assert not is_worse(fine, fine)


def test_what_is_demanded_counts_whole_and_what_is_evidence_as_far_as_it_holds():
    suppressed = np.array([0.0, 0.0, -7.0])
    scores = np.array([1.0, -1.0, 2.0]) + suppressed
    found = rewards(LogisticRegression(), scores, "realism", 0.5, 0.1, suppressed)
    np.testing.assert_allclose(found, [0.05, -0.15, -7.0])
    # Scores are bounded, what is demanded is not: the rest is no evidence.
    found = rewards(LogisticRegression(), np.full(1, -7.0), "realism", 0.0, 2.0, np.full(1, -21.0))
    assert found == -21.0


def test_suppression_follows_weights_and_certainty(people):
    inner = WeightedSignal([("old", Forget(is_old, certainty=0.9))], weights=[0.5])
    signal = WeightedSignal([("in", inner), ("odds", LogisticRegression())], weights=[3, 1])
    expected = np.where(is_old(people), 1.5 * math.log(0.1 / 0.9), 0.0)
    np.testing.assert_allclose(suppression(signal, people), expected)


def test_a_signal_that_learns_chance_counts_for_nothing_beside_a_region(tiny, people):
    chance = DummyClassifier(strategy="stratified", random_state=0)
    parts = [("chance", chance), ("old", Forget(is_old))]
    model = aligned(tiny, signal=WeightedSignal(parts)).fit(people)
    assert model._rounds.slope < 0.1  # it was 1
    assert (model._log_ratios()(people[is_old(people)]) < -5).all()


# -- what cannot work is told before anything is learnt ------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"signal": make_pipeline(StandardScaler(), LogisticRegression())}, "could not be fitted"),
        ({"signal": WeightedSignal([])}, "at least one"),
        ({"signal": WeightedSignal([("k", KMeans())])}, "signal must be a classifier"),
        (
            {"signal": WeightedSignal([("o", LogisticRegression())], weights=[1, 2])},
            "weights must be 1 finite numbers",
        ),
        ({"signal": PairwiseDependence(n_bins=1)}, "n_bins"),
        ({"signal": ClosestRecordDistance(guard=2)}, "guard"),
        ({"signal": TwoSampleClassifier(Ridge())}, "could not be fitted"),
        ({"signal": WeightedSignal([("o", FOREST)], weights=2.0)}, "weights"),
        ({"signal": Forget(lambda rows: rows["nope"] > 1)}, "predicate .* KeyError.*nope"),
        ({"signal": Forget(lambda rows: True)}, "one boolean for each"),
        ({"signal": Forget(lambda rows: rows["age"] > 0)}, "forgets all rows"),
        ({"signal": LogisticRegression(), "reward": lambda p: p[:3]}, "reward must give one"),
    ],
)
def test_signals_that_cannot_work_fail_before_the_supervised_stage(
    tiny, people, monkeypatch, params, message
):
    def learn(*args, **kwargs):
        raise AssertionError("learnt")

    monkeypatch.setattr(_synthesizer, "fit_supervised", learn)
    with pytest.raises(ValueError, match=message):
        aligned(tiny, **params).fit(people)


def test_signals_that_need_more_rows_or_a_difference_are_tried_on_them(people, recwarn):
    table = pd.concat([people] * 6, ignore_index=True)
    table["city"] = [f"city {n % 1500}" for n in range(len(table))]
    kinds = {"city": "categorical"}
    selecting = make_pipeline(
        OrdinalEncoder(), SelectFdr(), RandomForestClassifier(2, random_state=0)
    )
    for signal in (GaussianMixture(1200, max_iter=1, covariance_type="diag"), selecting):
        try_signal(signal, "realism", table, kinds)
    assert len(recwarn) == 0


def test_without_rounds_a_signal_is_not_tried(tiny, people):
    tiny(n_rounds=0, signal=Forget(lambda rows: rows["nope"] > 1)).fit(people)


def test_columns_named_by_numbers_and_strings_reach_a_pipeline_in_folds(tiny, people):
    numbers = people[["age", "pay"]].rename(columns={"age": 0})
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    model = aligned(tiny, signal=TwoSampleClassifier(pipeline)).fit(numbers)
    assert list(model.sample(20, refine=True).columns) == [0, "pay"]


# -- refinement ----------------------------------------------------------------------------


def test_refinement_says_why_there_is_no_signal(tiny, people, monkeypatch):
    with pytest.raises(ValueError, match="without rounds of alignment"):
        tiny(n_rounds=0).fit(people).sample(3, refine=True)
    few = aligned(tiny).fit(people.head(2))
    with pytest.raises(ValueError, match="of too few rows for a signal"):
        few.sample(3, refine=True)

    fit_signal, calls = Aligner._fit_signal, []

    def interrupt(self, *args):
        calls.append(self)
        if len(calls) == 2:  # after the round
            raise KeyboardInterrupt
        return fit_signal(self, *args)

    signal = Forget(is_old)
    with monkeypatch.context() as patched:
        patched.setattr(Aligner, "_fit_signal", interrupt)
        with pytest.warns(ConvergenceWarning, match="1 rounds"):
            model = aligned(tiny, signal=signal).fit(people)
    with pytest.raises(ValueError, match="interrupted before its signal was fitted"):
        model.sample(3, refine=True)
    model.set_params(warm_start=True, n_rounds=0).fit(people)
    assert not hasattr(model, "signal_")  # no rounds are asked for
    model.set_params(n_rounds=1)
    before = [entry["round"] for entry in model.history_ if entry["stage"] == "alignment"]
    model.fit(people)
    after = [entry["round"] for entry in model.history_ if entry["stage"] == "alignment"]
    assert (before, model.rounds_stop_reason_) == (after, "n_rounds")
    assert len(model.sample(3, refine=True)) == 3


def test_refinement_takes_nearly_all_rows_where_nothing_is_to_be_left_out(tiny, people):
    model = aligned(tiny, signal=Forget(is_old), n_rounds=3, align_learning_rate=1e-2).fit(people)
    assert is_old(model.sample(4000, random_state=0)).mean() < 0.05
    rows = model.sample(4000, refine=True, random_state=1)
    assert len(rows) == 4000
    assert model.refinement_["drawn"] < 6000


def test_the_cost_of_refinement_counts_every_row_that_is_drawn(tiny, people, monkeypatch):
    from tabgraa_sklearn import _meeting

    model = aligned(tiny, signal=Forget(is_old)).fit(people)
    drawn, sample_tokens = [], _meeting.sample_tokens

    def counted(backbone, n_rows, **settings):
        drawn.append(n_rows)
        return sample_tokens(backbone, n_rows, **settings)

    monkeypatch.setattr(_meeting, "sample_tokens", counted)
    for request in (
        {"constraints": [Predicate(lambda rows: rows["pay"] > 150)]},
        {"conditions": {"kind": ["a", "b"], "age": (20, 50)}},
    ):
        drawn.clear()
        model.sample(40, refine=True, random_state=0, **request)
        assert model.refinement_ == {"drawn": sum(drawn), "returned": 40}
        assert sum(drawn) >= 8 * 40
