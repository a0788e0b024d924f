"""Exactly n rows, the same for the same seed whatever the batch size, in bounded memory."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest
from sklearn.exceptions import NotFittedError

from tabgraa_sklearn import TabGRAASynthesizer, _sampling
from tabgraa_sklearn._backbone import CompactBackbone, compact_config
from tabgraa_sklearn._drawing import _STRATUM, _spread, draw_rows
from tabgraa_sklearn._layout import TokenLayout
from tabgraa_sklearn._sampling import row_uniforms, sample_tokens


def make_backbone(n_columns=3, size=5):
    places = [np.full(size, math.nan)] * n_columns
    layout = TokenLayout(
        sizes=np.full(n_columns, size),
        columns=np.arange(n_columns),
        positions=places,
        bases=places,
        steps=[np.zeros(size)] * n_columns,
        allowed=[None] * n_columns,
    )
    torch.manual_seed(0)
    return CompactBackbone(layout, compact_config(n_columns, width=32, n_layers=1))


def draw(backbone, n_samples, **settings):
    order = list(range(backbone.n_columns))
    defaults = {"seed": 0, "order": order, "precision": torch.float32}
    return list(sample_tokens(backbone, n_samples, **{**defaults, **settings}))


# -- uniform numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (0, 1024), (1023, 1025), (1024, 1025), (5, 3000), (2048, 4096)]
)
def test_a_row_has_the_same_numbers_in_every_range(start, stop):
    table = row_uniforms(7, 0, 5000, 3)
    assert table.shape == (5000, 3)
    np.testing.assert_array_equal(row_uniforms(7, start, stop, 3), table[start:stop])


def test_numbers_are_uniform_and_differ_between_rows_and_seeds():
    table = row_uniforms(7, 0, 5000, 4)
    assert ((table >= 0) & (table < 1)).all()
    assert len(np.unique(table)) == table.size
    np.testing.assert_allclose(table.mean(0), 0.5, atol=0.02)
    assert not np.isin(row_uniforms(8, 0, 5000, 4), table).any()


# -- token ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 100, 65_536, 140_000, 10**6])
def test_token_ids_do_not_depend_on_the_batch_size(batch_size):
    backbone, n_rows, block = make_backbone(), 200_000, 65_536
    expected = list(draw(backbone, n_rows))
    parts = draw(backbone, n_rows, batch_size=batch_size)
    for mine, its in zip(zip(*parts, strict=True), zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(mine), np.concatenate(its))
    # Batches bound the memory: none is larger than asked for, up to a block of the model.
    at_once = max(batch_size // block * block, block)
    assert [len(ids) for ids, _ in parts] == [
        min(at_once, n_rows - start) for start in range(0, n_rows, at_once)
    ]


@pytest.mark.parametrize(
    ("n_columns", "n_samples", "block", "most"), [(3, 70_000, 65_536, 4096), (400, 5000, 2048, 256)]
)
def test_blocks_and_what_goes_through_the_model_at_once_are_bounded(
    monkeypatch, n_columns, n_samples, block, most
):
    backbone, blocks, passes = make_backbone(n_columns), [], []

    def record(model, uniforms, *rest):
        blocks.append(tuple(uniforms.shape))
        return draw_rows(model, uniforms, *rest)

    def watch(model, inputs, *rest, **settings):
        passes.append(len(inputs))
        return advance(model, inputs, *rest, **settings)

    monkeypatch.setattr(_sampling, "draw_rows", record)
    advance = CompactBackbone.advance
    monkeypatch.setattr(CompactBackbone, "advance", watch)
    parts = draw(backbone, n_samples)
    assert blocks == [
        (min(block, n_samples - start), n_columns) for start in range(0, n_samples, block)
    ]
    assert max(passes) <= most
    assert n_columns == 3 or max(passes) > most / 2
    assert sum(len(ids) for ids, _ in parts) == n_samples


def test_uniforms_of_tokens_and_of_cells_are_apart():
    backbone = make_backbone()
    ((ids, uniforms),) = draw(backbone, 100, seed=3)
    table = row_uniforms(3, 0, 100, 6)
    assert ids.shape == uniforms.shape == (100, 3)
    np.testing.assert_array_equal(uniforms, table[:, 3:])


def test_sampling_leaves_no_gradients_and_no_training_mode():
    backbone = make_backbone().train()
    draw(backbone, 10)
    assert not backbone.training
    assert all(parameter.grad is None for parameter in backbone.parameters())


# -- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [1, 2, 3, 1023, 1024, 1025, 2049])
def test_exactly_as_many_rows_as_asked_for(fitted, table, n_samples):
    rows = fitted.sample(n_samples, random_state=0)
    assert rows.shape == (n_samples, table.shape[1])
    assert rows.index.equals(pd.RangeIndex(n_samples))
    pd.testing.assert_series_equal(rows.dtypes, table.dtypes)


def test_one_row_is_the_default(fitted):
    assert len(fitted.sample()) == 1


@pytest.mark.parametrize("batch_size", [1, 7, 1024, 10**9, np.int64(5)])
def test_the_same_seed_gives_the_same_rows_whatever_the_batch_size(fitted, batch_size, monkeypatch):
    monkeypatch.setattr(_sampling, "_BLOCK_ROWS", 64)
    expected = fitted.sample(1500, random_state=4)
    rows = fitted.sample(1500, random_state=4, batch_size=batch_size)
    pd.testing.assert_frame_equal(rows, expected)


def test_random_states_of_the_same_seed_give_the_same_rows(fitted):
    expected = fitted.sample(20, random_state=4)
    rows = fitted.sample(20, random_state=np.random.RandomState(4))
    pd.testing.assert_frame_equal(rows, expected)
    assert not fitted.sample(20, random_state=5).equals(expected)


def test_without_a_seed_every_call_gives_new_rows_and_the_sequence_repeats(tiny, table):
    sequences = []
    for _ in range(2):
        model = tiny().fit(table)
        sequences.append([model.sample(20) for _ in range(3)])
    for one, other in zip(*sequences, strict=True):
        pd.testing.assert_frame_equal(one, other)
    first, second, third = sequences[0]
    assert not (first.equals(second) or second.equals(third) or first.equals(third))


def test_a_call_with_a_seed_leaves_the_sequence_alone(tiny, table):
    one, other = tiny().fit(table), tiny().fit(table)
    one.sample(5)
    other.sample(5)
    other.sample(5, random_state=1)
    pd.testing.assert_frame_equal(one.sample(5), other.sample(5))


def test_rows_of_a_large_sample_differ(fitted):
    rows = fitted.sample(3000, random_state=0)
    blocks = [rows.iloc[low : low + 1000].reset_index(drop=True) for low in (0, 1000, 2000)]
    assert not blocks[0].equals(blocks[1])
    assert not blocks[1].equals(blocks[2])


def entropy(column):
    shares = column.value_counts(normalize=True)
    return float(-(shares * np.log(shares.where(shares > 0, 1))).sum())


def test_temperature_sharpens_and_flattens(fitted):
    entropies = [
        entropy(fitted.sample(2000, random_state=0, temperature=temperature)["count"])
        for temperature in (0.3, 1.0, 3.0, 1e9)
    ]
    assert entropies == sorted(entropies)
    assert entropies[0] < entropies[1] - 0.1
    assert entropies[3] == pytest.approx(math.log(6), abs=0.01)  # any of the six counts


def test_a_tiny_temperature_gives_one_row(fitted):
    rows = fitted.sample(200, random_state=0, temperature=1e-9)
    assert rows.astype(str).drop_duplicates().shape[0] == 1


# -- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_samples", "batch_size"),
    [(1, 1), (5, 10), (10, 5), (11, 5), (80_000, 30_000), (70_000, None)],
)
def test_batches_are_the_rows_of_one_sample(fitted, n_samples, batch_size):
    batches = list(fitted.sample_batches(n_samples, random_state=4, batch_size=batch_size))
    full = batch_size or 65_536
    sizes = [min(full, n_samples - start) for start in range(0, n_samples, full)]
    assert [len(batch) for batch in batches] == sizes
    for batch in batches:
        assert batch.index.equals(pd.RangeIndex(len(batch)))
    rows = pd.concat(batches, ignore_index=True)
    pd.testing.assert_frame_equal(rows, fitted.sample(n_samples, random_state=4))


def test_batches_come_one_by_one(fitted, monkeypatch):
    drawn = []

    def record(model, uniforms, *rest):
        drawn.append(len(uniforms))
        return draw_rows(model, uniforms, *rest)

    monkeypatch.setattr(_sampling, "draw_rows", record)
    batches = fitted.sample_batches(10**9, random_state=0, batch_size=100)
    assert drawn == []
    assert len(next(batches)) == 100
    assert sum(drawn) < 10**5  # of a thousand million


def test_batches_are_polars_frames_where_the_table_was_one(tiny):
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"a": ["x", "y"] * 20, "b": range(0, 80, 2)})
    model = tiny(column_kinds={"b": "numeric"}).fit(table)
    batches = list(model.sample_batches(7, batch_size=3, random_state=0))
    assert [batch.shape for batch in batches] == [(3, 2), (3, 2), (1, 2)]
    assert polars.concat(batches).equals(model.sample(7, random_state=0))


def test_a_refit_leaves_the_batches_that_were_asked_for_before(tiny, table, monkeypatch):
    monkeypatch.setattr(_sampling, "_BLOCK_ROWS", 64)
    model = tiny().fit(table)
    expected = model.sample(300, random_state=1)
    batches = model.sample_batches(300, random_state=1, batch_size=100)
    first = next(batches)
    model.fit(pd.DataFrame({"other": ["p", "q"] * 20}))
    rest = pd.concat([first, *batches], ignore_index=True)
    pd.testing.assert_frame_equal(rest, expected)


def test_batches_are_arrays_where_the_table_was_one(tiny):
    numbers = np.random.default_rng(0).normal(size=(60, 2))
    (batch,) = tiny().fit(numbers).sample_batches(3)
    assert isinstance(batch, np.ndarray)
    assert batch.shape == (3, 2)


def test_batches_refuse_bad_parameters_at_once(fitted):
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample_batches(0)
    with pytest.raises(ValueError, match="batch_size"):
        fitted.sample_batches(2, batch_size=0)
    with pytest.raises(ValueError, match="temperature"):
        fitted.sample_batches(2, temperature=-1)
    with pytest.raises(NotFittedError):
        TabGRAASynthesizer().sample_batches(2)


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -3, 2.0, "5", None, True, math.nan])
def test_bad_n_samples(fitted, value):
    message = f"The 'n_samples' parameter of sample must be an int of at least 1. Got {value!r} "
    with pytest.raises(ValueError) as raised:
        fitted.sample(value)
    assert str(raised.value) == f"{message}instead."


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "hot", None, True])
def test_bad_temperature(fitted, value):
    with pytest.raises(ValueError) as raised:
        fitted.sample(2, temperature=value)
    assert str(raised.value) == (
        "The 'temperature' parameter of sample must be a finite number greater than 0. "
        f"Got {value!r} instead."
    )


@pytest.mark.parametrize("value", [0, -1, 2.5, "8", False])
def test_bad_batch_size(fitted, value):
    with pytest.raises(ValueError) as raised:
        fitted.sample(2, batch_size=value)
    assert str(raised.value) == (
        "The 'batch_size' parameter of sample must be None or an int of at least 1. "
        f"Got {value!r} instead."
    )


@pytest.mark.parametrize("value", ["seed", 1.5, -1])
def test_bad_random_state(fitted, value):
    with pytest.raises(ValueError, match=r"seed|Seed"):
        fitted.sample(2, random_state=value)


def test_a_refused_call_leaves_the_sequence_alone(tiny, table):
    one, other = tiny().fit(table), tiny().fit(table)
    with pytest.raises(ValueError, match="n_samples"):
        other.sample(0)
    pd.testing.assert_frame_equal(one.sample(5), other.sample(5))


# -- strata --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 2, 63, 64, 65, 1000])
def test_numbers_are_spread_evenly_among_neighbours(n_rows):
    random = np.random.default_rng(0)
    uniforms = torch.from_numpy(random.random(n_rows))
    alike = torch.from_numpy(random.permutation(n_rows))
    spread = _spread(uniforms, alike).double().numpy()
    assert ((spread >= 0) & (spread < 1)).all()
    for start in range(0, n_rows, _STRATUM):
        rows = alike[start : start + _STRATUM].numpy()
        if n_rows > 1:
            assert sorted(np.floor(spread[rows] * len(rows) + 1e-6)) == list(range(len(rows)))
        assert (np.argsort(spread[rows]) == np.argsort(uniforms[rows].numpy())).all()
    assert torch.equal(_spread(uniforms, None), uniforms.float())


def test_spread_numbers_are_uniform():
    """Each by itself, whatever stratum it is in."""
    random = np.random.default_rng(1)
    first = [
        float(_spread(torch.from_numpy(random.random(10)), torch.arange(10))[0])
        for _ in range(4000)
    ]
    assert kstest(first, "uniform").pvalue > 1e-3


def test_counts_come_nearer_to_the_model_than_those_of_independent_rows(fitted):
    """The first column's tokens are as frequent as the model says, nearly to the row."""
    n_rows, order = 1920, fitted.column_order_
    settings = {"order": order, "precision": torch.float32}
    digit = int(fitted.model_.layout.first[order[0]])

    def shares(stratified):
        found = []
        for seed in range(8):
            parts = sample_tokens(
                fitted.model_, n_rows, seed=seed, stratified=stratified, **settings
            )
            tokens = np.concatenate([ids[:, digit] for ids, _ in parts])
            found.append((tokens == 0).mean())
        return np.array(found)

    independent, even = shares(False), shares(True)
    assert even.std() < 0.3 * independent.std()
    assert even.mean() == pytest.approx(independent.mean(), abs=4 * independent.std() / np.sqrt(8))
