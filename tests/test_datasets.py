import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from tabgraa_sklearn.datasets import load_adult


@pytest.mark.parametrize(("subset", "rows"), [("train", 32561), ("test", 16281), ("all", 48842)])
def test_subsets_have_the_documented_shape(subset, rows):
    adult = load_adult(subset=subset)
    assert adult.frame.shape == (rows, 15)
    assert adult.data.shape == (rows, 14)
    assert adult.target.shape == (rows,)
    assert list(adult.frame.index) == list(range(rows))
    assert len(adult.filename) == (2 if subset == "all" else 1)


def test_all_is_train_followed_by_test():
    parts = [load_adult(subset=subset).frame for subset in ("train", "test")]
    assert_frame_equal(load_adult(subset="all").frame, pd.concat(parts, ignore_index=True))


def test_train_and_test_have_equal_dtypes():
    train, test = (load_adult(subset=subset).frame for subset in ("train", "test"))
    assert_series_equal(train.dtypes, test.dtypes)
    assert (train.dtypes == "int64").sum() == 6


def test_frame_is_data_and_target():
    adult = load_adult()
    assert_frame_equal(adult.frame, adult.data.assign(income=adult.target))
    assert list(adult.data.columns) == adult.feature_names
    assert set(adult.target.unique()) == set(adult.target_names)


def test_values_are_those_of_the_source():
    frame = load_adult(subset="all").frame
    assert frame.loc[0, ["age", "workclass", "fnlwgt", "income"]].tolist() == [
        39,
        "State-gov",
        77516,
        "<=50K",
    ]
    assert (frame["income"] == ">50K").sum() == 11687
    assert not frame.isna().to_numpy().any()
    unknown = (frame.select_dtypes("category").astype(str) == "?").sum()
    assert unknown[unknown > 0].to_dict() == {
        "workclass": 2799,
        "occupation": 2809,
        "native.country": 857,
    }


def test_return_x_y_gives_the_attributes():
    adult = load_adult(subset="test")
    X, y = load_adult(subset="test", return_X_y=True)
    assert_frame_equal(X, adult.data)
    assert_series_equal(y, adult.target)


def test_arrays_hold_the_same_values():
    adult = load_adult(subset="test", as_frame=False)
    frame = load_adult(subset="test").frame
    assert adult.frame is None
    assert isinstance(adult.data, np.ndarray)
    assert adult.data.dtype == object
    assert adult.data[:, 0].tolist() == frame["age"].tolist()
    assert adult.target.tolist() == frame["income"].tolist()


def test_two_calls_share_no_data():
    first = load_adult(subset="test").frame
    first.iloc[0, 0] = -1
    assert load_adult(subset="test").frame.iloc[0, 0] != -1


def test_description_names_source_and_licence():
    description = load_adult().DESCR
    for words in ("10.24432/C5XW20", "Becker", "Kohavi", "CC BY 4.0", "What was changed"):
        assert words in description


def test_unknown_subset_is_refused():
    with pytest.raises(ValueError, match="subset must be one of 'train', 'test', 'all'; got 'val'"):
        load_adult(subset="val")
