"""The schema: what a column is taken for, and its grid of numbers."""

import datetime as dt
import pickle
import uuid
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tabgraa_sklearn._schema import KINDS, ColumnKindWarning, Grid, Schema

N = 200
WORDS = np.array(["red", "blue", "old", "new", "house", "tree", "car", "with", "and", "the", "of"])


def column_of(cells, kind=None, **series):
    """Find out what a column of these cells is."""
    frame = pd.DataFrame({"x": pd.Series(cells, **series)})
    return Schema.from_frame(frame, {"x": kind} if kind else None)["x"]


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# -- kinds -------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
SILENT = {
    "int": (range(5), "numeric"),
    "int by chance": (RNG.permutation(100 * N)[:N], "numeric"),
    "int all distinct": (np.sort(RNG.choice(10**9, N, replace=False)), "numeric"),
    "int few": ([0, 1] * 100, "numeric"),
    "float distinct": (RNG.normal(size=N), "numeric"),
    "float counting": (np.arange(float(N)), "numeric"),
    "decimal": ([Decimal("1.5")], "numeric"),
    "bool": ([True, False], "categorical"),
    "bool objects": (pd.Series([True, None], dtype=object), "categorical"),
    "strings": (["a", "b"], "categorical"),
    "strings of numbers": (["1", "2", "2"], "categorical"),
    "strings distinct but few": ([f"id{i}" for i in range(9)], "categorical"),
    "strings half distinct": ([f"v{i % 100}" for i in range(N)], "categorical"),
    "phrases": (["one of a few phrases", "and another one here"] * 100, "categorical"),
    "category": (pd.Categorical(["a", "b"]), "categorical"),
    "category of ints": (pd.Categorical([1, 2]), "categorical"),
    "mixed": (pd.Series([1, "a"], dtype=object), "categorical"),
    "missing objects": (pd.Series([None, None], dtype=object), "categorical"),
    "missing floats": ([np.nan, np.nan], "numeric"),
    "datetimes": (pd.date_range("2020", periods=N), "datetime"),
    "datetimes zone": (pd.date_range("2020", periods=N, tz="UTC"), "datetime"),
    "dates": ([dt.date(2020, 1, 1), None], "datetime"),
    "timedeltas": (pd.to_timedelta(range(5), unit="s"), "timedelta"),
    "times": ([dt.time(1), dt.time(2)], "categorical"),
    "periods": (pd.period_range("2020", periods=5, freq="D"), "categorical"),
}


@pytest.mark.parametrize("cells", SILENT)
def test_kinds_that_need_no_warning(cells):
    values, kind = SILENT[cells]
    assert column_of(values).kind == kind


LOUD = {
    "identifier strings": ([f"id{i}" for i in range(N)], "identifier", "200 distinct values in"),
    "identifier nearly": ([f"id{max(i, 5)}" for i in range(N)], "identifier", "195 distinct"),
    "short table": ([f"id{i}" for i in range(20)], "categorical", "20 distinct values in 20"),
    "row counter": (range(7, 7 + N), "identifier", "every number once"),
    "row counter in steps": (range(0, 10 * N, 10), "identifier", "every number once"),
    "counting down": (range(N, 0, -1), "identifier", "every number once"),
    "counter in any order": (RNG.permutation(N), "identifier", "every number once"),
    "part of a counter": (RNG.permutation(4 * N)[:N], "identifier", "every number once"),
    "counter with a gap": ([np.nan, *range(1, N)], "identifier", "every number once"),
    "uuid": ([uuid.UUID(int=i) for i in range(5)], "identifier", "UUIDs"),
    "text": ([" ".join(RNG.choice(WORDS, 6)) for _ in range(N)], "text", "free text"),
    "names": ([f"Ann{i} Smith{i}" for i in range(N)], "identifier", "200 distinct values"),
    "category": (pd.Categorical([f"id{i}" for i in range(N)]), "categorical", "No other kind"),
    "many": ([f"v{i % 2000}" for i in range(4000)], "categorical", "2000 distinct values in 4000"),
    "tuples": ([(i, i) for i in range(N)], "categorical", "repeat real values"),
}


