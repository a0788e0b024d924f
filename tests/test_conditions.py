"""Conditions, gaps and predictions: exact cells, right distributions, clear errors."""

import itertools
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from tabgraa_sklearn import TabGRAASynthesizer, _agreement, _prediction
from tabgraa_sklearn._reading import read_rows
from tabgraa_sklearn._summing import columns_to_sum
from tabgraa_sklearn._tokenizer import TableTokenizer


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(0)
    n = 1500
    kind = random.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    size = pd.Categorical.from_codes(random.integers(0, 4, n), ["s", "m", "l", "xl"], ordered=True)
    age = random.integers(18, 90, n)
    price = np.round(random.lognormal(3, 1, n) * (1 + (kind == "c")), 2)
    table = pd.DataFrame(
        {
            "kind": kind,
            "twin": np.where(random.random(n) < 0.9, kind, "b"),
            "size": size,
            "age": age,
            "price": price,
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, n), "D"),
            "note": np.where(random.random(n) < 0.2, None, "x"),
        }
    )
    table.loc[random.random(n) < 0.1, "price"] = np.nan
    return table


@pytest.fixture(scope="module")
def model(tiny, people):
    settings = {"max_epochs": 25, "batch_size": 64, "learning_rate": 1e-2, "n_rounds": 0}
    return tiny(random_order_share=0.7, **settings).fit(people)


# -- exact cells ---------------------------------------------------------------------------


def test_values_come_back_exactly(model, people):
    when = pd.Timestamp("2021-03-04")
    given = {"kind": "c", "age": 41, "price": 12.34, "when": when, "size": "l", "note": None}
    rows = model.sample(200, conditions=given, random_state=0)
    assert len(rows) == 200
    assert rows.dtypes.equals(people.dtypes)
    assert list(rows.columns) == list(people.columns)
    for name, value in given.items():
        assert rows[name].isna().all() if value is None else (rows[name] == value).all()
    assert rows["twin"].nunique() > 1


def test_missing_can_be_asked_for(model):
    rows = model.sample(50, conditions={"price": np.nan, "note": None}, random_state=0)
    assert rows["price"].isna().all()
    assert rows["note"].isna().all()


@pytest.mark.parametrize(
    ("low", "high"), [(30, 50), (None, 40), (70, None), (33.5, 33.9 + 1), (89, 200)]
)
def test_ranges_hold(model, low, high):
    ages = model.sample(300, conditions={"age": (low, high)}, random_state=0)["age"]
    assert ages.dtype == np.int64
    assert (ages >= (low or 0)).all()
    assert (ages <= (high or 1000)).all()


def test_ranges_of_numbers_times_and_ordered_categories_hold(model):
    start, stop = pd.Timestamp("2020-06-01"), pd.Timestamp("2020-09-01")
    asked = {"price": (10.005, 20.0), "when": (start, "2020-09-01"), "size": ("m", "l")}
    rows = model.sample(400, conditions=asked, random_state=0)
    assert rows["price"].between(10.01, 20.0).all()
    assert rows["when"].between(start, stop).all()
    assert set(rows["size"]) == {"m", "l"}


def test_a_range_within_one_cell_holds(model):
    prices = model.sample(50, conditions={"price": (15.0, 15.02)}, random_state=0)["price"]
    assert prices.between(15.0, 15.02).all()


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_nothing_lies_beyond_the_last_integer(tiny, dtype):
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    cells = np.linspace(0.01, 0.99, 300) * (float(most) - float(least)) + float(least)
    table = pd.DataFrame({"huge": np.concatenate([cells.astype(dtype), [least, most]])})
    model = tiny(max_epochs=1, n_rounds=0).fit(table.astype(dtype))
    for ends in ((most + 1, None), (float(most) * 2, None), (None, least - 1)):
        with pytest.raises(ValueError, match=r"conditions\['huge'\] is impossible"):
            model.sample(5, conditions={"huge": ends})


