"""Measures of synthetic tables: by oracles, at their ends, and beside reference implementations."""

import copy
import itertools
import pickle

import lightgbm
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import normalized_mutual_info_score, r2_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from tabgraa_sklearn import metrics
from tabgraa_sklearn.datasets import load_adult

TWO = ["column_shapes", "pair_trends", "mutual_information", "classifier_two_sample"]
TWO += ["alpha_precision", "beta_recall"]
THREE = ["nearest_record_share", "nearest_neighbor_ratio", "membership_auc"]


def people(n=600, seed=0):
    random = np.random.default_rng(seed)
    kind = random.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    size = random.normal(0, 1, n) + (kind == "b")
    table = pd.DataFrame(
        {
            "kind": kind,
            "size": size,
            "weight": size * 2 + random.normal(0, 0.5, n),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 99, n), "D"),
            "code": random.integers(0, 4, n),
        }
    )
    table.loc[random.random(n) < 0.1, ["size"]] = np.nan
    table.loc[random.random(n) < 0.1, ["kind"]] = None
    return table


def other(n=600, seed=9):
    """Rows of another distribution."""
    table = people(n, seed)
    table["size"] = table["size"] * 2 + 1
    table["kind"] = table["kind"].where(np.arange(n) % 3 > 0, "c")
    return table


def call(name, real, synthetic, holdout=None, **settings):
    measure = getattr(metrics, name)
    tables = (real, synthetic) if name in TWO else (real, synthetic, holdout)
    return measure(*tables, **{"n_bootstraps": 0, **settings})


# -- oracles -------------------------------------------------------------------------------


def test_column_shapes_by_hand():
    real, fake = people(), other(500)
    figure = metrics.column_shapes(real, fake, n_bootstraps=0, categorical=["code"])
    wanted = {}
    for name in ("size", "weight"):
        wanted[name] = 1 - ks_2samp(real[name].dropna(), fake[name].dropna()).statistic
    days = [table["when"].astype("int64") for table in (real, fake)]
    wanted["when"] = 1 - ks_2samp(*days).statistic
    for name in ("kind", "code"):
        shares = [table[name].value_counts(normalize=True) for table in (real, fake)]
        wanted[name] = 1 - 0.5 * shares[0].sub(shares[1], fill_value=0).abs().sum()
    found = figure.details.set_index("column")["score"]
    assert set(found.index) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-12)
    assert figure == pytest.approx(np.mean(list(wanted.values())))


def test_pair_trends_by_hand():
    real, fake = people(), other(500)
    figure = metrics.pair_trends(real, fake, n_bootstraps=0, categorical=["code"])
    found = figure.details.set_index("columns")["score"]
    assert len(found) == 10
    correlations = [table[["size", "weight"]].dropna().corr().iloc[0, 1] for table in (real, fake)]
    assert found["size", "weight"] == pytest.approx(1 - abs(np.subtract(*correlations)) / 2)
    joint = [
        table[["kind", "code"]].fillna("none").value_counts(normalize=True)
        for table in (real, fake)
    ]
    expected = 1 - 0.5 * joint[0].sub(joint[1], fill_value=0).abs().sum()
    assert found["kind", "code"] == pytest.approx(expected)
    edges = np.histogram_bin_edges(real["weight"], bins=10)[1:-1]
    joint = [
        pd.DataFrame(
            {"a": table["kind"].fillna("none"), "b": np.digitize(table["weight"], edges)}
        ).value_counts(normalize=True)
        for table in (real, fake)
    ]
    expected = 1 - 0.5 * joint[0].sub(joint[1], fill_value=0).abs().sum()
    assert found["kind", "weight"] == pytest.approx(expected)
    assert figure == pytest.approx(found.mean())


