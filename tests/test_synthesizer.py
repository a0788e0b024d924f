"""The estimator: every kind of table in and out, and nothing but an error for a bad one."""

import copy
import datetime as dt
import os
import pickle
import subprocess
import sys
import warnings
from decimal import Decimal

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from transformers import GPT2Config, LlamaConfig, T5Config

from tabgraa_sklearn import ColumnKindWarning, TabGRAASynthesizer, _sampling
from tabgraa_sklearn._backbone import CompactBackbone
from tabgraa_sklearn._training import Trainer

try:
    import polars
except ImportError:  # what needs it is skipped
    polars = None
try:
    import pyarrow
except ImportError:
    pyarrow = None

needs_polars = pytest.mark.skipif(polars is None, reason="polars is not installed")
needs_pyarrow = pytest.mark.skipif(pyarrow is None, reason="pyarrow is not installed")

N_ROWS = 40


def cycle(*values):
    return [values[i % len(values)] for i in range(N_ROWS)]


def column_types():
    """One column of every type that the estimator takes, by name."""
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        yield name, pd.Series(cycle(3, 7, 100), dtype=name)
        nullable = name.replace("int", "Int").replace("uI", "UI")
        yield nullable, pd.Series(cycle(3, None, 100), dtype=nullable)
    for name in ("float16", "float32", "float64"):
        yield name, pd.Series(cycle(0.5, np.nan, -2.25), dtype=name)
    for name in ("Float32", "Float64"):
        yield name, pd.Series(cycle(0.5, None, -2.25), dtype=name)
    yield "boolean", pd.Series(cycle(True, None, False), dtype="boolean")
    yield "bool", pd.Series(cycle(True, False))
    yield "str", pd.Series(cycle("a", "b", None), dtype="str")
    yield "object strings", pd.Series(cycle("a", "b", None), dtype=object)
    yield "string[python]", pd.Series(cycle("a", "b", None), dtype="string[python]")
    categories = ["low", "unused", "high"]
    cells = cycle("low", "high", None)
    yield "category", pd.Series(pd.Categorical(cells, categories=categories))
    yield "ordered", pd.Series(pd.Categorical(cells, categories=categories, ordered=True))
    times = pd.Series(pd.date_range("2024-01-01", periods=N_ROWS, freq="3h"))
    yield "datetime", times.where(times.index % 5 > 0)
    yield "datetime zone", times.dt.tz_localize("Europe/Berlin")
    yield "datetime[s]", times.dt.floor("D").astype("datetime64[s]")
    yield "timedelta", times - times[0]
    yield "dates", pd.Series(cycle(dt.date(2020, 2, 29), None, dt.date(1990, 1, 1)), dtype=object)
    yield "Decimal", pd.Series(cycle(Decimal("1.50"), Decimal("-2.25")), dtype=object)
    yield "two decimals", pd.Series(np.round(np.linspace(-3, 9, N_ROWS), 2))
    yield "constant", pd.Series(cycle(7))
    yield "all NaN", pd.Series(cycle(np.nan))
    yield "all None", pd.Series(cycle(None), dtype=object)
    yield "mixed", pd.Series(cycle("a", 1, 2.5, None), dtype=object)


def arrow_column_types():
    yield "string[pyarrow]", pd.Series(cycle("a", "b", None), dtype="string[pyarrow]")
    yield "int64[pyarrow]", pd.Series(cycle(3, None, 9), dtype="int64[pyarrow]")
    yield "double[pyarrow]", pd.Series(cycle(0.25, None), dtype="double[pyarrow]")
    yield (
        "timestamp[us][pyarrow]",
        pd.Series(cycle(dt.datetime(2020, 1, 1), None), dtype="timestamp[us][pyarrow]"),
    )
    for indices in (pyarrow.int8(), pyarrow.int64()):
        dtype = pd.ArrowDtype(pyarrow.dictionary(indices, pyarrow.string()))
        yield str(dtype), pd.Series(cycle("a", None, "b"), dtype=dtype)
        yield f"{dtype} without gaps", pd.Series(cycle("a", "b"), dtype=dtype)


def assert_same_kind(rows, table):
    """Check that `rows` could be rows of `table`: names, dtypes, values, kind of missing."""
    pd.testing.assert_index_equal(rows.columns, table.columns)
    pd.testing.assert_series_equal(rows.dtypes, table.dtypes)
    for name in table:
        present = rows[name].dropna()
        assert not rows[name].isna().any() or table[name].isna().any()
        if isinstance(table[name].dtype, pd.CategoricalDtype):
            assert rows[name].cat.categories.equals(table[name].cat.categories)
        if table[name].dtype == object:
            markers = {type(cell) for cell in rows[name][rows[name].isna()]}
            assert markers <= {type(cell) for cell in table[name][table[name].isna()]}
            assert set(present.map(type)) <= set(table[name].dropna().map(type))
        if table[name].nunique() < 10:
            assert set(present) <= set(table[name].dropna())
        elif len(present):
            assert table[name].min() <= present.min() <= present.max() <= table[name].max()


# -- every type in and out ---------------------------------------------------------------------