def test_numbers_of_a_range_do_not_heap_at_its_ends(tiny):
    """Of a cell that the range only touches, only the share that lies inside is drawn."""
    random = np.random.default_rng(0)
    cents = random.integers(0, 1_000_00, 20_000)
    table = pd.DataFrame({"price": cents / 100, "salary": 20_000 + cents, "z": cents**0.5})
    model = tiny(max_epochs=1, n_rounds=0).fit(table)
    prices = model.sample(4000, conditions={"price": (123.0, 124.0)}, random_state=0)["price"]
    assert (prices.round(2) <= 123.01).mean() < 0.05  # two of 101
    salaries = model.sample(4000, conditions={"salary": (50_060, 50_090)}, random_state=0)
    assert salaries["salary"].between(50_060, 50_090).all()
    assert salaries["salary"].value_counts(normalize=True).max() < 0.06  # of 31
    roots = model.sample(4000, conditions={"z": (200.0, 200.5)}, random_state=0)["z"]
    assert roots.between(200.0, 200.5).all()
    assert np.histogram(roots, 10)[0].max() < 0.16 * 4000
    # Beyond the range lie the extremes, which stand for many of the rows near them.
    last = model.sample(4000, conditions={"salary": (119_900, 119_990)}, random_state=0)["salary"]
    assert last.value_counts(normalize=True).max() < 0.1


@pytest.mark.parametrize("values", [["a", "c"], {"b"}, np.array(["a", "b"]), pd.Index(["c"])])
def test_sets_hold(model, values):
    kinds = model.sample(300, conditions={"kind": values}, random_state=0)["kind"]
    assert set(kinds) == set(values)


def test_sets_of_numbers_hold_and_may_be_missing(model):
    rows = model.sample(300, conditions={"price": [12.34, 50.0, None], "age": [20, 30]})
    assert set(rows["price"].dropna()) <= {12.34, 50.0}
    assert set(rows["age"]) == {20, 30}


def test_shares_are_met_exactly(model):
    rows = model.sample(
        1000, conditions={"kind": {"a": 1, "b": 2, "c": 1}, "age": (20, 30)}, random_state=0
    )
    assert rows["kind"].value_counts().to_dict() == {"b": 500, "a": 250, "c": 250}
    assert rows["age"].between(20, 30).all()
    assert rows["kind"].head(100).nunique() == 3  # not sorted


def test_rows_of_given_cells_come_back_in_their_order(model, people):
    given = people[["age", "kind", "price"]].head(60).copy()
    given.loc[given.index[::2], "kind"] = None
    given["age"] = given["age"].astype("float64")
    given.loc[given.index[::3], "age"] = np.nan
    given.index = given.index + 1000
    rows = model.sample(conditions=given, random_state=0)
    assert len(rows) == 60
    assert rows.dtypes.equals(people.dtypes)
    for name in given:
        there = given[name].notna().to_numpy()
        assert (rows[name].to_numpy()[there] == given[name].to_numpy()[there]).all()


