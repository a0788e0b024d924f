"""The order in which the columns of a row are drawn."""

import math

import numpy as np
from scipy import stats

from tabgraa_sklearn._layout import TokenLayout


def make_layout(sizes, columns):
    places = [np.full(size, math.nan) for size in sizes]
    return TokenLayout(
        sizes=np.array(sizes),
        columns=np.array(columns),
        positions=places,
        bases=places,
        steps=places,
        allowed=[None] * len(sizes),
    )


def test_columns_are_ordered_by_the_entropy_of_their_cells():
    random = np.random.default_rng(0)
    layout = make_layout([4, 2, 3, 9, 1], [0, 1, 1, 2, 3])
    ids = np.column_stack([random.integers(0, size, 500) for size in (4, 2, 3, 9, 1)])
    ids[:480, 3] = 0  # many values, of which nearly all rows have one
    weights = random.random(500)
    cells = [ids[:, 0], ids[:, 1] * 3 + ids[:, 2], ids[:, 3], ids[:, 4]]
    entropies = [stats.entropy(np.bincount(cell, weights)) for cell in cells]
    assert layout.surest_first(ids, weights).tolist() == np.argsort(entropies).tolist()
    assert layout.surest_first(ids, weights).tolist() == [3, 2, 0, 1]


def test_equally_sure_columns_stay_as_they_stand_and_weights_are_repetitions():
    layout = make_layout([3, 3, 3], [0, 1, 2])
    ids = np.array([[0, 2, 1], [1, 0, 2], [2, 1, 0]])
    assert layout.surest_first(ids, np.ones(3)).tolist() == [0, 1, 2]
    ids = np.array([[0, 0, 0], [1, 1, 0], [2, 0, 1]])
    weights = np.array([3.0, 1.0, 2.0])
    repeated = np.repeat(ids, [3, 1, 2], axis=0)
    expected = layout.surest_first(repeated, np.ones(6)).tolist()
    assert layout.surest_first(ids, weights).tolist() == expected == [1, 2, 0]