def test_every_column_type_comes_back(tiny):
    table = pd.DataFrame(dict(column_types())).set_axis(np.arange(N_ROWS) * 2)
    before = table.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = tiny(column_kinds={"timedelta": "timedelta"}).fit(table)
        rows = model.sample(60)
    assert rows.index.equals(pd.RangeIndex(60))
    assert_same_kind(rows, table)
    assert np.isfinite(model.score_samples(table)).all()
    assert 0.0 <= model.score(table) <= 1.0
    pd.testing.assert_frame_equal(table, before)
    assert (rows["two decimals"] == rows["two decimals"].round(2)).all()
    assert rows["category"].isna().any() and rows["ordered"].isna().any()


@needs_pyarrow
def test_arrow_types_come_back(tiny):
    table = pd.DataFrame(dict(arrow_column_types()))
    assert_same_kind(tiny().fit(table).sample(60), table)


@needs_polars
def test_a_polars_frame_comes_back_as_one(tiny):
    table = polars.DataFrame(
        {
            "int": polars.Series(cycle(1, 2, None), dtype=polars.Int16),
            "float": cycle(0.5, 1.25),
            "string": cycle("a", "b", None),
            "bool": cycle(True, False),
            "category": polars.Series(cycle("x", "y"), dtype=polars.Categorical),
            "enum": polars.Series(cycle("s", "l"), dtype=polars.Enum(["s", "m", "l"])),
            "date": cycle(dt.date(2020, 2, 29), dt.date(1990, 1, 1)),
            "time": polars.Series(cycle(dt.datetime(2020, 1, 1)), dtype=polars.Datetime("ms")),
            "zoned": polars.Series(
                cycle(dt.datetime(2020, 1, 1), None), dtype=polars.Datetime("us", "UTC")
            ),
            "duration": cycle(dt.timedelta(hours=3), dt.timedelta(days=1)),
        }
    )
    model = tiny().fit(table)
    rows = model.sample(50)
    assert isinstance(rows, polars.DataFrame)
    assert rows.schema == table.schema
    assert rows.height == 50
    for name in table.columns:
        assert set(rows[name].to_list()) <= set(table[name].to_list())
    assert model.feature_names_in_.tolist() == table.columns
    assert np.isfinite(model.score_samples(table)).all()
    assert 0.0 <= model.score(table) <= 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool", "U5", object, "M8[s]"])
def test_an_array_comes_back_as_one(tiny, dtype):
    array = np.array([cycle(0, 1, 2), cycle(1, 0)]).T.astype(dtype)
    model = tiny().fit(array)
    rows = model.sample(30)
    assert isinstance(rows, np.ndarray)
    assert (rows.shape, rows.dtype) == ((30, 2), array.dtype)
    assert set(map(str, rows.ravel())) <= set(map(str, array.ravel()))
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    assert np.isfinite(model.score_samples(array)).all()


def test_lists_are_arrays(tiny):
    rows = tiny().fit([[0, "a"], [1, "b"]] * 10).sample(20)
    assert isinstance(rows, np.ndarray)
    assert set(rows[:, 0]) <= {0, 1}
    assert set(rows[:, 1]) <= {"a", "b"}


def test_column_names_need_not_be_strings(tiny):
    names = [0, "b", (1, 2), 2.5, dt.date(2020, 1, 1)]
    table = pd.DataFrame([range(5), range(5, 10)] * 10)
    table.columns = pd.Index(names, dtype=object, tupleize_cols=False)
    model = tiny().fit(table)
    rows = model.sample(5)
    assert rows.columns.tolist() == names
    assert not hasattr(model, "feature_names_in_")
    assert model.score_samples(table).shape == (20,)


def test_the_name_of_the_columns_comes_back(tiny):
    table = pd.DataFrame({"a": cycle(1, 2), "b": cycle(3, 4)}).rename_axis(columns="what")
    assert tiny().fit(table).sample(3).columns.equals(table.columns)
    assert tiny().fit(table).sample(3).columns.name == "what"