def test_mutual_information_by_hand():
    real, fake = people()[["kind", "code", "weight"]], other(600)[["kind", "code", "weight"]]
    figure = metrics.mutual_information(real, fake, n_bootstraps=0, categorical=["code"])
    edges = np.unique(np.quantile(real["weight"], np.linspace(0, 1, 21)[1:-1]))
    coded = [
        pd.DataFrame(
            {
                "kind": table["kind"].fillna("none"),
                "code": table["code"],
                "weight": np.searchsorted(edges, table["weight"], side="right"),
            }
        )
        for table in (real, fake)
    ]
    total = difference = 0.0
    for one, second in itertools.combinations(real.columns, 2):
        first, last = (
            normalized_mutual_info_score(table[one].astype(str), table[second]) for table in coded
        )
        total += first + last
        difference += (first + last) * abs(first - last)
    assert figure == pytest.approx(1 - difference / total)


def test_invented_dependence_counts():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 4, (2, 2000)).astype(str)
    real = pd.DataFrame({"a": one, "b": one, "c": other})
    # Weights 2, 1 and 1, of which the last two go wrong altogether.
    assert call("mutual_information", real, real.assign(c=one)) == pytest.approx(0.5, abs=0.01)
    assert call("mutual_information", real[["a", "c"]], real[["a", "c"]].assign(c=one)) < 0.1


def test_alpha_precision_and_beta_recall_as_synthcity_has_them():
    """Its naive form, spelt out; the numbers reach from 0 to 1, so that scaling changes nothing."""
    random = np.random.default_rng(0)
    real, fake = random.random((60, 2)), random.random((60, 2)) ** 1.5
    real[0], real[1] = 0.0, 1.0
    shares = np.linspace(0, 1, 30)
    middle = real.mean(0)
    radii = np.quantile(np.linalg.norm(real - middle, axis=1), shares)
    precision = [(np.linalg.norm(fake - middle, axis=1) <= radius).mean() for radius in radii]
    to_real = NearestNeighbors(n_neighbors=2).fit(real).kneighbors(real)[0][:, 1]
    distance, place = NearestNeighbors(n_neighbors=1).fit(fake).kneighbors(real)
    away = np.linalg.norm(fake[place[:, 0]] - fake.mean(0), axis=1)
    recall = [
        ((distance[:, 0] <= to_real) & (away <= radius)).mean()
        for radius in np.quantile(away, shares)
    ]
    for name, curve in (("alpha_precision", precision), ("beta_recall", recall)):
        wanted = 1 - np.abs(shares - np.array(curve)).sum() / shares.sum()
        tables = [pd.DataFrame(rows, columns=["x", "y"]) for rows in (real, fake)]
        assert call(name, *tables) == pytest.approx(wanted, abs=1e-9)


def test_train_on_synthetic_is_a_model_of_the_synthetic_rows():
    fake, test = people(400, 1), people(300, 2)
    numbers = [part[["size", "weight"]].to_numpy() for part in (fake, test)]
    kept = [part["kind"].isin(["a", "b"]).to_numpy() for part in (fake, test)]
    tables = [
        part[["size", "weight", "kind"]][mask]
        for part, mask in zip((fake, test), kept, strict=True)
    ]
    found = metrics.train_on_synthetic(*tables, "kind", n_bootstraps=0)
    model = lightgbm.LGBMClassifier(
        random_state=0, deterministic=True, force_row_wise=True, verbosity=-1
    )
    model.fit(numbers[0][kept[0]], tables[0]["kind"] == "b")
    chances = model.predict_proba(numbers[1][kept[1]])[:, 1]
    assert found == pytest.approx(roc_auc_score(tables[1]["kind"] == "b", chances))
    columns = ["weight", "code"]
    found = metrics.train_on_synthetic(
        fake[columns], test[columns], "weight", estimator=LinearRegression(), n_bootstraps=0
    )
    line = LinearRegression().fit(fake[["code"]], fake["weight"])
    assert found == pytest.approx(r2_score(test["weight"], line.predict(test[["code"]])))


