"""Rounds of alignment: what they learn from, what they keep, and what they report."""

import copy
import math
import pickle
import time

import numpy as np
import pandas as pd
import pytest
import torch
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, OneClassSVM

from tabgraa_sklearn import TabGRAASynthesizer, _alignment, metrics
from tabgraa_sklearn._alignment import OBJECTIVES, Aligner, RealRows
from tabgraa_sklearn._credit import chained_log_odds, expected_rewards, split_order
from tabgraa_sklearn._objectives import group_weights
from tabgraa_sklearn._rewards import Digester
from tabgraa_sklearn._training import Trainer
from tabgraa_sklearn.signals import (
    ClosestRecordDistance,
    Forget,
    PairwiseDependence,
    TwoSampleClassifier,
    WeightedSignal,
)

ROUND_KEYS = {
    "stage",
    "round",
    "signal_auc",
    "judge_score",
    "judge_error",
    "held_out_gain",
    "held_out_error",
    "group_gap",
    "log_ratio_mean",
    "log_ratio_std",
    "copy_share",
    "seconds",
}


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(0)
    kind = random.integers(0, 4, 600)
    age = random.integers(20, 80, 600)
    return pd.DataFrame(
        {
            "kind": np.array(["a", "b", "c", "d"])[kind],
            "age": age,
            "copy": np.array(["a", "b", "c", "d"])[(kind + (age > 60)) % 4],
            "price": np.where(random.random(600) < 0.1, np.nan, np.round(age * 1.5 + kind, 1)),
        }
    )


def aligned(tiny, **params):
    defaults = {"n_rounds": 1, "align_pool_size": 400, "max_epochs": 3, "align_learning_rate": 1e-3}
    return tiny(**{**defaults, **params})


@pytest.fixture(scope="module")
def two_rounds(tiny, people):
    return aligned(tiny, n_rounds=2).fit(people)


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


# -- groups and credit ---------------------------------------------------------------------


def test_groups_are_the_ends_of_the_ranking():
    reward = torch.tensor([[3.0], [1.0], [2.0], [5.0], [4.0], [0.0]])
    high, low = group_weights(reward, 0.5)
    assert high[:, 0].tolist() == [1, 0, 0, 1, 1, 0]
    assert low[:, 0].tolist() == [0, 1, 1, 0, 0, 1]
    high, low = group_weights(reward, 0.2)
    assert high[:, 0].tolist() == [0, 0, 0, 1, 0, 0]
    assert low[:, 0].tolist() == [0, 0, 0, 0, 0, 1]


def test_proportionate_members_count_by_their_distance_from_the_mean():
    reward = torch.tensor([[3.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]])
    high, low = group_weights(reward, 0.5, proportionate=True)
    assert high.tolist() == [[3, 0], [1, 0], [0, 0], [0, 0]]
    assert low.tolist() == [[0, 0], [0, 0], [1, 0], [3, 0]]


def test_expected_rewards_are_the_logarithm_of_the_mean_exponential():
    random = np.random.default_rng(0)
    rows = random.integers(0, 2, (4000, 2)).astype(float)
    reward = np.where((rows == 1).all(1), 1.0, -0.5)
    values = expected_rewards(reward, rows, [[0], [1]], seed=0, n_jobs=1)
    np.testing.assert_array_equal(values[:, 1], reward)
    for first in (0, 1):
        begun = rows[:, 0] == first
        expected = math.log(np.exp(reward[begun]).mean())
        np.testing.assert_allclose(values[begun, 0], expected, atol=0.02)


def chain(real, synthetic, tables, units):
    classifier = LGBMClassifier(n_estimators=50, min_child_samples=20, verbosity=-1, n_jobs=1)
    return chained_log_odds(classifier, real, synthetic, tables, units)


