"""Known rows whose common beginnings are read once."""

import numpy as np
import pandas as pd
import pytest
import torch

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._reading import read_rows


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "letter": random.choice(list("abc"), 400),
            "price": random.normal(size=400).round(4),
            "flag": random.random(400) < 0.3,
            "count": random.integers(0, 20, 400),
        }
    )
    model = TabGRAASynthesizer(max_epochs=1, n_rounds=0, precision="float32", random_state=0)
    return model.fit(table), table


def asked_of(fitted, same_order):
    model, table = fitted
    token_ids = torch.from_numpy(model._tokenizer.encode(table)).long()
    orders = torch.tensor(model.column_order_).expand(len(table), -1)
    if not same_order:
        orders = torch.rand(orders.shape, generator=torch.Generator().manual_seed(0)).argsort(1)
    return model.model_, token_ids, orders


@pytest.mark.parametrize("same_order", [True, False])
@pytest.mark.parametrize("n_read", [0, 1, 3])
@pytest.mark.parametrize("at_once", [16, 1024])
def test_states_are_those_of_whole_rows(fitted, same_order, n_read, at_once):
    model, token_ids, orders = asked_of(fitted, same_order)
    orders = orders[:, : n_read + 1]
    with torch.inference_mode():
        *_, (states, own) = read_rows(model, token_ids, orders, at_once)
        wanted = model.read(token_ids, orders)
    assert len(states) % at_once == 0
    torch.testing.assert_close(states[own], wanted, rtol=1e-4, atol=1e-4)


def test_what_rows_share_is_read_once(fitted):
    model, token_ids, orders = asked_of(fitted, same_order=True)
    first = int(orders[0, 0])
    digit = int(model.layout.first[first])
    with torch.inference_mode():
        *_, (_, own) = read_rows(model, token_ids, orders[:, :2], 16)
    for token in token_ids[:, digit].unique():
        assert len(own[token_ids[:, digit] == token].unique()) == 1
    assert len(own.unique()) == len(token_ids[:, digit].unique())


def test_a_state_does_not_depend_on_the_rows_beside_it(fitted):
    model, token_ids, orders = asked_of(fitted, same_order=False)
    with torch.inference_mode():
        *_, (states, own) = read_rows(model, token_ids, orders, 64)
        *_, (some, mine) = read_rows(model, token_ids[100:103], orders[100:103], 64)
    assert torch.equal(some[mine], states[own][100:103])


def test_rows_may_be_asked_for_different_numbers_of_columns(fitted):
    model, token_ids, orders = asked_of(fitted, same_order=False)
    sizes = torch.arange(len(orders)) % 4 + 1
    ragged = orders.where(torch.arange(4) < sizes[:, None], -1)
    with torch.inference_mode():
        for size, (states, own) in enumerate(read_rows(model, token_ids, ragged, 64), start=1):
            rows = sizes == size
            wanted = model.read(token_ids[rows], orders[rows, :size])
            torch.testing.assert_close(states[own[rows]], wanted, rtol=1e-4, atol=1e-4)


def test_rows_that_end_early_share_what_they_are_asked_for(fitted):
    """Two columns alternate behind the same cell: there are two states, not one for each row."""
    model, token_ids, orders = asked_of(fitted, same_order=True)
    ragged = orders.repeat(1, 1).clone()
    ragged[::2, 1] = orders[::2, 2]
    ragged[:, 2:] = -1
    ragged[0] = orders[0]  # one row goes on
    same = token_ids[:1].expand_as(token_ids)
    with torch.inference_mode():
        levels = list(read_rows(model, same, ragged, 16))
    assert len(levels[1][1].unique()) == 2


def test_states_that_nobody_wants_are_left_out(fitted, monkeypatch):
    """The others are the same, bit for bit, and of the last layer less is computed."""
    model, token_ids, orders = asked_of(fitted, same_order=False)
    wanted = torch.zeros_like(orders, dtype=torch.bool)
    wanted[:, -1] = True
    wanted[7, 1] = True
    asked = []
    advance = model.advance

    def counting(inputs, column, cache, *, states=True):
        asked.append(states)
        return advance(inputs, column, cache, states=states)

    with torch.inference_mode():
        whole = list(read_rows(model, token_ids, orders, 16))
        monkeypatch.setattr(model, "advance", counting)
        some = list(read_rows(model, token_ids, orders, 16, wanted))
    for step, ((states, own), (fewer, mine)) in enumerate(zip(whole, some, strict=True)):
        rows = wanted[:, step]
        assert torch.equal(states[own[rows]], fewer[mine[rows]])
    last = len(some[-1][0]) // 16
    assert asked[-last:] == [True] * last
    assert sum(asked[:-last]) == 1
