"""The optimiser loop: the average of the weights, the best epoch, why it ended."""

import copy
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from tabgraa_sklearn import TabGRAASynthesizer
from tabgraa_sklearn._backbone import CompactBackbone, compact_config
from tabgraa_sklearn._layout import TokenLayout
from tabgraa_sklearn._training import Trainer, mixed_order_loss, nats_per_row
from tabgraa_sklearn.datasets import load_adult

ORDER = torch.tensor([2, 0, 1])
HISTORY_KEYS = [
    "stage",
    "epoch",
    "train_nats",
    "learning_rate",
    "rows_per_second",
    "seconds",
    "validation_nats",
    "elapsed_seconds",
]


def make_layout():
    places = [np.full(3, math.nan), np.linspace(0, 1, 3), np.full(2, math.nan)]
    return TokenLayout(
        sizes=np.array([3, 3, 2]),
        columns=np.arange(3),
        positions=places,
        bases=places,
        steps=[np.zeros(len(place)) for place in places],
        allowed=[None] * 3,
    )


def make_rows(n_rows, seed=0):
    """Rows of three columns: the second nearly copies the first, the third tells its parity."""
    random = np.random.default_rng(seed)
    first = random.integers(0, 3, n_rows)
    second = np.where(random.random(n_rows) < 0.9, first, random.integers(0, 3, n_rows))
    return torch.from_numpy(np.column_stack([first, second, first % 2]))


def make_model():
    torch.manual_seed(0)
    return CompactBackbone(make_layout(), compact_config(3, width=32, n_layers=1, dropout=0.0))


def make_trainer(**settings):
    defaults = {
        "loss": mixed_order_loss(ORDER, 0.0),
        "validation": {"validation_nats": (1.0, nats_per_row(ORDER))},
        "device": torch.device("cpu"),
        "precision": torch.float32,
        "max_epochs": 3,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "n_iter_no_change": 10,
        "patience_steps": 0,
    }
    return Trainer(**{**defaults, **settings})


def parts():
    train, held_out = make_rows(200), make_rows(70, seed=1)
    return (train, torch.ones(200)), (held_out, torch.linspace(0.1, 2, 70))


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def of_each(rows, value):
    return torch.full((len(rows),), value, dtype=torch.float64)