def test_chained_odds_credit_the_cell_that_tells():
    random = np.random.default_rng(0)
    real, synthetic = (
        np.column_stack([random.integers(0, 2, 6000), random.random(6000) < share]).astype(float)
        for share in (0.8, 0.5)
    )
    grid = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    first, second = chain(real, synthetic, [grid, grid[:2]], [[0], [1]])
    np.testing.assert_allclose(first[:, 0], 0, atol=0.1)  # it sees the first column alone
    told = np.log([0.2 / 0.5, 0.8 / 0.5, 0.2 / 0.5, 0.8 / 0.5])
    np.testing.assert_allclose(np.diff(first, axis=1)[:, 0], told, atol=0.15)
    np.testing.assert_array_equal(second, first[:2])


def test_chained_odds_do_not_depend_on_the_sizes_of_the_tables():
    random = np.random.default_rng(0)
    real, synthetic = random.normal(size=(500, 1)), random.normal(size=(5000, 1))
    (values,) = chain(real, synthetic, [np.zeros((1, 1))], [[0]])
    assert abs(values[0, 0]) < 0.5


def test_very_wide_rows_are_credited_in_parts():
    order = list(np.random.default_rng(0).permutation(100))
    units = split_order(order, 24)
    assert len(units) == 24
    assert [column for unit in units for column in unit] == order


# -- what a round learns from --------------------------------------------------------------


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "sft"])
@pytest.mark.parametrize("retain", [None, "kl"])
def test_no_real_row_enters_the_loss(tiny, people, monkeypatch, objective, retain):
    """Every row that gradients flow through was drawn from the model, and was scored."""
    drawn, learnt = [], []
    sample = _alignment.sample_tokens

    def record(*args, **kwargs):
        for token_ids, uniforms in sample(*args, **kwargs):
            drawn.append(token_ids.copy())
            yield token_ids, uniforms

    run = Trainer.run

    def watch(trainer, model, train, validation):
        if not trainer.validation:  # a round
            forward = model.forward

            def see(token_ids, order=None):
                assert torch.is_grad_enabled()
                learnt.append(token_ids.numpy().copy())
                return forward(token_ids, order)

            model.forward = see
            try:
                return run(trainer, model, train, validation)
            finally:
                del model.forward
        return run(trainer, model, train, validation)

    monkeypatch.setattr(_alignment, "sample_tokens", record)
    monkeypatch.setattr(Trainer, "run", watch)
    aligned(tiny, objective=objective, align_retain=retain).fit(people)
    scored = [ids for ids in drawn if len(ids) == 400][1]
    seen = np.concatenate(learnt)
    assert len(seen) == 400  # one pass over the scored pool, and nothing else
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, scored.tolist()))


def test_the_signal_is_fitted_on_one_pool_and_scores_another(tiny, people, monkeypatch):
    fitted, scored = [], []

    class Watched(DummyClassifier):
        def fit(self, X, y):
            fitted.append(np.asarray(X)[np.asarray(y) == 0])
            return super().fit(X, y)

        def predict_proba(self, X):
            scored.append(np.asarray(X))
            return super().predict_proba(X)

    aligned(tiny, signal=Watched(strategy="stratified")).fit(people)
    pools = [rows for rows in scored if len(rows) == 400]
    assert len(fitted[1]) == len(pools[0]) == 400  # first it is tried
    assert not np.array_equal(np.nan_to_num(fitted[1]), np.nan_to_num(pools[0]))


def test_each_round_draws_fresh_pools_from_the_current_model(tiny, people, monkeypatch):
    pools = []
    generate = Aligner._generate

    def record(self, model, n_rows=None):
        pool = generate(self, model, n_rows)
        if n_rows is None:
            pools.append((pool.token_ids.copy(), weights_of(model)))
        return pool

    monkeypatch.setattr(Aligner, "_generate", record)
    aligned(tiny, n_rounds=2).fit(people)
    # Two of each round, one for the signal that is kept, one that it has not seen.
    assert len(pools) == 6
    for first in range(len(pools) - 1):
        assert not np.array_equal(pools[first][0], pools[first + 1][0])
    assert equal_weights(pools[0][1], pools[1][1])
    assert not equal_weights(pools[1][1], pools[2][1])


