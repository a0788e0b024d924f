"""Likelihoods that are probabilities, and a score that tells good rows from bad ones."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import trapezoid

from tabgraa_sklearn._features import to_features
from tabgraa_sklearn._scoring import log_likelihood, two_sample_score
from tabgraa_sklearn._tokenizer import TableTokenizer


def small_table(n_rows=150, seed=0):
    """Three dependent columns of few values, one with missing cells."""
    random = np.random.default_rng(seed)
    flag = random.random(n_rows) < 0.4
    level = pd.Series(np.where(flag, random.integers(0, 3, n_rows), 2.0))
    level[random.random(n_rows) < 0.2] = np.nan
    kind = pd.Categorical.from_codes(random.integers(0, 4, n_rows) // (1 + flag), list("wxyz"))
    return pd.DataFrame({"flag": flag, "level": level, "kind": kind})


def all_cells(table):
    values = [table[name].drop_duplicates().tolist() for name in table]
    rows = pd.DataFrame(list(itertools.product(*values)), columns=table.columns)
    return rows.astype(table.dtypes)


@pytest.fixture(scope="module")
def small(tiny):
    return tiny(max_epochs=4).fit(small_table())


# -- score_samples -----------------------------------------------------------------------------


def test_likelihoods_of_all_rows_sum_to_one(small):
    rows = all_cells(small_table())
    assert len(rows) == 2 * 4 * 4
    logs = small.score_samples(rows)
    assert logs.dtype == np.float64
    assert logs.shape == (len(rows),)
    assert np.exp(logs).sum() == pytest.approx(1.0, abs=1e-9)


def test_likelihoods_are_the_frequencies_of_samples(small):
    rows = all_cells(small_table())
    expected = np.exp(small.score_samples(rows))
    n_samples = 20_000
    samples = small.sample(n_samples, random_state=0)
    # Text by map: astype(str) of pandas 3 leaves missing cells missing, which are not counted.
    keys = [tuple(row) for row in rows.map(str).to_numpy()]
    counts = samples.map(str).value_counts()
    shares = np.array([counts.get(key, 0) for key in keys]) / n_samples
    assert shares.sum() == pytest.approx(1.0)
    # Five standard deviations, and the rounding of bfloat16 where samples are drawn in it.
    bounds = 5 * np.sqrt(expected * (1 - expected) / n_samples) + 0.02 * expected + 1e-4
    assert (np.abs(shares - expected) < bounds).all()


def test_a_row_scores_the_same_alone_as_among_others(fitted, table):
    together = fitted.score_samples(table)
    alone = [fitted.score_samples(table.iloc[i : i + 1])[0] for i in range(0, len(table), 5)]
    np.testing.assert_allclose(alone, together[::5], rtol=0, atol=1e-7)


def test_the_order_of_the_rows_does_not_matter(fitted, table):
    order = np.random.default_rng(0).permutation(len(table))
    expected = fitted.score_samples(table)[order]
    np.testing.assert_allclose(fitted.score_samples(table.iloc[order]), expected, rtol=0, atol=1e-9)


def test_many_rows_are_scored_in_blocks(fitted, table):
    many = pd.concat([table] * 50, ignore_index=True)  # of 4,096 rows each
    expected = np.tile(fitted.score_samples(table), 50)
    np.testing.assert_allclose(fitted.score_samples(many), expected, rtol=0, atol=1e-9)


def test_scoring_changes_nothing(tiny, table):
    model = tiny().fit(table)
    before = {name: value.clone() for name, value in model.model_.state_dict().items()}
    fitted_table = table.copy(deep=True)
    model.score_samples(table)
    model.score(table)
    for name, value in model.model_.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    pd.testing.assert_frame_equal(table, fitted_table)
    pd.testing.assert_frame_equal(model.sample(5), tiny().fit(table).sample(5))


def test_training_rows_are_likelier_than_rows_with_shuffled_columns(tiny):
    table = small_table(300)
    model = tiny(max_epochs=8, batch_size=16).fit(table)
    shuffled = table.apply(lambda column: column.sample(frac=1, random_state=len(column.name)))
    shuffled = shuffled.astype(table.dtypes).reset_index(drop=True)
    shuffled["flag"] = table["flag"].to_numpy()[np.random.default_rng(1).permutation(300)]
    assert model.score_samples(table).mean() > model.score_samples(shuffled).mean() + 0.2


def test_an_unseen_category_counts_one_part_in_the_rows_plus_one(tiny, table):
    weights = np.ones(len(table))
    weights[:20] = 0
    model = tiny().fit(table, sample_weight=weights)
    order = [table.columns[column] for column in model.column_order_]
    last = order[-1]
    assert last == "price"
    plain = table.copy()
    for name in ("group", "name"):
        odd = plain.astype({name: object})
        odd[name] = "unseen"
        cells = model.score_samples(odd)
        # The odd cell counts log(1 / 101); the cells before it what they count in any row.
        before = order[: order.index(name)]
        assert np.isfinite(cells).all()
        ids = model._tokenizer.encode(odd, unknown="mark")
        raw = log_likelihood(model.model_, ids, model.column_order_, -math.log(101))
        np.testing.assert_allclose(cells, raw.sum(1))
        column = table.columns.get_loc(name)
        np.testing.assert_allclose(raw[:, column], -math.log(101))
        known = log_likelihood(
            model.model_, model._tokenizer.encode(plain), model.column_order_, math.nan
        )
        places = [table.columns.get_loc(other) for other in before]
        np.testing.assert_allclose(raw[:, places], known[:, places])
        assert (cells < model.score_samples(plain) + 10).all()


def test_a_missing_cell_where_none_was_seen_counts_as_unseen(tiny, table):
    model = tiny().fit(table)
    odd = table.astype({"count": "Int64"})
    odd["count"] = pd.NA
    ids = model._tokenizer.encode(odd, unknown="mark")
    assert (ids[:, 1] == -1).all()
    raw = log_likelihood(model.model_, ids, model.column_order_, -math.log(121))
    np.testing.assert_allclose(raw[:, 1], -math.log(121))
    np.testing.assert_allclose(model.score_samples(odd), raw.sum(1))


def test_numbers_outside_the_range_count_as_the_nearest(fitted, table):
    far, end = table.copy(), table.copy()
    far["price"] = 1e9
    end["price"] = table["price"].max()
    np.testing.assert_allclose(fitted.score_samples(far), fitted.score_samples(end))


# -- parameters of score_samples ---------------------------------------------------------------


def test_a_density_integrates_to_one(tiny):
    """Of a column without a last place: probability per unit."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(size=4000) * np.pi, "kind": ["a", "b"] * 2000})
    model = tiny(max_epochs=2, n_rounds=0).fit(table)
    assert model.schema_["x"].grid is None
    grid = np.linspace(table["x"].min(), table["x"].max(), 60_001)
    for kind in ("a", "b"):
        rows = pd.DataFrame({"x": grid, "kind": kind})
        share = np.exp(model.score_samples(rows.head(1), columns=["kind"]))
        density = np.exp(model.score_samples(rows))
        assert trapezoid(density, grid) == pytest.approx(share[0], rel=0.01)


