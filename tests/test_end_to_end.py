"""From a real table to rows that pass for it, with the default model."""

import numpy as np
import pandas as pd
import pytest

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._features import to_features
from tabgraa_sklearn._scoring import two_sample_score
from tabgraa_sklearn.datasets import load_adult

pytestmark = pytest.mark.slow

N_ROWS = 3000


@pytest.fixture(scope="module")
def adult():
    """Give rows to fit, and as many others of the same table."""
    frame = load_adult().frame.sample(2 * N_ROWS, random_state=0, ignore_index=True)
    return frame[:N_ROWS], frame[N_ROWS:].reset_index(drop=True)


@pytest.fixture(scope="module")
def model(adult):
    train, _ = adult
    return TabGRAASynthesizer(max_epochs=8, random_state=0).fit(
        train.drop(columns="income"), train["income"]
    )


@pytest.fixture(scope="module")
def rows(model):
    return model.sample(N_ROWS, random_state=0)


@pytest.fixture(scope="module")
def independent(adult):
    """Give the rows of the simplest synthesizer: each column shuffled on its own."""
    train, _ = adult
    random = np.random.default_rng(0)
    return pd.DataFrame({name: train[name].array[random.permutation(N_ROWS)] for name in train})


def binned(table, name, reference):
    column = table[name]
    if column.dtype.kind not in "if" or reference[name].nunique() < 20:
        return column.astype(str)
    edges = np.unique(np.quantile(reference[name], np.linspace(0, 1, 11)))
    return pd.Series(np.searchsorted(edges, column)).astype(str)


def distance(one, other, names, reference):
    """Total variation distance of the joint shares of some columns."""
    shares = [
        pd.DataFrame({name: binned(table, name, reference) for name in names}).value_counts(
            normalize=True
        )
        for table in (one, other)
    ]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def test_rows_have_the_form_of_the_table(adult, rows):
    train, _ = adult
    pd.testing.assert_series_equal(rows.dtypes, train.dtypes)
    assert len(rows) == N_ROWS
    for name in train:
        if train[name].dtype.kind == "i":
            assert train[name].min() <= rows[name].min() <= rows[name].max() <= train[name].max()
        else:
            assert set(rows[name].dropna()) <= set(train[name].dropna())


def test_columns_are_shaped_as_the_real_ones(adult, rows):
    """Other real rows are at some distance too: the synthetic ones are at most twice as far."""
    train, test = adult
    floor = np.mean([distance(test, train, [name], train) for name in train])
    reached = np.mean([distance(test, rows, [name], train) for name in train])
    assert reached < 2 * floor


@pytest.mark.parametrize(
    "names",
    [
        ["relationship", "sex"],
        ["education", "education.num"],
        ["marital.status", "relationship"],
        ["age", "marital.status"],
        ["education", "income"],
        ["occupation", "sex"],
    ],
)
def test_columns_depend_on_each_other_as_the_real_ones(adult, rows, independent, names):
    """At least two thirds of what independent columns lack, beyond noise, is there."""
    train, test = adult
    floor = distance(test, train, names, train)
    lacking = distance(test, independent, names, train) - floor
    assert lacking > 0.05
    assert distance(test, rows, names, train) - floor < lacking / 3


@pytest.mark.parametrize("given", [{"sex": "Female"}, {"income": ">50K"}, {"age": (30, 45)}])
def test_given_some_cells_the_others_are_those_of_such_real_rows(adult, model, given):
    train, other = adult
    name, value = next(iter(given.items()))

    def such(table):
        chosen = table[name].between(*value) if isinstance(value, tuple) else table[name] == value
        return table[chosen].reset_index(drop=True)

    drawn = model.sample(1500, conditions=given, random_state=0)
    assert len(such(drawn)) == 1500
    for column in ("education", "marital.status", "occupation", "hours.per.week", "income", "sex"):
        if column == name:
            continue
        chance = distance(such(train), such(other), [column], train)
        away = distance(such(train), drawn, [column], train)
        assert away < chance + 0.12, column  # eight epochs on 3,000 rows
        # All rows are further off by far than such rows, where it makes a difference at all.
        whole = distance(such(train), train, [column], train)
        assert away < 0.75 * whole or whole < 0.15, column


def test_rows_are_hard_to_tell_from_real_ones(adult, model, rows, independent):
    """Closer to real rows than to independent columns, on the scale of a classifier."""
    train, test = adult

    def score(table):
        real, other = (to_features(model._tokenizer, part) for part in (test, table))
        return two_sample_score(real, other)

    worst, best = score(independent), score(train)
    assert worst < 0.2 < 0.9 < best
    assert score(rows) > (worst + best) / 2
    assert model.score(test) > (worst + best) / 2


def test_rows_are_likelier_than_under_independent_columns(adult, model, independent):
    """New real rows cost fewer nats than by the frequencies of the same tokens in the same rows."""
    train, test = adult
    tokenizer = model._tokenizer
    ids, new = tokenizer.encode(train), tokenizer.encode(test, unknown="mark")
    known = (new >= 0).all(1)
    assert known.mean() > 0.99
    nats = 0.0
    for name in tokenizer.schema_.names:
        digits = tokenizer.digits(name)
        sizes = tokenizer.digit_sizes[digits]
        seen, asked = (np.ravel_multi_index(part[:, digits].T, sizes) for part in (ids, new[known]))
        shares = (np.bincount(seen, minlength=sizes.prod()) + 0.5) / (N_ROWS + 0.5 * sizes.prod())
        nats -= np.log(shares[asked]).mean()
    likelihood = model.score_samples(test[known], numbers="interval").mean()
    assert -likelihood < nats - 2
    assert likelihood > model.score_samples(independent[:500], numbers="interval").mean() + 5


def test_rows_are_not_copies(adult, rows):
    """Copies of fitted rows are no more frequent than among other real rows, give or take noise."""
    train, test = adult
    known = set(map(tuple, train.astype(str).to_numpy()))
    copies, natural = (
        sum(row in known for row in map(tuple, part.astype(str).to_numpy()))
        for part in (rows, test)
    )
    assert copies <= natural + 3