@pytest.fixture
def believed(monkeypatch):
    """Take what classifiers say at its word: of so few rows hardly anything is sure."""
    monkeypatch.setattr(_alignment, "sure_slope", lambda *_: 1.0)


def test_a_signal_counts_as_far_as_it_holds_on_unseen_rows(tiny, people, monkeypatch):
    slopes = []
    slope = _alignment.sure_slope

    def record(on_real, on_fresh):
        slopes.append((len(on_real), slope(on_real, on_fresh)))
        return 0.0

    monkeypatch.setattr(_alignment, "sure_slope", record)
    for signal in (None, LogisticRegression()):
        model = aligned(tiny, signal=signal, n_rounds=2).fit(people)
        assert model.rounds_stop_reason_ == "indistinguishable"
        assert model.best_round_ == 0
    assert len(slopes) == 4  # of the round, and of the signal that is kept
    assert {n_real for n_real, _ in slopes} == {len(model._held_out)}


def test_equal_models_have_a_log_ratio_of_exactly_nought(two_rounds, people):
    aligner = Aligner(
        two_rounds._tokenizer, two_rounds.column_order_, torch.device("cpu"), torch.float32
    )
    token_ids = torch.from_numpy(two_rounds._tokenizer.encode(people))
    one = aligner._log_probabilities(two_rounds.model_, token_ids)
    other = aligner._log_probabilities(copy.deepcopy(two_rounds.model_), token_ids)
    assert torch.equal(one, other)


def test_rows_of_larger_weight_are_more_of_the_signals_real_rows(tiny, people):
    seen = []

    class Watched(DummyClassifier):
        def fit(self, X, y):
            seen.append(np.asarray(X)[np.asarray(y) == 1])
            return super().fit(X, y)

        def __sklearn_tags__(self):  # so that it gets numbers as they are
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = True
            return tags

    weights = np.where(people["age"] > 50, 9.0, 1.0)
    aligned(tiny, signal=Watched()).fit(people, sample_weight=weights)  # first it is tried
    expected = weights[people["age"] > 50].sum() / weights.sum()
    assert np.mean(seen[1][:, 1] > 50) == pytest.approx(expected, abs=0.06)


# -- what is handed back -------------------------------------------------------------------


def test_a_harmful_round_is_not_handed_back(tiny, people):
    supervised = tiny(max_epochs=3, n_rounds=0).fit(people)
    harmed = aligned(tiny, n_rounds=3, align_learning_rate=0.3).fit(people)
    assert harmed.best_round_ == 0
    assert harmed.rounds_stop_reason_ == "no improvement"
    assert harmed.n_rounds_ == 2
    assert equal_weights(weights_of(supervised.model_), weights_of(harmed.model_))


def test_rounds_bring_a_weak_model_nearer_to_unseen_rows(tiny, people):
    model = aligned(
        tiny, n_rounds=3, max_epochs=4, align_pool_size=4000, align_learning_rate=3e-3
    ).fit(people)
    entries = [entry for entry in model.history_ if entry["stage"] == "alignment"]
    assert model.best_round_ > 0
    assert entries[model.best_round_]["held_out_gain"] > 0
    unseen = people.sample(300, replace=True, random_state=1)
    before = tiny(max_epochs=4, n_rounds=0).fit(people)
    assert model.score_samples(unseen).mean() > before.score_samples(unseen).mean()


@pytest.mark.parametrize("credit", ["cell", "row"])
def test_what_is_to_be_forgotten_becomes_rare(tiny, people, credit):
    def old(rows):
        return rows["age"] >= 60

    model = aligned(
        tiny,
        signal=Forget(old),
        n_rounds=4,
        align_pool_size=4000,
        align_learning_rate=1e-2,
        align_credit=credit,
    ).fit(people)
    before = tiny(max_epochs=3, n_rounds=0).fit(people).sample(2000, random_state=0)
    after = model.sample(2000, random_state=0)
    assert model.best_round_ > 0
    assert old(after).mean() < 0.5 * old(before).mean()