def assert_equal_states(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


# -- losses ------------------------------------------------------------------------------------


def test_loss_in_the_fixed_order_is_the_weighted_mean_over_rows_and_cells():
    model, rows, weights = make_model(), make_rows(7), torch.arange(7.0)
    total = 0.0
    for row, weight in zip(rows, weights, strict=True):
        total -= float(model(row[None], ORDER[None]).detach().sum()) * float(weight)
    assert float(mixed_order_loss(ORDER, 0.0)(model, rows, weights).detach()) == pytest.approx(
        total / 21, rel=1e-5
    )


def test_nats_per_row_are_those_of_each_row():
    model, rows = make_model(), make_rows(7)
    nats = [-float(model(row[None], ORDER[None]).detach().sum()) for row in rows]
    assert nats_per_row(ORDER)(model, rows).tolist() == pytest.approx(nats, rel=1e-5)


def test_nats_in_random_orders_are_the_same_at_every_call():
    rows, orders = make_rows(600), []

    def spy(token_ids, order):
        orders.append(order)
        return order * torch.tensor([1.0, 10.0, 100.0])

    spy.n_columns = 3
    nats = [nats_per_row(None)(spy, rows).tolist() for _ in range(2)]
    assert torch.equal(*orders)
    counts = np.unique(orders[0].numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 6 and counts.min() > 70  # a hundred of each of the six orders
    sums = (orders[0] * torch.tensor([1.0, 10.0, 100.0])).sum(1).numpy()
    assert nats[0] == nats[1] == pytest.approx((-sums).tolist(), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_batches_in_random_order(share):
    orders = []

    def spy(token_ids, order):
        orders.append(order)
        return torch.zeros(len(token_ids), 3)

    loss = mixed_order_loss(ORDER, share)
    torch.manual_seed(0)
    for _ in range(200):
        loss(spy, make_rows(64), torch.ones(64))
    random = [not (order == ORDER).all() for order in orders]
    assert np.mean(random) == pytest.approx(share, abs=0.1)
    for order in itertools.compress(orders, random):
        assert (order.sort(1).values == torch.arange(3)).all()
    if share:  # every one of the six orders, about equally often
        drawn = torch.cat(list(itertools.compress(orders, random)))
        counts = np.unique(drawn.numpy(), axis=0, return_counts=True)[1]
        assert len(counts) == 6
        assert counts.min() > 0.8 * counts.max()


# -- the loop ----------------------------------------------------------------------------------


def test_the_model_ends_with_the_moving_average_of_its_weights(monkeypatch):
    snapshots = []
    average = Trainer._average

    def record(self, target, model):
        snapshots.append(state_of(model))
        average(self, target, model)

    monkeypatch.setattr(Trainer, "_average", record)
    model = make_model()
    expected = state_of(model)
    make_trainer(max_epochs=1, averaging=0.5).run(model, *parts())
    assert len(snapshots) == math.ceil(200 / 32)
    for step, snapshot in enumerate(snapshots, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in snapshot.items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    assert_equal_states(state_of(model), expected)
    assert any(not torch.equal(expected[name], snapshots[-1][name]) for name in expected)


def test_an_epoch_sees_every_row_once_in_a_new_order():
    seen = []

    def loss(model, token_ids, weights):
        seen.append((token_ids, weights))
        return model.begin.sum()

    (rows, _), held_out = parts()
    numbers = torch.arange(200.0)  # weights that tell the rows apart
    make_trainer(loss=loss, max_epochs=2).run(make_model(), (rows, numbers), held_out)
    assert [len(weights) for _, weights in seen] == [32] * 6 + [8] + [32] * 6 + [8]
    first, second = torch.cat([w for _, w in seen]).reshape(2, 200).long()
    for epoch, batches in ((first, seen[:7]), (second, seen[7:])):
        assert sorted(epoch.tolist()) == list(range(200))
        assert torch.equal(torch.cat([ids for ids, _ in batches]), rows[epoch])
    assert not torch.equal(first, second)


def test_training_lowers_the_held_out_nats_to_nearly_the_entropy():
    model = make_model()
    result = make_trainer(max_epochs=15, averaging=0.9).run(model, *parts())
    nats = [entry["validation_nats"] for entry in result.history]
    # First uniform over 3, second a copy in 14 of 15 cases, third known.
    entropy = math.log(3) - (14 / 15 * math.log(14 / 15) + 1 / 15 * math.log(1 / 30))
    independent = math.log(3) * 2 - (2 * math.log(2 / 3) + math.log(1 / 3)) / 3
    assert min(nats) < entropy + 0.2 < independent - 0.5
    assert nats[0] > min(nats)


def test_the_best_epoch_is_restored_and_the_loop_stops_without_improvement(monkeypatch):
    scripted = iter([3.0, 2.0, 2.5, 2.0, 2.1, 1.0])
    averages = []

    def validate(self, model, token_ids, measure):
        averages.append(state_of(model))
        return of_each(token_ids, next(scripted))

    monkeypatch.setattr(Trainer, "_validate", validate)
    model = make_model()
    trainer = make_trainer(max_epochs=6, n_iter_no_change=3, warmup_steps=7)
    result = trainer.run(model, *parts())
    assert result.stop_reason == "no improvement"
    assert result.best_epoch == 2
    assert [entry["validation_nats"] for entry in result.history] == [3.0, 2.0, 2.5, 2.0, 2.1]
    assert_equal_states(state_of(model), averages[1])
    assert any(not torch.equal(averages[1][name], averages[4][name]) for name in averages[1])


@pytest.mark.parametrize(("patience_steps", "n_epochs"), [(7, 3), (8, 3), (15, 4), (99, 6)])
def test_patience_lasts_for_epochs_and_for_steps(monkeypatch, patience_steps, n_epochs):
    monkeypatch.setattr(Trainer, "_validate", lambda self, model, rows, _: of_each(rows, 1.0))
    patience = {"n_iter_no_change": 2, "patience_steps": patience_steps}
    trainer = make_trainer(max_epochs=6, warmup_steps=7, **patience)
    result = trainer.run(make_model(), *parts())  # 7 steps an epoch
    assert len(result.history) == n_epochs
    assert result.best_epoch == 1


def test_the_best_epoch_has_the_least_weighted_sum_of_what_is_measured(monkeypatch):
    scripted = {"one": iter([1.0, 2.0, 3.0]), "other": iter([9.0, 5.0, 4.75])}

    def validate(self, model, token_ids, measure):
        return of_each(token_ids, next(scripted[measure]))

    monkeypatch.setattr(Trainer, "_validate", validate)
    validation = {"one": (0.25, "one"), "other": (0.75, "other")}  # 7, 4.25 and 4.3125
    result = make_trainer(validation=validation).run(make_model(), *parts())
    assert result.best_epoch == 2
    assert [(entry["one"], entry["other"]) for entry in result.history] == [
        (1.0, 9.0),
        (2.0, 5.0),
        (3.0, 4.75),
    ]


def test_held_out_nats_of_the_result_are_the_best_of_the_history():
    model = make_model()
    train, (rows, weights) = parts()
    result = make_trainer(max_epochs=4).run(model, train, (rows, weights))
    nats = [entry["validation_nats"] for entry in result.history]
    again = [-float(model(row[None], ORDER[None]).detach().sum()) for row in rows]
    assert np.average(again, weights=weights) == pytest.approx(min(nats), rel=1e-5)
    assert result.best_epoch == 1 + int(np.argmin(nats))
    assert result.stop_reason == "max_epochs"
    assert not model.training


def test_validation_does_not_depend_on_how_the_rows_are_split():
    model = make_model().eval()
    rows, weights = make_rows(2500), torch.rand(2500) + 0.1  # in parts of 1024
    got, means = make_trainer().measure(model, (rows, weights))
    with torch.no_grad():
        nats = -model(rows, ORDER.expand(2500, -1)).sum(1).numpy()
    np.testing.assert_allclose(got, nats, rtol=1e-4)
    expected = np.average(nats, weights=weights)
    assert means == {"validation_nats": pytest.approx(expected, rel=1e-5)}


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ([0.0, 0.0, 0.0, 0.0], [0.4, -0.5, 0.6, -0.4], 2),  # .025 with an error of .26
        ([0.0, 0.0, 0.0, 0.0], [0.3, 0.5, 0.4, 0.2], 1),
        ([1.0, 1.0, 1.0, 1.0], [0.3, 0.5, 0.4, 0.2], 2),
    ],
)
def test_an_epoch_in_which_the_rate_rises_is_kept_only_for_good_reason(
    monkeypatch, first, second, best
):
    scripted = iter([first, second, second])
    monkeypatch.setattr(
        Trainer, "_validate", lambda *_: torch.tensor(next(scripted), dtype=torch.float64)
    )
    train, (rows, _) = parts()
    trainer = make_trainer(max_epochs=3)
    monkeypatch.setattr(trainer, "_warmup", lambda: 8.0)  # steps, of which an epoch has 7
    result = trainer.run(make_model(), train, (rows[:4], torch.ones(4)))
    assert result.best_epoch == best


def test_later_epochs_are_kept_only_if_they_are_better(monkeypatch):
    scripted = iter([[9.0] * 4, [0.0] * 4, [0.4, -0.5, 0.6, -0.4]])
    monkeypatch.setattr(
        Trainer, "_validate", lambda *_: torch.tensor(next(scripted), dtype=torch.float64)
    )
    train, (rows, _) = parts()
    result = make_trainer(warmup_steps=7).run(make_model(), train, (rows[:4], torch.ones(4)))
    assert result.best_epoch == 2


def test_history_has_one_entry_for_every_epoch():
    result = make_trainer().run(make_model(), *parts())
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3]
    for entry in result.history:
        assert sorted(entry) == sorted(HISTORY_KEYS)
        assert entry["stage"] == "supervised"
        assert entry["rows_per_second"] == pytest.approx(200 / entry["seconds"])
    elapsed = [entry["elapsed_seconds"] for entry in result.history]
    assert elapsed == sorted(elapsed)


def test_train_nats_are_per_row():
    def loss(model, token_ids, weights):
        return model.begin.sum() * 0 + 0.5  # nats per cell

    result = make_trainer(loss=loss, max_epochs=1).run(make_model(), *parts())
    assert result.history[0]["train_nats"] == pytest.approx(1.5)


def test_the_learning_rate_rises_stays_and_falls_to_a_tenth():
    rates = []

    class Recorded(Trainer):
        def _learning_rate(self):
            rates.append(super()._learning_rate())
            return rates[-1]

    base = make_trainer(max_epochs=20, learning_rate=0.01, warmup_steps=10, decay_share=0.2)
    base.n_iter_no_change = 20
    trainer = Recorded(**{name: getattr(base, name) for name in base.__dataclass_fields__})
    trainer.run(make_model(), *parts())
    assert len(rates) == 140
    np.testing.assert_allclose(rates[:10], 0.001 * np.arange(1, 11))
    np.testing.assert_allclose(rates[10:112], 0.01)
    left = np.arange(28, 0, -1) / 28
    np.testing.assert_allclose(rates[112:], 0.01 * (0.1 + 0.9 * left))


def test_matrices_of_the_transformer_alone_decay():
    model = make_model()
    decayed, rest = make_trainer()._parameter_groups(model)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.01, 0.0)
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    both = [names.pop(id(p)) for group in (decayed, rest) for p in group["params"]]
    assert names == {}
    matrices = both[: len(decayed["params"])]
    assert all(name.startswith("transformer.") for name in matrices)
    assert len(matrices) == 5  # four of the layer, and the positions
    assert {"begin", "asked", "value", "vocabulary.table"} <= set(both[len(matrices) :])


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupt_keeps_the_best_so_far(monkeypatch, epoch):
    averages = []
    validate = Trainer._validate

    def record(self, model, token_ids, measure):
        averages.append(state_of(model))
        return validate(self, model, token_ids, measure)

    monkeypatch.setattr(Trainer, "_validate", record)
    steps = itertools.count(1)
    fixed = mixed_order_loss(ORDER, 0.0)

    def loss(model, token_ids, weights):
        if next(steps) > 7 * epoch - 5:  # in the second step of the epoch
            raise KeyboardInterrupt
        return fixed(model, token_ids, weights)

    model = make_model()
    before = state_of(model)
    result = make_trainer(loss=loss).run(model, *parts())
    assert result.stop_reason == "interrupted"
    assert len(result.history) == epoch - 1
    assert not model.training
    if epoch == 1:
        assert result.best_epoch == 0
        assert any(not torch.equal(before[name], model.state_dict()[name]) for name in before)
    else:
        best = int(np.argmin([entry["validation_nats"] for entry in result.history]))
        assert result.best_epoch == best + 1
        assert_equal_states(state_of(model), averages[best])


