"""One cell through the compact model's transformer, beside transformers' own forward pass."""

import pytest
import torch
from transformers import GPT2Config, GPT2Model, GPTBigCodeConfig, GPTBigCodeModel

from tabgraa_sklearn._attention import ATTENTION, CellCache, TreeCache, with_cache
from tabgraa_sklearn._backbone import compact_config
from tabgraa_sklearn._step import can_step, step

N_CELLS, N_ROWS = 5, 6


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    config = compact_config(N_CELLS, width=64, n_layers=2)
    config._attn_implementation = ATTENTION
    model = GPTBigCodeModel(config).double().eval()
    for parameter in model.parameters():  # biases and norms that matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def whole(transformer, inputs):
    return transformer(inputs_embeds=inputs, **with_cache(transformer, None)).last_hidden_state


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_states_are_those_of_the_forward_pass(transformer, dtype):
    """Cell by cell the same numbers, bit for bit; of all cells at once but for rounding."""
    transformer = transformer.to(dtype)
    inputs = torch.randn(N_ROWS, N_CELLS, 64, dtype=dtype)
    cache, its = CellCache(N_CELLS), CellCache(N_CELLS)
    for cells in inputs.unbind(1):
        states = step(transformer, cells, cache, states=True)
        keywords = with_cache(transformer, its)
        forward = transformer(inputs_embeds=cells[:, None], **keywords).last_hidden_state
        assert torch.equal(states, forward[:, 0])
    if dtype is not torch.bfloat16:
        torch.testing.assert_close(states, whole(transformer, inputs)[:, -1])


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["rows", "tree"])
def test_later_states_need_none_of_the_earlier(transformer, kind):
    inputs = torch.randn(N_ROWS, N_CELLS, 64, dtype=torch.float64)
    before = inputs.clone()
    cache = CellCache(N_CELLS) if kind == "rows" else TreeCache(N_ROWS * N_CELLS)
    for place, cells in enumerate(inputs.unbind(1)):
        start = place * N_ROWS
        if kind == "tree":
            rows = torch.arange(N_ROWS)[:, None]
            cache.at(rows + N_ROWS * torch.arange(place), start)
        last = place == N_CELLS - 1
        states = step(transformer, cells, cache, states=last)
        if not last:
            assert not states.any()
    torch.testing.assert_close(states, whole(transformer, inputs)[:, -1])
    assert torch.equal(inputs, before)  # nothing is added to what came in


def test_other_architectures_take_their_own_forward_pass(transformer):
    assert can_step(transformer)
    assert not can_step(torch.nn.Linear(2, 2))
    sizes = {"vocab_size": 1, "n_embd": 64, "n_layer": 1, "n_head": 2, "n_positions": 4}
    assert not can_step(GPTBigCodeModel(GPTBigCodeConfig(**sizes, multi_query=False)))
    assert not can_step(GPT2Model(GPT2Config(**sizes)))
