"""Tables of every kind become a pandas frame, and go back as what they were."""

import datetime as dt
import pickle
from decimal import Decimal
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from tabgraa_sklearn._frames import Container, check_frame, to_frame

# -- pandas ------------------------------------------------------------------------------------


def test_a_frame_stays_a_frame_without_its_index():
    frame = pd.DataFrame({"a": [1, 2], 0: ["x", None]}, index=[5, 5])
    before = frame.copy(deep=True)
    plain, container = to_frame(frame)
    assert plain.index.equals(pd.RangeIndex(2))
    pd.testing.assert_frame_equal(plain.set_index(frame.index), frame)
    assert container.kind == "pandas"
    assert container.restore(plain) is plain
    plain.loc[0, "a"] = 9
    pd.testing.assert_frame_equal(frame, before)


# -- arrays ------------------------------------------------------------------------------------

DTYPES = ["int8", "uint64", "float16", "float32", "float64", "bool", "M8[us]", "m8[ns]", "O", "U3"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_with_their_dtype(dtype):
    array = np.array([[0, 1, 2], [1, 0, 1]]).astype(dtype)
    before = array.copy()
    array.flags.writeable = False
    frame, container = to_frame(array)
    assert frame.columns.tolist() == [0, 1, 2]
    check_frame(frame)
    frame.loc[0, 0] = frame.loc[1, 0]  # a copy: the caller's array does not change
    np.testing.assert_array_equal(array, before)
    frame, container = to_frame(array)
    back = pickle.loads(pickle.dumps(container)).restore(frame)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(
    hnp.arrays(
        st.sampled_from(["int16", "uint8", "float32", "float64", "bool"]),
        hnp.array_shapes(min_dims=2, max_dims=2),
    )
)
def test_any_array_comes_back(array):
    frame, container = to_frame(array)
    back = container.restore(frame)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_longer_strings_are_not_cut_off():
    frame, container = to_frame(np.array([["ab"], ["cd"]]))
    back = container.restore(frame.map(lambda cell: cell + "123"))
    assert back.tolist() == [["ab123"], ["cd123"]]


def test_objects_in_arrays_stay_what_they_are():
    array = np.array([["a", 1, None], ["b", 2.5, "c"]], dtype=object)
    frame, container = to_frame(array)
    assert set(frame.dtypes) == {np.dtype(object)}
    back = container.restore(frame)
    assert [list(map(type, row)) for row in back] == [list(map(type, row)) for row in array]


def test_lists_of_lists_are_arrays_and_mixed_ones_of_objects():
    frame, container = to_frame([[1, 2], [3, 4]])
    assert (frame.dtypes == np.int64).all()
    assert container.restore(frame).tolist() == [[1, 2], [3, 4]]
    frame, container = to_frame([[1, "a"], [2, "b"]])
    assert container.restore(frame).tolist() == [[1, "a"], [2, "b"]]


def test_whatever_converts_to_an_array_is_one():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.eye(2)

    frame, container = to_frame(Wrapped())
    np.testing.assert_array_equal(container.restore(frame), np.eye(2))


def test_masked_cells_are_missing():
    masked = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[True, False], [False, False]])
    frame, container = to_frame(masked)
    assert frame.isna().to_numpy().tolist() == [[True, False], [False, False]]
    assert container.restore(frame).dtype == np.float64


# -- polars ------------------------------------------------------------------------------------


def polars_columns():
    import polars as pl

    day = dt.datetime(2020, 7, 1, 12, 30, 1, 7)
    zone = pl.Datetime("us", "Europe/Berlin")
    integers = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]
    columns = {}
    for kind in integers:
        largest = int(np.iinfo(str(kind).lower()).max)
        columns[f"{kind}"] = pl.Series([largest, 3, 0], dtype=kind)
        columns[f"{kind} null"] = pl.Series([largest, None, 0], dtype=kind)
    columns |= {
        "float": pl.Series([0.5, None, 1 / 3]),
        "float nan": pl.Series([0.5, float("nan"), 1 / 3]),
        "float32": pl.Series([0.5, None, 0.1], dtype=pl.Float32),
        "bool": pl.Series([True, False, True]),
        "bool null": pl.Series([True, None, False]),
        "string": pl.Series(["a", None, ""]),
        "categorical": pl.Series(["b", None, "a"], dtype=pl.Categorical),
        "enum": pl.Series(["b", None, "a"], dtype=pl.Enum(["a", "unused", "b"])),
        "date": pl.Series([dt.date(2020, 1, 1), None, dt.date(1, 1, 1)]),
        "datetime ms": pl.Series([day, None, day], dtype=pl.Datetime("ms")),
        "datetime us": pl.Series([day, None, dt.datetime(1, 1, 1)], dtype=pl.Datetime("us")),
        "datetime ns": pl.Series([day, None, day], dtype=pl.Datetime("ns")),
        "zone": pl.Series([day, None, day]).dt.replace_time_zone("UTC").cast(zone),
        "duration": pl.Series([dt.timedelta(1), None, dt.timedelta(microseconds=-1)]),
        "time": pl.Series([dt.time(1, 2, 3), None, dt.time(0)]),
        "decimal": pl.Series([Decimal("1.50"), None, Decimal("-2.25")], dtype=pl.Decimal(10, 2)),
        "null": pl.Series([None, None, None]),
        "binary": pl.Series([b"a", None, b"\xff"]),
    }
    return columns