def test_rows_follow_the_seed(model):
    one, same, other = (
        model.sample(50, conditions={"age": (20, 40), "kind": ["a", "b"]}, random_state=seed)
        for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


def test_an_array_is_conditioned_by_the_numbers_of_its_columns(tiny):
    random = np.random.default_rng(0)
    model = tiny().fit(random.integers(0, 5, (200, 3)))
    rows = model.sample(30, conditions={0: 3, 2: [1, 2]}, random_state=0)
    assert isinstance(rows, np.ndarray)
    assert (rows[:, 0] == 3).all()
    assert np.isin(rows[:, 2], [1, 2]).all()


def test_polars_goes_in_and_out(tiny, people):
    polars = pytest.importorskip("polars")
    model = tiny().fit(polars.from_pandas(people[["kind", "age"]]))
    rows = model.sample(conditions=polars.DataFrame({"age": [20, 30, None]}), random_state=0)
    assert isinstance(rows, polars.DataFrame)
    assert rows["age"].to_list()[:2] == [20, 30]


# -- distributions -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain():
    """Three binary columns whose distribution is learnt nearly exactly."""
    random = np.random.default_rng(1)
    n = 6000
    a = random.random(n) < 0.3
    b = random.random(n) < np.where(a, 0.8, 0.2)
    c = random.random(n) < np.where(a ^ b, 0.9, 0.4)
    return pd.DataFrame({"a": a.astype(int), "b": b.astype(int), "c": c.astype(int)})


@pytest.fixture(scope="module")
def enumerable(tiny, chain):
    # Not every seed finds that c is the exclusive or of a and b.
    settings = {"max_epochs": 30, "batch_size": 128, "learning_rate": 1e-2, "n_rounds": 0}
    return tiny(**settings, random_state=2).fit(chain)


@pytest.mark.parametrize("given", [{"a": 1}, {"c": 0}, {"b": 1, "c": 1}, {"a": [0, 1], "c": 1}])
def test_sampled_frequencies_match_the_counted_ones(enumerable, chain, given):
    rows = enumerable.sample(6000, conditions=given, random_state=0)
    chosen = np.ones(len(chain), dtype=bool)
    for name, value in given.items():
        chosen &= chain[name].isin(value if isinstance(value, list) else [value])
    for name in chain:
        assert rows[name].mean() == pytest.approx(chain.loc[chosen, name].mean(), abs=0.06)


@pytest.mark.parametrize("given", [{"a": 1}, {"c": 0}, {"b": 1, "c": 1}])
def test_sampled_frequencies_are_the_models_own(enumerable, given):
    """Jointly, within five standard errors, by the order of sampling whatever is given."""
    cells = pd.DataFrame(list(itertools.product([0, 1], repeat=3)), columns=["a", "b", "c"])
    cells = cells[(cells[list(given)] == pd.Series(given)).all(axis=1)].reset_index(drop=True)
    tokens = torch.from_numpy(enumerable._tokenizer.encode(cells).astype(np.int64))
    with torch.inference_mode():
        each = enumerable.model_(tokens, torch.tensor([enumerable.column_order_]))
    expected = each.sum(1).exp().numpy()
    expected /= expected.sum()
    n = 4000
    rows = enumerable.sample(n, conditions=given, random_state=0)
    counted = rows.value_counts().reindex(pd.MultiIndex.from_frame(cells), fill_value=0) / n
    error = 5 * np.sqrt(expected * (1 - expected) / n) + 0.005  # products in bf16
    assert (np.abs(counted.to_numpy() - expected) < error).all()


@pytest.fixture(scope="module")
def sums():
    """Columns that a model of few rows knows well in one order only."""
    random = np.random.default_rng(0)
    n, letters = 600, np.array(list("wxyz"))
    a = random.integers(0, 4, n)
    b = np.where(random.random(n) < 0.8, a, random.integers(0, 4, n))
    c = np.where(random.random(n) < 0.8, (a + b) % 4, random.integers(0, 4, n))
    table = pd.DataFrame({"a": letters[a], "b": letters[b], "c": letters[c]})
    return table, TabGRAASynthesizer(n_rounds=0, random_state=0, device="cpu").fit(table)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("a", "y"), ("b", "w")])
def test_whatever_is_given_the_rest_follows_the_table(sums, name, value):
    """Read first, a column that is drawn late once led to rows a quarter to a third wrong."""
    table, model = sums
    n, rest = 2000, [other for other in "abc" if other != name]

    def distance(rows, beside):
        one, other = (part[rest].value_counts(normalize=True) for part in (rows, beside))
        one, other = one.align(other, fill_value=0.0)
        return (one - other).abs().sum() / 2

    real = table[table[name] == value]
    redrawn = [distance(real.sample(frac=1, replace=True, random_state=s), real) for s in range(20)]
    given = pd.DataFrame({name: [value] * n})
    gaps = given.assign(**dict.fromkeys(rest)).reindex(columns=list("abc"))
    drawn = {
        "value": model.sample(n, conditions={name: value}, random_state=1),
        "set": model.sample(n, conditions={name: [value]}, random_state=1),
        "frame": model.sample(conditions=given, random_state=1),
        "imputed": model.impute(gaps, random_state=1),
    }
    for rows in drawn.values():
        assert len(rows) == n and (rows[name] == value).all()
        assert distance(rows, real) < 2 * np.mean(redrawn)


def test_orders_that_agree_need_no_candidates():
    same = np.zeros(_agreement.CANDIDATES * 4)
    assert not _agreement.orders_disagree(same, 3) and not _agreement.orders_disagree(same, 30)
    noise = np.random.default_rng(0).normal(0, 0.3, len(same))
    assert _agreement.orders_disagree(noise, 3) and not _agreement.orders_disagree(noise, 30)
    one_of_each = np.where(np.arange(len(same)) % _agreement.CANDIDATES == 0, 5.0, 0.0)
    assert _agreement.orders_disagree(one_of_each, 30)