def test_history_tells_of_every_round(two_rounds):
    entries = [entry for entry in two_rounds.history_ if entry["stage"] == "alignment"]
    assert [entry["round"] for entry in entries] == [0, 1, 2]
    for entry in entries:
        assert set(entry) == ROUND_KEYS
        assert 0.3 < entry["signal_auc"] <= 1 or entry["round"] > two_rounds.best_round_
        assert 0 <= entry["judge_score"] <= 1
        assert 0 <= entry["copy_share"] <= 1
        assert all(math.isfinite(entry[key]) for key in ROUND_KEYS - {"stage", "signal_auc"})
    assert entries[0]["held_out_gain"] == 0
    assert two_rounds.n_rounds_ == 2
    assert two_rounds.best_round_ in (0, 1, 2)
    assert two_rounds.rounds_stop_reason_ == "n_rounds"
    frame = two_rounds.history_frame()
    assert len(frame) == two_rounds.n_epochs_ + 3


def test_without_rounds_the_supervised_model_is_left(tiny, people):
    model = tiny(n_rounds=0).fit(people)
    assert model.n_rounds_ == model.best_round_ == 0
    assert not hasattr(model, "signal_")
    assert {entry["stage"] for entry in model.history_} == {"supervised"}


def test_small_tables_have_no_rounds_by_default(tiny, people, monkeypatch):
    assert tiny().fit(people).n_rounds_ == 0
    monkeypatch.setattr("tabgraa_sklearn._synthesizer._ROUNDS_FROM", len(people))
    assert tiny(align_pool_size=256).fit(people).n_rounds_ > 0


def test_equal_seeds_give_equal_models(tiny, people, two_rounds):
    again = aligned(tiny, n_rounds=2).fit(people)
    assert equal_weights(weights_of(again.model_), weights_of(two_rounds.model_))


def test_global_generators_are_left_alone(tiny, people):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    aligned(tiny).fit(people)
    after = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    assert np.array_equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_an_interrupted_round_leaves_the_best_model_so_far(tiny, people, monkeypatch):
    supervised = tiny(max_epochs=3, n_rounds=0).fit(people)

    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Aligner, "_align", interrupt)
    with pytest.warns(ConvergenceWarning, match="interrupted after 3 epochs and 0 rounds"):
        model = aligned(tiny).fit(people)
    assert model.rounds_stop_reason_ == "interrupted"
    assert equal_weights(weights_of(supervised.model_), weights_of(model.model_))
    assert len(model.sample(3)) == 3


def test_tokens_become_as_frequent_as_in_the_table(tiny, people):
    fitted = tiny(max_epochs=3, n_rounds=0).fit(people)
    order, tokenizer = fitted.column_order_, fitted._tokenizer
    aligner = Aligner(tokenizer, order, torch.device("cpu"), torch.float32)
    aligner._seeds = iter(range(100)).__next__
    aligner._digester = Digester(tokenizer).fit(people)
    aligner._forgets = False
    model = copy.deepcopy(fitted.model_)
    with torch.no_grad():
        noise = np.random.default_rng(0).normal(size=len(model.vocabulary.bias))
        model.vocabulary.bias.add_(torch.from_numpy(noise).to(model.vocabulary.bias))

    def distances():
        drawn = aligner._generate(model, 20_000).frame
        return [
            drawn[name]
            .value_counts(normalize=True)
            .sub(people[name].value_counts(normalize=True), fill_value=0)
            .abs()
            .sum()
            for name in ("kind", "copy")
        ]

    before = distances()
    aligner._match_marginals(model, RealRows.of(people, np.ones(len(people)), tokenizer))
    assert min(before) > 0.1
    assert max(distances()) < 0.07  # 20,000 rows drawn have .01 to .02 by chance


def test_a_failing_signal_leaves_the_estimator_as_it_was(tiny, people, two_rounds):
    class Broken(DummyClassifier):
        def predict_proba(self, X):
            raise RuntimeError("broken signal")

    model = pickle.loads(pickle.dumps(two_rounds))
    before = weights_of(model.model_)
    with pytest.raises(ValueError, match=r"could not score rows: .*broken signal"):
        model.set_params(signal=Broken()).fit(people)
    assert equal_weights(before, weights_of(model.model_))
    assert model.n_rounds_ == 2