POLARS = polars_columns() if find_spec("polars") else {}


@pytest.mark.parametrize("name", POLARS)
def test_polars_columns_come_back_with_their_dtype(name):
    import polars as pl
    from polars.testing import assert_frame_equal

    table = pl.DataFrame({"x": POLARS[name], "other": [1, 2, 3]})
    frame, container = to_frame(table)
    check_frame(frame)
    assert frame["x"].isna().sum() == table["x"].null_count() + (name == "float nan")
    container = pickle.loads(pickle.dumps(container))
    assert_frame_equal(container.restore(frame), table)
    rows = frame.iloc[[2, 0]]
    assert_frame_equal(container.restore(rows[["x"]]), table[[2, 0]].select("x"))


@pytest.mark.parametrize("name", POLARS)
def test_polars_columns_survive_the_tokenizer(name):
    import polars as pl
    from polars.testing import assert_frame_equal

    from tabgraa_sklearn._tokenizer import TableTokenizer

    table = pl.DataFrame({"x": POLARS[name]})
    frame, container = to_frame(table)
    tokenizer = TableTokenizer().fit(frame)
    back = tokenizer.decode(tokenizer.encode(frame), np.zeros((3, 1)))
    assert_frame_equal(container.restore(back), table)


def test_polars_columns_that_were_not_there_get_a_dtype_too():
    pl = pytest.importorskip("polars")
    _, container = to_frame(pl.DataFrame({"x": [1]}))
    back = container.restore(pd.DataFrame({"x": [2], "y": ["a"]}))
    assert back.schema == {"x": pl.Int64, "y": pl.String}


def test_a_polars_container_unpickles_without_polars(monkeypatch):
    pl = pytest.importorskip("polars")
    frame, container = to_frame(pl.DataFrame({"x": [1]}))
    data = pickle.dumps(container)
    assert b"polars." not in data
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ImportError, match="install polars"):
        pickle.loads(data).restore(frame)


# -- errors ------------------------------------------------------------------------------------


def checked(X, min_rows=1):
    frame, _ = to_frame(X)
    check_frame(frame, min_rows=min_rows)


def nested():
    return pd.Series([[1], [2, 3]])


