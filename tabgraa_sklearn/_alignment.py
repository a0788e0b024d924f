"""Rounds of alignment: generate rows, score them, align the model, and keep the best round."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from lightgbm import LGBMClassifier
from sklearn.base import clone
from torch import Tensor

from . import _objectives as objectives
from ._credit import N_UNITS, chained_log_odds, expected_rewards, split_order
from ._device import autocast
from ._judging import (
    area_under_curve,
    copy_share,
    in_single_precision,
    is_worse,
    judge_of_another_family,
)
from ._protocols import Backbone, Tokenizer
from ._rewards import (
    Digester,
    Reward,
    fit_signal,
    log_odds,
    observed_prior,
    rewards,
    seed_signal,
    signal_kind,
    sure_slope,
    wants_frame,
)
from ._sampling import sample_tokens
from ._sizes import rows_per_pass
from ._training import Trainer, mixed_order_loss
from .signals import forgets, small_steps_lightgbm, suppression

__all__ = ["OBJECTIVES", "Aligner", "AlignmentResult", "RealRows"]

Floats = npt.NDArray[np.float64]

OBJECTIVES = ("tabgraa", "tabgraa-sigmoid", "dpo", "kto", "npo", "ipo", "sft")

# Of the default signal: many leaves, for what it says counts as far as it holds on unseen rows.
_LARGE_TREES = {"num_leaves": 127, "min_child_samples": 30}
_OF_WHOLE_ROWS = {**_LARGE_TREES, "n_estimators": 200, "learning_rate": 0.06}
_OF_ONE_MORE_CELL = {**_LARGE_TREES, "n_estimators": 100, "learning_rate": 0.03}
_MOST_CREDIT = 1.5  # nats by which one round may move a part of a row
_JUDGE_ROWS = 10_000  # of each kind that the judge learns from, at the most
_MATCHED_ROWS = 16_384  # fresh rows on which marginal frequencies are matched


@dataclass
class RealRows:
    """Rows of the table.

    Attributes
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
    token_ids : Tensor of shape (n_rows, n_digits)
    weights : Tensor of shape (n_rows,)
        How often each counts.
    """

    frame: pd.DataFrame
    token_ids: Tensor
    weights: Tensor

    @classmethod
    def of(cls, frame: pd.DataFrame, weights: Floats, tokenizer: Tokenizer) -> RealRows:
        """Give rows of a frame, with their weights."""
        frame = frame.reset_index(drop=True)
        token_ids = torch.from_numpy(tokenizer.encode(frame))
        return cls(frame, token_ids, torch.from_numpy(weights.astype(np.float32)))

    def by_weight(self, random: np.random.RandomState) -> RealRows:
        """Draw as many rows by their weights, where these differ: each counts once then."""
        weights = self.weights.double().numpy()
        if len(weights) == 0 or np.ptp(weights) == 0.0:
            return self
        rows = random.choice(len(weights), len(weights), p=weights / weights.sum())
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return RealRows(frame, self.token_ids[rows], torch.ones(len(rows)))

    def subset(self, mask: npt.NDArray[np.bool_]) -> RealRows:
        """Give some of the rows."""
        index = torch.from_numpy(np.flatnonzero(mask))
        frame = self.frame[mask].reset_index(drop=True)
        return RealRows(frame, self.token_ids[index], self.weights[index])


@dataclass
class Pool:
    """Fresh rows of the policy, as token ids, as a table, and as one number per cell."""

    token_ids: npt.NDArray[Any]
    frame: pd.DataFrame
    numbers: Floats


@dataclass
class AlignmentResult:
    """What the rounds leave behind.

    Attributes
    ----------
    history : list of dict
        One entry per round, that of the supervised model (round 0) first.
    best_round : int
        The round whose weights were kept.
    n_rounds : int
        Rounds that were run.
    stop_reason : str
        "n_rounds", "no improvement", "indistinguishable" (the signal tells nothing that holds on
        held-out rows for sure), "too few rows" or "interrupted".
    signal : estimator
        The signal, fitted against the model that was kept.
    prior, slope : float
        What is subtracted from its scores, and what they are multiplied by then, to be log density
        ratios; a slope of 0 where they tell nothing for sure.
    digester : Digester
        Gives the signal a table in the form that it can digest.
    start : dict of {str: Tensor} or None
        The weights before the rounds, on the CPU, where others were kept.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_round: int = 0
    n_rounds: int = 0
    stop_reason: str = "n_rounds"
    signal: Any = None
    prior: float = 0.0
    slope: float = 1.0
    digester: Digester | None = None
    start: dict[str, Tensor] | None = None

    @property
    def tells(self) -> bool:
        """Whether the signal tells some rows from others."""
        return self.slope > 0.0 or forgets(self.signal)

    @property
    def lacks_signal(self) -> bool:
        """Whether rounds were begun and the last signal was not fitted."""
        return self.stop_reason == "interrupted" and self.signal is None

    def after(self, before: AlignmentResult) -> AlignmentResult:
        """Give these rounds as going on from earlier ones over the same model."""
        done, kept = before.n_rounds, before.history[before.best_round]
        entries = [
            {
                **entry,
                "round": entry["round"] + done,
                # These rounds began where the others ended.
                "held_out_gain": entry["held_out_gain"] + kept["held_out_gain"],
            }
            for entry in self.history[1:]
        ]
        rounds = replace(
            self,
            history=before.history + entries,
            best_round=self.best_round + done if self.best_round else before.best_round,
            n_rounds=self.n_rounds + done,
        )
        rounds.start = before.start or self.start
        # Interrupted: the signal of before holds for the model of before alone.
        if rounds.signal is None and self.best_round == 0:
            rounds.signal, rounds.prior = before.signal, before.prior
            rounds.slope, rounds.digester = before.slope, before.digester
        return rounds