@pytest.mark.parametrize("cells", LOUD)
def test_kinds_that_come_with_a_warning_naming_column_and_parameter(cells):
    values, kind, message = LOUD[cells]
    with pytest.warns(ColumnKindWarning, match=message) as caught:
        assert column_of(values).kind == kind
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("Column 'x' ")
    assert "column_kinds" in text
    assert caught[0].filename == __file__  # where the package is used, not where it warns


@pytest.mark.parametrize("cells", [*LOUD, *SILENT])
def test_a_given_kind_is_taken_without_a_warning(cells):
    values = {**LOUD, **SILENT}[cells][0]
    assert column_of(values, "categorical").kind == "categorical"


def test_names_of_columns_decide_nothing():
    frame = pd.DataFrame({"id": [3, 1, 2], "date": ["a", "b", "a"], "price": [True, False, True]})
    assert [column.kind for column in Schema.from_frame(frame)] == [
        "numeric",
        "categorical",
        "categorical",
    ]


# -- given kinds -------------------------------------------------------------------------------


def restored(cells, kind, **series):
    series = pd.Series(cells, **series)
    column = column_of(series, kind)
    return column, column.from_numbers(*column.to_numbers(series)), series


@pytest.mark.parametrize("dtype", ["object", "str", "string[python]"])
@pytest.mark.parametrize(
    "cells",
    [["1", "20", None], ["1.50", "-2.25"], ["0.1", "3"], ["1e-3", "12"], ["18446744073709551615"]],
)
def test_strings_as_numbers_come_back_as_strings(cells, dtype):
    column, back, series = restored(cells, "numeric", dtype=dtype)
    assert column.kind == "numeric"
    assert back.dtype == series.dtype
    assert back.isna().equals(series.isna())
    assert back.dropna().map(type).eq(str).all()
    assert back.dropna().astype(float).tolist() == series.dropna().astype(float).tolist()
    if cells[0] in ("1", "1.50", "18446744073709551615"):  # the others are not of one format
        pd.testing.assert_series_equal(back, series)


@pytest.mark.parametrize(
    "cells",
    [
        ["2020-02-29", "1999-12-31", None],
        ["01.02.2020", "31.12.1999"],
        ["01/02/2020", "12/31/1999"],
        ["2020-02-29 12:30:01", "1999-12-31 00:00:00"],
    ],
)
def test_strings_as_dates_come_back_as_strings(cells):
    column, back, series = restored(cells, "datetime", dtype=object)
    assert column.kind == "datetime"
    pd.testing.assert_series_equal(back, series)


@pytest.mark.parametrize(
    ("cells", "kind", "message"),
    [
        (
            ["1", "x"],
            "numeric",
            r"column_kinds\['x'\]='numeric' is not possible: cells such as 'x' are",
        ),
        (["1", "inf"], "numeric", "'inf' are not finite numbers"),
        (["soon"], "datetime", "column_kinds.*'soon' are not dates of one known format"),
        (["2020-01-01", "soon"], "datetime", "column_kinds.* are not dates of one"),
        (["2020-01-01T00:00:00+0100"], "datetime", "column_kinds.* are not dates of one"),
        ([1.5], "identifier", r"column_kinds\['x'\]='identifier' is not possible .*float64"),
        ([1.5], "datetime", r"possible: \['numeric', 'categorical'\]"),
        ([True], "numeric", r"dtype bool; possible: \['categorical'\]"),
        ([pd.Timestamp("2020")], "numeric", r"possible: \['datetime', 'categorical'\]"),
        ([1], "date", r"column_kinds\['x'\] must be one of .*'datetime'.* got 'date'"),
        ([1], None, ""),
    ],
)
def test_impossible_kinds_are_errors_that_name_the_column(cells, kind, message):
    if kind is None:
        assert column_of(cells).kind == "numeric"
        return
    with pytest.raises(ValueError, match=message):
        column_of(cells, kind)