ERRORS = {
    "sparse matrix": (lambda: sparse.csr_matrix(np.eye(3)), TypeError, "Sparse data was passed"),
    "sparse array": (lambda: sparse.coo_array(np.eye(3)), TypeError, "dense data is required"),
    "sparse column": (
        lambda: pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}),
        TypeError,
        "Sparse data was passed.* column 's'",
    ),
    "1-d": (lambda: np.arange(3.0), ValueError, "(?s)Expected 2D array, got 1D.*Reshape your data"),
    "scalar": (lambda: 3, ValueError, "(?s)Expected 2D array, got scalar.*Reshape your data"),
    "series": (lambda: pd.Series([1, 2]), ValueError, "2-dimensional container.*Reshape your data"),
    "3-d": (lambda: np.ones((2, 2, 2)), ValueError, "Found array with dim 3"),
    "complex": (lambda: np.ones((2, 2)) * 1j, ValueError, "Complex data not supported"),
    "complex column": (
        lambda: pd.DataFrame({"z": [1j, 2]}),
        ValueError,
        "Complex data not supported: column 'z'",
    ),
    "complex objects": (
        lambda: pd.DataFrame({"z": pd.Series([1j, "a"], dtype=object)}),
        ValueError,
        "Complex data not supported: column 'z'",
    ),
    "no rows": (
        lambda: np.empty((0, 3)),
        ValueError,
        r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 2 is required\.",
    ),
    "one row": (lambda: [[1, 2, 3]], ValueError, r"1 sample\(s\) \(shape=\(1, 3\)\)"),
    "no columns": (
        lambda: np.empty((12, 0)),
        ValueError,
        r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required\.",
    ),
    "nothing": (lambda: pd.DataFrame(), ValueError, r"0 feature\(s\)"),
    "duplicate names": (
        lambda: pd.DataFrame([[1, 2, 3, 4]] * 2, columns=["a", "b", "a", "b"]),
        ValueError,
        r"duplicate names: \['a', 'b'\]",
    ),
    "missing name": (
        lambda: pd.DataFrame([[1, 2]] * 2, columns=["a", None]),
        ValueError,
        "names must not be missing",
    ),
    "levels of names": (
        lambda: pd.DataFrame([[1, 2]] * 2, columns=[["a", "a"], ["b", "c"]]),
        ValueError,
        "MultiIndex of 2 levels",
    ),
    "infinite": (
        lambda: pd.DataFrame({"a": [1, 2], "b": [1.0, -np.inf]}),
        ValueError,
        "infinity in column 'b': .* got .*-?inf.* in row 1",
    ),
    "infinite nullable": (
        lambda: pd.DataFrame({"b": pd.array([np.inf, None], dtype="Float64")}),
        ValueError,
        "infinity in column 'b'",
    ),
    "infinite object": (
        lambda: pd.DataFrame({"b": pd.Series([np.inf, None], dtype=object)}),
        ValueError,
        "infinity in column 'b'",
    ),
    "infinite decimal": (
        lambda: pd.DataFrame({"b": [Decimal("-Infinity"), Decimal(1)]}),
        ValueError,
        "infinity in column 'b'",
    ),
    "infinite category": (
        lambda: pd.DataFrame({"b": pd.Categorical([np.inf, 1.0])}),
        ValueError,
        "infinity in column 'b'",
    ),
    "infinite array": (lambda: [[1, np.inf], [0, 1]], ValueError, "infinity in column 1"),
    "lists": (
        lambda: pd.DataFrame({"l": nested()}),
        TypeError,
        r"Unsupported objects in column 'l': list, such as \[\[1\]\]",
    ),
    "dicts": (
        lambda: pd.DataFrame({"d": [{"a": 1}, "b"]}),
        TypeError,
        "column 'd': dict.*argument must be a table of strings, numbers",
    ),
    "dict in an array": (
        lambda: np.array([[{"foo": "bar"}, 1.0], [0.5, 1.0]], dtype=object),
        TypeError,
        "column 0: dict",
    ),
    "arrays": (
        lambda: pd.DataFrame({"a": pd.Series([np.ones(2), np.ones(2)], dtype=object)}),
        TypeError,
        "column 'a': ndarray",
    ),
    "tuples of lists": (
        lambda: pd.DataFrame({"t": [([1],), ([2],)]}),
        TypeError,
        "Unsupported objects in column 't'",
    ),
    "structured": (
        lambda: np.zeros((2, 2), dtype=[("a", int)]),
        TypeError,
        "Unsupported dtype",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_tables_are_errors_that_say_what_is_wrong(case):
    make, error, message = ERRORS[case]
    with pytest.raises(error, match=message):
        checked(make(), min_rows=2)


def test_bad_polars_tables():
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"\.collect\(\)"):
        to_frame(pl.LazyFrame({"a": [1]}))
    with pytest.raises(ValueError, match="2-dimensional"):
        to_frame(pl.Series([1]))
    for cells in ([[1], [2]], [{"a": 1}, {"a": 2}]):
        with pytest.raises(TypeError, match="Unsupported objects in column 'x'"):
            checked(pl.DataFrame({"x": cells}))


def test_nested_arrow_columns():
    pa = pytest.importorskip("pyarrow")
    cells = pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    with pytest.raises(TypeError, match="Unsupported objects in column 'x': list"):
        checked(pd.DataFrame({"x": cells}))


@pytest.mark.parametrize(
    "cells",
    [
        [1.0, np.nan],
        [None, None],
        ["a", None],
        [(1, 2), (3,)],
        [b"a", b"b"],
        [dt.date(2020, 1, 1), pd.NaT],
        pd.Categorical(["a", None]),
        pd.period_range("2020", periods=2, freq="D"),
        pd.array([1, None], dtype="Int64"),
    ],
)
def test_missing_cells_and_hashable_objects_are_fine(cells):
    checked(pd.DataFrame({"x": cells}), min_rows=2)


def test_a_container_is_plain_data():
    assert Container() == Container("pandas")
    assert to_frame(np.eye(2))[1] == Container("array", dtype=np.dtype("float64"))


@pytest.mark.skipif(not POLARS, reason="needs polars")
def test_integers_that_numpy_has_not_are_named(tiny):
    import polars as pl

    table = pl.DataFrame({"wide": pl.Series([1, None, 2**100] * 9, dtype=pl.Int128)})
    with pytest.raises(ValueError, match=r"Column 'wide' has dtype Int128.*cast it"):
        tiny().fit(table)
