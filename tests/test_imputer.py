"""The transformer that fills missing cells."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import make_table, make_tiny
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tabgraa_sklearn import TabGRAAImputer, TabGRAASynthesizer
from tabgraa_sklearn._joining import filled_cells


def imputer(**params):
    return TabGRAAImputer(make_tiny(max_epochs=3, n_rounds=0), **{"random_state": 0, **params})


def with_holes(table, share=0.3, seed=1):
    holes = np.random.default_rng(seed).random(table.shape) < share
    return table.mask(holes), holes


@pytest.fixture(scope="module")
def filled():
    table, holes = with_holes(make_table(200))
    fitted = imputer().fit(table)
    return table, holes, fitted, fitted.transform(table)


def test_missing_cells_are_filled_and_given_ones_untouched(filled):
    table, _, _, result = filled
    assert not result.isna().any().any()
    assert list(result.columns) == list(table.columns)
    for name in table.columns:
        given = table[name].notna()
        assert result[name][given].tolist() == table[name][given].tolist()
    assert set(result["name"]) <= {"ann", "bob", "cid", "dee"}
    assert isinstance(result["group"].dtype, pd.CategoricalDtype)


def test_the_same_rows_are_filled_alike_at_every_call(filled):
    table, _, fitted, result = filled
    pd.testing.assert_frame_equal(fitted.transform(table), result)
    pd.testing.assert_frame_equal(imputer().fit_transform(table), result)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(fitted)).transform(table), result)
    other = imputer(random_state=1).fit_transform(table)
    assert not other.equals(result)


def test_the_index_stays_and_other_tables_can_be_filled(filled):
    _, _, fitted, _ = filled
    fresh, _ = with_holes(make_table(30, seed=9), seed=5)
    fresh.index = [f"row {i}" for i in range(30)]
    result = fitted.transform(fresh)
    assert result.index.equals(fresh.index)
    assert not result.isna().any().any()


def test_several_draws_are_at_hand(filled):
    table, _, fitted, _ = filled
    draws = fitted.synthesizer_.impute(table, n_draws=3, random_state=0)
    assert len(draws) == 3
    assert not draws[0].equals(draws[1])


def test_filled_cells_follow_the_others():
    """What depends on a column without holes is filled by it, where a mode would not be."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 900)
    table = pd.DataFrame({"kind": np.array(["a", "b", "c"])[kind], "size": kind * 10.0})
    holes = random.random(900) < 0.4
    given = table.assign(size=table["size"].mask(holes))
    model = TabGRAAImputer(make_tiny(max_epochs=40, n_rounds=0), random_state=0)
    result = model.fit_transform(given)
    right = result["size"][holes] == table["size"][holes]
    assert right.mean() > 0.9


def test_in_a_pipeline_and_a_column_transformer(filled):
    table, _, _, _ = filled
    y = make_table(200)["group"] == "high"
    parts = ColumnTransformer(
        [("numbers", make_pipeline(imputer(), StandardScaler()), ["count", "price"])],
        remainder=make_pipeline(imputer(), OneHotEncoder()),
    )
    pipeline = make_pipeline(parts, LogisticRegression()).fit(table.drop(columns="group"), y)
    assert pipeline.predict(table.drop(columns="group")).shape == (200,)
    names = parts.named_transformers_["numbers"][0].get_feature_names_out()
    assert names.tolist() == ["count", "price"]


def test_the_output_can_be_set(filled):
    table, _, _, _ = filled
    array = table[["count", "price"]].to_numpy()
    plain = imputer().fit(array)
    assert isinstance(plain.transform(array), np.ndarray)
    framed = imputer().set_output(transform="pandas").fit(array)
    result = framed.transform(array)
    assert isinstance(result, pd.DataFrame)
    assert list(result.columns) == ["x0", "x1"]
    assert not result.isna().any().any()


def test_a_column_without_any_cell_stays_missing():
    table = pd.DataFrame({"a": [1.0, 2.0, None] * 20, "b": [None] * 60})
    result = imputer().fit_transform(table)
    assert result["a"].notna().all()
    assert result["b"].isna().all()