def test_train_on_synthetic_of_several_classes_and_of_one():
    fake, test = people(400, 1), people(300, 2)
    figure = metrics.train_on_synthetic(fake, test, "kind", n_bootstraps=20)
    assert 0.5 < figure.low <= figure <= figure.high < 1.0
    assert metrics.train_on_synthetic(fake.assign(kind="a"), test, "kind") == 0.5
    lacking = metrics.train_on_synthetic(fake[fake["kind"] != "c"], test, "kind", n_bootstraps=0)
    assert 0.5 < lacking < figure


def test_attribute_inference_by_hand():
    """The attacker looks the cell up: right of so many train rows, and of so many others."""
    synthetic = pd.DataFrame({"key": np.arange(200.0), "cell": ["x", "y"] * 100})

    def told(share):
        """Rows near the synthetic ones, of which such a share has the same cell."""
        wrong = np.arange(200) >= 200 * share
        cells = np.where(wrong, synthetic["cell"].map({"x": "y", "y": "x"}), synthetic["cell"])
        return pd.DataFrame({"key": np.arange(200) + 0.2, "cell": cells})

    for of_train, of_holdout, wanted in [
        (0.75, 0.5, 0.5),
        (1.0, 0.6, 1.0),
        (0.5, 0.5, 0.0),
        (0.4, 0.6, -0.5),
        (0.2, 0.9, -1.0),  # (.2 - .9) / .1, cut
        (0.9, 1.0, 0.0),  # all others are guessed, too
    ]:
        tables = told(of_train), synthetic, told(of_holdout)
        figure = metrics.attribute_inference(*tables, "cell", n_bootstraps=5)
        assert figure == pytest.approx(wanted)
        assert -1.0 <= figure.low <= figure.high <= 1.0
    also = metrics.attribute_inference(
        *(table.assign(noise=1.0) for table in (told(0.75), synthetic, told(0.5))),
        "cell",
        known=["key"],
        n_bootstraps=0,
    )
    assert also == pytest.approx(0.5)


def test_times_are_guessed_within_a_part_of_their_range():
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(100), "D")
    train = pd.DataFrame({"key": np.arange(100.0), "when": when})
    holdout = train.assign(when=when + pd.Timedelta(10, "D"))
    assert metrics.attribute_inference(train, train, holdout, "when", n_bootstraps=0) == 1.0


def test_numbers_are_guessed_within_five_percent():
    train = pd.DataFrame({"key": np.arange(100.0), "cell": np.linspace(100, 200, 100)})
    synthetic = train.assign(cell=train["cell"] * 1.04)
    holdout = train.assign(cell=1.0)
    assert metrics.attribute_inference(train, synthetic, holdout, "cell", n_bootstraps=0) == 1.0
    synthetic = train.assign(cell=train["cell"] * 1.06)
    assert metrics.attribute_inference(train, synthetic, holdout, "cell", n_bootstraps=0) == 0.0


def test_copies_are_counted():
    train, fresh = people(300), people(200, 5)
    mixed = pd.concat([train.head(50), fresh.iloc[:150]])
    among = train.merge(fresh.iloc[:150], how="inner")
    assert len(among) == 0
    assert metrics.copy_share(train, mixed, n_bootstraps=0) == pytest.approx(0.25)


def test_nearest_neighbor_ratio_by_hand():
    train = pd.DataFrame({"x": [0.0, 1.0, 2.0, 10.0]})
    synthetic = pd.DataFrame({"x": [0.25, 2.0, 10.0]})
    wanted = np.mean([0.25 / 0.75, 0.0, 0.0])
    assert metrics.nearest_neighbor_ratio(train, synthetic, n_bootstraps=0) == pytest.approx(wanted)
    holdout = pd.DataFrame({"x": [0.5, 1.5, 0.25]})
    ratio = metrics.nearest_neighbor_ratio(train, synthetic, holdout, n_bootstraps=0)
    assert ratio == pytest.approx(wanted / np.mean([1, 1, 0.25 / 0.75]))


def distances_by_loop(rows, queries, low, high):
    """To the nearest row: ranges of numbers and other labels are both one apart."""

    def apart(row, other):
        total = 0.0
        for name in row.index:
            if isinstance(row[name], str):
                total += row[name] != other[name]
            else:
                total += ((row[name] - other[name]) / (high[name] - low[name])) ** 2
        return total**0.5

    return np.array(
        [min(apart(row, query) for _, row in rows.iterrows()) for _, query in queries.iterrows()]
    )


