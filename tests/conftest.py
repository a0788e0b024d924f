"""What several test modules need: a synthesizer that fits in a moment, and the tables for it."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import GPT2Config

from tabgraa_sklearn import TabGRAASynthesizer


def make_tiny(**params):
    """Give a synthesizer of one narrow layer without dropout; `params` go before its own."""
    config = GPT2Config(
        vocab_size=1,
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    settings = {"backbone": config, "max_epochs": 1, "random_state": 0, "device": "cpu"}
    return TabGRAASynthesizer(**{**settings, **params})


def make_table(n_rows=120, seed=0):
    """Give a table of the commonest dtypes, with missing cells and dependent columns."""
    random = np.random.default_rng(seed)
    group = random.integers(0, 3, n_rows)
    table = pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(group, ["low", "mid", "high"], ordered=True),
            "count": group * 2 + random.integers(0, 2, n_rows),
            "price": np.round(random.lognormal(group, 0.5), 2),
            "name": np.array(["ann", "bob", "cid", "dee"])[(group + random.integers(0, 2, n_rows))],
        }
    )
    table.loc[random.random(n_rows) < 0.1, "price"] = np.nan
    return table


@pytest.fixture
def double():
    """Have torch make double precision by default, for one test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def tiny():
    return make_tiny


@pytest.fixture(scope="session")
def table():
    return make_table()


@pytest.fixture(scope="session")
def fitted(table):
    """Give a synthesizer fitted to `table`: to be sampled and scored with seeds, not changed."""
    return make_tiny(max_epochs=3).fit(table)
