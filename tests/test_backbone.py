"""The language model: a probability of every row, in every order, and draws that follow it."""

import itertools
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch.nn import functional as F
from transformers import AutoModel, GPT2Config, LlamaConfig, MambaConfig, T5Config, ViTConfig

from tabgraa_sklearn._attention import _text_attention
from tabgraa_sklearn._backbone import CompactBackbone, PooledDropout, compact_config
from tabgraa_sklearn._drawing import draw_rows
from tabgraa_sklearn._layout import TokenLayout
from tabgraa_sklearn._supervised import make_layout
from tabgraa_sklearn._tokenizer import TableTokenizer

NAN = math.nan
LARGEST_UNIFORM = 1 - 2**-24


def hand_layout():
    """Four columns: plain, two digits without order, two digits with order, plain with order.

    The second column is one of many categories whose last group is shorter, and may be missing.
    The third has two bins of two levels and one value that repeats often.
    """
    return TokenLayout(
        sizes=np.array([2, 3, 3, 3, 2, 3]),
        columns=np.array([0, 1, 1, 2, 2, 3]),
        positions=[
            np.full(2, NAN),
            np.full(3, NAN),
            np.full(3, NAN),
            np.array([0.25, 0.75, 0.4]),
            np.array([0.25, 0.75]),
            np.array([0.0, 1.0, NAN]),
        ],
        bases=[
            np.full(2, NAN),
            np.full(3, NAN),
            np.array([0.0, 0.5, 0.4]),
            np.array([0.0, 1.0, NAN]),
        ],
        steps=[np.zeros(2), np.zeros(3), np.array([0.25, 0.25, 0.0]), np.zeros(3)],
        allowed=[
            None,
            None,
            np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=bool),
            None,
            np.array([[1, 1], [1, 1], [1, 0]], dtype=bool),
            None,
        ],
    )