def test_fitted_attributes(fitted, table):
    assert fitted.n_features_in_ == 4
    assert fitted.feature_names_in_.tolist() == list(table.columns)
    assert fitted.feature_names_in_.dtype == object
    assert [column.name for column in fitted.schema_] == list(table.columns)
    assert isinstance(fitted.model_, torch.nn.Module)
    assert fitted.n_epochs_ == 3
    assert sorted(fitted.column_order_) == [0, 1, 2, 3]
    sizes = [int(fitted._tokenizer.digit_sizes[column]) for column in fitted.column_order_]
    assert sizes == sorted(sizes)
    assert fitted.device_ == torch.device("cpu")
    assert fitted.precision_ in ("float32", "bfloat16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_both_precisions(tiny, table, precision):
    model = tiny(precision=precision).fit(table)
    assert model.precision_ == precision
    assert_same_kind(model.sample(30), table)
    assert all(p.dtype == torch.float32 for p in model.model_.parameters())


def test_a_configuration_is_taken_as_the_architecture(tiny, table):
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    before = copy.deepcopy(config.to_dict())
    model = tiny(backbone=config).fit(table)
    assert type(model.model_.transformer).__name__ == "LlamaModel"
    assert_same_kind(model.sample(30), table)
    assert config.to_dict() == before
    assert "_attn_implementation" not in vars(config) or config._attn_implementation is None


def test_dropout_and_sizes_of_the_compact_model(table):
    model = TabGRAASynthesizer(max_epochs=1, random_state=0, dropout=0.0).fit(table)
    config = model.model_.transformer.config
    assert (config.model_type, config.resid_pdrop) == ("gpt_bigcode", 0.0)
    assert len(model.sample(3)) == 3


# -- the target --------------------------------------------------------------------------------


def target_of(table):
    return table.drop(columns="name"), table["name"]


def test_a_series_is_one_more_column(tiny, table):
    X, y = target_of(table)
    model = tiny().fit(X, y)
    rows = model.sample(60)
    pd.testing.assert_frame_equal(rows, tiny().fit(X.assign(name=y)).sample(60))
    assert model.n_features_in_ == 3
    assert model.feature_names_in_.tolist() == list(X.columns)
    assert list(X.columns) == ["group", "count", "price"]


@pytest.mark.parametrize(
    "as_type", [np.asarray, list, lambda y: y.rename(None), lambda y: y.to_numpy()[:, np.newaxis]]
)
def test_a_target_without_a_name_is_called_target(tiny, table, as_type):
    X, y = target_of(table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a column vector
        rows = tiny().fit(X, as_type(y)).sample(60)
    assert list(rows.columns) == ["group", "count", "price", "target"]
    assert set(rows["target"]) <= set(y)


def test_the_dtype_of_a_target_comes_back(tiny, table):
    X, y = target_of(table)
    index = y.index[::-1]  # ignored, as that of X is
    for target in (y.astype("category"), y.astype("string"), pd.Series(range(120), dtype="Int8")):
        rows = tiny(column_kinds={"t": "numeric"} if target.dtype == "Int8" else None).fit(
            X, target.rename("t").set_axis(index)
        )
        assert rows.sample(10)["t"].dtype == target.dtype
    rows = tiny().fit(X, pd.Categorical(y)).sample(10)
    assert rows["target"].dtype == pd.Categorical(y).dtype


def test_rows_and_targets_are_joined_by_position(tiny):
    table = pd.DataFrame({"a": cycle(0, 1)})
    target = table["a"].rename("b").set_axis(np.roll(table.index, 1))
    model = tiny(max_epochs=20, batch_size=4).fit(table, target)
    same = model.score_samples(pd.DataFrame({"a": [0, 1], "b": [0, 1]}))
    other = model.score_samples(pd.DataFrame({"a": [0, 1], "b": [1, 0]}))
    assert (same > other + 1).all()


@needs_polars
def test_polars_targets(tiny, table):
    frame = polars.DataFrame({"a": cycle(1, 2, 3)})
    for target, name in [
        (polars.Series("b", cycle("x", "y")), "b"),
        (polars.Series("", cycle("x", "y")), "target"),
        (cycle("x", "y"), "target"),
        (np.array(cycle("x", "y")), "target"),
    ]:
        rows = tiny().fit(frame, target).sample(10)
        assert isinstance(rows, polars.DataFrame)
        assert rows.columns == ["a", name]
        assert set(rows[name]) <= {"x", "y"}
    model = tiny().fit(
        frame.to_pandas() if pyarrow else pd.DataFrame({"a": cycle(1, 2, 3)}),
        polars.Series("b", cycle("x", "y")),
    )
    assert list(model.sample(3).columns) == ["a", "b"]


def test_arrays_with_a_target_come_back_with_both(tiny):
    X = np.array([cycle(0, 1, 2), cycle(1, 0)], dtype=np.float32).T
    rows = tiny().fit(X, np.array(cycle(1, 2))).sample(20)
    assert (rows.shape, rows.dtype) == ((20, 3), np.dtype(np.float64))
    rows = tiny().fit(X, cycle("x", "y")).sample(20)
    assert (rows.shape, rows.dtype) == ((20, 3), np.dtype(object))
    assert set(rows[:, 2]) <= {"x", "y"}
    assert all(isinstance(cell, float | np.floating) for cell in rows[:, 0])


def test_a_target_must_not_have_a_column_s_name(tiny, table):
    X, y = target_of(table)
    with pytest.raises(ValueError) as raised:
        tiny().fit(X, y.rename("price"))
    assert str(raised.value) == ("y is named 'price', which is a column of X already; rename one.")
    with pytest.raises(ValueError, match="y is named 'target', which is a column of X already"):
        tiny().fit(X.assign(target=1), y.to_numpy())


@pytest.mark.parametrize("as_type", [pd.Series, list, np.asarray])
def test_a_target_must_have_a_cell_for_every_row(tiny, table, as_type):
    X, y = target_of(table)
    with pytest.raises(ValueError) as raised:
        tiny().fit(X, as_type(y[:-1].tolist()))
    assert str(raised.value) == "X and y must have the same number of rows; got 120 and 119."


def test_a_target_must_be_one_column(tiny, table):
    X, y = target_of(table)
    with pytest.raises(ValueError, match="y should be a 1d array, got an array of shape"):
        tiny().fit(X, np.column_stack([y, y]))


# -- bad tables and parameters, one by one; and what they leave as it was ----------------------

GOOD = pd.DataFrame({"a": cycle(1, 2), "b": cycle("x", "y")})

BAD_TABLES = {
    "no rows": (GOOD.head(0), ValueError, r"Found array with 0 sample\(s\)"),
    "one row": (GOOD.head(1), ValueError, r"1 sample\(s\).* a minimum of 2 is required"),
    "no columns": (GOOD[[]], ValueError, r"0 feature\(s\) .*minimum of 1 is required"),
    "duplicate names": (
        GOOD.set_axis(["a", "a"], axis=1),
        ValueError,
        r"Column names must be unique, got duplicate names: \['a'\]",
    ),
    "infinite": (
        GOOD.assign(c=cycle(1.0, -np.inf)),
        ValueError,
        r"infinity in column 'c': numbers must be finite .* got .*-inf.* in row 1",
    ),
    "lists": (
        GOOD.assign(c=[[1]] * N_ROWS),
        TypeError,
        r"Unsupported objects in column 'c': list, such as \[\[1\]\]",
    ),
    "dicts": (GOOD.assign(c=[{}] * N_ROWS), TypeError, "Unsupported objects in column 'c': dict"),
    "complex": (GOOD.assign(c=1j), ValueError, "Complex data not supported: column 'c'"),
    "sparse": (sparse.eye(5, format="csr"), TypeError, "Sparse data was passed"),
    "a vector": (np.arange(5), ValueError, "Expected 2D array, got 1D array instead"),
    "a cube": (np.zeros((3, 3, 3)), ValueError, "Found array with dim 3"),
    "a series": (GOOD["a"], ValueError, "Expected a 2-dimensional container"),
    "nothing": (None, ValueError, "Expected 2D array, got scalar array instead"),
}

BAD_PARAMETERS = {
    "backbone": (3, ["gpt2"], T5Config()),
    "max_epochs": (0, -1, 2.5, "many"),
    "learning_rate": (0, -1e-3, "high"),
    "batch_size": (0, 1.5),
    "validation_fraction": (0, 1, 1.5, None),
    "n_iter_no_change": (0, None),
    "dropout": (-0.1, 1.0, 1),
    "random_order_share": (-0.1, 1.1, None),
    "column_kinds": ("numeric", ["a"]),
    "device": (0, "nowhere", "cuda:99", "meta"),
    "precision": ("float16", torch.float32),
    "n_jobs": ("all", 1.5),
    "random_state": ("seed", -1),
    "verbose": ("loud", -1),
}


def state_of(model):
    state = dict(vars(model))
    return {name: pickle.dumps(value) for name, value in state.items()}


@pytest.fixture(scope="module")
def steady(tiny):
    """Give a fitted synthesizer, its state, and the sample that follows; for failing fits."""
    model = tiny().fit(GOOD)
    return model, state_of(model), copy.deepcopy(model).sample(20)


def assert_as_it_was(steady, **changed):
    model, state, rows = steady
    state = {**state, **{name: pickle.dumps(value) for name, value in changed.items()}}
    assert state_of(model) == state
    pd.testing.assert_frame_equal(copy.deepcopy(model).sample(20), rows)


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_named_and_changes_nothing(tiny, steady, name):
    X, error, message = BAD_TABLES[name]
    fresh = tiny()
    with pytest.raises(error, match=message):
        fresh.fit(X)
    with pytest.raises(NotFittedError):
        fresh.sample()
    with pytest.raises(error, match=message):
        steady[0].fit(X)
    assert_as_it_was(steady)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, bad in BAD_PARAMETERS.items() for value in bad]
)
def test_a_bad_parameter_is_named_and_changes_nothing(tiny, steady, name, value):
    model = steady[0]
    good = model.get_params()[name]
    model.set_params(**{name: value})
    if name == "device" and value in ("nowhere", "cuda:99", "meta"):
        message = rf"^device must .*; got '{value}'\.$"
    elif name == "backbone" and isinstance(value, T5Config):
        message = r"^backbone must be the configuration of a causal .* got T5Config\.$"
    elif name == "random_state" and value == -1:
        message = r"The 'random_state' parameter of TabGRAASynthesizer must be"
    else:
        message = rf"^The '{name}' parameter of TabGRAASynthesizer must be .* Got .* instead\.$"
    try:
        with pytest.raises(ValueError, match=message):
            model.fit(GOOD)
    finally:
        model.set_params(**{name: good})
    assert_as_it_was(steady)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"c": "numeric"}, r"column_kinds names unknown columns \['c'\]; .* \['a', 'b'\]"),
        ({"a": "number"}, r"column_kinds\['a'\] must be one of \['categorical'.*got 'number'"),
        ({"b": "timedelta"}, r"column_kinds\['b'\]='timedelta' is not possible"),
        ({"b": "numeric"}, r"column_kinds\['b'\]='numeric' is not possible"),
    ],
)
def test_bad_column_kinds_change_nothing(steady, kinds, message):
    model = steady[0].set_params(column_kinds=kinds)
    try:
        with pytest.raises(ValueError, match=message):
            model.fit(GOOD)
    finally:
        model.set_params(column_kinds=None)
    assert_as_it_was(steady)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 39, r"sample_weight.*\(39,\).*\(40,\)"),
        ([-1.0] + [1.0] * 39, "Negative values in data passed to `sample_weight`"),
        ([np.nan] + [1.0] * 39, "Input sample_weight contains NaN"),
        ([np.inf] + [1.0] * 39, "Input sample_weight contains infinity"),
        ([1.0] + [0.0] * 39, "sample_weight must be positive for at least 2 rows"),
        ([0.0] * 40, "Sample weights must contain at least one non-zero number"),
        ("heavy", "sample_weight|could not convert"),
        (np.ones((40, 1)), "Sample weights must be 1D array or scalar"),
    ],
)
def test_bad_sample_weights_change_nothing(steady, weights, message):
    with pytest.raises(ValueError, match=message):
        steady[0].fit(GOOD, sample_weight=weights)
    assert_as_it_was(steady)