def test_unknown_columns_in_kinds_are_named():
    frame = pd.DataFrame({"a": [1], "b": [2]})
    with pytest.raises(ValueError, match=r"unknown columns \['c'\]; the columns are \['a', 'b'\]"):
        Schema.from_frame(frame, {"a": "numeric", "c": "numeric"})


# -- decimals and grids ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "dtype", "decimals"),
    [
        ([1.0, 2.0, np.nan], "float64", 0),
        ([0.1, 0.25, 3], "float64", 2),
        ([0.1, 0.2], "float32", 1),
        ([0.1, 0.2], "float16", 1),
        # Multiples of 2 ** -24 have decimals only as every number of single precision has.
        ((np.arange(1, 200) * 77_003 % 2**24 / 2**24).tolist(), "float32", None),
        ((np.arange(1, 200) * 77_003 % 2**24 / 2**24).round(3).tolist(), "float32", 3),
        ([2.0**26, 2.0**30], "float32", 0),
        ([25.7, 8.28, 15.03, 200000.25], "float32", 2),
        ([1 / 3], "float64", None),
        ([1e300], "float64", None),
        ([1e-15], "float64", 15),
        ([1e-16], "float64", None),
        ([2.0**53 - 1], "float64", 0),
        ([0.1, None], "Float64", 1),
        ([1, 2], "int8", 0),
        ([Decimal("1.500"), Decimal("2")], "object", 3),
        ([Decimal("1e3")], "object", 0),
    ],
)
def test_decimals(cells, dtype, decimals):
    assert column_of(cells, dtype=dtype).decimals == decimals


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.integers(0, 6))
def test_decimals_are_found_and_floats_come_back_exactly(wholes, decimals):
    cells = [float(f"{whole}e-{decimals}") for whole in wholes]
    column, back, series = restored(cells, "numeric")
    needed = max(len(f"{abs(cell):.6f}".rstrip("0").partition(".")[2]) for cell in cells)
    assert column.decimals == needed
    pd.testing.assert_series_equal(back, series)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_any_floats_come_back_exactly(cells):
    _, back, series = restored(cells, "numeric")
    pd.testing.assert_series_equal(back, series, check_exact=True)


RANGES = {np.int64: (-(2**63), 2**63 - 1), np.uint64: (0, 2**64 - 1)}


@pytest.mark.parametrize("dtype", RANGES)
@given(data=st.data())
def test_grids_agree_with_python_integers(dtype, data):
    low, high = RANGES[dtype]
    numbers = st.lists(st.integers(low, high), min_size=1, max_size=8)
    seen, new = data.draw(numbers), data.draw(numbers)
    grid = Grid.of(np.unique(np.array(seen, dtype=dtype)))
    points = range(grid.origin, grid.origin + grid.step * grid.top + 1, grid.step)
    assert (points[0], points[-1]) == (min(seen), max(seen))
    assert all(cell in points for cell in seen)
    index = grid.index(np.array(seen, dtype=dtype))
    assert grid.raw(index).tolist() == seen
    assert grid.raw(index).dtype == dtype
    for cell, k in zip(new, grid.index(np.array(new, dtype=dtype)).tolist(), strict=True):
        clipped = min(max(cell, min(seen)), max(seen))
        assert abs(grid.origin + grid.step * k - clipped) * 2 <= grid.step