def test_distances_are_those_of_a_loop():
    columns = ["kind", "size"]
    tables = [
        people(400, seed)[columns].dropna().head(n) for seed, n in ((1, 40), (2, 25), (3, 40))
    ]
    train, synthetic, holdout = tables
    both = pd.concat([train, holdout])[["size"]]
    ends = both.min(), both.max()
    near, far = (distances_by_loop(part, synthetic, *ends) for part in (train, holdout))
    assert (np.abs(near - far) > 1e-6).all()
    share = call("nearest_record_share", *tables)
    assert share == pytest.approx((near < far).mean())
    inside, outside = (distances_by_loop(synthetic, part, *ends) for part in (train, holdout))
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    area = roc_auc_score(truth, -np.concatenate([inside, outside]))
    assert call("membership_auc", *tables) == pytest.approx(area, abs=1e-3)


# -- the ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TWO, *THREE])
def test_fresh_rows_score_as_they_should(name):
    real, fresh, holdout = (people(1500, seed) for seed in (1, 2, 3))
    figure = call(name, real, fresh, holdout, random_state=1)
    wanted = {"beta_recall": 0.5, "nearest_record_share": 0.5, "membership_auc": 0.5}
    assert figure == pytest.approx(wanted.get(name, 1.0), abs=0.08)


@pytest.mark.parametrize("name", TWO)
def test_equal_tables_score_one(name):
    real = people()
    figure = call(name, real, real.sample(frac=1, random_state=1))
    # Of the curves over 30 shares, the first is not quite 0.
    slack = {"classifier_two_sample": 0.02, "alpha_precision": 2e-3, "beta_recall": 2e-3}
    assert figure == pytest.approx(1.0, abs=slack.get(name, 1e-9))


@pytest.mark.parametrize("name", TWO)
def test_another_distribution_scores_less(name):
    real = people(900)
    assert call(name, real, other(900)) < call(name, real, people(900, 4)) - 0.01


@pytest.mark.parametrize("name", [*THREE, "copy_share"])
def test_copies_are_found(name):
    real, holdout = people(400, 1), people(400, 2)
    if name == "copy_share":
        assert metrics.copy_share(real, real, n_bootstraps=0) == 1.0
        assert metrics.copy_share(real, holdout, n_bootstraps=0) == 0.0
        return
    figure = call(name, real, real, holdout)
    assert figure < 0.1 if name == "nearest_neighbor_ratio" else figure > 0.95


@pytest.mark.parametrize("name", THREE)
def test_copies_are_found_in_tables_larger_than_what_is_looked_up(name):
    real, holdout = people(1500, 1), people(1500, 2)
    figure = call(name, real, real, holdout, max_rows=100)
    assert figure < 0.1 if name == "nearest_neighbor_ratio" else figure > 0.95
    secret = metrics.attribute_inference(real, real, holdout, "kind", max_rows=100, n_bootstraps=0)
    assert secret > 0.9


def test_what_the_columns_are_does_not_depend_on_the_subsample():
    shops = np.array([f"shop {number}" for number in range(300)])
    real = people(1200).assign(shop=np.random.default_rng(0).choice(shops, 1200))
    figure = call("column_shapes", real, real.assign(shop="other"), max_rows=60)
    assert figure.details.set_index("column")["score"]["shop"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    "cells",
    [
        pd.Timestamp("2020-01-01"),
        1e17,
        np.tile(10**17 + np.arange(8), 30),
        np.tile([-1.5e308, 1.5e308, 0.0], 80),
    ],
    ids=["one date", "one large number", "large integers", "huge floats"],
)
def test_columns_of_hardly_a_range_are_compared(cells):
    table = people(240).assign(odd=cells)
    for name in TWO:
        figure = call(name, table, table.sample(frac=1.0, random_state=0))
        assert figure == pytest.approx(1.0, abs=0.02)
    for name in THREE:
        assert np.isfinite(
            call(name, table, people(240, 1).assign(odd=cells), people(240, 2).assign(odd=cells))
        )


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ((None, people(50), people(50)), "train: it must be a table; got None"),
        ((people(50), people(50), None), "holdout: it must be a table; got None"),
        ((people(50), people(50).assign(kind=[[1]] * 50), people(50)), "synthetic: .*kind"),
        ((people(50), people(50), people(0)), "holdout: it must have at least one row"),
    ],
)
def test_a_table_that_is_none_is_named(tables, words):
    with pytest.raises((TypeError, ValueError), match=words):
        metrics.membership_auc(*tables)