def test_drawn_cells_that_their_column_has_no_room_for_make_it_wider(tiny):
    pl = pytest.importorskip("polars")
    table = pl.DataFrame({"k": list("xyz") * 40, "q": [100 * (i % 4) for i in range(120)]})
    model = tiny(n_rounds=0, random_state=0).fit(table)
    for gaps in (
        pl.DataFrame({"k": [None] * 6, "q": [0] * 6}),
        pl.DataFrame({"k": pl.Series(["x"] + [None] * 9, dtype=pl.Enum(["x"])), "q": [0] * 10}),
        pl.DataFrame({"k": ["x"] * 10, "q": pl.Series([5] + [None] * 9, dtype=pl.Int8)}),
    ):
        filled = model.impute(gaps, random_state=0)
        assert filled.null_count().sum_horizontal().item() == 0
    numbers = np.column_stack([np.arange(60000, 90000, 500), np.arange(60) % 3])
    gaps = np.array([[np.nan, 1.0], [np.nan, 2.0]], dtype=np.float16)
    assert np.isfinite(tiny(n_rounds=0).fit(numbers).impute(gaps, random_state=0)).all()


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_largest_integers_among_holes_are_floats(tiny, dtype):
    largest = np.iinfo(dtype).max
    table = pd.DataFrame({"a": np.array([0, 1, largest] * 40, dtype), "b": list("xyz") * 40})
    given = table.assign(a=table["a"].where(table["b"] != "x"))
    filled = tiny(n_rounds=0).fit(table).impute(given, random_state=0)["a"]
    there = given["a"].notna()
    assert filled.dtype == "float64"
    assert filled.notna().all()
    assert filled[there].equals(given["a"][there])


def test_the_dtype_of_filled_cells_does_not_depend_on_the_draws():
    fitted = pd.CategoricalDtype(["lo", "mid", "hi", "never"], ordered=True)
    missing = np.array([False, True, False])
    for given, expected in {
        "new": pd.CategoricalDtype(["lo", "mid", "hi", "never", "hint", "new"]),
        "hi": fitted,
    }.items():
        cells = pd.Series(pd.Categorical([given, None, "lo"], ["hi", "hint", "lo", "new"]))
        expected_cells = [given, None, "lo"]
        for drawn in fitted.categories:
            expected_cells[1] = drawn
            filled = filled_cells(cells, pd.Series([drawn] * 3, dtype=fitted), missing)
            assert filled.dtype == expected
            assert filled.tolist() == expected_cells
    cells = pd.Series(pd.array([-3, None, 1], dtype="Int8").astype("float16"))
    for drawn in (0, 100, 250):
        filled = filled_cells(cells, pd.Series([drawn] * 3, dtype="uint8"), missing)
        assert filled.dtype == "float16"
        assert filled.tolist() == [-3, drawn, 1]


def test_bad_input_is_told(filled):
    table, _, fitted, _ = filled
    with pytest.raises(NotFittedError):
        TabGRAAImputer().transform(table)
    with pytest.raises(ValueError, match="missing"):
        fitted.transform(table.drop(columns="price"))
    with pytest.raises(ValueError, match="'temperature' parameter of TabGRAAImputer"):
        TabGRAAImputer(temperature=-1.0).fit(table)
    with pytest.raises(ValueError, match="'synthesizer' parameter of TabGRAAImputer"):
        TabGRAAImputer("model").fit(table)


def test_what_is_learnt_with(monkeypatch):
    """By default without rounds; a seed of the synthesizer's own stays."""

    class Seen(Exception):
        pass

    def see(self, X):
        raise Seen(self.n_rounds, self.random_state)

    monkeypatch.setattr(TabGRAASynthesizer, "fit", see)
    with pytest.raises(Seen) as caught:
        TabGRAAImputer(random_state=0).fit(make_table(20))
    n_rounds, seed = caught.value.args
    assert n_rounds == 0
    assert isinstance(seed, int)
    own = TabGRAASynthesizer(n_rounds=2, random_state=5)
    with pytest.raises(Seen) as caught:
        TabGRAAImputer(own, random_state=0).fit(make_table(20))
    assert caught.value.args == (2, 5)