def test_a_training_that_diverges_raises():
    def loss(model, token_ids, weights):
        return model.begin.sum() * math.nan

    with pytest.raises(ValueError, match=r"learning_rate must be small enough .* with 0\.01 the "):
        make_trainer(loss=loss).run(make_model(), *parts())


def test_progress_is_printed_only_when_asked_for(capsys):
    make_trainer().run(make_model(), *parts())
    assert capsys.readouterr().out == ""
    result = make_trainer(verbose=1).run(make_model(), *parts())
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for number, (line, entry) in enumerate(zip(lines, result.history, strict=True), start=1):
        assert line.startswith(f"epoch {number}/3  train {entry['train_nats']:.4f}  held out ")
        assert f"held out {entry['validation_nats']:.4f} nats per row" in line
        assert f"{entry['rows_per_second']:,.0f} rows/s" in line
        assert "s left" in line
    assert last == f"stopped: max_epochs; kept epoch {result.best_epoch}"


# -- through the estimator ---------------------------------------------------------------------


def test_an_interrupted_fit_warns_and_can_be_sampled(monkeypatch, tiny, table):
    steps = itertools.count(1)

    def interrupting(order, share):
        loss = mixed_order_loss(order, share)

        def wrapped(model, token_ids, weights):
            if next(steps) > 10:  # 114 rows in batches of 16: in the second epoch
                raise KeyboardInterrupt
            return loss(model, token_ids, weights)

        return wrapped

    monkeypatch.setattr("tabgraa_sklearn._supervised.mixed_order_loss", interrupting)
    message = "The fit was interrupted after 1 epochs and 0 rounds; the best model so far is kept."
    with pytest.warns(ConvergenceWarning, match=message):
        model = tiny(max_epochs=5, batch_size=16).fit(table)
    assert (model.stop_reason_, model.n_epochs_, model.best_epoch_) == ("interrupted", 1, 1)
    assert model.rounds_stop_reason_ == "too few rows"
    assert len(model.sample(5)) == 5


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("n_rounds", "reason", "message"),
    [(2, "interrupted", "interrupted before its signal"), (0, "n_rounds", "interrupted before")],
)
def test_rounds_that_an_interrupt_left_out_are_told(
    monkeypatch, tiny, table, n_rounds, reason, message
):
    model = tiny(n_rounds=n_rounds, align_pool_size=64)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_epoch", interrupt)
        with pytest.warns(ConvergenceWarning, match="after 0 epochs and 0 rounds"):
            model.fit(table)
    assert (model.n_rounds_, model.rounds_stop_reason_) == (0, reason)
    with pytest.raises(ValueError, match=message):
        model.sample(5, refine=True)
    model.set_params(warm_start=True, n_rounds=1).fit(table)
    assert model.rounds_stop_reason_ != "interrupted"
    assert len(model.sample(5, refine=True)) == 5