@pytest.mark.parametrize("step", ["run", "_epoch", "_validate"])
def test_an_error_in_the_middle_changes_nothing(monkeypatch, tiny, steady, step):
    def fail(*args, **kwargs):
        raise MemoryError("out of memory")

    monkeypatch.setattr(Trainer, step, fail)
    fresh = tiny()
    before = state_of(fresh)
    for model in (fresh, steady[0]):
        with pytest.raises(MemoryError, match="out of memory"):
            model.fit(pd.DataFrame({"other": cycle(1, 2)}))
    assert state_of(fresh) == before
    monkeypatch.undo()
    assert_as_it_was(steady)


@pytest.mark.parametrize("step", ["_supervised.TableTokenizer.fit", "_synthesizer._digest"])
def test_an_interrupt_before_the_training_changes_nothing(monkeypatch, steady, step):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"tabgraa_sklearn.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        steady[0].fit(GOOD)
    monkeypatch.undo()
    assert_as_it_was(steady)


UNHASHABLE_BY_PANDAS = {
    "half a surrogate pair": pd.Series(cycle("a\ud800", "b"), dtype=object),
    "category": pd.Series(
        pd.Categorical.from_codes(cycle(0, 1), pd.Index(["a\ud800", "b"], dtype=object))
    ),
    "tuples": pd.Series(cycle((1, 2), 1), dtype=object),
    "longdouble": pd.Series(np.array(cycle(0.5, 1.25), dtype=np.longdouble)),
}