def test_rows_that_can_be_told_apart_score_zero():
    real = people()
    shifted = real.assign(weight=real["weight"] + 100)
    for classifier in ("lightgbm", "logistic"):
        figure = metrics.classifier_two_sample(real, shifted, classifier=classifier)
        assert figure == pytest.approx(0.0, abs=0.02)
        assert figure.low == 0.0


def test_any_classifier_tells_rows_apart():
    numbers = people()[["weight", "code"]]
    shifted = numbers.assign(weight=numbers["weight"] + 1)
    own = metrics.classifier_two_sample(numbers, shifted, classifier=LogisticRegression())
    assert 0.1 < own < 0.9


# -- intervals and subsamples --------------------------------------------------------------


@pytest.mark.parametrize("name", [*TWO, *THREE])
def test_intervals_hold_what_other_rows_give(name):
    """The interval of one pair of tables holds the figure of most other pairs."""
    figures = [
        call(name, *(people(300, 10 * seed + k) for k in range(3)), n_bootstraps=30)
        for seed in range(1, 7)
    ]
    widths = [figure.high - figure.low for figure in figures]
    # Of independent tables the deviation is about a quarter of the width; figures near an end of
    # their range deviate less.
    assert 0 < np.std(figures) < np.mean(widths)
    assert np.mean(widths) < 0.35
    for figure in figures:
        assert figure.low <= figure <= figure.high


def test_intervals_shrink_with_rows():
    widths = []
    for n in (200, 3200):
        figure = metrics.column_shapes(people(n, 1), other(n, 2))
        widths.append(figure.high - figure.low)
    assert widths[1] < 0.45 * widths[0]


def test_without_resamples_there_is_no_interval():
    figure = metrics.column_shapes(people(), other(), n_bootstraps=0)
    assert np.isnan([figure.low, figure.high]).all()
    assert repr(figure) == f"{float(figure):.4f}"


@pytest.mark.parametrize("name", [*TWO, *THREE])
def test_subsamples_are_seeded(name):
    tables = [people(500, seed) for seed in (1, 2, 3)]
    one, same, another = (
        call(name, *tables, max_rows=100, random_state=seed) for seed in (0, 0, 1)
    )
    assert one == same != another


def test_pairs_are_drawn_where_they_are_many():
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 30))).add_prefix("x")
    figure = metrics.pair_trends(wide, wide, max_pairs=20, n_bootstraps=0)
    assert len(figure.details) == 20
    assert len(metrics.pair_trends(wide, wide, max_pairs=None, n_bootstraps=0).details) == 435


def test_a_measurement_is_a_float():
    figure = metrics.column_shapes(people(), other())
    assert isinstance(figure, float)
    for again in (pickle.loads(pickle.dumps(figure)), copy.deepcopy(figure)):
        assert (again, again.low, again.high) == (figure, figure.low, figure.high)
    assert np.array([figure]).dtype == np.float64
    assert repr(figure) == f"{float(figure):.4f} [{figure.low:.4f}, {figure.high:.4f}]"


# -- tables of all kinds -------------------------------------------------------------------