# -- any estimator as a signal -------------------------------------------------------------

SIGNALS = {
    "forest": RandomForestClassifier(20),
    "logistic": LogisticRegression(),
    "boosting": HistGradientBoostingClassifier(max_iter=20),
    "lightgbm": LGBMClassifier(n_estimators=20, verbosity=-1),
    "network": MLPClassifier((8,), max_iter=20),
    "no probabilities": SVC(),
    "mixture": GaussianMixture(2),
    "isolation": IsolationForest(n_estimators=20),
    "one class": OneClassSVM(),
    "outliers": LocalOutlierFactor(novelty=True),
    "kernels": KernelDensity(),
    "kernels that end": KernelDensity(kernel="tophat", bandwidth=0.5),
    "two-sample around another": TwoSampleClassifier(LogisticRegression()),
    "dummy": DummyClassifier(strategy="stratified"),
    "pipeline": make_pipeline(
        make_column_transformer((OrdinalEncoder(), ["kind", "copy"]), (OrdinalEncoder(), ["age"])),
        LogisticRegression(),
    ),
    "two-sample": TwoSampleClassifier(),
    "distance": ClosestRecordDistance(),
    "pairs": PairwiseDependence(),
    "forget": Forget(lambda rows: rows["age"] > 75),
    "weighted": WeightedSignal(
        [("near", ClosestRecordDistance()), ("old", Forget(lambda rows: rows["age"] > 75))],
        weights=[0.5, 1.0],
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", list(SIGNALS))
def test_any_estimator_is_a_signal(tiny, people, name, believed):
    signal = SIGNALS[name]
    model = aligned(tiny, signal=signal).fit(people)
    assert model.n_rounds_ == 1
    assert type(model.signal_) is type(signal)
    assert model.signal_ is not signal  # the user's own stays unfitted
    assert len(model.sample(20, refine=True)) == 20


def test_xgboost_is_a_signal(tiny, people, believed):
    xgboost = pytest.importorskip("xgboost", reason="benchmarks extra")
    model = aligned(tiny, signal=xgboost.XGBClassifier(n_estimators=20)).fit(people)
    aucs = [entry["signal_auc"] for entry in model.history_ if entry["stage"] == "alignment"]
    assert 0.3 < aucs[0] <= 1.0
    assert isinstance(model.signal_, xgboost.XGBClassifier)
    assert len(model.sample(50, refine=True, random_state=0)) == 50


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("retain", [None, "kl", "supervised"])
def test_every_objective_runs(tiny, people, objective, retain):
    model = aligned(tiny, objective=objective, align_retain=retain, beta=0.5).fit(people)
    assert model.n_rounds_ == 1
    assert model.history_[-1]["log_ratio_std"] > 0


@pytest.mark.parametrize(
    ("signal", "reward"),
    [
        (LogisticRegression(), "realism"),
        (LogisticRegression(), "indistinguishability"),
        (LogisticRegression(), lambda p: p**2),
        (GaussianMixture(), "realism"),
        (GaussianMixture(), lambda score: -np.abs(score)),
        (None, "indistinguishability"),
    ],
)
def test_every_reward_runs(tiny, people, reward, signal, believed):
    model = aligned(tiny, reward=reward, signal=signal).fit(people)
    assert model.history_[-1]["log_ratio_std"] > 0


def test_a_signal_that_tells_nothing_ends_the_rounds(tiny, people):
    model = aligned(tiny, n_rounds=3, signal=DummyClassifier()).fit(people)
    assert model.rounds_stop_reason_ == "indistinguishable"
    assert model.n_rounds_ == model.best_round_ == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"signal": LinearRegression()}, "signal must be a classifier"),
        ({"signal": LocalOutlierFactor()}, "novelty=True"),
        ({"signal": "lightgbm"}, "The 'signal' parameter"),
        ({"n_rounds": -1}, "The 'n_rounds' parameter"),
        ({"objective": "ppo"}, "The 'objective' parameter .*'tabgraa'"),
        ({"beta": 0}, "The 'beta' parameter"),
        ({"quantile": 0.7}, "The 'quantile' parameter"),
        ({"reward": "beauty"}, "The 'reward' parameter"),
        ({"reward": lambda p: p[:3]}, "reward must give one finite number for each of the 600"),
        ({"align_learning_rate": -1.0}, "The 'align_learning_rate' parameter"),
        ({"signal": Forget(lambda rows: rows["age"] > 0)}, "signal forgets all rows"),
        ({"memory": 3}, "The 'memory' parameter"),
        (
            {"signal": GaussianMixture(), "reward": "indistinguishability"},
            "reward must be 'realism' or a callable",
        ),
    ],
)
def test_bad_parameters_are_named(tiny, people, params, message):
    model = aligned(tiny, **params)
    with pytest.raises(ValueError, match=message):
        model.fit(people)
    assert not hasattr(model, "model_")