@dataclass
class Aligner:
    """Runs the rounds.

    In every round two disjoint pools of rows are drawn from the model as it stands. Against the
    first the signal is fitted anew; the second, which it has not seen, is scored. What each part
    of a row contributed to its reward becomes a target for the log-ratio, and one pass over the
    scored pool moves the model towards it. No real row enters that loss, unless the objective is
    "sft" or `retain` is "supervised". Last, where realism is rewarded, the output biases are set so
    that each token is as frequent in fresh rows as in the table: of that the counts are used.

    Of the held-out rows the signal sees one figure, the slope of its log-odds; else they are the
    judge's alone.

    Parameters
    ----------
    tokenizer : Tokenizer
    order : list of int
        The columns in the order in which they are drawn.
    signal : estimator or None
        None: LightGBM; a chain of them where cells are credited.
    reward : {"realism", "indistinguishability"} or callable
    objective : str
        One of `OBJECTIVES`.
    beta, quantile, learning_rate, retain
        As in the estimator.
    credit : {"cell", "row"}
        Whether each cell gets its share of the reward, or the row all of it.
    target : bool
        Whether the group-relative losses stop where the reward is reached.
    proportionate : bool
        Whether the members of a group count by how much they differ from the mean.
    trust : float
        Weight of the squared log-ratio of a step.
    match : bool
        Whether each token is made as frequent as in the table again after a round.
    n_pool : int or None
        Rows of a pool; None follows the table.
    separate : bool
        Whether the signal is fitted on another pool than the one it scores.
    second_moments : dict or None
        Of the supervised stage.
    carry : bool
        Whether AdamW goes on from them.
    n_jobs : int or None
        Threads of the classifiers; None: as many as torch uses.
    rounds_before, best_before : int
        Rounds that went before these, and the one that was kept of them: messages count on.
    """

    tokenizer: Tokenizer
    order: list[int]
    device: torch.device
    precision: torch.dtype
    signal: Any = None
    reward: Reward = "realism"
    objective: str = "tabgraa"
    beta: float = 1.0
    quantile: float = 0.5
    learning_rate: float | None = None
    n_rounds: int = 2
    retain: str | None = None
    credit: str = "cell"
    target: bool = True
    proportionate: bool = True
    trust: float = 2.0
    match: bool = True
    n_pool: int | None = None
    separate: bool = True
    second_moments: dict[str, Tensor] | None = None
    carry: bool = False
    n_jobs: int | None = None
    verbose: int = 0
    rounds_before: int = 0
    best_before: int = 0

    # -- the loop --------------------------------------------------------------------------

    def run(
        self, model: Backbone, train: RealRows, held_out: RealRows, seed: int
    ) -> AlignmentResult:
        """Align `model` in place; it ends as the best of the rounds, round 0 included."""
        random = np.random.RandomState(seed)
        self._seeds = lambda: int(random.randint(2**31 - 1))
        self._digester = Digester(self.tokenizer).fit(train.frame)
        result = AlignmentResult(digester=self._digester)
        if len(train.frame) < 2:
            result.stop_reason = "too few rows"
            return result
        parts = (train, held_out)
        pulls = [suppression(self.signal, part.frame) for part in parts]
        stay = [pull == 0.0 for pull in pulls]
        self._forgets = not all(mask.all() for mask in stay)
        forgotten = train.subset(~stay[0])
        forgotten.weights *= torch.from_numpy(np.exp(pulls[0][~stay[0]])).float()
        self._left_of = forgotten  # what the rounds aim at: these count less, not nothing
        staying = [part.subset(mask) for part, mask in zip(parts, stay, strict=True)]
        train, held_out = (part.by_weight(random) for part in staying)
        if len(train.frame):
            forgotten.weights *= train.weights.sum() / staying[0].weights.sum()
        if len(train.frame) < 2:
            raise ValueError("signal forgets all rows that were learnt; at least two must remain.")
        self._has_unseen = len(held_out.frame) > 0
        if not self._has_unseen:  # all of the few are forgotten
            held_out = train
        self._train_numbers = self._digester.numbers(train.frame)
        by_cell = self.credit == "cell" and self.objective.startswith("tabgraa")
        self._units = split_order(self.order, N_UNITS if by_cell else 1)
        reference = copy.deepcopy(model).requires_grad_(False).eval()
        best = _Kept(copy.deepcopy(model.state_dict()), {})
        self._judge_seed = self._seeds()
        self._moved = False
        self._one_tells: bool | None = None
        try:
            start = time.perf_counter()
            judged = self._judge(model, reference, train, held_out)
            first = best.judged = judged
            self._record(result, 0, judged, time.perf_counter() - start)
            for number in range(1, self.n_rounds + 1):
                start = time.perf_counter()
                entry = self._round(model, reference, train, held_out, result.history[-1])
                if entry is None:
                    result.stop_reason = "indistinguishable"
                    break
                judged = self._judge(model, reference, train, held_out)
                self._record(result, number, {**entry, **judged}, time.perf_counter() - start)
                result.n_rounds = number
                if self._is_kept(judged, best.judged, first):
                    best = _Kept(copy.deepcopy(model.state_dict()), judged)
                    result.best_round = number
                elif number - result.best_round >= 2:
                    result.stop_reason = "no improvement"
                    break
            model.load_state_dict(best.state)
            if self._forgets and result.n_rounds > 0:
                _warn_of_cost(best.judged, first)
            signal, counted = self._fit_signal(self._generate(model), train)
            pool = self._generate(model)
            on_real, on_fresh = self._on_unseen(signal, held_out, pool)
            on_fresh_left = on_fresh[suppression(self.signal, pool.frame) == 0.0]
            result.prior, result.slope = self._calibrated(signal, on_real, on_fresh_left, counted)
            result.signal = signal
            of_best = result.history[result.best_round]
            if math.isnan(of_best["signal_auc"]):
                of_best["signal_auc"] = area_under_curve(on_real, on_fresh)
        except KeyboardInterrupt:
            result.stop_reason = "interrupted"
        model.load_state_dict(best.state)
        model.eval()
        if result.best_round > 0:
            result.start = {name: part.cpu() for name, part in reference.state_dict().items()}
        if self.verbose:
            kept = result.best_round + self.rounds_before if result.best_round else self.best_before
            print(f"alignment stopped: {result.stop_reason}; kept round {kept}", flush=True)
        return result

    def _is_kept(self, judged: dict[str, Any], best: dict[str, Any], first: dict[str, Any]) -> bool:
        """Whether a round is no worse than the best before it, nor than the start.

        One that forgets rows of the table is kept, unless it has lost the others: a nat per column.
        """
        if self._forgets:
            return bool(judged["held_out_gain"] > -len(self.order))
        return not is_worse(judged, best) and not is_worse(judged, first)

    def _round(
        self,
        model: Backbone,
        reference: Backbone,
        train: RealRows,
        held_out: RealRows,
        before: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Generate, score and align once; None where the signal finds nothing.

        The signal's area under the curve is a figure of the model `before`.
        """
        fitting = self._generate(model)
        scoring = self._generate(model) if self.separate else fitting
        if len(self._units) > 1 and self.signal is None and self.reward == "realism":
            values = self._values_of_beginnings(fitting, scoring, held_out, before)
        else:
            values = self._values(fitting, scoring, train, held_out, before)
        reward = values[:, -1]
        if float(np.ptp(reward)) < 1e-9 and self.objective != "sft":
            return None
        credit = np.diff(values, axis=1, prepend=0.0)
        bound = _MOST_CREDIT * len(self.order) / len(self._units)
        credit = np.clip(credit - credit.mean(0), -bound, bound)
        credit -= credit.mean(0)
        self._align(model, reference, scoring, credit, train)
        if self.match and self.reward == "realism" and model.has_marginals:
            self._match_marginals(model, train)
        return self._drift(model, reference, scoring, reward)

    # -- generate --------------------------------------------------------------------------

    def _generate(self, model: Backbone, n_rows: int | None = None) -> Pool:
        """Draw fresh rows of the policy as it stands."""
        if n_rows is None:
            usual = default_pool(len(self._train_numbers), len(self.order))
            n_rows = self.n_pool or min(usual, model.rows_per_pool)
        parts = sample_tokens(
            model, n_rows, seed=self._seeds(), order=self.order, precision=self.precision
        )
        drawn = [(ids, self.tokenizer.decode(ids, uniforms)) for ids, uniforms in parts]
        frame = pd.concat([part for _, part in drawn], ignore_index=True)
        return Pool(np.concatenate([ids for ids, _ in drawn]), frame, self._digester.numbers(frame))

    # -- score -----------------------------------------------------------------------------

    def _fit_signal(self, pool: Pool, train: RealRows) -> tuple[Any, float]:
        """Fit a clone of the signal on real rows against a pool."""
        real, numbers = train.frame, self._train_numbers
        seed = self._seeds()
        if self.signal is None:
            signal = self._default_signal(len(real) + len(pool.frame), seed)
            signal.set_params(**_OF_WHOLE_ROWS)
        else:
            signal = clone(self.signal)
            seed_signal(signal, seed)
        both = np.concatenate([numbers, pool.numbers])
        frame = None
        if wants_frame(signal):
            frame = pd.concat([real, pool.frame], ignore_index=True)
        X = self._digester.feed(signal, frame, both)
        y = np.repeat([1, 0], [len(real), len(pool.frame)])
        return fit_signal(signal, X, y, self._digester), math.log(len(real) / len(pool.frame))

    def _default_signal(self, n_rows: int, seed: int) -> LGBMClassifier:
        n_jobs = self.n_jobs or torch.get_num_threads()
        return small_steps_lightgbm(n_rows, seed=seed, n_jobs=n_jobs)

    def _on_unseen(self, signal: Any, held_out: RealRows, pool: Pool) -> tuple[Floats, Floats]:
        """What a signal says of held-out real rows and of a pool."""
        on_pool = log_odds(signal, self._digester.feed(signal, pool.frame, pool.numbers))
        return log_odds(signal, self._digester.feed(signal, held_out.frame)), on_pool

    def _calibrated(
        self, signal: Any, on_real: Floats, on_fresh: Floats, counted: float
    ) -> tuple[float, float]:
        """Give prior and slope, of rows that are not to be forgotten."""
        if len(on_fresh) == 0:
            return counted, 0.0
        prior = self._prior(signal, on_real, on_fresh, counted)
        return prior, self._slope(signal, on_real, on_fresh)

    def _prior(self, signal: Any, on_real: Floats, on_fresh: Floats, counted: float) -> float:
        """What a signal says of a row that is as likely real as not."""
        if signal_kind(signal) == "detector":
            return float(on_fresh.mean())
        return observed_prior(on_real, on_fresh, counted) if self._has_unseen else counted

    def _slope(self, signal: Any, on_real: Floats, on_fresh: Floats) -> float:
        """What makes log density ratios of scores, as far as they hold on rows not seen before."""
        if signal_kind(signal) == "classifier":
            return sure_slope(on_real, on_fresh) if self._has_unseen else 1.0
        spread = float(np.concatenate([on_real, on_fresh]).std())
        if spread < 1e-12 or not self._has_unseen:
            return 0.0
        return sure_slope(on_real / spread, on_fresh / spread) / spread

    def _values_of_beginnings(
        self, fitting: Pool, scoring: Pool, held_out: RealRows, before: dict[str, Any]
    ) -> Floats:
        """Log density ratio of each beginning of a scored row, by the default signal."""
        real = self._train_numbers
        classifier = self._default_signal(len(real) + len(fitting.numbers), self._seeds())
        on_pool, on_real = chained_log_odds(
            classifier.set_params(**_OF_ONE_MORE_CELL),
            real,
            fitting.numbers,
            [scoring.numbers, self._digester.numbers(held_out.frame)],
            self._units,
        )
        before["signal_auc"] = area_under_curve(on_real[:, -1], on_pool[:, -1])
        return sure_slope(on_real[:, -1], on_pool[:, -1]) * on_pool

    def _values(
        self,
        fitting: Pool,
        scoring: Pool,
        train: RealRows,
        held_out: RealRows,
        before: dict[str, Any],
    ) -> Floats:
        """Reward of each scored row, after what its beginnings let expect."""
        signal, counted = self._fit_signal(fitting, train)
        on_real, scores = self._on_unseen(signal, held_out, scoring)
        before["signal_auc"] = area_under_curve(on_real, scores)
        suppressed = suppression(self.signal, scoring.frame)
        stay = suppressed == 0.0
        prior, slope = self._calibrated(signal, on_real, scores[stay], counted)
        reward = rewards(signal, scores, self.reward, prior, slope, suppressed)
        if len(self._units) == 1 or self.objective == "sft" or np.ptp(reward) < 1e-9:
            return reward[:, None]
        n_jobs = self.n_jobs or torch.get_num_threads()
        return expected_rewards(
            reward, scoring.numbers, self._units, seed=self._seeds(), n_jobs=n_jobs
        )

    # -- align -----------------------------------------------------------------------------

    def _align(
        self,
        model: Backbone,
        reference: Backbone,
        pool: Pool,
        credit: Floats,
        train: RealRows,
    ) -> None:
        """One pass over the scored pool, or over real rows for the baseline "sft"."""
        n_columns = len(self.order)
        if self.objective == "sft":
            loss = self._supervised_loss(reference, pool)
            data = (train.token_ids, train.weights)
        else:
            token_ids = torch.from_numpy(pool.token_ids)
            of_reference = self._log_probabilities(reference, token_ids)
            # Until the first update the policy is the reference.
            moved = self._moved
            at_start = self._log_probabilities(model, token_ids) if moved else of_reference
            figures = torch.zeros(len(token_ids), 3, n_columns)
            figures[:, 0], figures[:, 1] = of_reference, at_start
            # The last third holds the credit of the units; the rest of it stays unused.
            figures[:, 2, : credit.shape[1]] = torch.from_numpy(credit)
            loss = self._loss(train)
            data = (token_ids, figures)
        trainer = Trainer(
            loss=loss,
            validation={},
            device=self.device,
            precision=self.precision,
            max_epochs=1,
            batch_size=min(model.rows_per_step, max(len(data[0]) // 32, 16)),
            learning_rate=self.learning_rate or model.align_learning_rate,
            n_iter_no_change=1,
            weight_decay=0.0,
            averaging=0.98,
            warmup_steps=20,
            decay_share=1.0,
            dropout=False,
            second_moments=self.second_moments if self.carry else None,
        )
        result = trainer.run(model, data, data)
        self._moved = True
        if result.stop_reason == "interrupted":
            raise KeyboardInterrupt

    def _match_marginals(self, model: Backbone, train: RealRows) -> None:
        """Make each token as frequent in fresh rows as it is in the table."""
        pool = self._generate(model, min(_MATCHED_ROWS, 8 * len(train.frame)))
        order = torch.tensor(self.order, device=self.device)
        token_ids = torch.from_numpy(pool.token_ids)
        observed = model.token_counts(*self._table_to_match(train, pool))
        with autocast(self.device, self.precision):
            model.match_marginals(token_ids, torch.ones(len(token_ids)), order, observed)

    def _table_to_match(self, train: RealRows, pool: Pool) -> tuple[Tensor, Tensor]:
        """Give token ids and weights of the rows that a pool should be like, column by column.

        Rows to be forgotten are among them as often as they should be left, where one column tells
        which these are. Else as often as they are in the pool: frequencies of columns cannot tell
        them from others, from whom the excess would be taken.
        """
        if not self._forgets:
            return train.token_ids, train.weights
        inside = suppression(self.signal, pool.frame) < 0.0
        if self._one_tells is None:  # while there are many to tell it by
            self._one_tells = one_tells(pool.token_ids, inside)
        token_ids = torch.from_numpy(pool.token_ids[inside]).to(train.token_ids)
        weights = torch.ones(len(token_ids))
        weights *= float(train.weights.sum()) / max(int((~inside).sum()), 1)
        if self._one_tells:
            token_ids, weights = self._left_of.token_ids, self._left_of.weights
        return torch.cat([train.token_ids, token_ids]), torch.cat([train.weights, weights])

    def _supervised_loss(self, reference: Backbone, pool: Pool) -> Callable[..., Tensor]:
        """Make the loss of a batch of real rows, for "sft"."""
        order = torch.tensor(self.order, device=self.device)
        supervised = mixed_order_loss(order, 0.0)
        if self.retain != "kl":
            return supervised
        drawn = torch.from_numpy(pool.token_ids)
        of_reference = self._log_probabilities(reference, drawn).sum(1)

        def loss(model: Backbone, token_ids: Tensor, weights: Tensor) -> Tensor:
            rows = torch.randint(len(drawn), (len(token_ids),))
            of_policy = model(drawn[rows].to(self.device, torch.long), order[None]).sum(1)
            log_ratio = of_policy - of_reference[rows].to(self.device)
            return supervised(model, token_ids, weights) + objectives.divergence(log_ratio)

        return loss

    def _loss(self, train: RealRows) -> Callable[[Any, Tensor, Tensor], Tensor]:
        """Make the loss of a batch of synthetic rows."""
        order = torch.tensor(self.order, device=self.device)
        n_units = len(self._units)
        unit = torch.empty(len(order), dtype=torch.long)
        for number, columns in enumerate(self._units):
            unit[columns] = number
        unit = unit.to(self.device)

        def by_unit(cells: Tensor) -> Tensor:
            return cells.new_zeros(len(cells), n_units).index_add(1, unit, cells)

        def loss(model: Backbone, token_ids: Tensor, figures: Tensor) -> Tensor:
            of_reference, at_start, credit = figures.unbind(1)
            of_policy = model(token_ids, order[None])
            log_ratio = by_unit(of_policy - of_reference)  # (batch, n_units)
            step = by_unit(of_policy - at_start)
            total = self._objective(log_ratio, log_ratio - step, credit[:, :n_units])
            if self.trust > 0 and self.objective.startswith("tabgraa"):
                total = total + self.trust * objectives.trust_region(step)
            if self.retain == "kl":
                total = total + objectives.divergence(log_ratio.sum(1))
            elif self.retain == "supervised":
                rows = torch.randint(len(train.token_ids), (len(token_ids),))
                real = train.token_ids[rows].to(self.device, torch.long)
                nats = -model(real, order[None]).sum(1)
                total = total + (nats * train.weights[rows].to(self.device)).mean() / len(order)
            return total

        return loss

    def _objective(self, log_ratio: Tensor, at_start: Tensor, credit: Tensor) -> Tensor:
        if self.objective.startswith("tabgraa"):
            high, low = objectives.group_weights(credit, self.quantile, self.proportionate)
            advantage = objectives.group_advantage(log_ratio, log_ratio, high, low)
            gap = None
            if self.target:
                # What earlier rounds have reached stays part of the reward.
                aim = self.beta * at_start.detach() + credit
                gap = objectives.group_advantage(aim, aim, high, low)
            # Relative to the curvature at 0, so that neither form nor beta moves the trust region.
            loss, curvature = objectives.tabgraa, self.beta**2 / 4
            if self.objective == "tabgraa-sigmoid":
                loss, curvature = objectives.tabgraa_sigmoid, self.beta**2 / 8
            return loss(advantage, self.beta, gap) / curvature * log_ratio.shape[1]
        rows, reward = log_ratio.sum(1), credit.sum(1)
        high_rows, low_rows = objectives.group_weights(reward[:, None], self.quantile, False)
        high, low = rows[high_rows[:, 0] > 0], rows[low_rows[:, 0] > 0]
        if len(low) == 0 or len(high) == 0:  # all earn the same: there is nothing to tell apart
            return 0.0 * rows.sum()
        if self.objective == "npo":
            return objectives.npo(low, self.beta)
        pairwise = {"dpo": objectives.dpo, "ipo": objectives.ipo, "kto": objectives.kto}
        return pairwise[self.objective](high, low, self.beta)

    @torch.no_grad()
    def _log_probabilities(self, model: Backbone, token_ids: Tensor) -> Tensor:
        """Log-probability of each cell, (n_rows, n_columns), float32 on the CPU."""
        order = torch.tensor(self.order, device=self.device)
        parts = []
        model.eval()
        with autocast(self.device, self.precision):
            for ids in token_ids.split(rows_per_pass(len(order))):
                ids = ids.to(self.device, torch.long)
                parts.append(model(ids, order[None]).float().cpu())
        return torch.cat(parts)

    def _drift(
        self, model: Backbone, reference: Backbone, pool: Pool, reward: Floats
    ) -> dict[str, float]:
        """How far the policy has gone, on part of the rows that it learnt from."""
        token_ids = torch.from_numpy(pool.token_ids[:4096])
        ratio = self._log_probabilities(model, token_ids) - self._log_probabilities(
            reference, token_ids
        )
        rows = ratio.sum(1).double().numpy()
        above = reward[: len(rows)] > reward[: len(rows)].mean()
        gap = rows[above].mean() - rows[~above].mean() if above.any() else 0.0
        return {
            "group_gap": float(gap),
            "log_ratio_mean": float(rows.mean()),
            "log_ratio_std": float(rows.std()),
        }

    # -- judge -----------------------------------------------------------------------------

    def _judge(
        self,
        model: Backbone,
        reference: Backbone,
        train: RealRows,
        held_out: RealRows,
    ) -> dict[str, Any]:
        """Judge a round by held-out real rows and fresh ones of the policy.

        Another family of classifier than the signal learns to tell the rows of the supervised
        stage from a fresh pool, and is tried on held-out rows and another pool.
        """
        n_rows = min(len(self._train_numbers), _JUDGE_ROWS, model.rows_per_pool)
        n_fresh = max(2 * len(held_out.frame), n_rows)
        random = np.random.RandomState(self._judge_seed)  # the same rows for every round
        kept_seeds, self._seeds = self._seeds, lambda: int(random.randint(2**31 - 1))
        try:
            fresh, other = self._generate(model, n_rows), self._generate(model, n_fresh)
        finally:
            self._seeds = kept_seeds
        rows = random.choice(len(self._train_numbers), n_rows, replace=False)
        judge = judge_of_another_family(self.signal, self._judge_seed, self.n_jobs)
        both = in_single_precision(np.concatenate([self._train_numbers[rows], fresh.numbers]))
        both[:, np.isnan(both).all(0)] = 0.0
        judge.fit(both, np.repeat([1, 0], n_rows))
        on_real, on_fresh = (
            judge.predict_proba(in_single_precision(part))[:, 1]
            for part in (self._digester.numbers(held_out.frame), other.numbers)
        )
        auc = area_under_curve(on_real, on_fresh)
        gain = self._log_probabilities(model, held_out.token_ids) - self._log_probabilities(
            reference, held_out.token_ids
        )
        nats = gain.sum(1).double().numpy()
        n_real, n_other = len(on_real), len(on_fresh)
        return {
            "judge_score": 2.0 - 2.0 * max(auc, 0.5),
            "judge_error": 2.0 * math.sqrt((n_real + n_other + 1) / (12.0 * n_real * n_other)),
            "held_out_gain": float(nats.mean()),
            "held_out_error": float(nats.std() / math.sqrt(n_real)),
            "copy_share": copy_share(other.token_ids, train.token_ids.numpy()),
            "_held_out": nats,
        }

    def _record(
        self, result: AlignmentResult, number: int, entry: dict[str, Any], seconds: float
    ) -> None:
        shown = {key: value for key, value in entry.items() if not key.startswith("_")}
        unmoved = {"group_gap": 0.0, "log_ratio_mean": 0.0, "log_ratio_std": 0.0}
        entry = {
            "stage": "alignment",
            "round": number,
            "signal_auc": math.nan,
            **unmoved,
            **shown,
            "seconds": seconds,
        }
        result.history.append(entry)
        if self.verbose and (number or not self.rounds_before):
            done = self.rounds_before
            print(
                f"round {number + done}/{self.n_rounds + done}  judge {entry['judge_score']:.3f}"
                f"  held out {entry['held_out_gain']:+.4f} nats per row"
                f"  copies {entry['copy_share']:.4f}  {seconds:.0f} s",
                flush=True,
            )


@dataclass
class _Kept:
    """The weights of the best round so far, and how it was judged."""

    state: dict[str, Tensor]
    judged: dict[str, Any]


def _warn_of_cost(best: dict[str, Any], first: dict[str, Any]) -> None:
    if best is first:
        found = (
            "No round was kept, and so nothing is forgotten: each made held-out rows less likely "
            "by more than a nat per column."
        )
    elif is_worse(best, first):
        found = (
            "The rounds that forget have made the other rows less like those of the table: the "
            f"judge's score went from {first['judge_score']:.2f} to {best['judge_score']:.2f}, the "
            f"mean log-likelihood of held-out rows by {best['held_out_gain']:+.2f} nats. They are "
            "kept, for they were asked for."
        )
    else:
        return
    warnings.warn(
        f"{found} history_ has each round; align_learning_rate, n_rounds and the signal's "
        "certainty decide how far they go.",
        UserWarning,
        stacklevel=5,
    )


def one_tells(token_ids: npt.NDArray[Any], inside: npt.NDArray[np.bool_]) -> bool:
    """Whether the tokens of one column tell which rows are inside, but for a twentieth of these.

    The two of few rows that tell it least do not count: a range may begin and end within a token.
    """

    def mixed(column: npt.NDArray[Any]) -> float:
        code = np.unique(column, return_inverse=True)[1]
        inner, outer = np.bincount(code, inside), np.bincount(code, ~inside)
        either = np.minimum(inner, outer)
        of_few = np.sort(either[inner + outer < len(column) / 16])
        return float(either.sum() - of_few[-2:].sum())

    return min(mixed(column) for column in token_ids.T) <= inside.sum() / 20


def default_pool(n_rows: int, n_columns: int) -> int:
    """Rows of a pool: some for each real one, within 65,536 and 1.5 million cells."""
    return min(max(6 * n_rows, 1024), max(1_500_000 // n_columns, 1024), 65_536)