def test_polars_and_arrays_are_taken():
    polars = pytest.importorskip("polars")
    real, fake = people()[["size", "weight", "code"]], other()[["size", "weight", "code"]]
    wanted = metrics.column_shapes(real, fake, n_bootstraps=0)
    frames = [polars.from_pandas(table) for table in (real, fake)]
    assert metrics.column_shapes(*frames, n_bootstraps=0) == pytest.approx(wanted)
    arrays = [table.to_numpy() for table in (real, fake)]
    assert metrics.column_shapes(*arrays, n_bootstraps=0) == pytest.approx(wanted)
    assert metrics.column_shapes(real, arrays[1], n_bootstraps=0) == pytest.approx(wanted)


def test_identifiers_have_no_say():
    real, fake = people(), other()
    wanted = metrics.column_shapes(real, fake, n_bootstraps=0)
    named = [
        table.assign(id=[f"id-{start + k}" for k in range(len(table))])
        for start, table in ((0, real), (10_000, fake))
    ]
    assert metrics.column_shapes(*named, n_bootstraps=0) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        (["1", "2", "2", "3"], [1, 2, 2, 3]),
        ([0.5, 1.0, 2.0, 2.0], [0.5, 1, 2, 2]),
        ([1, 2, 2, 3], [1.0, 2.0, 2.0, 3.0]),
        ([True, False, False, True], [1, 0, 0, 1]),
        ([True, False, None, True], [1.0, 0.0, np.nan, 1.0]),
        (["a", None, "b", "b"], pd.Categorical(["a", None, "b", "b"])),
    ],
)
def test_labels_are_alike_whatever_their_dtype(real, fake):
    tables = [pd.DataFrame({"code": pd.Series(part)}) for part in (real, fake)]
    tables = [pd.concat([table] * 30, ignore_index=True) for table in tables]
    assert metrics.column_shapes(*tables, categorical=["code"], n_bootstraps=0) == 1.0


def test_labels_that_are_large_numbers_stay_apart():
    ids = [2**53 + 1, 2**53, 10**18]
    tables = [pd.DataFrame({"code": ids[k : k + 2] * 30}) for k in (0, 1)]
    assert metrics.column_shapes(*tables, categorical=["code"], n_bootstraps=0) == 0.5


def test_a_column_that_is_nearly_constant_keeps_the_interval():
    tables = [pd.DataFrame({"a": np.arange(200.0), "b": [0.0] * 199 + [k]}) for k in (5.0, 7.0)]
    figure = metrics.pair_trends(*tables)
    assert 0.9 < figure.low <= figure <= figure.high <= 1.0


def test_a_column_that_became_constant_is_held_against_the_rows():
    real = pd.DataFrame({"a": np.arange(100.0), "b": np.arange(100.0)})
    assert metrics.pair_trends(real, real.assign(b=1.0), n_bootstraps=5) == pytest.approx(0.5)


def test_equal_rows_count_as_near():
    """Distances of labels tie, and are computed with an error."""
    random = np.random.default_rng(0)
    tables = [
        pd.DataFrame({f"x{k}": random.integers(0, 3, 400).astype(str) for k in range(5)})
        for _ in range(2)
    ]
    assert metrics.beta_recall(*tables, n_bootstraps=0) > 0.75


def test_very_many_labels_are_placed():
    random = np.random.default_rng(0)
    tables = [
        pd.DataFrame({f"x{k}": random.integers(0, 300, 900).astype(str) for k in range(6)})
        for _ in range(3)
    ]
    assert 0.3 < metrics.membership_auc(*tables, n_bootstraps=0) < 0.7


def test_kinds_are_those_of_the_table_that_is_named():
    """Few rows of a column of many labels look like identifiers."""
    random = np.random.default_rng(0)
    cities = np.array([f"city {k}" for k in range(400)])
    tables = [
        pd.DataFrame({"city": random.choice(cities, n), "x": random.normal(size=n)})
        for n in (3000, 2500, 60)
    ]
    assert np.isfinite(metrics.evaluate(*tables, target="city", n_bootstraps=0)["value"]).all()


@pytest.mark.parametrize("name", [*TWO, *THREE])
def test_tables_of_a_few_rows_are_taken(name):
    tables = [people(4, seed) for seed in (1, 2, 3)]
    figure = call(name, *tables, n_bootstraps=20)
    assert np.isfinite(figure)