def test_rows_are_probed_by_what_they_know():
    known = np.zeros((60, 3), dtype=bool)
    known[0::3, 0] = True  # the first in order
    known[1::3, 1] = True
    known[2::3, 2] = True
    groups = _agreement.probed_groups(known, [0, 1, 2])
    assert [rows.tolist() for rows, _ in groups] == [[*range(2, 60, 3)], [*range(1, 60, 3)]]
    for rows, probed in groups:
        assert set(probed) <= set(rows)
        assert len(probed) == 8 * _agreement.CANDIDATES and len(set(probed)) == 8
    assert _agreement.probed_groups(known[0::3], [0, 1, 2]) == []
    random = np.random.default_rng(0).random((500, 12)) < 0.5  # more patterns than are probed
    ((rows, probed),) = _agreement.probed_groups(random, list(range(12)))
    assert len(set(probed)) == 16 and set(probed) <= set(rows)


def test_rows_of_which_nothing_is_given_are_rows(model):
    assert len(model.sample(conditions=pd.DataFrame(index=range(5)))) == 5


def test_several_sets_are_drawn_from_their_joint_distribution(tiny):
    """a and b are equal; a in {0, 1} and b in {1, 2} leaves 1, although b may be 2."""
    random = np.random.default_rng(0)
    a = random.integers(0, 3, 3000)
    b = np.where(random.random(3000) < 0.98, a, random.integers(0, 3, 3000))
    model = tiny(max_epochs=15, batch_size=64, learning_rate=1e-2, n_rounds=0)
    model.fit(pd.DataFrame({"a": a, "b": b}))
    rows = model.sample(2000, conditions={"a": [0, 1], "b": [1, 2]}, random_state=0)
    table = pd.DataFrame({"a": a, "b": b})
    real = table[table["a"].isin([0, 1]) & table["b"].isin([1, 2])]
    assert (rows["a"] == 1).mean() == pytest.approx((real["a"] == 1).mean(), abs=0.05)


def test_prediction_agrees_with_counting(enumerable, chain):
    asked = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    table = enumerable.predict_proba(asked, "c")
    assert list(table.columns) == [0, 1]
    np.testing.assert_allclose(table.sum(axis=1), 1)
    counted = chain.groupby(["a", "b"])["c"].mean()
    np.testing.assert_allclose(table[1], counted, atol=0.07)
    np.testing.assert_allclose(enumerable.predict(asked, "c"), table[1])
    marginal = enumerable.predict_proba(pd.DataFrame({"a": [1]}), "c")[1]
    assert marginal.iloc[0] == pytest.approx(chain.loc[chain["a"] == 1, "c"].mean(), abs=0.09)


def test_prediction_in_one_pass_agrees_with_counting(enumerable, chain):
    asked = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 1, 0, 1]})
    table = enumerable.predict_proba(asked, "c", method="one_pass")
    (rows, read), *others = enumerable._distributions(asked, 2, "one_pass")
    assert rows.tolist() == [0, 1, 2, 3] and not others
    np.testing.assert_array_equal(table, read[:, :2])
    np.testing.assert_allclose(table.sum(axis=1), 1)
    counted = chain.groupby(["a", "b"])["c"].mean()
    np.testing.assert_allclose(table[1], counted, atol=0.07)
    np.testing.assert_allclose(enumerable.predict(asked, "c", method="one_pass"), table[1])
    asked = pd.DataFrame({"b": [0, 0, 1, 1], "c": [0, 1, 0, 1]})
    backwards = enumerable.predict_proba(asked, "a", method="one_pass")[1]
    counted = chain.groupby(["b", "c"])["a"].mean()
    np.testing.assert_allclose(backwards, counted, atol=0.12)
    np.testing.assert_array_equal(enumerable.predict(asked, "a", method="one_pass"), backwards)
    assert (enumerable.predict_proba(asked, "a")[1] != backwards).all()  # another way
    assert (enumerable.predict(asked, "a") != backwards).all()


def test_one_pass_warns_where_it_was_not_learnt(tiny):
    table = pd.DataFrame({"a": [0, 1] * 40, "b": [0, 1, 1, 0] * 20})
    model = tiny(random_order_share=0.0, n_rounds=0).fit(table)
    first, last = (table.columns[number] for number in model.column_order_)
    with pytest.warns(UserWarning, match="random_order_share=0"):
        model.predict(table, first, method="one_pass")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(table, last, method="one_pass")
        model.predict(table, first)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_other_methods_of_prediction_are_refused(enumerable, method):
    asked = pd.DataFrame({"a": [0], "b": [1]})
    with pytest.raises(ValueError, match=f"'method' parameter of {method} must be one of"):
        getattr(enumerable, method)(asked, "c", method="bayes")