def table_layout():
    """Layout of a real table: 300 categories, a number of many values, missing cells in both."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "many": pd.Categorical([f"c{i}" for i in range(300)] * 2 + [None] * 10),
            "number": [*random.normal(size=500), *[0.5] * 100, *[NAN] * 10],
        }
    )
    tokenizer = TableTokenizer(n_bins=4, n_levels=8).fit(table)
    return make_layout(tokenizer)


def plain_layout():
    """Three columns of one digit."""
    sizes = [2, 3, 4]
    places = [np.full(2, NAN), np.linspace(0, 1, 3), np.linspace(0, 1, 4)]
    return TokenLayout(
        sizes=np.array(sizes),
        columns=np.arange(3),
        positions=places,
        bases=places,
        steps=[np.zeros(size) for size in sizes],
        allowed=[None] * 3,
    )


def compact():
    config = compact_config(4, width=32, n_layers=2, dropout=0.0)
    config.num_attention_heads = 2  # they share their keys
    return config


def gpt2():
    return GPT2Config(n_positions=8, n_embd=12, n_layer=1, n_head=3)


def llama():
    return LlamaConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8,
    )


LAYOUTS = [plain_layout, hand_layout, table_layout]
CONFIGS = [compact, gpt2, llama]


def make_model(layout, config, seed=0):
    """Give a model with large random weights, so that every cell depends on every other."""
    torch.manual_seed(seed)
    model = CompactBackbone(layout, config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def cells_of(layout, column):
    """All pairs of digits, or single ones, that a column may hold."""
    first, second = layout.first[column], layout.second[column]
    if second < 0:
        return [(token,) for token in range(layout.sizes[first])]
    return [tuple(pair) for pair in np.argwhere(layout.allowed[second])]


def all_rows(layout):
    columns = [cells_of(layout, column) for column in range(layout.n_columns)]
    rows = [sum(map(tuple, cells), ()) for cells in itertools.product(*columns)]
    return torch.tensor(np.array(rows), dtype=torch.long)


def tables_of(model):
    return model.output_tables(model.begin.dtype)


# -- likelihood --------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_probabilities_of_all_rows_sum_to_one_in_every_order(layout, config):
    layout = layout()
    model, rows = make_model(layout, config()), all_rows(layout)
    orders = [None, list(range(layout.n_columns))[::-1]]
    orders += [np.random.default_rng(seed).permutation(layout.n_columns) for seed in range(3)]
    sums, likelihoods = [], []
    with torch.no_grad():
        for order in orders:
            spread = None if order is None else torch.tensor(order).expand(len(rows), -1)
            logs = model(rows, spread)
            assert logs.shape == (len(rows), layout.n_columns)
            assert (logs <= 1e-12).all()
            likelihoods.append(logs.sum(1))
            sums.append(float(likelihoods[-1].exp().sum()))
    assert sums == pytest.approx([1.0] * len(orders), abs=1e-10)
    # The weights are not trained: no two different orders give the same distribution.
    assert not torch.allclose(likelihoods[0], likelihoods[0].mean().expand(len(rows)), atol=1e-3)


def test_no_order_is_the_order_of_the_table():
    layout = hand_layout()
    model, rows = make_model(layout, compact()), all_rows(layout)
    with torch.no_grad():
        as_they_stand = model(rows, torch.arange(4).expand(len(rows), -1))
        torch.testing.assert_close(model(rows), as_they_stand, rtol=0, atol=1e-12)


def test_each_row_may_have_its_own_order():
    layout = hand_layout()
    model, rows = make_model(layout, compact()), all_rows(layout)
    orders = torch.rand(len(rows), 4).argsort(1)
    with torch.no_grad():
        together = model(rows, orders)
        alone = [model(rows[i : i + 1], orders[i : i + 1])[0] for i in range(len(rows))]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-12)


def test_all_rows_may_have_one_order():
    layout = hand_layout()
    model, rows = make_model(layout, compact()), all_rows(layout)
    order = torch.tensor([[2, 0, 3, 1]])
    with torch.no_grad():
        each = model(rows, order.expand(len(rows), -1))
        torch.testing.assert_close(model(rows, order), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_later_cell_does_not_change_an_earlier_one(config):
    layout = hand_layout()
    model, rows = make_model(layout, config()), all_rows(layout)
    random = np.random.default_rng(0)
    for _ in range(4):
        order = random.permutation(4)
        orders = torch.tensor(order).expand(len(rows), -1)
        shuffled = rows[torch.from_numpy(random.permutation(len(rows)))]
        with torch.no_grad():
            before = model(rows, orders)
            for known in range(1, 4):
                mixed = shuffled.clone()
                for column in order[:known]:
                    digits = np.flatnonzero(layout.columns == column)
                    mixed[:, digits] = rows[:, digits]
                after = model(mixed, orders)
                seen, asked = order[:known].tolist(), int(order[known])
                torch.testing.assert_close(after[:, seen], before[:, seen], rtol=0, atol=1e-12)
                assert not torch.allclose(after[:, asked], before[:, asked], atol=1e-3)


def test_every_cell_depends_on_every_earlier_one():
    layout = hand_layout()
    model = make_model(layout, compact())
    base = torch.zeros(1, layout.n_digits, dtype=torch.long)
    with torch.no_grad():
        expected = model(base)[0]
        for digit in range(layout.n_digits - 1):
            changed = base.clone()
            changed[0, digit] = 1
            later = model(changed)[0, layout.columns[digit] + 1 :]
            assert (later - expected[layout.columns[digit] + 1 :]).abs().min() > 1e-5


def test_start_from_makes_a_fresh_model_the_independent_one():
    layout = hand_layout()
    torch.manual_seed(0)
    model = CompactBackbone(layout, compact()).eval()
    rows = all_rows(layout)
    random = np.random.default_rng(0)
    ids = rows[random.integers(0, len(rows), 50)].numpy()
    weights = random.random(50)
    model.start_from(ids, weights)
    for vocabulary in (model.vocabulary, model.level_vocabulary):
        vocabulary.table.data.zero_()
    with torch.no_grad():
        logs = model(rows)
    for column in (0, 3):  # those of one digit
        digit = layout.first[column]
        counts = [
            weights[ids[:, digit] == token].sum() + 0.1 for token in range(layout.sizes[digit])
        ]
        expected = np.log(np.array(counts) / sum(counts))[rows[:, digit]]
        np.testing.assert_allclose(logs[:, column], expected, rtol=1e-5)


def test_matched_marginals_are_those_of_the_rows():
    layout = hand_layout()
    model, rows = make_model(layout, compact()), all_rows(layout)
    random = np.random.default_rng(0)
    ids, weights = rows[random.integers(0, len(rows), 3000)], torch.rand(3000).double()
    order = torch.tensor([2, 0, 3, 1])

    def mean_probabilities(column):
        """By the model: each token of a column in turn, the columns before it as they are."""
        out = []
        for cell in cells_of(layout, column):
            changed = ids.clone()
            for place, token in zip(
                (layout.first[column], layout.second[column]), cell, strict=False
            ):
                changed[:, place] = token
            with torch.no_grad():
                out.append(
                    (model(changed, order.expand(3000, -1))[:, column].exp() @ weights).item()
                )
        return np.array(out) / weights.sum().item()

    def frequencies(column):
        digits = [d for d in (layout.first[column], layout.second[column]) if d >= 0]
        same = [(ids[:, digits] == torch.tensor(cell)).all(1) for cell in cells_of(layout, column)]
        return np.array([weights[rows].sum().item() for rows in same]) / weights.sum().item()

    before = [np.abs(mean_probabilities(c) - frequencies(c)).sum() for c in (0, 3)]
    model.match_marginals(ids, weights, order)
    after = [np.abs(mean_probabilities(c) - frequencies(c)).sum() for c in (0, 3)]
    assert min(before) > 0.1  # random weights are far from the frequencies
    assert max(a / b for a, b in zip(after, before, strict=True)) < 0.15


# -- draws -------------------------------------------------------------------------------------


def draw_by_enumeration(model, layout, uniforms, order, temperature):
    """Draw one row by nothing but `forward`: the probability of every cell, one after another."""
    row = np.zeros(layout.n_digits, dtype=np.int64)

    def read_off(logs, uniform):
        scaled = np.array(logs) / temperature
        probabilities = np.exp(scaled - np.logaddexp.reduce(scaled))
        return int((np.cumsum(probabilities) <= uniform).sum())

    for column in order:
        first, second = layout.first[column], layout.second[column]
        cells = cells_of(layout, column)
        candidates = np.tile(row, (len(cells), 1))
        for candidate, cell in zip(candidates, cells, strict=True):
            candidate[first : first + len(cell)] = cell
        with torch.no_grad():
            orders = torch.tensor(order).expand(len(cells), -1)
            logs = model(torch.from_numpy(candidates), orders)[:, column].numpy()
        of_first = [
            np.logaddexp.reduce(
                [log for log, cell in zip(logs, cells, strict=True) if cell[0] == t]
            )
            for t in range(layout.sizes[first])
        ]
        row[first] = read_off(of_first, uniforms[first])
        if second >= 0:
            logs = [log for log, cell in zip(logs, cells, strict=True) if cell[0] == row[first]]
            levels = [cell[1] for cell in cells if cell[0] == row[first]]
            row[second] = levels[read_off(logs, uniforms[second])]
    return row


@pytest.mark.parametrize(("most", "share"), [(1, True), (3, True), (1024, True), (7, False)])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("config", CONFIGS)
def test_draw_step_by_step_is_a_draw_from_the_full_pass(config, temperature, most, share):
    layout = hand_layout()
    model = make_model(layout, config())
    random = np.random.default_rng(1)
    uniforms = random.random((20, layout.n_digits))
    order = random.permutation(4).tolist()
    with torch.no_grad():
        drawn = draw_rows(
            model,
            torch.from_numpy(uniforms),
            order,
            tables_of(model),
            temperature,
            most,
            share,
            stratified=False,
        )
    expected = [draw_by_enumeration(model, layout, u, order, temperature) for u in uniforms]
    np.testing.assert_array_equal(drawn.numpy(), expected)
    assert len(np.unique(expected, axis=0)) > 3


def test_rows_that_begin_alike_share_their_computation_until_they_part(monkeypatch):
    layout = hand_layout()
    model, order = make_model(layout, llama()), [2, 0, 3, 1]
    seen = []
    transform = model._transform

    def record(inputs, cache=None):
        seen.append(transform(inputs, cache))
        return seen[-1]

    monkeypatch.setattr(model, "_transform", record)
    with torch.no_grad():
        rows = draw_rows(model, torch.rand(200, layout.n_digits), order, tables_of(model))
        monkeypatch.undo()
        whole = model.hidden(rows, torch.tensor(order).expand(200, -1))
    assert len(seen[0]) == 1 < len(seen[1]) < 200
    for step, states in enumerate(seen):
        # Each state of the cached pass is the state of a row in the full pass, and all are there.
        full = whole[:, order[step]]
        distance = torch.cdist(full, states[:, 0])
        assert distance.min(0).values.max() < 1e-6
        assert distance.min(1).values.max() < 1e-6


@pytest.mark.parametrize("layout", [hand_layout, table_layout])
def test_frequencies_of_draws_are_the_probabilities(layout):
    layout = layout()
    model, rows = make_model(layout, compact()), all_rows(layout)
    order = list(range(layout.n_columns))[::-1]
    uniforms = torch.from_numpy(np.random.default_rng(0).random((20_000, layout.n_digits)))
    with torch.no_grad():
        drawn = draw_rows(model, uniforms, order, tables_of(model))
        orders = torch.tensor(order).expand(len(rows), -1)
        expected = model(rows, orders).sum(1).exp().numpy() * len(drawn)
    keys, counts = np.unique(drawn.numpy(), axis=0, return_counts=True)
    number = {tuple(row): place for place, row in enumerate(rows.tolist())}
    observed = np.zeros(len(rows))
    for key, count in zip(keys.tolist(), counts, strict=True):
        observed[number[tuple(key)]] = count  # a KeyError: a row that cannot be
    # Rare rows are pooled, for the chi-squared distribution to hold.
    common = expected >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [1e-300, 0.01, 1.0, 1e4, 1e300])
@pytest.mark.parametrize("layout", [hand_layout, table_layout])
def test_draws_are_rows_that_can_be_at_every_temperature(layout, temperature):
    layout = layout()
    torch.manual_seed(0)
    model = CompactBackbone(layout, compact()).eval()
    uniforms = torch.rand(2000, layout.n_digits)
    uniforms[:100] = 0.0
    uniforms[100:200] = LARGEST_UNIFORM
    with torch.no_grad():
        drawn = draw_rows(
            model, uniforms, list(range(layout.n_columns)), tables_of(model), temperature
        )
    drawn = drawn.numpy()
    assert (drawn >= 0).all() and (drawn < layout.sizes).all()
    closed = 0
    for first, second in zip(layout.first, layout.second, strict=True):
        if second >= 0:
            assert layout.allowed[second][drawn[:, first], drawn[:, second]].all()
            single = layout.allowed[second].sum(1) == 1
            closed += single[drawn[:, first]].sum()
            assert (drawn[single[drawn[:, first]], second] == 0).all()
    if temperature >= 1:
        assert closed > 0


def test_a_tiny_temperature_takes_the_likeliest_and_a_huge_one_any():
    layout = plain_layout()
    model = make_model(layout, compact())
    order, uniforms = [0, 1, 2], torch.rand(3000, 3)
    with torch.no_grad():
        cold = draw_rows(model, uniforms, order, tables_of(model), 1e-300)
        hot = draw_rows(model, uniforms, order, tables_of(model), 1e300)
        rows = all_rows(layout)
        best = rows[:, :1][model(rows)[:, 0].argmax()]
    assert (cold == cold[0]).all()
    assert cold[0, 0] == best
    for digit, size in enumerate(layout.sizes):
        counts = np.bincount(hot[:, digit].numpy(), minlength=size)
        assert stats.chisquare(counts).pvalue > 1e-3


# -- parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_slot_attention_is_the_eager_attention_of_transformers(config):
    model = make_model(hand_layout(), config())
    reference = config()
    reference._attn_implementation = "eager"
    eager = AutoModel.from_config(reference).double().eval()
    eager.set_input_embeddings(model.transformer.get_input_embeddings())
    eager.load_state_dict(model.transformer.state_dict())
    inputs = torch.randn(3, 4, len(model.begin), dtype=torch.float64)
    with torch.no_grad():
        expected = eager(inputs_embeds=inputs).last_hidden_state
        # Rotary positions are computed in single precision, by different instructions.
        torch.testing.assert_close(model._transform(inputs), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [7, 300])
@pytest.mark.parametrize("sources", [1, 4])
def test_attention_of_texts_is_that_of_torch_in_training_and_out_of_it(sources, length):
    torch.manual_seed(0)
    module = SimpleNamespace(is_causal=True, num_key_value_groups=4 // sources, training=True)
    heads = [torch.randn(2, n, length, 8, requires_grad=True) for n in (4, sources, sources)]
    shared = [part.repeat_interleave(4 // part.shape[1], 1) for part in heads]
    expected = F.scaled_dot_product_attention(*shared, is_causal=True, scale=0.2).transpose(1, 2)
    wanted = torch.autograd.grad(expected.square().sum(), heads)
    for enabled, tolerance in ((False, 1e-5), (True, 0.1)):  # plain products in bf16, if short
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            mixed, _ = _text_attention(module, *heads, None, scaling=0.2, dropout=0.0)
            with torch.no_grad():
                again, _ = _text_attention(module, *heads, None, scaling=0.2, dropout=0.0)
        torch.testing.assert_close(mixed.float(), expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(again.float(), expected, rtol=0, atol=tolerance)
        found = torch.autograd.grad(mixed.float().square().sum(), heads)
        for gradient, target in zip(found, wanted, strict=True):
            error = (gradient - target).norm() / target.norm()
            assert error < tolerance


def test_attention_of_texts_keeps_dropout():
    module = SimpleNamespace(is_causal=True, num_key_value_groups=1, training=True)
    heads = [torch.ones(1, 1, 6, 8, requires_grad=True) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = _text_attention(module, *heads, None, scaling=0.2, dropout=0.5)
    assert not torch.allclose(mixed.float(), torch.ones(()))


def test_values_with_an_order_have_nothing_of_their_own_where_only_smooth_embeddings_are():
    config = compact_config(4, width=32, n_layers=1, dropout=0.0)
    ids = torch.tensor([[0, 1, 1, 1, 1, 1], [1, 2, 0, 2, 0, 2]])
    for smooth_only in (True, False):
        model = CompactBackbone(hand_layout(), config, smooth_only=smooth_only).eval()
        before = model(ids)
        ordered = model.ordered.bool()
        with torch.no_grad():
            model.value[ordered] += torch.randn(int(ordered.sum()), 32)
            placed = model.vocabulary.basis.any(1)
            model.vocabulary.table[placed] += torch.randn(int(placed.sum()), 32)
        assert torch.equal(before, model(ids)) == smooth_only
    model = CompactBackbone(hand_layout(), config, smooth_only=True).eval()
    before = model(ids)
    with torch.no_grad():
        model.value[~model.ordered.bool()] += torch.randn(32)
    assert not torch.equal(before, model(ids))  # categories, and what is missing, keep theirs


def test_dropout_keeps_its_share_and_the_mean():
    dropout = PooledDropout(0.3).train()
    inputs = torch.full((500, 400), 2.0)
    outputs = dropout(inputs)
    kept = outputs != 0
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.01)
    torch.testing.assert_close(outputs[kept], inputs[kept] / 0.7)
    assert not torch.equal(dropout(inputs) != 0, kept)
    assert dropout(inputs.bfloat16()).dtype == torch.bfloat16


def test_dropout_does_nothing_outside_training_and_leaves_its_pool_behind():
    dropout = PooledDropout(0.5).train()
    inputs = torch.ones(10, 10)
    dropout(inputs)
    assert dropout._pool is not None
    assert len(pickle.dumps(dropout)) < 10_000
    assert torch.equal(dropout.eval()(inputs), inputs)
    assert dropout._pool is None
    assert torch.equal(PooledDropout(0.0).train()(inputs), inputs)


def test_dropout_of_the_architecture_is_replaced():
    model = CompactBackbone(hand_layout(), compact_config(4, width=32, n_layers=1, dropout=0.2))
    kinds = [type(module) for module in model.modules()]
    assert torch.nn.Dropout not in kinds
    assert sum(m.p == 0.2 for m in model.modules() if isinstance(m, PooledDropout)) == 4


def test_a_text_vocabulary_is_not_kept():
    model = CompactBackbone(hand_layout(), llama())
    assert llama().vocab_size == 32_000
    assert sum(parameter.numel() for parameter in model.parameters()) < 20_000


# -- architectures that will not do ------------------------------------------------------------

NOT_CAUSAL = (
    "backbone must be the configuration of a causal language model that accepts inputs_embeds, "
    "a key/value cache and as many positions as there are columns; got "
)


@pytest.mark.parametrize("config", [T5Config(), ViTConfig()])
def test_a_configuration_that_is_not_of_a_causal_model_is_refused(config):
    with pytest.raises(ValueError) as raised:
        CompactBackbone(hand_layout(), config)
    assert str(raised.value) == f"{NOT_CAUSAL}{type(config).__name__}."


def test_an_architecture_without_a_cache_is_refused():
    config = MambaConfig(hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(ValueError) as raised:
        CompactBackbone(hand_layout(), config).check_causal()
    assert str(raised.value).startswith(f"{NOT_CAUSAL}MambaConfig.")


def test_too_few_positions_are_refused():
    config = GPT2Config(n_positions=3, n_embd=12, n_layer=1, n_head=3)
    with pytest.raises(ValueError) as raised:
        CompactBackbone(hand_layout(), config).check_causal()
    assert str(raised.value).startswith(f"{NOT_CAUSAL}GPT2Config.")


@pytest.mark.parametrize("config", CONFIGS)
def test_causal_architectures_pass_the_check(config):
    CompactBackbone(hand_layout(), config()).check_causal()