@pytest.mark.parametrize("name", [*TWO, *THREE])
def test_odd_columns_are_taken(name):
    """A constant column, one that is missing throughout, one of two values, a label of its own."""
    random = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "constant": 1.0,
                "nothing": [None] * 60,
                "flag": random.random(60) < 0.5,
                "label": np.where(random.random(60) < 0.1, f"only in {k}", "all"),
                "number": random.normal(size=60),
            }
        )
        for k in range(3)
    ]
    figure = call(name, *tables, n_bootstraps=5)
    assert np.isfinite([figure, figure.low, figure.high]).all()


@pytest.mark.parametrize("name", [*TWO, *THREE])
def test_a_lacking_column_is_named(name):
    real = people(50)
    with pytest.raises(ValueError, match=r"synthetic must have the columns of .*'size'"):
        call(name, real, real.drop(columns="size"), real)


def test_bad_parameters_are_named():
    real = people(60)
    for wrong in (0, 2.5, True, "many"):
        with pytest.raises(ValueError, match="max_rows must be None or an int of at least 1"):
            metrics.column_shapes(real, real, max_rows=wrong)
    for wrong in (-1, 2.5, None):
        for name in (*TWO, "copy_share"):
            with pytest.raises(ValueError, match="n_bootstraps must be an int of at least 0"):
                getattr(metrics, name)(real, real, n_bootstraps=wrong)
    for wrong in (-1, None, np.random.RandomState(0)):
        with pytest.raises(ValueError, match="random_state must be an int of at least 0"):
            metrics.membership_auc(real, real, real, random_state=wrong)
    for wrong in (["nope"], "kind"):
        with pytest.raises(ValueError, match="categorical must hold column names"):
            metrics.column_shapes(real, real, categorical=wrong)
    with pytest.raises(ValueError, match=r"synthetic: .*'weight'"):
        metrics.column_shapes(real, real.assign(weight=np.inf))
    with pytest.raises(ValueError, match="classifier must be 'lightgbm'"):
        metrics.classifier_two_sample(real, real, classifier="forest")
    with pytest.raises(ValueError, match="target must be a column"):
        metrics.train_on_synthetic(real, real, "price")
    with pytest.raises(ValueError, match="besides target"):
        metrics.train_on_synthetic(real[["size"]], real[["size"]], "size")
    with pytest.raises(ValueError, match="'price' must be a column"):
        metrics.attribute_inference(real, real, real, "price")
    with pytest.raises(ValueError, match="known must hold"):
        metrics.attribute_inference(real, real, real, "size", known=["size"])
    with pytest.raises(ValueError, match="synthetic: it must have at least one row"):
        metrics.column_shapes(real, real.head(0))
    with pytest.raises(ValueError, match="nothing to compare"):
        keys = pd.DataFrame({"id": [f"id-{k}" for k in range(100)]})
        metrics.column_shapes(keys, keys)
    with pytest.raises(ValueError, match="cannot be read"):
        metrics.column_shapes(real, real.assign(weight="heavy"))


# -- all of them ---------------------------------------------------------------------------


def test_evaluate_takes_every_measure():
    rows = load_adult().frame
    tables = rows[:600], rows[600:1200], rows[1200:1800]
    found = metrics.evaluate(*tables, target="income", n_bootstraps=5)
    assert len(found) == 13
    assert set(found["about"]) == {"fidelity", "utility", "privacy"}
    assert found["value"].between(-0.5, 1.5).all()
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
    assert found.loc["column_shapes", "value"] == metrics.column_shapes(*tables[:2])
    assert found.loc["membership_auc", "value"] == metrics.membership_auc(*tables)
    lacking = metrics.evaluate(*tables, n_bootstraps=0)
    assert set(found.index) - set(lacking.index) == {"train_on_synthetic", "attribute_inference"}