def test_what_is_unknown_is_summed_over(enumerable):
    """As the probabilities of all rows have it: the questions are of one model."""
    every = pd.DataFrame(list(itertools.product([0, 1], repeat=3)), columns=list("abc"))
    joint = every.assign(p=np.exp(enumerable.score_samples(every)))
    for target in "abc":
        for n_given in (0, 1, 2):
            for given in map(list, itertools.combinations(every.columns.drop(target), n_given)):
                sums = joint.groupby([*given, target])["p"].sum().unstack() if given else None
                if sums is None:
                    asked = pd.DataFrame({name: [None] for name in every.columns})
                    exact = joint.groupby(target)["p"].sum().to_frame().T
                else:
                    asked, exact = sums.index.to_frame(index=False), sums
                exact = exact.div(exact.sum(axis=1), axis=0).to_numpy()
                found = enumerable.predict_proba(asked, target)
                np.testing.assert_allclose(found, exact, atol=5e-3)
    for names in (["a"], ["c"], ["a", "c"], ["b", "c"]):
        sums = joint.groupby(names)["p"].sum()
        asked = sums.index.to_frame(index=False)
        found = enumerable.score_samples(asked, columns=names)
        np.testing.assert_allclose(np.exp(found), sums, atol=1e-9)


def test_what_is_summed_over_may_be_missing_and_is_limited():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "few": np.where(random.random(300) < 0.3, None, random.choice(["x", "y"], 300)),
            "more": random.integers(0, 9, 300),
            "many": random.normal(size=300),
            "id": [f"user {number}" for number in range(300)],
        }
    )
    codecs = TableTokenizer(column_kinds={"id": "identifier"}).fit(table).codecs_
    known = np.array([[False, False, False, False], [True, False, False, False]])
    known[:, 2] = True
    order = [3, 0, 1, 2]
    summed, combinations = columns_to_sum(known, order, codecs, 64)
    assert summed.tolist() == [[True, True, False, True], [False, True, False, True]]
    assert combinations.tolist() == [27, 9]
    summed, combinations = columns_to_sum(known, order, codecs, 8)
    assert summed.tolist() == [[True, False, False, True], [False, False, False, True]]
    summed, _ = columns_to_sum(known, [2, 0, 1, 3], codecs, 64)  # nothing is known behind them
    assert not summed[0].any()


def test_rows_that_lack_different_cells_are_read_together(model, people, monkeypatch):
    """And each has what it has alone, for a target of few values and one of many."""
    holes = people.head(40).mask(np.random.default_rng(0).random((40, people.shape[1])) < 0.4)
    calls = []

    def counted(*arguments):
        calls.append(1)
        return read_rows(*arguments)

    monkeypatch.setattr(_prediction, "read_rows", counted)
    for target in ("kind", "price"):
        alone = [model.predict_proba(holes.iloc[[row]], target) for row in range(3)]
        calls.clear()
        together = model.predict_proba(holes, target)
        assert len(calls) <= 3
        pd.testing.assert_frame_equal(together.head(3), pd.concat(alone))


def test_probabilities_of_numbers_and_dates_in_strings_stand_in_their_order(tiny):
    random = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, 300), unit="D")
    table = pd.DataFrame(
        {
            "number": [f"{value:.1f}" for value in random.normal(100, 20, 300)],
            "day": pd.Series(days).dt.strftime("%d.%m.%Y"),
            "time": days,
        }
    )
    kinds = {"number": "numeric", "day": "datetime"}
    model = tiny(max_epochs=1, n_rounds=0, column_kinds=kinds).fit(table)
    asked = table.head(2)
    numbers = model.predict_proba(asked, "number").columns.astype(float)
    assert numbers.is_monotonic_increasing
    days = pd.to_datetime(model.predict_proba(asked, "day").columns, format="%d.%m.%Y")
    assert days.is_monotonic_increasing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(model.predict_proba(asked, "time").columns, pd.DatetimeIndex)