@pytest.mark.parametrize("name", UNHASHABLE_BY_PANDAS)
def test_cells_that_pandas_cannot_hash_are_learnt_and_known_again(tiny, name):
    table = pd.DataFrame({"a": UNHASHABLE_BY_PANDAS[name]})
    model = tiny(n_rounds=0, warm_start=True).fit(table)
    rows = model.sample(20)
    assert rows["a"].dtype == table["a"].dtype
    assert set(rows["a"]) <= set(table["a"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(table)
    with pytest.warns(UserWarning, match="X is not the table of the last fit"):
        model.fit(table[::-1])


def test_numpy_numbers_are_numbers(tiny, table):
    settings = {
        "max_epochs": np.int32(1),
        "batch_size": np.int64(16),
        "learning_rate": np.float32(0.01),
        "validation_fraction": np.float32(0.25),
        "n_iter_no_change": np.int8(2),
        "random_order_share": np.float32(0.5),
        "n_rounds": np.int64(1),
        "beta": np.float32(1.0),
        "quantile": np.float32(0.5),
        "align_learning_rate": np.float32(0.25),
        "align_pool_size": np.int16(64),
    }
    plain = {name: value.item() for name, value in settings.items()}
    rows = tiny(**settings).fit(table).sample(10)
    pd.testing.assert_frame_equal(rows, tiny(**plain).fit(table).sample(10))
    model = TabGRAASynthesizer(dropout=np.float32(0.25), max_epochs=1, n_rounds=0).fit(table)
    assert type(model.model_.transformer.config.resid_pdrop) is float


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_torch_s_default_precision_changes_nothing(request, tiny, table, precision):
    def answers():
        model = tiny(max_epochs=2, n_rounds=1, align_pool_size=64, precision=precision).fit(table)
        holes = table.mask(np.arange(len(table))[:, None] % 3 == np.arange(table.shape[1]) % 3)
        return [
            model.sample(20, refine=True),
            model.sample(20, conditions={"group": "low"}),
            model.impute(holes, random_state=0),
            pd.DataFrame(model.predict_proba(table[:20], target="group")),
            pd.DataFrame(model.score_samples(table[:20])),
        ]

    expected = answers()
    request.getfixturevalue("double")
    for one, other in zip(answers(), expected, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_a_config_without_room_for_the_columns(tiny):
    config = GPT2Config(n_positions=2, n_embd=8, n_layer=1, n_head=1)
    table = pd.DataFrame(np.arange(12).reshape(3, 4) % 2)
    with pytest.raises(ValueError, match="as many positions as there are columns; got GPT2Config"):
        tiny(backbone=config).fit(table)


def test_a_second_fit_forgets_the_first(tiny, table):
    model = tiny().fit(table)
    array = np.array([cycle(0, 1), cycle(1, 2)]).T
    model.fit(array)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 2
    np.testing.assert_array_equal(model.sample(20), tiny().fit(array).sample(20))


# -- the contract of scikit-learn --------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.sample(),
        lambda model: model.score_samples(GOOD),
        lambda model: model.score(GOOD),
        lambda model: model.history_frame(),
    ],
)
def test_what_needs_a_fit_says_so(call):
    with pytest.raises(NotFittedError, match="This TabGRAASynthesizer instance is not fitted yet"):
        call(TabGRAASynthesizer())


def test_not_fitted_comes_before_other_complaints():
    with pytest.raises(NotFittedError):
        TabGRAASynthesizer().sample(-1)
    with pytest.raises(NotFittedError):
        TabGRAASynthesizer().score(None)


def test_parameters_are_stored_cloned_and_set(tiny):
    model = tiny(learning_rate=0.1)
    copied = clone(model)
    assert copied.get_params().keys() == model.get_params().keys()
    for name, value in model.get_params().items():
        if name != "backbone":  # a configuration: cloned by value
            assert copied.get_params()[name] == value
    assert copied.backbone.to_dict() == model.backbone.to_dict()
    assert copied.set_params(max_epochs=7).max_epochs == 7
    assert model.max_epochs == 1
    with pytest.raises(ValueError, match="Invalid parameter 'epochs' for estimator"):
        model.set_params(epochs=3)


def test_parameters_are_keyword_only_and_default_to_the_signature():
    with pytest.raises(TypeError, match="positional argument"):
        TabGRAASynthesizer(None)
    assert repr(TabGRAASynthesizer(max_epochs=3)) == "TabGRAASynthesizer(max_epochs=3)"
    assert set(TabGRAASynthesizer._parameter_constraints) == set(TabGRAASynthesizer().get_params())


def test_fit_does_not_change_parameters(tiny, table):
    kinds = {"count": "categorical"}
    model = tiny(column_kinds=kinds)
    before = {name: copy.deepcopy(value) for name, value in model.get_params().items()}
    model.fit(table)
    after = model.get_params()
    assert after.pop("backbone").to_dict() == before.pop("backbone").to_dict()
    assert after == before
    assert model.column_kinds is kinds
    assert model.schema_["count"].kind == "categorical"


def test_clone_of_a_fitted_one_is_not_fitted(fitted):
    with pytest.raises(NotFittedError):
        clone(fitted).sample()


def test_html_repr_tells_whether_it_is_fitted(fitted):
    assert "TabGRAASynthesizer" in TabGRAASynthesizer()._repr_html_()
    assert "Not fitted" in TabGRAASynthesizer()._repr_html_()
    html = fitted._repr_html_()
    assert "Fitted" in html and "Not fitted" not in html
    assert "max_epochs" in html


def test_last_step_of_a_pipeline(tiny, table):
    pipeline = make_pipeline(FunctionTransformer(lambda X: X.drop(columns="price")), tiny())
    pipeline.fit(table)
    rows = pipeline[-1].sample(10)
    assert list(rows.columns) == ["group", "count", "name"]
    inner = table.drop(columns="price")
    np.testing.assert_array_equal(pipeline.score_samples(table), pipeline[-1].score_samples(inner))
    assert pipeline.score(table) == pipeline[-1].score(inner)
    assert "TabGRAASynthesizer" in pipeline._repr_html_()


def test_a_pipeline_passes_the_target_and_the_weights(tiny, table):
    X, y = target_of(table)
    weights = np.ones(len(X))
    weights[:60] = 0
    pipeline = make_pipeline(FunctionTransformer(), tiny())
    pipeline.fit(X, y, tabgraasynthesizer__sample_weight=weights)
    alone = tiny().fit(X[60:], y[60:])
    pd.testing.assert_frame_equal(pipeline[-1].sample(20), alone.sample(20))
    assert pipeline.score(X, y) == pipeline[-1].score(X, y)


def test_grid_search_by_its_own_score(tiny):
    random = np.random.default_rng(0)
    a = random.integers(0, 4, 300)
    table = pd.DataFrame({"a": a, "b": (a + (random.random(300) < 0.1)) % 4})
    search = GridSearchCV(
        tiny(batch_size=16, max_epochs=4, random_order_share=0.0),
        {"learning_rate": [1e-6, 2e-2]},
        cv=2,
        error_score="raise",
    )
    search.fit(table)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_ == {"learning_rate": 2e-2}
    assert scores[1] > scores[0] + 0.1
    assert len(search.best_estimator_.sample(7)) == 7
    assert search.score(table) == search.best_estimator_.score(table)


def test_grid_search_by_likelihood(tiny, table):
    def mean_log_likelihood(estimator, X, y=None):
        return estimator.score_samples(X).mean()

    X = table[["count"]]
    search = GridSearchCV(
        tiny(batch_size=8), {"max_epochs": [1, 2]}, cv=2, scoring=mean_log_likelihood
    ).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.max_epochs == search.best_params_["max_epochs"]


# -- pickles -----------------------------------------------------------------------------------

READ_AND_SAMPLE = """
import sys, {module}
with open(sys.argv[1], "rb") as file:
    model = {module}.load(file)
assert "tabgraa_sklearn" in sys.modules
model.sample(8, random_state=5).to_pickle(sys.argv[2])
model.sample(8).to_pickle(sys.argv[3])
model.set_params(backbone=None).fit(model.sample(50))
"""


@pytest.mark.parametrize("module", [pickle, joblib])
def test_a_new_process_draws_the_same_rows(tmp_path, tiny, table, module):
    model = tiny().fit(table)
    model.sample(3)
    with open(tmp_path / "model", "wb") as file:
        module.dump(model, file)
    paths = [str(tmp_path / name) for name in ("model", "seeded", "next")]
    code = READ_AND_SAMPLE.format(module=module.__name__)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code, *paths]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")  # no chatter from other libraries
    pd.testing.assert_frame_equal(pd.read_pickle(paths[1]), model.sample(8, random_state=5))
    pd.testing.assert_frame_equal(pd.read_pickle(paths[2]), model.sample(8))