def test_the_grid_is_as_coarse_as_can_be():
    assert column_of([100, 250, 400]).grid == Grid(100, 150, 2)
    days = column_of(pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-04"]))
    assert days.grid.top == 3
    assert column_of([0.5, 1.0, 2.0]).grid == Grid(5, 5, 3)
    zoned = pd.date_range("2020", periods=300, tz="America/New_York")
    assert column_of(zoned).grid.top == 299  # summer time or not
    assert column_of(zoned + pd.Timedelta("90min")).grid.top == 7175  # hours of UTC
    assert column_of([7, 7]).grid == Grid(7, 1, 0)


def test_numbers_outside_come_to_the_nearest_bound():
    column = column_of([10, 20, 40])
    numbers, missing = column.to_numbers(pd.Series([-(2**63), 14, 16, 2**63 - 1]))
    assert numbers.tolist() == [0, 0, 1, 3]
    assert not missing.any()
    numbers, missing = column.to_numbers(pd.Series([1e300, -1e300, np.nan, 26]))
    assert numbers[[0, 1, 3]].tolist() == [3, 0, 2]
    assert missing.tolist() == [False, False, True, False]


# -- missing cells and bounds ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "marker"),
    [
        (["a", None, None, np.nan], "None"),
        (["a", None, np.nan, np.nan], "nan"),
        (["a", pd.NA, pd.NA, np.nan], "<NA>"),
        ([dt.date(2020, 1, 1), pd.NaT, pd.NaT, None], "NaT"),
        ([Decimal("1.0"), Decimal("NaN"), None, Decimal("NaN")], "NaN"),
    ],
)
def test_the_most_frequent_marker_stands_for_missing_in_objects(cells, marker):
    column = column_of(cells, dtype=object)
    assert column.n_missing == 3
    assert str(column.cells.marker) == marker


def test_bounds_are_cells_of_the_column():
    assert column_of([0.25, -1.5]).bounds == (-1.5, 0.25)
    assert column_of([2**63, 2**64 - 1], dtype="uint64").bounds == (2**63, 2**64 - 1)
    assert column_of([dt.date(2020, 1, 2), None]).bounds == (dt.date(2020, 1, 2),) * 2
    zoned = pd.Timestamp("2020-01-01", tz="Europe/Berlin")
    assert column_of([zoned]).bounds == (zoned, zoned)
    assert column_of([np.nan]).bounds is None
    assert column_of(["a"]).bounds is None


# -- the whole ---------------------------------------------------------------------------------


@pytest.fixture
def frame():
    return pd.DataFrame(
        {"a": [1.5, np.nan], 2: ["x", "y"], ("t", 1): pd.to_datetime(["2020-01-01", "2020-01-02"])}
    )


def test_the_table_of_a_schema_is_readable(frame):
    schema = Schema.from_frame(frame)
    table = schema.to_frame()
    assert table.index.tolist() == ["a", 2, ("t", 1)]
    assert table["kind"].tolist() == ["numeric", "categorical", "datetime"]
    assert table["dtype"].tolist() == [str(dtype) for dtype in frame.dtypes]
    assert table["missing"].tolist() == [1, 0, 0]
    assert "categorical" in repr(schema)
    assert "<table" in schema._repr_html_()
    assert set(table["kind"]) <= set(KINDS)


def test_a_schema_is_a_sequence_of_columns_by_name(frame):
    schema = pickle.loads(pickle.dumps(Schema.from_frame(frame)))
    assert len(schema) == 3
    assert [column.name for column in schema] == ["a", 2, ("t", 1)]
    assert schema[2] is schema.columns[1]
    with pytest.raises(ValueError, match="Unknown column 'b'"):
        schema["b"]


def test_align_reorders_and_names_what_differs(frame):
    schema = Schema.from_frame(frame)
    assert schema.align(frame) is frame
    assert schema.align(frame[[2, ("t", 1), "a"]]).columns.equals(frame.columns)
    with pytest.raises(ValueError, match=r"missing \['a'\], unknown \['b'\]"):
        schema.align(frame.rename(columns={"a": "b"}))


def test_small_grids_of_repeated_draws_are_no_identifiers():
    """What estimator checks pass: few rows of continuous numbers."""
    rng = np.random.default_rng(0)
    schema = Schema.from_frame(pd.DataFrame(rng.normal(size=(20, 3))))
    assert {column.kind for column in schema} == {"numeric"}


@given(st.integers(0, 10**6), st.integers(1, 1000))
def test_counters_start_and_step_as_they_like(start, step):
    assume(step > 0)
    with pytest.warns(ColumnKindWarning):
        assert column_of(np.arange(60) * step + start).counts_rows