def test_tuples_and_odd_strings_are_labels(tiny):
    cells = pd.Series([(1, 2), (3, 4), (1, 2)] * 20, dtype=object)
    odd = pd.Series(["a\ud800", "b", "b"] * 20, dtype=object)
    table = pd.DataFrame({"pair": cells, "text": odd})
    model = tiny(max_epochs=1, n_rounds=0).fit(table)
    assert set(model.predict_proba(table[["text"]], "pair").columns) == {(1, 2), (3, 4)}
    assert set(model.predict_proba(table[["pair"]], "text").columns) == {"a\ud800", "b"}


def test_quantiles_may_be_an_array(model, people):
    by_list = model.predict(people.head(3), "price", statistic=[0.1, 0.9])
    for levels in (np.array([0.1, 0.9]), pd.Series([0.1, 0.9])):
        by_array = model.predict(people.head(3), "price", statistic=levels)
        np.testing.assert_array_equal(by_array, by_list)


# -- gaps ----------------------------------------------------------------------------------


def test_gaps_are_filled_and_given_cells_untouched(model, people):
    holes = people.head(200).copy()
    random = np.random.default_rng(0)
    for name in ("kind", "price", "when"):
        holes.loc[random.random(200) < 0.3, name] = None
    holes.index = holes.index + 7
    before = holes.copy()
    filled = model.impute(holes, random_state=0)
    pd.testing.assert_frame_equal(holes, before)
    assert not filled.isna().any().any()
    assert filled.index.equals(holes.index)
    assert filled.dtypes.equals(people.dtypes)
    for name in holes:
        there = holes[name].notna()
        assert (filled.loc[there, name] == holes.loc[there, name]).all()


def test_gaps_depend_on_what_is_there(model, people):
    holes = people.head(400).assign(twin=None)
    draws = model.impute(holes, n_draws=12, random_state=0)
    agreement = np.mean([(draw["twin"] == holes["kind"]).mean() for draw in draws])
    assert agreement > 0.75  # by chance about .45
    # Nearly as often as the model says by trial: cells that are drawn stand between that and what
    # it says where the column is read last, and the two agree only as far as it has learnt.
    chances = model.predict_proba(holes.drop(columns="twin"), "twin")
    expected = np.mean([chances.loc[row, kind] for row, kind in holes["kind"].items()])
    assert agreement == pytest.approx(expected, abs=0.06)


def test_several_draws_differ(model, people):
    holes = people.head(50).assign(price=np.nan)
    draws = model.impute(holes, n_draws=3, random_state=0)
    assert len(draws) == 3
    assert not draws[0].equals(draws[1])
    pd.testing.assert_frame_equal(draws[0], model.impute(holes, random_state=0))


def test_an_integer_column_with_gaps_becomes_whole_again(model, people):
    holes = people.head(30).astype({"age": "float64"})
    holes.loc[holes.index[:10], "age"] = np.nan
    assert model.impute(holes)["age"].dtype == np.int64


def test_a_value_without_a_token_is_kept(model, people):
    holes = people.head(5).assign(kind="unheard of", price=np.nan)
    filled = model.impute(holes)
    assert (filled["kind"] == "unheard of").all()
    assert filled["price"].notna().all()


# -- predictions ---------------------------------------------------------------------------


def test_categories_are_predicted(model, people):
    rows = people.drop(columns="twin")
    assert (model.predict(rows, "twin") == people["kind"]).mean() > 0.8
    table = model.predict_proba(rows, "twin")
    assert list(table.columns) == ["a", "b", "c"]
    assert table.index.equals(people.index)
    np.testing.assert_allclose(table.sum(axis=1), 1)


def test_numbers_are_predicted_by_mean_median_and_quantiles(model, people):
    rows = people.drop(columns="price").head(40)
    mean, median = (model.predict(rows, "price", statistic=s) for s in ("mean", "median"))
    low, high = model.predict(rows, "price", statistic=[0.1, 0.9]).T
    assert (low < median).all()
    assert (median < high).all()
    assert (median < mean).mean() > 0.9  # a long tail to the right
    assert model.predict(rows, "price", statistic=0.5).tolist() == median.tolist()