# -- tables of many kinds ------------------------------------------------------------------


def test_weights_hold_through_the_rounds(tiny):
    """The rounds work towards the weighted table, not the one that came in."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"group": random.choice(["a", "b"], 1500), "x": random.random(1500)})
    weights = np.where(frame["group"] == "a", 9.0, 1.0)
    model = aligned(tiny, n_rounds=2, max_epochs=10, align_pool_size=4000, align_learning_rate=5e-3)
    rows = model.fit(frame, sample_weight=weights).sample(3000, random_state=0)
    expected = weights[frame["group"] == "a"].sum() / weights.sum()
    assert (rows["group"] == "a").mean() == pytest.approx(expected, abs=0.05)


@pytest.mark.filterwarnings("ignore::tabgraa_sklearn.ColumnKindWarning")
def test_rounds_take_every_kind_of_column(tiny, believed):
    random = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2020", periods=n, freq="h", tz="UTC"),
            "span": pd.to_timedelta(random.integers(0, 99, n), "min"),
            "flag": pd.array(random.choice([True, False, None], n), dtype="boolean"),
            "whole": pd.array(random.choice([1, 2, None], n), dtype="Int16"),
            "level": pd.Categorical.from_codes(random.integers(0, 3, n), list("abc"), ordered=True),
            "same": 1.5,
            "empty": np.full(n, np.nan),
            "huge": random.choice([1e300, -1e300, 0.0], n),
            "code": [f"id-{number:05d}" for number in random.permutation(n)],
        }
    )
    for signal in (None, LogisticRegression(), Forget(lambda rows: rows["whole"] > 1)):
        model = aligned(tiny, signal=signal).fit(frame)
        assert model.n_rounds_ == 1
        rows = model.sample(40, refine=True, random_state=0)
        assert rows.dtypes.equals(frame.dtypes)


def test_rounds_take_arrays_targets_and_polars(tiny, people):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 3)), random.choice(["u", "v"], 300)
    for signal in (None, Forget(lambda rows: rows[0] > 1.0), WeightedSignal()):
        rows = aligned(tiny, signal=signal).fit(X, y).sample(20, refine=True)
        assert rows.shape == (20, 4)
    polars = pytest.importorskip("polars")
    table = polars.from_pandas(people)
    model = aligned(tiny, signal=Forget(lambda rows: rows["age"] > 60)).fit(table)
    assert isinstance(model.sample(20, refine=True), polars.DataFrame)


def test_columns_named_by_numbers_and_strings_reach_a_pipeline(tiny, people, believed):
    frame = people[["age", "price"]].fillna(0).set_axis([1, "price"], axis=1)
    signal = make_pipeline(StandardScaler(), LogisticRegression())
    assert aligned(tiny, signal=signal).fit(frame).n_rounds_ == 1


@pytest.mark.parametrize("n_rows", [2, 3, 20])
def test_tiny_tables_survive_rounds(tiny, people, n_rows):
    model = aligned(tiny).fit(people.head(n_rows))
    assert len(model.sample(5)) == 5


def test_a_signal_that_gives_no_number_is_named(tiny, people):
    class Nothing(GaussianMixture):
        def score_samples(self, X):
            return np.full(len(X), np.nan)

    with pytest.raises(ValueError, match="signal must give numbers as scores"):
        aligned(tiny, signal=Nothing()).fit(people)


# -- refinement ----------------------------------------------------------------------------


def test_refined_samples_have_exactly_n_rows_and_tell_their_cost(two_rounds, people):
    for n_rows in (1, 7, 1000):
        rows = two_rounds.sample(n_rows, refine=True, random_state=0)
        assert len(rows) == n_rows
        assert rows.dtypes.equals(people.dtypes)
        assert list(rows.index) == list(range(n_rows))
        assert two_rounds.refinement_["returned"] == n_rows
        assert n_rows <= two_rounds.refinement_["drawn"] <= max(33 * n_rows, 1024) + 16_384


def test_refined_samples_follow_the_seed_and_not_the_batch_size(two_rounds):
    rows = two_rounds.sample(300, refine=True, random_state=5)
    pd.testing.assert_frame_equal(
        rows, two_rounds.sample(300, refine=True, random_state=5, batch_size=64)
    )
    assert not rows.equals(two_rounds.sample(300, refine=True, random_state=6))
    parts = list(two_rounds.sample_batches(300, refine=True, random_state=5, batch_size=90))
    pd.testing.assert_frame_equal(rows, pd.concat(parts, ignore_index=True))


def test_refinement_takes_rows_by_their_density_ratio(tiny, people, monkeypatch):
    monkeypatch.setattr(Aligner, "_match_marginals", lambda *_: None)  # it would forget them all
    model = aligned(tiny, n_rounds=1, align_learning_rate=1e-9, signal=Forget(is_old)).fit(people)
    assert is_old(model.sample(1000, random_state=0)).mean() > 0.1
    assert is_old(model.sample(1000, random_state=0, refine=True)).mean() < 0.01


def is_old(rows):
    return rows["age"] >= 60


def test_refinement_without_a_signal_is_an_error(tiny, people):
    model = tiny(n_rounds=0).fit(people)
    with pytest.raises(ValueError, match="'refine' parameter of sample must be False"):
        model.sample(3, refine=True)
    with pytest.raises(ValueError, match="'refine' parameter of sample must be a bool"):
        model.sample(3, refine="yes")


def test_a_pickled_synthesizer_refines_as_before(two_rounds):
    copied = pickle.loads(pickle.dumps(two_rounds))
    pd.testing.assert_frame_equal(
        copied.sample(50, refine=True, random_state=0),
        two_rounds.sample(50, refine=True, random_state=0),
    )


# -- search --------------------------------------------------------------------------------


@pytest.fixture
def supervised_fits(monkeypatch):
    """Count supervised stages that are really learnt."""
    count = []
    run = Trainer.run

    def counted(trainer, *args):
        if trainer.validation:
            count.append(time.perf_counter())
        return run(trainer, *args)

    monkeypatch.setattr(Trainer, "run", counted)
    return count


@pytest.mark.parametrize("seed", [0, None])
def test_candidates_of_a_search_share_one_supervised_fit(
    tiny, people, tmp_path, supervised_fits, seed
):
    search = GridSearchCV(
        aligned(tiny, memory=str(tmp_path), signal=LGBMClassifier(verbosity=-1), random_state=seed),
        {
            "beta": [0.5, 1.0],
            "n_rounds": [0, 1],
            "objective": ["tabgraa", "dpo"],
            "signal__n_estimators": [5, 10],
        },
        cv=2,
        scoring=metrics.log_likelihood_scorer,
    ).fit(people)
    assert len(search.cv_results_["params"]) == 16
    assert len(supervised_fits) == 3  # one per fold, and one for the refit on all rows
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_other_supervised_parameters_are_another_fit(tiny, people, tmp_path, supervised_fits):
    for epochs in (1, 2, 1):
        tiny(max_epochs=epochs, memory=str(tmp_path)).fit(people)
    assert len(supervised_fits) == 2
    tiny(max_epochs=1, memory=str(tmp_path), random_state=1).fit(people)
    assert len(supervised_fits) == 3


def test_a_cached_stage_gives_the_same_model(tiny, people, tmp_path):
    fresh = aligned(tiny).fit(people)
    for _ in range(2):
        cached = aligned(tiny, memory=str(tmp_path)).fit(people)
        assert equal_weights(weights_of(fresh.model_), weights_of(cached.model_))


def test_an_interrupted_stage_is_not_kept(tiny, people, tmp_path, monkeypatch, supervised_fits):
    model = tiny(max_epochs=3, memory=str(tmp_path))
    with monkeypatch.context() as patched:
        epoch = Trainer._epoch
        done = iter([True])

        def interrupt(self, *args):
            if not next(done, False):
                raise KeyboardInterrupt
            return epoch(self, *args)

        patched.setattr(Trainer, "_epoch", interrupt)
        with pytest.warns(ConvergenceWarning):
            model.fit(people)
    assert model.n_epochs_ == 1
    assert model.fit(people).n_epochs_ == 3
    assert len(supervised_fits) == 2


def test_warm_start_adds_rounds(tiny, people, supervised_fits):
    model = aligned(tiny, warm_start=True).fit(people)
    first = copy.deepcopy(model.history_)
    model.set_params(n_rounds=3).fit(people)
    assert len(supervised_fits) == 1
    assert model.history_[: len(first)] == first
    rounds = [entry["round"] for entry in model.history_ if entry["stage"] == "alignment"]
    assert rounds == list(range(model.n_rounds_ + 1))
    assert 1 < model.n_rounds_ <= 3
    before = weights_of(model.model_)
    model.set_params(n_rounds=model.n_rounds_).fit(people)  # nothing is left to do
    assert equal_weights(before, weights_of(model.model_))
    assert hasattr(model, "signal_")


def test_warm_start_keeps_the_held_out_rows_apart(tiny, people):
    model = aligned(tiny, warm_start=True, random_state=None).fit(people)
    held_out = model._held_out.copy()
    model.set_params(n_rounds=2).fit(people)
    assert np.array_equal(held_out, model._held_out)


@pytest.mark.parametrize("kind", ["random", "halving"])
def test_other_searches_work(tiny, people, tmp_path, kind):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV, RandomizedSearchCV

    estimator = aligned(tiny, memory=str(tmp_path), max_epochs=1)
    grid = {"beta": [0.5, 1.0], "objective": ["tabgraa"]}
    scoring = metrics.log_likelihood_scorer
    if kind == "random":
        search = RandomizedSearchCV(estimator, grid, n_iter=2, cv=2, scoring=scoring)
    else:
        search = HalvingGridSearchCV(estimator, grid, cv=2, scoring=scoring, min_resources=200)
    assert len(search.fit(people).best_estimator_.sample(3)) == 3


def test_warm_start_needs_the_same_columns(tiny, people):
    model = aligned(tiny, warm_start=True).fit(people)
    with pytest.raises(ValueError, match="X must have the columns seen in fit"):
        model.set_params(n_rounds=2).fit(people.drop(columns="age"))


@pytest.mark.parametrize(
    "scorer",
    [metrics.log_likelihood_scorer, metrics.two_sample_scorer, metrics.column_shapes_scorer],
)
def test_scorers_score(two_rounds, people, scorer):
    assert np.isfinite(scorer(two_rounds, people))
    assert scorer(two_rounds, people) == scorer(two_rounds, people, None)


def test_column_shapes_are_one_for_equal_tables(people):
    class Copier(TabGRAASynthesizer):
        def sample(self, n_samples=1, **_):
            return people.sample(n_samples, random_state=0)

    assert metrics.column_shapes_scorer(Copier(), people) == pytest.approx(1.0)
    shifted = people.assign(age=people["age"] + 1000, kind="z")
    assert metrics.column_shapes_scorer(Copier(), shifted) == pytest.approx(0.5)