def test_whole_numbers_count_with_their_own_probability(tiny):
    random = np.random.default_rng(0)
    # So spread that an interval holds many whole numbers.
    table = pd.DataFrame({"n": random.integers(0, 200_000, 4000)})
    model = tiny(max_epochs=2, n_rounds=0).fit(table)
    rows = pd.DataFrame({"n": np.arange(table["n"].min(), table["n"].max() + 1)})
    assert np.exp(model.score_samples(rows)).sum() == pytest.approx(1.0, abs=1e-6)
    assert np.exp(model.score_samples(rows, numbers="interval")).sum() > 10


@pytest.mark.parametrize("values", [400, 3000])
def test_an_interval_narrower_than_a_step_of_a_number_takes_nothing_from_the_others(tiny, values):
    random = np.random.default_rng(0)
    n = random.integers(0, values, 2000) / 4
    n[:300] = random.integers(40, 49, 300)  # some repeat often
    table = pd.DataFrame({"n": n, "k": np.where(n > values / 8, "high", "low")})
    model = tiny(max_epochs=2, n_rounds=0).fit(table)
    numbers = np.arange(values) / 4
    rows = pd.DataFrame({"n": np.tile(numbers[(numbers >= n.min()) & (numbers <= n.max())], 2)})
    rows["k"] = np.repeat(["high", "low"], len(rows) // 2)
    assert np.exp(model.score_samples(rows)).sum() == pytest.approx(1.0, abs=1e-6)
    assert model.sample(500, random_state=0)["n"].isin(numbers).all()


def test_scaling_a_column_shifts_densities_and_no_intervals(tiny):
    random = np.random.default_rng(0)
    x = random.gamma(2, size=3000) * np.e
    near, far = pd.DataFrame({"x": x}), pd.DataFrame({"x": x * 1000})
    one, other = (tiny(n_rounds=0).fit(part) for part in (near, far))
    np.testing.assert_allclose(
        one.score_samples(near) - other.score_samples(far), math.log(1000), atol=0.01
    )
    intervals = [m.score_samples(t, numbers="interval") for m, t in ((one, near), (other, far))]
    np.testing.assert_allclose(*intervals, atol=0.01)


def test_some_columns_are_scored_whatever_the_others_are(small):
    rows = all_cells(small_table())
    names = list(rows.columns)
    for chosen in ([names[0]], names[1:], names[::-1]):
        distinct = rows[chosen].drop_duplicates()
        logs = small.score_samples(distinct, columns=chosen)
        assert np.exp(logs).sum() == pytest.approx(1.0, abs=1e-9)
        each = rows.merge(distinct.assign(logs=logs), on=chosen, how="left")["logs"]
        np.testing.assert_allclose(small.score_samples(rows, columns=chosen), each)
    np.testing.assert_allclose(small.score_samples(rows, columns=names), small.score_samples(rows))


def test_missing_cells_count_as_values_or_not_at_all(fitted, table):
    whole = table.dropna().head(20)
    holes = whole.assign(price=np.nan)
    rest = [name for name in table.columns if name != "price"]
    marginal = fitted.score_samples(holes, missing="marginal")
    np.testing.assert_allclose(marginal, fitted.score_samples(whole, columns=rest))
    assert (fitted.score_samples(holes) < marginal).all()
    both = pd.concat([whole, holes], ignore_index=True)
    np.testing.assert_allclose(
        fitted.score_samples(both, missing="marginal"),
        np.concatenate([fitted.score_samples(whole), marginal]),
    )
    nothing = whole.head(2).astype(object)
    nothing[:] = None
    assert (fitted.score_samples(nothing, missing="marginal") == 0).all()


def test_the_mean_over_random_orders_is_a_distribution_too(small):
    rows = all_cells(small_table())
    logs = small.score_samples(rows, n_orders=5)
    assert np.exp(logs).sum() == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_array_equal(logs, small.score_samples(rows, n_orders=5))
    gaps = rows.iloc[::3].astype(object).copy()
    gaps.iloc[::2, 0] = None
    settings = {"n_orders": 3, "missing": "marginal"}
    together = small.score_samples(gaps, **settings)
    alone = [small.score_samples(gaps.iloc[[i]], **settings)[0] for i in range(len(gaps))]
    np.testing.assert_allclose(together, alone)
    assert not np.allclose(logs, small.score_samples(rows), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing": "no"}, "'missing' parameter of score_samples must be one of"),
        ({"numbers": 3}, "'numbers' parameter of score_samples must be one of"),
        ({"n_orders": 0}, "'n_orders' parameter of score_samples must be None or an int"),
        ({"columns": "price"}, "columns must be a list of column names; got 'price'"),
        ({"columns": []}, "columns must be different columns seen in fit"),
        ({"columns": ["nope"]}, r"columns must be different columns .*\['nope'\]"),
        ({"columns": ["price", "price"]}, "columns must be different columns"),
    ],
)
def test_bad_parameters_of_score_samples_are_told(fitted, table, settings, message):
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(table, **settings)