def test_fitted_attributes_tell_of_the_training(tiny, table):
    model = tiny(max_epochs=2, n_iter_no_change=2).fit(table)
    assert model.n_epochs_ == len(model.history_) == 2
    nats = [e["validation_nats"] + e["validation_nats_random"] for e in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmin(nats))  # by equal shares of both
    assert model.stop_reason_ == "max_epochs"
    assert sorted(model.history_[0]) == sorted([*HISTORY_KEYS, "validation_nats_random"])
    pd.testing.assert_frame_equal(model.history_frame(), pd.DataFrame(model.history_))


def test_a_learning_rate_beyond_reason_is_named(tiny, table):
    with pytest.raises(ValueError, match=r"learning_rate must be small enough .* with 1e\+30 "):
        tiny(learning_rate=1e30, max_epochs=2).fit(table)


def test_verbose_changes_nothing_but_the_output(capsys, tiny, table):
    quiet = tiny(max_epochs=2).fit(table)
    assert capsys.readouterr().out == ""
    loud = tiny(max_epochs=2, verbose=1).fit(table)
    assert capsys.readouterr().out.count("nats per row") == 2
    pd.testing.assert_frame_equal(loud.sample(20), quiet.sample(20))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_random_order_share_at_its_ends(tiny, table, share):
    model = tiny(random_order_share=share).fit(table)
    assert len(model.sample(5)) == 5
    assert np.isfinite(model.score_samples(table)).all()
    assert ("validation_nats_random" in model.history_[0]) == (share > 0)


