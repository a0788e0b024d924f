"""Cells as users write them: exact, of the column's type, or refused by name."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tabgraa_sklearn._conditions import _chosen


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    n = 300
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 90, n), "D")
    return pd.DataFrame(
        {
            "age": random.integers(18, 80, n),
            "tens": random.choice([10, 20, 30], n),
            "day": days.date,
            "stamp": days.tz_localize("Europe/Rome"),
            "cost": [Decimal(int(cents)).scaleb(-2) for cents in random.integers(100, 900, n)],
            "text": random.choice(["5", "30", "90", "120"], n),
            "size": pd.Categorical(
                random.choice(["s", "m", "xl"], n), ["s", "m", "l", "xl"], ordered=True
            ),
            "lasted": pd.to_timedelta(random.integers(1, 50, n), "min"),
            "weight": random.lognormal(3, 1, n),
            "short": random.lognormal(3, 1, n).astype(np.float32),
            "kind": pd.Categorical(random.choice(["a", "b", "c"], n)),
        }
    )


@pytest.fixture(scope="module")
def model(tiny, table):
    return tiny(n_rounds=0, column_kinds={"text": "numeric"}).fit(table)


def test_ends_of_single_precision_belong_to_their_range(tiny):
    table = pd.DataFrame({"x": (np.arange(100) % 11 / 10).astype(np.float32), "g": ["a", "b"] * 50})
    model = tiny(n_rounds=0).fit(table)
    rows = model.sample(40, conditions={"x": (np.float64(0.3), np.float64(0.3))})
    assert (rows["x"] == np.float32(0.3)).all()


def test_a_value_may_be_an_array_without_dimensions(model):
    assert set(model.sample(3, conditions={"kind": np.array("a")})["kind"]) == {"a"}


def test_what_is_no_identifier_of_the_column_is_refused(tiny):
    mails = pd.array([f"u{number}@x.org" for number in range(100)], dtype="string")
    with pytest.warns(UserWarning, match="mail"):
        model = tiny(n_rounds=0).fit(pd.DataFrame({"mail": mails, "g": ["a", "b"] * 50}))
    with pytest.raises(ValueError, match=r"conditions\['mail'\] is impossible: 5"):
        model.sample(conditions=pd.DataFrame({"mail": pd.Series([5, None], dtype=object)}))
    rows = model.sample(conditions=pd.DataFrame({"mail": ["me@x.org", None]}))
    assert rows["mail"].iloc[0] == "me@x.org" and rows["mail"].dtype == "string"


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("age", 40.0, 40),
        ("day", "2020-01-10", dt.date(2020, 1, 10)),
        ("day", pd.Timestamp("2020-01-10"), dt.date(2020, 1, 10)),
        ("stamp", "2020-01-10", pd.Timestamp("2020-01-10", tz="Europe/Rome")),
        ("stamp", pd.Timestamp("2020-01-10"), pd.Timestamp("2020-01-10", tz="Europe/Rome")),
        ("cost", 5.5, Decimal("5.5")),
        ("cost", Decimal("5.505"), Decimal("5.505")),
        ("text", 30, "30"),
        ("lasted", "7min", pd.Timedelta(7, "min")),
        ("weight", 12.3456789, 12.3456789),
        ("short", 8.1, np.float32(8.1)),
        ("tens", 24, 24),
    ],
)
def test_a_given_cell_is_exact_and_of_the_columns_type(model, table, name, given, wanted):
    asked = [{name: given}, pd.DataFrame({name: pd.Series([given, None], dtype=object)})]
    for conditions in [*asked, {name: [given]}]:
        rows = model.sample(2, conditions=conditions, random_state=0)
        assert rows.dtypes.equals(table.dtypes)
        assert rows[name].iloc[0] == wanted
        assert type(rows[name].iloc[0]) is type(table[name].iloc[0])


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("age", 40.5),
        ("age", "forty"),
        ("day", "someday"),
        ("day", "2020-01-10 12:00"),
        ("stamp", "someday"),
        ("cost", "dear"),
        ("lasted", "foo"),
        ("text", "many"),
        ("kind", ["a", ["b"]]),
    ],
)
def test_what_is_no_cell_is_refused_by_name(model, name, given):
    with pytest.raises(ValueError, match=f"'{name}'"):
        model.sample(2, conditions={name: given})
    if not isinstance(given, list):
        with pytest.raises(ValueError, match=f"'{name}'"):
            model.sample(conditions=pd.DataFrame({name: [given]}))


def test_an_array_of_integers_takes_no_fractions(tiny):
    model = tiny().fit(np.random.default_rng(0).integers(0, 5, (100, 3)))
    with pytest.raises(ValueError, match=r"conditions\[0\].*10.5 is no cell"):
        model.sample(2, conditions={0: 10.5})


def test_sets_hold_what_was_asked_for(model):
    assert set(model.sample(200, conditions={"tens": [25, 30]})["tens"]) <= {25, 30}
    ages = model.sample(400, conditions={"tens": [19, 21]}, random_state=0)["tens"]
    assert ages.value_counts().to_dict() == {19: 200, 21: 200}  # both stand nearest to 20
    firsts = {
        model.sample(1, conditions={"tens": [19, 21]}, random_state=seed)["tens"][0]
        for seed in range(12)
    }
    assert firsts == {19, 21}
    for values in ({"a": 0, "b": 0}.keys(), pd.Categorical(["a", "b"]), (k for k in "ab")):
        assert set(model.sample(100, conditions={"kind": values})["kind"]) == {"a", "b"}


def test_ends_of_ranges_may_be_missing_strings_or_unseen(model, table):
    for end in (np.nan, pd.NaT, None):
        assert model.sample(50, conditions={"age": (end, 40)})["age"].max() <= 40
        assert model.sample(50, conditions={"stamp": (None, end)})["stamp"].notna().all()
    assert set(model.sample(80, conditions={"text": ("30", "90")})["text"]) <= {"30", "90"}
    assert set(model.sample(80, conditions={"text": (100, None)})["text"]) == {"120"}
    assert "30" not in set(model.sample(80, conditions={"text": (30.5, None)})["text"])
    assert set(model.sample(80, conditions={"text": (None, 29.5)})["text"]) == {"5"}
    costs = model.sample(20, conditions={"cost": (5.1, 5.1)})["cost"]
    assert set(costs) == {Decimal("5.10")}
    assert set(model.sample(80, conditions={"size": ("l", None)})["size"]) == {"xl"}
    assert set(model.sample(80, conditions={"size": (None, "l")})["size"]) == {"s", "m"}
    for name, ends in (("day", ("someday", None)), ("lasted", (None, "foo"))):
        with pytest.raises(ValueError, match=f"'{name}'"):
            model.sample(2, conditions={name: ends})


def test_many_values_of_a_set_keep_their_shares(tiny):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"c": random.integers(0, 3000, 20_000)})
    model = tiny().fit(table)
    shares = model.sample(2000, conditions={"c": [500, 2500]}, random_state=0)["c"].value_counts()
    # By the model each of both is one of 3,000 values that are alike.
    assert shares[500] / 2000 == pytest.approx(0.5, abs=0.2)
    drawn = pd.Series([499, 500, 501, 2499, 2500, 2501] * 10)
    codec = model._tokenizer.codecs_[0]
    found = _chosen(codec, drawn, pd.Series([500, 2500], dtype=object), 0)
    assert found.tolist() == [500, 500, 500, 2500, 2500, 2500] * 10


def test_a_narrow_range_heaps_nothing_on_its_ends(model, table):
    weights = model.sample(1000, conditions={"weight": (20.0, 20.05)}, random_state=0)["weight"]
    assert weights.between(20.0, 20.05).all()
    assert weights.isin([20.0, 20.05]).mean() < 0.01
    assert np.histogram(weights, 4, (20.0, 20.05))[0].min() > 100
    most = table["weight"].nlargest(6)
    tail = (most.iloc[5], (most.iloc[2] + most.iloc[3]) / 2)
    weights = model.sample(1000, conditions={"weight": tail}, random_state=0)["weight"]
    assert weights.between(*tail).all()
    assert (weights == tail[1]).mean() < 0.01


def test_repeated_columns_are_named(model):
    asked = pd.DataFrame([[20, 30]], columns=["age", "age"])
    with pytest.raises(ValueError, match="age"):
        model.sample(conditions=asked)


def test_shares_of_one_row_are_met_on_average(model):
    kinds = [
        model.sample(1, conditions={"kind": {"a": 0.5, "b": 0.5}}, random_state=seed)["kind"][0]
        for seed in range(16)
    ]
    assert set(kinds) == {"a", "b"}


def test_strings_are_no_sides_of_an_inequality(model):
    from tabgraa_sklearn.constraints import Inequality

    with pytest.raises(ValueError, match="'text', which is stored as strings"):
        model.sample(5, constraints=[Inequality("text", "age")])


def test_unseen_categories_keep_their_gaps_filled(model, table):
    holes = table.head(4).assign(kind=pd.Categorical(["z", None, None, None], categories=["z"]))
    filled = model.impute(holes, random_state=0)["kind"]
    assert filled.iloc[0] == "z"
    assert filled.notna().all()


def test_predictions_of_many_cells_of_a_number_are_one_column(tiny):
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"many": random.integers(0, 300, 2000), "other": random.integers(0, 3, 2000)}
    )
    model = tiny().fit(table)
    chances = model.predict_proba(table.head(3), "many")
    assert chances.columns.is_unique
    assert chances.columns.is_monotonic_increasing
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)


def test_predictions_by_default_are_of_the_last_column(model, table):
    without = table.drop(columns="kind")
    assert list(model.predict(without)) == list(model.predict(table))
    sizes = model.predict_proba(table.head(2), "size").columns
    assert list(sizes) == ["s", "m", "xl"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"statistic": []}, "'statistic' parameter of predict"),
        ({"statistic": "nonsense", "target": "kind"}, "'statistic' parameter of predict"),
        ({"target": ["kind"]}, "target must be the name of a column"),
    ],
)
def test_wrong_questions_are_named(model, table, settings, words):
    with pytest.raises(ValueError, match=words):
        model.predict(table.head(2), **settings)


def test_three_hundred_columns(tiny):
    from tabgraa_sklearn import TabGRAASynthesizer

    random = np.random.default_rng(0)
    table = pd.DataFrame(random.integers(0, 9, (50, 300))).add_prefix("x")
    model = TabGRAASynthesizer(max_epochs=1, random_state=0).fit(table)
    rows = model.sample(20, conditions={"x7": 3}, random_state=0)
    assert rows.shape == (20, 300)
    assert (rows["x7"] == 3).all()
    assert rows.dtypes.equals(table.dtypes)
    assert np.isfinite(model.score_samples(table.head(5))).all()


@pytest.fixture(scope="module")
def incomes(tiny):
    random = np.random.default_rng(0)
    n = 3000
    table = pd.DataFrame(
        {
            "income": np.rint(random.lognormal(10, 1, n)).astype(int),
            "price": random.lognormal(0, 1.5, n).round(2),
            # Nothing between 0 and 1000.
            "gain": np.where(random.random(n) < 0.5, 0, random.integers(1000, 9000, n)),
        }
    )
    return tiny(n_rounds=0, max_epochs=5).fit(table)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("income", [20_000, 30_000, 300_000]),
        ("income", [300_000, *range(20_000, 20_100)]),
        ("income", [20_000, *range(300_000, 300_010)]),
        ("price", [1.0, 1.5, 40.0]),
        ("gain", [0, 4000, 5000]),
    ],
)
def test_a_set_of_numbers_is_drawn_by_the_likelihood_of_each(incomes, name, values):
    """The cells that numbers share are of very different widths."""
    asked = pd.DataFrame({name: values})
    chances = np.exp(incomes.score_samples(asked, columns=[name]))
    chances /= chances.sum()
    drawn = incomes.sample(20_000, conditions={name: [*values, values[0]]}, random_state=0)
    shares = drawn[name].value_counts(normalize=True).reindex(values).fillna(0)
    np.testing.assert_allclose(shares, chances, atol=0.01)


def test_a_range_where_no_number_was_seen_is_filled_evenly(incomes):
    gains = incomes.sample(1000, conditions={"gain": (101, 999)}, random_state=0)["gain"]
    assert gains.between(101, 999).all()
    assert gains.nunique() > 600
    once = [
        incomes.sample(1, conditions={"gain": (101, 999)}, random_state=seed)["gain"].iloc[0]
        for seed in range(20)
    ]
    assert len(set(once)) > 10
    three = incomes.sample(900, conditions={"gain": (101, 103)}, random_state=0)["gain"]
    np.testing.assert_allclose(three.value_counts(normalize=True), 1 / 3, atol=0.02)
    np.testing.assert_allclose(gains.quantile([0.1, 0.5, 0.9]), [191, 550, 909], atol=20)
    # With a number that was seen beside it, only that.
    assert (incomes.sample(500, conditions={"gain": (0, 999)}, random_state=0)["gain"] == 0).all()


@pytest.mark.parametrize(
    "times",
    [
        np.arange(300).astype("M8[Y]").astype("M8[s]"),
        (np.arange(300) * 20 + 100 - 1970).astype("M8[Y]").astype("M8[ms]"),
        pd.DatetimeIndex((np.arange(300) * 20).astype("M8[Y]").astype("M8[s]")).tz_localize("UTC"),
        (np.arange(-150, 150) * 10**11).astype("m8[s]"),
    ],
    ids=["seconds", "long ago", "with a zone", "durations"],
)
def test_times_that_do_not_fit_in_nanoseconds_are_given(tiny, times):
    table = pd.DataFrame({"time": times, "group": ["a", "b"] * 150})
    model = tiny(n_rounds=0, max_epochs=1).fit(table)
    ordered = table["time"].sort_values(ignore_index=True)
    low, high = ordered[3], ordered[150]
    for asked, inside in (
        (high, lambda cells: cells == high),
        ([low, high], lambda cells: (cells == low) | (cells == high)),
        ((low, high), lambda cells: (cells >= low) & (cells <= high)),
        ((low, None), lambda cells: cells >= low),
    ):
        cells = model.sample(20, conditions={"time": asked}, random_state=0)["time"]
        assert cells.dtype == table["time"].dtype
        assert inside(cells).all()
    cells = model.sample(300, conditions=table[["time"]], random_state=0)["time"]
    pd.testing.assert_series_equal(cells, table["time"])
    gaps = table.mask(np.random.default_rng(0).random(table.shape) < 0.3)
    filled = model.impute(gaps, random_state=0)["time"]
    assert filled.dtype == table["time"].dtype
    assert (filled == table["time"])[gaps["time"].notna()].all()


def test_missing_and_repeated_values_of_a_set_do_not_depend_on_the_unit(tiny):
    random = np.random.default_rng(0)
    drawn = random.normal(size=900)
    shares = {np.nan: [], 0.0: []}
    for unit in (1e-6, 1.0, 1e6):
        numbers = drawn * unit
        numbers[::3], numbers[1::3] = np.nan, 0.0
        model = tiny(n_rounds=0, max_epochs=5).fit(pd.DataFrame({"x": numbers}))
        for other, found in shares.items():
            asked = {"x": [other, float(numbers[2])]}
            cells = model.sample(20_000, conditions=asked, random_state=0)["x"]
            found.append((cells == numbers[2]).mean())
    for found in shares.values():  # of the number: its cell against a third of the rows
        assert min(found) > 0.0005 and max(found) < 0.2
        assert max(found) < 2 * min(found)


def test_values_that_only_pandas_takes_for_equal_stay_apart_in_a_set(tiny):
    cells = pd.Series([1, True, "a", "b"] * 100, dtype=object)
    model = tiny(n_rounds=0, max_epochs=3).fit(pd.DataFrame({"k": cells}))
    drawn = model.sample(200, conditions={"k": [1, True]}, random_state=0)["k"]
    assert {type(cell) for cell in drawn} == {int, bool}