def test_columns_that_are_scored_must_be_there(fitted, table):
    with pytest.raises(ValueError, match=r"missing \['price'\]"):
        fitted.score_samples(table.drop(columns="price"), columns=["count", "price"])


# -- with a target -----------------------------------------------------------------------------


def test_the_target_may_be_there_or_not(tiny, table):
    X, y = table.drop(columns="count"), table["count"]
    model = tiny(max_epochs=3).fit(X, y)
    joint, features = model.score_samples(X.assign(count=y)), model.score_samples(X)
    assert model.n_features_in_ == 3
    assert features.shape == joint.shape
    # The joint probabilities of all targets sum to that of the features.
    sums = np.zeros(len(X))
    for value in sorted(set(y)):
        sums += np.exp(model.score_samples(X.assign(count=value)))
    np.testing.assert_allclose(np.log(sums), features, atol=1e-9)


def test_likelihood_without_the_target_is_a_distribution_too(tiny):
    table = small_table()
    model = tiny(max_epochs=3).fit(table[["flag", "kind"]], table["level"])
    rows = all_cells(table[["flag", "kind"]])
    assert np.exp(model.score_samples(rows)).sum() == pytest.approx(1.0, abs=1e-9)
    joint = all_cells(table[["flag", "kind", "level"]])
    assert np.exp(model.score_samples(joint)).sum() == pytest.approx(1.0, abs=1e-9)