def test_a_million_rows_are_done():
    """Subsampled, but for copies, which are looked for among all."""
    random = np.random.default_rng(0)
    n = 1_000_000
    tables = [
        pd.DataFrame(
            {
                "number": random.normal(size=n),
                "label": random.integers(0, 20, n).astype(str),
                "code": random.integers(0, 9, n),
            }
        )
        for _ in range(3)
    ]
    tables[1].iloc[:1000] = tables[0].iloc[-1000:]
    found = metrics.evaluate(*tables, target="label", max_rows=2000, n_bootstraps=2)
    assert np.isfinite(found["value"]).all()
    assert found.loc["copy_share", "value"] == pytest.approx(0.001)
    assert 0.95 < found.loc["column_shapes", "value"] < 1.0


# -- beside reference implementations ------------------------------------------------------


def test_shapes_and_trends_are_those_of_sdmetrics():
    pytest.importorskip("sdmetrics")
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement

    rows = load_adult().frame
    real, fake = rows[:2000].reset_index(drop=True), rows[2000:4500].reset_index(drop=True)
    fake["age"] = fake["age"] + 5
    names = ["age", "hours.per.week", "workclass", "sex", "income"]
    real, fake = real[names], fake[names]
    numbers = set(names[:2])
    shapes = metrics.column_shapes(real, fake, n_bootstraps=0).details.set_index("column")["score"]
    trends = metrics.pair_trends(real, fake, n_bootstraps=0).details.set_index("columns")["score"]
    for name in names:
        reference = KSComplement if name in numbers else TVComplement
        assert shapes[name] == pytest.approx(reference.compute(real[name], fake[name]), abs=1e-9)
    for one, second in itertools.combinations(names, 2):
        pair = [one, second]
        if numbers >= set(pair):
            wanted = CorrelationSimilarity.compute(real[pair], fake[pair])
        else:
            cut = [name for name in pair if name in numbers]
            wanted = ContingencySimilarity.compute(
                real[pair].copy(), fake[pair].copy(), continuous_column_names=cut or None
            )
        assert trends[one, second] == pytest.approx(wanted, abs=1e-9)


def test_detection_is_that_of_sdmetrics():
    pytest.importorskip("sdmetrics")
    from sdmetrics.single_table import LogisticDetection

    real = pd.DataFrame(np.random.default_rng(0).normal(size=(3000, 3)), columns=list("abc"))
    for shift in (0.0, 0.4, 0.8):
        fake = pd.DataFrame(np.random.default_rng(1).normal(size=(3000, 3)), columns=list("abc"))
        fake["b"] += shift
        own = metrics.classifier_two_sample(real, fake, classifier="logistic", n_bootstraps=0)
        assert own == pytest.approx(LogisticDetection.compute(real, fake), abs=0.03)


def test_attribute_inference_is_that_of_anonymeter():
    pytest.importorskip("anonymeter")
    from anonymeter.evaluators import InferenceEvaluator

    random = np.random.default_rng(0)
    n = 1200
    columns = {f"x{k}": random.integers(0, 6, n).astype(str) for k in range(6)}
    rows = pd.DataFrame({**columns, "secret": random.integers(0, 3, n).astype(str)})
    train, holdout = rows[:600].reset_index(drop=True), rows[600:].reset_index(drop=True)
    # Half of the train rows are given away.
    synthetic = pd.concat([train[:300], holdout[:300].assign(secret="0")], ignore_index=True)
    known = list(columns)
    evaluator = InferenceEvaluator(
        ori=train,
        syn=synthetic,
        control=holdout[300:].reset_index(drop=True),
        aux_cols=known,
        secret="secret",
        n_attacks=300,
        regression=False,
    )
    np.random.seed(0)  # noqa: NPY002
    evaluator.evaluate(n_jobs=1)
    wanted = evaluator.risk(confidence_level=0.95)
    own = metrics.attribute_inference(train, synthetic, holdout[300:], "secret")
    assert own.low < wanted.ci[1]
    assert wanted.ci[0] < own.high
    assert own == pytest.approx(wanted.value, abs=0.1)
    assert own > 0.2