def test_learning_in_random_orders_serves_every_order(tiny):
    """The last column is a copy of the first: whichever comes first, the other is known."""
    random = np.random.default_rng(0)
    copied = random.integers(0, 4, 400)
    rows = pd.DataFrame({"a": copied, "b": random.integers(0, 3, 400), "c": copied})
    losses = {}
    for share in (0.0, 1.0):
        settings = {"max_epochs": 10, "batch_size": 16, "learning_rate": 2e-2}
        model = tiny(random_order_share=share, **settings).fit(rows)
        ids = torch.from_numpy(model._tokenizer.encode(rows).astype(np.int64))
        backwards = torch.tensor(model.column_order_[::-1]).expand(400, -1)
        with torch.no_grad():
            losses[share] = -float(model.model_(ids, backwards).sum(1).mean())
    entropy = math.log(4) + math.log(3)
    assert losses[1.0] < entropy + 0.2
    assert losses[0.0] > losses[1.0] + 0.5


def test_rows_of_weight_zero_are_as_if_they_were_not_there(tiny, table):
    odd = table.copy()
    odd["name"] = "odd"
    odd["price"] = 1e6
    both = pd.concat([table, odd], ignore_index=True)
    weights = np.repeat([2.0, 0.0], len(table))
    weighted = tiny().fit(both, sample_weight=weights)
    assert "odd" not in set(weighted.sample(300)["name"])
    alone = tiny().fit(table, sample_weight=np.ones(len(table)))
    pd.testing.assert_frame_equal(
        weighted.sample(50, random_state=0), alone.sample(50, random_state=0)
    )
    assert weighted.score_samples(odd)[0] < weighted.score_samples(table).min()