def test_an_array_with_or_without_its_target(tiny):
    random = np.random.default_rng(0)
    X = random.integers(0, 3, (80, 2))
    y = X.sum(1)
    model = tiny().fit(X, y)
    assert model.score_samples(X).shape == (80,)
    assert model.score_samples(np.column_stack([X, y])).shape == (80,)
    with pytest.raises(ValueError, match="X has 1 features, but TabGRAASynthesizer is expecting 2"):
        model.score_samples(X[:, :1])
    with pytest.raises(ValueError, match="X has 4 features, but TabGRAASynthesizer is expecting 2"):
        model.score_samples(np.column_stack([X, X]))


# -- score -------------------------------------------------------------------------------------


def law(n_rows, seed):
    random = np.random.default_rng(seed)
    a = random.integers(0, 4, n_rows)
    return pd.DataFrame({"a": a, "b": (a + (random.random(n_rows) < 0.2)) % 4})


@pytest.fixture(scope="module")
def lawful(tiny):
    settings = {"max_epochs": 8, "batch_size": 32, "learning_rate": 1e-2}
    return tiny(**settings).fit(law(1000, 0))


def test_score_is_near_one_for_rows_of_the_law(lawful):
    for seed in (0, 1):
        score = lawful.score(law(1000, seed))
        assert isinstance(score, float)
        assert 0.85 < score <= 1.0


def test_score_falls_where_columns_are_shuffled(lawful):
    shuffled = law(1000, 0)
    shuffled["b"] = np.random.default_rng(2).permutation(shuffled["b"])
    assert 0.0 <= lawful.score(shuffled) < lawful.score(law(1000, 0)) - 0.2


def test_score_is_zero_for_rows_of_another_law(lawful):
    other = law(1000, 0)
    other["b"] = (other["a"] + 2) % 4
    assert 0.0 <= lawful.score(other) < 0.2


def test_score_is_deterministic_and_does_not_depend_on_n_jobs(lawful):
    rows = law(500, 3)
    scores = {lawful.score(rows) for _ in range(2)}
    lawful.set_params(n_jobs=2)
    scores.add(lawful.score(rows))
    lawful.set_params(n_jobs=None)
    assert len(scores) == 1


def test_score_does_not_use_up_random_numbers(tiny, table):
    one, other = tiny().fit(table), tiny().fit(table)
    other.score(table)
    other.score_samples(table)
    pd.testing.assert_frame_equal(one.sample(5), other.sample(5))


def test_score_takes_a_part_of_many_rows(lawful, monkeypatch):
    monkeypatch.setattr("tabgraa_sklearn._synthesizer._SCORE_ROWS", 300)
    seen = []

    def record(real, synthetic, n_jobs):
        seen.append((real, synthetic))
        return two_sample_score(real, synthetic, n_jobs)

    monkeypatch.setattr("tabgraa_sklearn._synthesizer.two_sample_score", record)
    rows = law(1000, 0).sort_values("a", ignore_index=True)
    lawful.score(rows)
    ((real, synthetic),) = seen
    assert real.shape == synthetic.shape == (300, 2)
    assert len(np.unique(real[:, 0])) == 4  # a random part, not the first rows


@pytest.mark.parametrize("as_type", [pd.Series, np.asarray, list, pd.Categorical])
def test_score_with_and_without_the_target(tiny, as_type, recwarn):
    rows = law(600, 0)
    X, y = rows[["a"]], rows["b"]
    settings = {"max_epochs": 6, "batch_size": 32, "learning_rate": 1e-2}
    model = tiny(**settings).fit(X, y if as_type is not pd.Categorical else y.astype("category"))
    wrong = as_type(((y + 2) % 4).tolist())
    assert model.score(X) > 0.8
    assert model.score(X, as_type(y.tolist())) > 0.8
    assert model.score(rows) == model.score(rows[["b", "a"]]) == model.score(X, y)
    assert model.score(rows[["b", "a"]], wrong) == model.score(X, wrong)
    assert model.score(X, wrong) < 0.4
    assert list(X.columns) == ["a"]
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("n_rows", [1, 2])
def test_score_needs_a_row_for_every_fold(fitted, table, n_rows):
    with pytest.raises(ValueError) as raised:
        fitted.score(table.head(n_rows))
    assert str(raised.value) == f"score needs at least 3 rows; got {n_rows}."