def test_a_pickle_holds_the_model_and_little_else(tiny, table):
    model = tiny(max_epochs=2).fit(table)
    held = pickle.dumps(model)
    n_weights = sum(parameter.numel() for parameter in model.model_.parameters())
    # Single precision, once: no optimiser, no average, no gradients, no rows.
    assert len(held) < 4 * n_weights + 60_000
    assert b"Adam" not in held
    assert b"accelerate." not in held
    assert all(parameter.grad is None for parameter in model.model_.parameters())


def test_an_unfitted_estimator_can_be_pickled(tiny):
    model = pickle.loads(pickle.dumps(tiny(max_epochs=9)))
    assert model.max_epochs == 9
    with pytest.raises(NotFittedError):
        model.sample()


def test_a_copy_lives_on_its_own(tiny, table):
    model = tiny().fit(table)
    copied = copy.deepcopy(model)
    expected = model.sample(5)
    with torch.no_grad():
        for parameter in model.model_.parameters():
            parameter.zero_()
    pd.testing.assert_frame_equal(copied.sample(5), expected)


class OnTheDevice(CompactBackbone):
    """A model that says how often it was brought to the CPU for a pickle."""

    moved: list = []  # noqa: RUF012

    def cpu(self):
        type(self).moved.append("cpu")
        return super().cpu()


