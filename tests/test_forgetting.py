"""Rows to be forgotten, signals that cannot work, and what refinement says when it has none."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFdr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler

from tabgraa_sklearn import _alignment, _synthesizer
from tabgraa_sklearn._alignment import Aligner, one_tells
from tabgraa_sklearn._judging import is_worse
from tabgraa_sklearn._rewards import rewards, seed_signal
from tabgraa_sklearn._trial import try_signal
from tabgraa_sklearn.constraints import Predicate
from tabgraa_sklearn.signals import (
    ClosestRecordDistance,
    Forget,
    PairwiseDependence,
    TwoSampleClassifier,
    WeightedSignal,
    check_forgetting,
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


# -- what else a fresh pair of eyes found ----------------------------------------------------


def test_certainty_says_how_much_of_a_region_of_one_column_is_left(tiny, people):
    share = is_old(people).mean()
    for certainty in (0.6, 0.999):
        odds = (1 - certainty) / certainty
        model = aligned(tiny, signal=Forget(is_old, certainty=certainty)).fit(people)
        left = is_old(model.sample(4000, random_state=0)).mean()
        assert left == pytest.approx(share * odds / (share * odds + 1 - share), abs=0.04)


def test_one_column_tells_a_region_or_none_does():
    random = np.random.default_rng(0)
    token_ids = random.integers(0, 10, (5000, 3))
    assert one_tells(token_ids, token_ids[:, 1] > 6)
    assert not one_tells(token_ids, (token_ids[:, 1] > 6) & (token_ids[:, 2] > 3))
    # A range that ends within tokens.
    exact = random.random(5000) * 40
    token_ids[:, 0] = exact
    assert one_tells(token_ids, (exact > 12.5) & (exact < 30.5))


def test_frequencies_are_matched_to_what_should_be_left_of_a_region(tiny, people, monkeypatch):
    matched = []
    table_to_match = Aligner._table_to_match

    def noted(self, *args):
        matched.append(table_to_match(self, *args))
        return matched[-1]

    monkeypatch.setattr(Aligner, "_table_to_match", noted)

    def share(predicate, weights=None):
        model = aligned(tiny, signal=Forget(predicate, certainty=0.9)).fit(people, None, weights)
        token_ids, counts = matched.pop()
        frame = model._tokenizer.decode(token_ids.numpy(), np.full(token_ids.shape, 0.5))
        return counts[torch.from_numpy(predicate(frame).to_numpy())].sum() / counts.sum()

    old = is_old(people).mean()
    assert share(is_old) == pytest.approx(old / 9 / (old / 9 + 1 - old), abs=0.01)
    weights = np.random.default_rng(1).uniform(0.5, 2, 300) * np.where(is_old(people), 3.0, 1.0)
    old = np.average(is_old(people), weights=weights)
    assert share(is_old, weights) == pytest.approx(old / 9 / (old / 9 + 1 - old), abs=0.02)
    # Of a region of two columns as much as the model draws, lest others pay for it.
    both = lambda rows: (rows["kind"] == "a") & is_old(rows)  # noqa: E731
    assert share(both) > 0.5 * both(people).mean()


def test_what_a_signal_writes_into_its_rows_reaches_no_others(tiny, people):
    def predicate(rows):
        rows["age"] = -rows["age"]
        rows["more"] = 1
        return rows["age"] < -60

    def change(rows):
        rows["kind"] = 0.0
        return rows

    pipeline = make_pipeline(FunctionTransformer(change), LogisticRegression())
    for signal in (Forget(predicate), pipeline, WeightedSignal([("in", Forget(predicate))])):
        model = aligned(tiny, signal=signal, max_epochs=1).fit(people)
        for refine in (False, True):
            drawn = model.sample(50, random_state=0, refine=refine)
            assert list(drawn) == list(people)
            assert drawn["kind"].isin(["a", "b", "c"]).all()
            assert (drawn["age"] > 0).all()


def test_a_region_where_nobody_looks_for_it_is_refused(tiny, people):
    hidden = make_pipeline(FunctionTransformer(), Forget(is_old))
    with pytest.raises(ValueError, match=r"WeightedSignal .* got one as forget of Pipeline"):
        aligned(tiny, signal=hidden).fit(people)
    check_forgetting(WeightedSignal([("off", Forget(is_old))], weights=[0.0]))


@pytest.mark.parametrize("given", [np.asarray, list, pd.Series, pd.array])
def test_missing_answers_of_a_predicate_count_as_no(given):
    rows = pd.DataFrame({"flag": pd.array([True, None, False], dtype="boolean")})
    forget = Forget(lambda rows: given(rows["flag"]))
    assert forget.fit(rows).predict_proba(rows)[:, 1].round(3).tolist() == [0.001, 0.5, 0.5]
    forget = Forget(lambda rows: given([True, np.nan, False]))
    assert forget.fit(rows).predict_proba(rows)[:, 1].round(3).tolist() == [0.001, 0.5, 0.5]


@pytest.mark.parametrize("given", [["x", "y"], [2, 3], [0.5, 1.0], [[True], [False]], True, None])
def test_answers_of_a_predicate_that_are_no_booleans_are_refused(given):
    rows = pd.DataFrame({"x": [1, 2]})
    with pytest.raises(ValueError, match="predicate must give one boolean for each of the 2 rows"):
        Forget(lambda rows: given).fit(rows).predict_proba(rows)
    with pytest.raises(ValueError, match=r"constraints: .* must give one bool for each of 2 rows"):
        Predicate(lambda rows: given).holds(rows)


def test_an_interrupt_leaves_no_signal_of_another_model(tiny, people, monkeypatch):
    model = aligned(tiny, signal=LogisticRegression(), max_epochs=1).fit(people)
    fit_signal, calls = Aligner._fit_signal, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 3:  # after both rounds
            raise KeyboardInterrupt
        return fit_signal(self, *args)

    monkeypatch.setattr(Aligner, "_fit_signal", interrupted)
    assert model.n_rounds_ == 0  # nothing that holds for sure
    model.set_params(warm_start=True, n_rounds=2, signal=Forget(is_old))
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(people)
    assert model.best_round_ == 2
    assert not hasattr(model, "signal_")
    model.fit(people)
    assert isinstance(model.signal_, Forget)
    assert model.n_rounds_ == 2


def test_messages_of_further_rounds_count_on(tiny, people, capsys):
    model = aligned(tiny, signal=Forget(is_old, certainty=0.9)).fit(people)
    model.set_params(warm_start=True, n_rounds=2, verbose=1).fit(people)
    shown = capsys.readouterr().out
    assert "round 2/2" in shown
    assert "round 0" not in shown
    assert f"kept round {model.best_round_}" in shown


def test_a_sum_of_signals_knows_the_kinds_of_columns(tiny, recwarn):
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"code": np.arange(300) % 290 * 7, "x": random.normal(size=300)})
    signal = WeightedSignal([("in", WeightedSignal([("odds", LogisticRegression())]))])
    model = aligned(tiny, signal=signal, column_kinds={"code": "categorical"}, max_epochs=1)
    model.fit(rows)
    inner = model.signal_.signals_[0][1]
    assert inner._digester is model.signal_._digester is model._rounds.digester
    assert not [warning for warning in recwarn if "distinct" in str(warning.message)]


def test_folds_of_a_signal_are_seeded(people):
    folds = StratifiedKFold(3, shuffle=True)
    signal = CalibratedClassifierCV(RandomForestClassifier(5), cv=folds)
    seed_signal(signal, 7)
    assert (signal.cv.random_state, signal.estimator.random_state) == (7, 7)
    assert folds.random_state is None
    assert signal.cv is not folds


def test_small_tables_say_why_there_are_no_rounds(tiny, people):
    model = tiny(n_rounds=None).fit(people)
    assert (model.n_rounds_, model.rounds_stop_reason_) == (0, "too few rows")
    with pytest.raises(ValueError, match="of too few rows"):
        model.sample(3, refine=True)
    assert tiny(n_rounds=0).fit(people).rounds_stop_reason_ == "n_rounds"


class _Scores(ClassifierMixin, BaseEstimator):
    def __init__(self, classes=(0, 1), fails=False):
        self.classes, self.fails = classes, fails

    def fit(self, X, y):
        self.classes_ = np.asarray(self.classes)
        return self

    def predict_proba(self, X):
        if self.fails:
            raise TypeError("boom")
        return np.full((len(X), 2), 0.5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"signal": _Scores(fails=True)}, r"signal could not score rows: TypeError\('boom'\)"),
        ({"signal": _Scores(("authentic", "fake"))}, "signal must have the labels .*fake"),
        ({"reward": lambda p: 1 / 0}, "reward .* could not be computed: ZeroDivisionError"),
        ({"reward": lambda p: np.full(len(p), np.nan)}, "reward .* with 0 finite ones"),
        ({"reward": lambda p: p[:3]}, "reward must give one"),
    ],
)
def test_what_a_signal_or_reward_raises_is_named_before_anything_is_learnt(
    tiny, people, params, message, monkeypatch
):
    monkeypatch.setattr(_synthesizer, "fit_supervised", None)
    with pytest.raises(ValueError, match=message):
        aligned(tiny, **params).fit(people)