def test_score_needs_as_many_targets_as_rows(tiny, table):
    X, y = table.drop(columns="count"), table["count"]
    model = tiny().fit(X, y)
    with pytest.raises(ValueError) as raised:
        model.score(X, y[:50])
    assert str(raised.value) == "X and y must have the same number of rows; got 120 and 50."


# -- columns that are not those of the fit -----------------------------------------------------


@pytest.mark.parametrize("method", ["score_samples", "score"])
def test_columns_must_be_those_of_the_fit(fitted, table, method):
    call = getattr(fitted, method)
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time.*prize.*missing.*price"):
        call(table.rename(columns={"price": "prize"}))
    with pytest.raises(ValueError, match=r"(?s)Feature names seen at fit time.*missing.*price"):
        call(table.drop(columns="price"))
    with pytest.raises(ValueError, match=r"(?s)Feature names unseen at fit time.*extra"):
        call(table.assign(extra=1))
    with pytest.raises(ValueError, match=r"minimum of 1 is required"):
        call(table.head(0))
    with pytest.raises(ValueError, match=r"Expected 2D|2-dimensional container"):
        call(table["price"])
    odd = table.astype({"count": float})
    odd.loc[3, "count"] = np.inf
    with pytest.raises(ValueError, match=r"infinity in column 'count'.* in row 3"):
        call(odd)


@pytest.mark.parametrize("method", ["score_samples", "score"])
def test_cells_must_be_readable_as_the_columns(fitted, table, method):
    with pytest.raises(ValueError, match=r"Column 'price' is numeric.*cannot be read"):
        getattr(fitted, method)(table.assign(price="cheap"))


# -- features and the classifier ---------------------------------------------------------------


def test_features_follow_the_order_of_numbers_and_keep_missing_cells(table):
    tokenizer = TableTokenizer().fit(table)
    features = pd.DataFrame(to_features(tokenizer, table), columns=table.columns)
    assert features.shape == table.shape
    for name in ("count", "price"):
        pd.testing.assert_series_equal(features[name].isna(), table[name].isna())
        ranks = [column.rank().to_numpy() for column in (features[name], table[name])]
        np.testing.assert_array_equal(*ranks)
    # A number that no token stands for is another number here.
    moved = to_features(tokenizer, table.assign(count=table["count"].astype(float) + 1))
    place = list(table.columns).index("count")
    np.testing.assert_allclose(moved[:, place], features["count"] + 1)
    codes = pd.Series(table["group"].cat.codes)
    np.testing.assert_array_equal(features["group"].rank(), codes.rank())
    assert (features.groupby(table["name"])["name"].nunique() == 1).all()
    assert features["name"].nunique() == 4


def test_features_of_many_values_are_distinct():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "many": pd.Categorical([f"c{i}" for i in range(300)] * 2),
            "number": random.normal(size=600),
        }
    )
    tokenizer = TableTokenizer().fit(table)
    features = to_features(tokenizer, table)
    assert len(np.unique(features[:, 0])) == 300
    order = np.argsort(table["number"])
    assert (np.diff(features[order, 1]) >= 0).all()
    assert len(np.unique(features[:, 1])) > 400


def test_features_of_some_columns_and_of_unseen_categories(table):
    tokenizer = TableTokenizer().fit(table)
    odd = table[["name", "count"]].assign(name=["unseen", *table["name"][1:]])
    features = to_features(tokenizer, odd)
    assert features.shape == (len(table), 2)
    assert features[0, 0] == -1
    assert (features[1:, 0] >= 0).all()
    whole = to_features(tokenizer, table)
    np.testing.assert_array_equal(features[:, 1], whole[:, 1])


def test_two_sample_score_of_equal_and_of_different_tables():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 600, 2))
    assert two_sample_score(one, other) > 0.85
    assert two_sample_score(one, other + 10) == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < two_sample_score(one, other + 0.7) < 0.9
    # Rows that are known by being alike are no worse than rows that cannot be told apart.
    assert two_sample_score(one, one) == 1.0