def test_a_pickle_of_a_model_on_a_gpu_loads_without_one(monkeypatch, tiny, table):
    """Without a GPU here, the estimator is made to believe that its model is on one."""
    model = tiny().fit(table)
    expected = model.sample(8, random_state=5)
    model.device_ = torch.device("cuda")
    model.model_.__class__ = OnTheDevice
    OnTheDevice.moved.clear()
    state = model.__getstate__()
    assert OnTheDevice.moved == ["cpu"]
    assert state["model_"] is not model.model_
    assert state["device_"] == torch.device("cuda")  # to go back where there is one
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    held = pickle.dumps(model)
    if torch.cuda.device_count():  # a real GPU: the pickle is read as if there were none
        monkeypatch.setattr("tabgraa_sklearn._synthesizer.choose_device", refuse)
    loaded = pickle.loads(held)
    assert loaded.device_ == torch.device("cpu")
    assert all(p.device.type == "cpu" for p in loaded.model_.state_dict().values())
    pd.testing.assert_frame_equal(loaded.sample(8, random_state=5), expected)
    assert np.isfinite(loaded.score_samples(table)).all()


def refuse(device):
    raise ValueError("no such device")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tmp_path, table, tiny):
    model = tiny(device="cuda", max_epochs=2).fit(table)
    assert model.device_.type == "cuda"
    assert all(p.is_cuda for p in model.model_.parameters())
    assert_same_kind(model.sample(30), table)
    with open(tmp_path / "model", "wb") as file:
        pickle.dump(model, file)
    assert pickle.loads((tmp_path / "model").read_bytes()).model_.begin.is_cuda
    paths = [str(tmp_path / name) for name in ("model", "seeded", "next")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    code = READ_AND_SAMPLE.format(module="pickle")
    subprocess.run([sys.executable, "-c", code, *paths], check=True, env=environment)
    assert_same_kind(pd.read_pickle(paths[1]), table)


# -- small and odd tables ----------------------------------------------------------------------


def test_few_rows_are_enough_to_learn_how_numbers_depend_on_each_other():
    table = load_wine(as_frame=True).frame  # 178 rows, 13 columns of floats
    rows = TabGRAASynthesizer(n_rounds=0, random_state=0).fit(table).sample(1000, random_state=0)
    real, drawn = (part.corr().to_numpy() for part in (table, rows))
    pairs = np.triu_indices(len(real), 1)
    assert np.abs(real[pairs]).mean() > 0.3
    assert np.abs(real - drawn)[pairs].mean() < 0.2


ODD_TABLES = {
    "two rows": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "two equal rows": pd.DataFrame({"a": [1, 1], "b": ["x", "x"]}),
    "one column": pd.DataFrame({"a": cycle(1, 2, 3)}),
    "one cell, repeated": pd.DataFrame({"a": cycle(1)}),
    "a constant column": pd.DataFrame({"a": cycle(1, 2), "b": cycle("only")}),
    "a missing column": pd.DataFrame({"a": cycle(1, 2), "b": cycle(np.nan)}),
    "nothing but missing": pd.DataFrame({"a": cycle(np.nan), "b": cycle(None)}),
    "duplicate rows": pd.DataFrame({"a": cycle(1, 1, 2), "b": cycle("x", "x", "y")}),
    "sixty columns": pd.DataFrame(np.random.default_rng(0).integers(0, 3, (50, 60))).add_prefix(
        "c"
    ),
    "wide and short": pd.DataFrame(np.random.default_rng(0).normal(size=(3, 40))).add_prefix("c"),
    "fifty rows": pd.DataFrame(
        {"a": np.random.default_rng(0).normal(size=50), "b": ["x", "y"] * 25}
    ),
    "huge and tiny": pd.DataFrame({"a": cycle(1e308, -1e308), "b": cycle(5e-324, 0.0)}),
    "many values": pd.DataFrame({"a": np.random.default_rng(0).normal(size=600)}),
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_odd_tables(tiny, name):
    table = ODD_TABLES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = tiny().fit(table)
        rows = model.sample(25)
        logs = model.score_samples(table, numbers="interval")
    assert_same_kind(rows, table)
    assert np.isfinite(logs).all() and (logs <= 1e-9).all()
    if len(table) >= 3:
        assert 0.0 <= model.score(table) <= 1.0


@pytest.mark.parametrize("name", ["two rows", "nothing but missing", "wide and short"])
def test_odd_tables_with_the_default_model(name):
    table = ODD_TABLES[name]
    model = TabGRAASynthesizer(max_epochs=2, random_state=0, device="cpu").fit(table)
    assert_same_kind(model.sample(25), table)


def test_constant_cells_are_certain(tiny):
    model = tiny().fit(ODD_TABLES["one cell, repeated"])
    np.testing.assert_allclose(model.score_samples(ODD_TABLES["one cell, repeated"]), 0, atol=1e-12)


def test_identifiers_are_warned_of_and_never_copied(tiny):
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "id": [f"cust-{number:06d}" for number in random.permutation(10**6)[:100]],
            "row": np.arange(100),
            "kind": random.choice(["x", "y"], 100),
        }
    )
    with pytest.warns(ColumnKindWarning) as caught:
        model = tiny().fit(table)
    messages = [str(warning.message) for warning in caught]
    assert any("'id'" in m and "identifier" in m and "column_kinds" in m for m in messages)
    assert any("'row'" in m for m in messages)
    assert {warning.filename for warning in caught} == {__file__}
    rows = model.sample(300)
    assert not set(rows["id"]) & set(table["id"])
    assert not set(rows["row"]) & set(table["row"])
    assert rows["id"].str.fullmatch(r"cust-\d{6}").all()
    assert set(rows["kind"]) <= {"x", "y"}
    assert np.isfinite(model.score_samples(table)).all()