def test_weights_are_relative(tiny, table):
    weights = np.random.default_rng(0).integers(1, 5, len(table))
    one = tiny().fit(table, sample_weight=weights)
    other = tiny().fit(table, sample_weight=weights * 8.0)
    pd.testing.assert_frame_equal(one.sample(50), other.sample(50))


def test_integer_weights_are_like_repeated_rows(tiny):
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"a": random.integers(0, 4, 200), "b": random.integers(0, 3, 200)})
    weights = np.where(rows["a"] == 0, 12, 1)
    repeated = rows.loc[np.repeat(rows.index, weights)]
    settings = {"max_epochs": 8, "batch_size": 16, "random_order_share": 0.0}
    shares = {}
    for name, model in {
        "weighted": tiny(**settings).fit(rows, sample_weight=weights),
        "repeated": tiny(**settings).fit(repeated),
        "plain": tiny(**settings).fit(rows),
    }.items():
        shares[name] = float((model.sample(4000, random_state=0)["a"] == 0).mean())
    expected = float((repeated["a"] == 0).mean())
    assert abs(shares["weighted"] - expected) < 0.06
    assert abs(shares["repeated"] - expected) < 0.06
    assert shares["plain"] < expected - 0.3


# -- randomness --------------------------------------------------------------------------------


def global_states():
    return torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002


@pytest.mark.parametrize("backbone", [True, None])
def test_global_generators_stay_as_they_were(tiny, table, backbone):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = global_states()
    model = tiny(**({} if backbone else {"backbone": None}))
    model.fit(table).sample(5)
    model.sample(5, random_state=1)
    model.score_samples(table)
    model.score(table)
    after = global_states()
    assert torch.equal(before[0], after[0])
    assert (before[1] == after[1]).all()


def test_results_do_not_depend_on_the_global_generators(tiny, table):
    samples = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        samples.append(tiny().fit(table).sample(20))
    pd.testing.assert_frame_equal(*samples)


def test_no_random_state_leaves_the_global_generators_alone_and_differs(tiny, table):
    samples = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        samples.append(tiny(random_state=None).fit(table).sample(20))
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert not samples[0].equals(samples[1])


def test_a_seed_gives_one_model_with_several_threads_too():
    # As wide and as long as a fit on a real table: threads share the rows of each product.
    adult = load_adult().frame.head(3000)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fits = [
            TabGRAASynthesizer(
                random_state=0,
                max_epochs=1,
                batch_size=256,
                n_rounds=1,
                align_pool_size=3000,
                device="cpu",
            ).fit(adult)
            for _ in range(2)
        ]
    finally:
        torch.set_num_threads(threads)
    first, second = (fit.model_.state_dict() for fit in fits)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert fits[0].history_[0]["train_nats"] == fits[1].history_[0]["train_nats"]


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_a_fit_does_not_depend_on_the_caller_s_modes(tiny, table, mode, precision):
    def fit():
        model = tiny(n_rounds=1, align_pool_size=64, precision=precision).fit(table)
        return model.set_params(warm_start=True, n_rounds=2).fit(table)

    with MODES[mode]():
        model = fit()
    assert_equal_states(state_of(model.model_), state_of(fit().model_))
    assert not any(part.is_inference() for part in model.model_.parameters())


def test_the_same_seed_gives_the_same_model(tiny, table):
    first, second, other = (tiny(random_state=seed).fit(table) for seed in (5, 5, 6))
    for name, value in first.model_.state_dict().items():
        assert torch.equal(value, second.model_.state_dict()[name])
    for mine, its in zip(first.history_, second.history_, strict=True):
        assert mine["validation_nats"] == its["validation_nats"]
    pd.testing.assert_frame_equal(first.sample(20), second.sample(20))
    assert not first.sample(20).equals(other.sample(20))


def test_a_second_fit_starts_from_scratch(tiny, table):
    model = tiny(random_state=5).fit(table)
    first = copy.deepcopy(model).sample(20)
    pd.testing.assert_frame_equal(model.fit(table).sample(20), first)


def test_a_random_state_instance_is_drawn_from(tiny, table):
    samples = []
    for _ in range(2):
        random = np.random.RandomState(0)
        samples.append(tiny(random_state=random).fit(table).sample(20))
    pd.testing.assert_frame_equal(*samples)
