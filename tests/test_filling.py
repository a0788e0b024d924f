"""Rows that lack different cells, completed together, and predictions by Bayes' rule."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_table, make_tiny

from tabgraa_sklearn import TabGRAASynthesizer, _filling, _prediction
from tabgraa_sklearn._agreement import advantage, known_first, log_quotient
from tabgraa_sklearn._backbone import CompactBackbone
from tabgraa_sklearn._conditions import given_tokens, tokens_of_values
from tabgraa_sklearn._filling import fill_tokens
from tabgraa_sklearn._sampling import Drawing


@pytest.fixture(scope="module")
def one_way():
    """Give a model that never read `effect` before `cause`, and the table."""
    random = np.random.default_rng(0)
    cause = random.random(3000) < 0.3
    effect = np.where(random.random(3000) < 0.85, cause, ~cause)
    other = random.integers(0, 40, 3000)
    table = pd.DataFrame({"cause": cause, "effect": effect, "other": other})
    settings = {"max_epochs": 12, "batch_size": 64, "learning_rate": 1e-2, "n_rounds": 0}
    return make_tiny(random_order_share=0.0, **settings).fit(table), table


def settings_of(model):
    return {"order": model.column_order_, "precision": torch.float32, "seed": 3}


def holes_of(table, share=0.4, seed=1):
    holes = np.random.default_rng(seed).random(table.shape) < share
    return table.mask(holes)


def test_either_path_draws_the_same_rows(fitted, table, monkeypatch):
    """Those that begin alike together, or each in an order of its own."""
    frame = holes_of(table)
    tokens, known = given_tokens(frame, fitted._tokenizer, strict=True)
    found = []
    for many in (1, 10**9):
        monkeypatch.setattr(_filling, "_MANY", many)
        found.append(fill_tokens(fitted.model_, tokens, known, **settings_of(fitted)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    given = np.repeat(known, np.bincount(fitted._tokenizer.digit_columns), axis=1)
    np.testing.assert_array_equal(found[0][0][given], tokens[given])


def test_what_is_not_allowed_is_not_drawn(fitted, table):
    frame = holes_of(table, 0.7)
    tokens, known = given_tokens(frame, fitted._tokenizer, strict=False)
    allowed = tokens_of_values(fitted._tokenizer)
    for candidates in (1, 3):
        ids, places = fill_tokens(
            fitted.model_,
            tokens,
            known,
            allowed=allowed,
            candidates=candidates,
            **settings_of(fitted),
        )
        assert not fitted._tokenizer.decode(ids, places).isna().any().any()


def test_a_row_is_filled_alike_whatever_stands_beside_it(fitted, table):
    """Its random numbers are those of its place."""
    frame = holes_of(table)
    whole = fitted.impute(frame, random_state=5)
    pd.testing.assert_frame_equal(fitted.impute(frame.head(40), random_state=5), whole.head(40))


def test_candidates_make_up_for_orders_that_were_not_learnt(one_way):
    """Read backwards the model knows nothing; what it knows forwards decides among candidates."""
    model, table = one_way
    assert model.column_order_.index(0) < model.column_order_.index(1)
    n = 4000
    frame = pd.DataFrame({"cause": [None] * n, "effect": [True] * n, "other": [7] * n})
    tokens, known = given_tokens(frame, model._tokenizer, strict=False)
    right = table.loc[table["effect"], "cause"].mean()
    away = []
    for candidates in (1, 30):
        ids, places = fill_tokens(
            model.model_, tokens, known, candidates=candidates, **settings_of(model)
        )
        drawn = model._tokenizer.decode(ids, places)["cause"].astype(bool).mean()
        away.append(abs(drawn - right))
    assert away[1] < 0.05
    assert away[0] > 2 * away[1]


@pytest.mark.parametrize("target", ["group", "name"])
def test_predictions_follow_bayes_rule(fitted, target):
    """They are in proportion to the likelihood of the rows with each value, in bf16 where it is."""
    rows = make_table(30, 7).fillna({"price": 1.0})
    found = fitted.predict_proba(rows, target)
    values = list(found.columns)
    likelihood = [
        fitted.score_samples(
            rows.assign(**{target: pd.Series([value] * 30).astype(rows[target].dtype)}),
            numbers="interval",
        )
        for value in values
    ]
    wanted = np.exp(np.column_stack(likelihood))
    wanted /= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(found.to_numpy(), wanted, rtol=1e-2, atol=1e-3)


def test_predictions_beat_orders_that_were_not_learnt(one_way):
    model, table = one_way
    chances = model.predict_proba(table[["effect", "other"]].head(500), "cause")[True]
    right = [table.loc[table["effect"] == effect, "cause"].mean() for effect in (True, False)]
    seen = table["effect"].head(500)
    assert chances[seen].mean() == pytest.approx(right[0], abs=0.06)
    assert chances[~seen].mean() == pytest.approx(right[1], abs=0.06)


def test_a_prediction_does_not_depend_on_the_rows_beside_it(fitted):
    rows = holes_of(make_table(200, 8), 0.2)
    for target in ("group", "count", "price"):
        whole = fitted.predict_proba(rows, target)
        pd.testing.assert_frame_equal(
            fitted.predict_proba(rows.iloc[50:53], target), whole.iloc[50:53], check_exact=True
        )


def test_that_a_cell_is_missing_has_no_say_whatever_is_given():
    """`b` is mostly missing where `a` is u; on `other`, last in order, nothing depends."""
    random = np.random.default_rng(0)
    a = random.choice(["u", "v"], 1000)
    b = np.where((a == "u") & (random.random(1000) < 0.9), None, random.choice(list("xyzw"), 1000))
    other = random.choice(list("0123456789"), 1000)
    table = pd.DataFrame({"a": a, "b": b, "other": other})
    model = TabGRAASynthesizer(n_rounds=0, random_state=0).fit(table)
    assert model.column_order_[0] == 0 and model.column_order_[-1] == 2
    nothing = pd.DataFrame({name: [None] * 1500 for name in table})
    for asked in (nothing, nothing.assign(other="3")):
        filled = model.impute(asked, random_state=0)
        # Of rows that have `b`, one in eleven has u.
        assert (filled["a"] == "u").mean() == pytest.approx((a == "u").mean(), abs=0.12)


@pytest.fixture(scope="module", params=["ordered", "categories"])
def backwards(request):
    """Give a model that never read `y` before `x`, and rows; both have many values."""
    random = np.random.default_rng(0)
    x = random.integers(0, 50, 3000)
    y = 2 * x + random.integers(0, 12, 3000)
    table = pd.DataFrame({"x": x, "y": y})
    if request.param == "categories":
        # Labels whose order says nothing.
        table["x"] = random.permutation(50)[x].astype(str)
    settings = {"max_epochs": 12, "batch_size": 64, "learning_rate": 1e-2, "n_rounds": 0}
    model = make_tiny(random_order_share=0.0, **settings).fit(table)
    assert model.column_order_ == [0, 1]
    return model, table


def test_predictions_of_many_values_are_corrected_by_trials(backwards, monkeypatch):
    model, table = backwards
    asked = table[["y"]].head(300)

    def found(few, corrected=_prediction._corrected):
        monkeypatch.setattr(_prediction, "_FEW_VALUES", few)
        monkeypatch.setattr(_prediction, "_FEW_CELLS", 0)
        monkeypatch.setattr(_prediction, "_corrected", corrected)
        return model.predict_proba(asked, "x")

    exact, usual = found(100), found(1)
    behind = found(1, lambda *args: args[-1])
    np.testing.assert_allclose(usual.sum(axis=1), 1, rtol=1e-6)
    distance, before = (0.5 * abs(other - exact).sum(axis=1).mean() for other in (usual, behind))
    # Of 50 values 32 at the most are tried where they have an order, else the 16 likeliest: what
    # the wrong order rules out stays so.
    assert distance < (0.05 if exact.columns.dtype.kind == "i" else before - 0.1)
    assert before > 0.5


@pytest.mark.parametrize("target", ["group", "price"])
def test_one_pass_reads_the_target_behind_what_is_known(fitted, target):
    """As whole rows have it: known cells first, of each row others, then the target."""
    rows = holes_of(make_table(40, 9), 0.2)
    number = list(rows.columns).index(target)
    tokens, known = given_tokens(rows, fitted._tokenizer, strict=False)
    known[:, number] = False
    model, codec = copy.deepcopy(fitted.model_).double().eval(), fitted._tokenizer.codecs_[number]
    pairs = torch.cartesian_prod(*(torch.arange(size) for size in codec.sizes)).view(
        np.prod(codec.sizes), -1
    )
    digits = slice(model.layout.first[number], model.layout.first[number] + pairs.shape[1])
    wanted = np.zeros((len(rows), len(pairs)))
    for place, (ids, there) in enumerate(zip(tokens, known, strict=True)):
        order = known_first(there[None], fitted.column_order_)[0].tolist()
        order.remove(number)
        order.insert(int(there.sum()), number)
        every = torch.from_numpy(np.maximum(ids, 0)).long().repeat(len(pairs), 1)
        every[:, digits] = pairs
        with torch.inference_mode():
            wanted[place] = model(every, torch.tensor([order]))[:, number].exp().numpy()
    wanted[:, codec.readings()[1]] = 0.0
    wanted /= wanted.sum(1, keepdims=True)
    found = np.zeros_like(wanted)
    for own, probabilities in fitted._distributions(rows, number, "one_pass"):
        found[own] = probabilities
    assert len(np.unique(known, axis=0)) > 5
    np.testing.assert_allclose(found, wanted, rtol=3e-2, atol=2e-3)


def test_values_between_those_that_are_tried_are_interpolated():
    places = torch.tensor([[1, 3, 3, 6]])
    heights = torch.tensor([[0.0, 2.0, 2.0, 5.0]])
    found = _prediction._interpolated(places, heights, 9)
    assert found.tolist() == [[0, 0, 1, 2, 3, 4, 5, 5, 5]]


def test_candidates_are_weighted_as_they_were_drawn(fitted, table):
    """Without the missing cells, which may not be drawn: an oracle, cell by cell."""
    tokenizer, model = fitted._tokenizer, fitted.model_.eval()
    tokens, _ = given_tokens(table.head(6), tokenizer, strict=True)
    tokens = torch.from_numpy(np.maximum(tokens, 0)).long()
    allowed = tokens_of_values(tokenizer)
    barred = {c: torch.from_numpy(~mask.any(1)) for c, mask in allowed.items()}
    column = next(c for c, mask in barred.items() if mask.any())
    order = [column, *(other for other in fitted.column_order_ if other != column)]
    known = torch.ones(6, len(order), dtype=torch.bool)
    known[3:, column] = False
    in_order = torch.tensor([order])
    own = torch.from_numpy(known_first(known.numpy(), order))  # the drawn cell comes last
    own[:3] = in_order
    with torch.no_grad():
        usual = log_quotient(model, tokens, known, own, order)
        masked = log_quotient(model, tokens, known, own, order, barred)
        digit = int(model.layout.first[column])
        shares = torch.zeros(2, 6)  # of missing cells, in the order of sampling and in its own
        for token in barred[column].nonzero()[:, 0].tolist():
            tried = tokens.clone()
            tried[:, digit] = token
            for number, each in enumerate((in_order, own)):
                shares[number] += model(tried, each)[:, column].exp()
    less = ((1 - shares[1]) / (1 - shares[0])).log()
    torch.testing.assert_close(masked[:3], usual[:3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(masked[3:], usual[3:] + less[3:], atol=1e-4, rtol=1e-4)
    assert (less[3:].abs() > 0.001).any()
    drawing = Drawing.of(fitted.model_, torch.float32)
    masks = {c: torch.from_numpy(mask) for c, mask in allowed.items()}
    filler = _filling._Filler(drawing, [], order, 1.0, masks, False)
    with drawing.mode():
        found = filler._advantage(tokens[3:, None].expand(-1, 2, -1), known[3:])
    torch.testing.assert_close(found, masked[3:, None].expand(-1, 2), atol=1e-4, rtol=1e-4)


def test_rows_that_are_the_same_go_through_the_model_once(fitted, table, monkeypatch):
    tokens, known = given_tokens(holes_of(table).head(5), fitted._tokenizer, strict=True)
    tokens, known = np.maximum(tokens, 0), known
    own = known_first(known, fitted.column_order_)
    settings = (fitted.column_order_, torch.float32)
    alone = advantage(fitted.model_, tokens, known, own, *settings)
    rows, log_prob, seen = np.arange(400) % 5, CompactBackbone.forward, []

    def counted(self, token_ids, *args):
        seen.append(len(token_ids))
        return log_prob(self, token_ids, *args)

    monkeypatch.setattr(CompactBackbone, "forward", counted)
    found = advantage(fitted.model_, tokens[rows], known[rows], own[rows], *settings)
    assert seen == [5, 5]
    np.testing.assert_allclose(found, alone[rows], rtol=1e-5)


def test_given_cells_are_read_once_for_all_candidates(fitted, table, monkeypatch):
    tokens, known = given_tokens(table.head(40), fitted._tokenizer, strict=True)
    tokens = torch.from_numpy(np.maximum(tokens, 0)).long()
    there = torch.from_numpy(np.arange(known.shape[1]) % 2 == 0).expand(40, -1)
    drawing = Drawing.of(fitted.model_, torch.float32)
    tables = drawing.model.output_tables(torch.float32)
    filler = _filling._Filler(drawing, tables, fitted.column_order_, 1.0, {}, False)
    uniforms = [torch.rand(40, tokens.shape[1], generator=torch.manual_seed(k)) for k in (0, 1)]
    with drawing.mode():
        apart = [filler._complete(tokens, there, [each])[0] for each in uniforms]
        reads, read = [], CompactBackbone.read
        monkeypatch.setattr(CompactBackbone, "read", lambda *a: reads.append(1) or read(*a))
        together = filler._complete(tokens, there, uniforms)
    assert reads == [1]
    assert not torch.equal(*apart)
    for one, other in zip(apart, together, strict=True):
        assert torch.equal(one, other)