# -- what a review found -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "y", [pd.DataFrame({"name": [1, 0] * 20}), pd.DataFrame({"label": [1, 0] * 20})]
)
def test_a_target_may_be_a_frame_of_one_column(tiny, y):
    X = pd.DataFrame({"a": np.arange(40) % 5})
    assert list(tiny().fit(X, y).sample(2).columns) == ["a", y.columns[0]]


def test_a_target_of_two_columns_is_refused(tiny):
    X = pd.DataFrame({"a": np.arange(40) % 5})
    with pytest.raises(ValueError, match=r"y should be a 1d array, got a table of shape \(40, 2\)"):
        tiny().fit(X, pd.DataFrame({"b": [1, 0] * 20, "c": [1, 0] * 20}))


def test_a_column_of_an_array_has_no_name_that_a_target_could_take(tiny):
    X = pd.DataFrame(np.arange(80).reshape(40, 2) % 5)
    assert tiny().fit(X.to_numpy(), X[0]).sample(3).shape == (3, 3)


def test_batches_are_joined_to_one_table_of_every_dtype(tiny, monkeypatch):
    monkeypatch.setattr(_sampling, "_BLOCK_ROWS", 64)
    table = pd.DataFrame(dict(column_types()))
    days = [dt.datetime(2020, 1, day) for day in (1, 2, 3)]
    for name, cells in {
        "object datetimes": days,
        "object timestamps": list(map(pd.Timestamp, days)),
        "object timedeltas": [day - days[0] for day in days],
        "object strings": ["a", "b", "c"],
    }.items():
        table[name] = pd.Series((cells * len(table))[: len(table)], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = tiny().fit(table)
    whole = model.sample(500, random_state=0)
    pd.testing.assert_frame_equal(model.sample(500, random_state=0, batch_size=100), whole)
    assert (whole.dtypes == table.dtypes).all()
    batches = pd.concat(model.sample_batches(500, random_state=0, batch_size=70))
    pd.testing.assert_frame_equal(batches.reset_index(drop=True), whole)
    for name in table.columns[table.dtypes == object]:
        assert set(whole[name].map(type)) <= set(table[name].map(type)), name


def test_the_callers_accelerate_state_is_left_alone(tiny):
    code = (
        "import pandas as pd; from accelerate import Accelerator\n"
        "from tabgraa_sklearn import TabGRAASynthesizer\n"
        "fit = TabGRAASynthesizer(max_epochs=1, random_state=0, precision='float32').fit\n"
        "table = pd.DataFrame({'a': [1, 2, 3, 4] * 10})\n"
        "fit(table); mine = Accelerator(mixed_precision='bf16', cpu=True)\n"
        "model = fit(table).model_; print(mine.state.mixed_precision, 'forward' in vars(model))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["bf16", "False"]