def test_the_mean_is_that_of_many_draws(model, people):
    # All others are given: the order in which several are drawn would have a say in their means.
    row = people.drop(columns="price").iloc[[3]]
    drawn = model.sample(conditions=pd.concat([row] * 4000, ignore_index=True), random_state=0)
    expected = model.predict(row, "price")[0]
    spread = drawn["price"].std() / np.sqrt(4000)
    assert drawn["price"].mean() == pytest.approx(expected, abs=5 * spread)


def test_times_are_predicted_as_times(model, people):
    when = model.predict(people[["kind"]].head(3), "when", statistic="median")
    assert np.issubdtype(when.dtype, np.datetime64)
    assert (when >= people["when"].min()).all()
    assert (when <= people["when"].max()).all()


def test_the_target_has_no_say_in_its_prediction(model, people):
    rows = people.head(50)
    table = model.predict_proba(rows, "kind")
    pd.testing.assert_frame_equal(table, model.predict_proba(rows.drop(columns="kind"), "kind"))


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"colour": 1}, r"unknown columns \['colour'\]"),
        ({"kind": "z"}, r"conditions\['kind'\] is impossible: .* never holds 'z'"),
        ({"age": 200}, r"conditions\['age'\] is impossible: 200 lies outside .* 18 to 89"),
        ({"age": None}, r"conditions\['age'\] is impossible: the column has no missing cells"),
        ({"age": (60, 20)}, r"conditions\['age'\] is impossible: no cell lies in \(60, 20\)"),
        ({"age": (200, 300)}, r"conditions\['age'\] is impossible"),
        ({"age": (1, 2, 3)}, r"conditions\['age'\] must be a range \(low, high\)"),
        ({"age": ("a", "b")}, r"conditions\['age'\] must be a range of cells of dtype int64"),
        ({"age": "old"}, r"conditions\['age'\] must hold cells of dtype int64; got 'old'"),
        (
            {"age": [Decimal(40), "x"]},
            r"conditions\['age'\] must hold cells of dtype int64; got 'x'",
        ),
        (pd.DataFrame({"age": [40, None, "x"]}), r"conditions\['age'\] .* got 'x'"),
        ({"kind": ("a", "b")}, r"conditions\['kind'\] is a range, .* no order"),
        ({"kind": []}, r"conditions\['kind'\] is an empty set"),
        ({"kind": ["a", "z"]}, r"never holds 'z'"),
        ({"size": ("xl", "s")}, r"conditions\['size'\] is impossible"),
        ({"kind": {"a": -1}}, r"conditions\['kind'\]\['a'\] must be a share"),
        ({"kind": {}}, r"conditions\['kind'\] must hold at least one positive share"),
        (pd.DataFrame({"age": []}), "conditions must have at least one row"),
        (5, "conditions must be a dict .* or a DataFrame .* got int"),
        (pd.DataFrame({"colour": [1]}), r"unknown columns \['colour'\]"),
        (pd.DataFrame({"age": [20, 200]}), "200 lies outside"),
    ],
)
def test_what_cannot_be_met_raises_before_any_work(model, conditions, message, monkeypatch):
    monkeypatch.setattr(TabGRAASynthesizer, "_fulfil", None)
    monkeypatch.setattr(TabGRAASynthesizer, "_fill", None)
    n_samples = max(len(conditions), 1) if isinstance(conditions, pd.DataFrame) else 10
    with pytest.raises(ValueError, match=message):
        model.sample(n_samples, conditions=conditions)


def test_bad_calls_are_named(model, people):
    with pytest.raises(ValueError, match="n_samples must be 1 or the number of rows"):
        model.sample(7, conditions=people.head(5))
    with pytest.raises(ValueError, match="Unknown column 'colour'"):
        model.predict(people, "colour")
    with pytest.raises(ValueError, match="'statistic' parameter"):
        model.predict(people, "age", statistic="mode")
    with pytest.raises(ValueError, match="'statistic' parameter"):
        model.predict(people, "age", statistic=1.5)
    with pytest.raises(ValueError, match="X must have columns seen in fit"):
        model.predict(people.assign(colour=1), "age")
    with pytest.raises(ValueError, match="'n_draws' parameter"):
        model.impute(people, n_draws=0)
    with pytest.raises(ValueError, match="missing"):
        model.impute(people.drop(columns="age"))
    for call in (lambda m: m.impute(people), lambda m: m.predict(people, "age")):
        with pytest.raises(NotFittedError):
            call(TabGRAASynthesizer())
