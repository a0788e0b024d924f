"""The optimiser loop: epochs over token ids, averaged weights, early stopping."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn

from ._device import autocast
from ._protocols import Backbone
from ._sizes import rows_per_pass

__all__ = ["Trainer", "TrainingResult", "mixed_order_loss", "nats_per_row"]

Loss = Callable[[Any, Tensor, Tensor], Tensor]
Measure = Callable[[Any, Tensor], Tensor]


def random_orders(n_rows: int, n_columns: int, device: torch.device) -> Tensor:
    """Draw one order of the columns for each row, (n_rows, n_columns)."""
    return torch.rand(n_rows, n_columns, device=device).argsort(1)


def mixed_order_loss(order: Tensor, random_order_share: float) -> Loss:
    """Negative log-likelihood per cell, in one fixed order or in random ones.

    The weights, of which the mean over the table is 1, are not normalised within a batch: a heavy
    row would count for no more than the batch that it comes in. Whole batches take the one order
    or the other.
    """

    def loss(model: Backbone, token_ids: Tensor, weights: Tensor) -> Tensor:
        n_rows, n_columns = len(token_ids), len(order)
        if random_order_share > 0 and float(torch.rand(())) < random_order_share:
            orders = random_orders(n_rows, n_columns, token_ids.device)
        else:
            orders = order[None]
        nats = -model(token_ids, orders).sum(1)  # (batch,)
        return (nats * weights).mean() / n_columns

    return loss


def nats_per_row(order: Tensor | None) -> Measure:
    """Negative log-likelihood of each row.

    In one fixed order; None: each row in a random one, the same at every call.
    """

    def nats(model: Backbone, token_ids: Tensor) -> Tensor:
        if order is None:
            # Drawn on the CPU: the same orders on every device.
            generator = torch.Generator().manual_seed(0)
            keys = torch.rand(len(token_ids), model.n_columns, generator=generator)
            orders = keys.argsort(1).to(token_ids.device)
        else:
            orders = order[None]
        return -model(token_ids, orders).sum(1)

    return nats


@contextmanager
def _own_accelerate_state() -> Iterator[None]:
    """Let accelerate's process-wide state be ours for a while, and hand it back as it was.

    Else a caller's mixed precision would become ours, and ours would bar the caller from another.
    Where several processes train together, the state is the launcher's and is left alone.
    """
    if PartialState._shared_state and PartialState().num_processes > 1:
        yield
        return
    states = (PartialState._shared_state, AcceleratorState._shared_state)
    kept = [dict(state) for state in states]
    for state in states:
        state.clear()
    try:
        yield
    finally:
        for state, before in zip(states, kept, strict=True):
            state.clear()
            state.update(before)


def _go_on_from(
    optimizer: torch.optim.Optimizer, model: nn.Module, second_moments: dict[str, Tensor]
) -> None:
    """Give AdamW what it knew of each parameter's gradient, as after very many steps."""
    for name, parameter in model.named_parameters():
        if name in second_moments:
            optimizer.state[parameter] = {
                "step": torch.tensor(1e6),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": second_moments[name].to(parameter).clone(),
            }


def weighted_mean(values: Tensor, weights: Tensor) -> float:
    """Mean over rows by their weights; infinite where these are 0 in single precision."""
    total = float(weights.double().sum())
    return float(values @ weights.double()) / total if total > 0.0 else math.inf


def _is_better(values: Tensor, others: Tensor, weights: Tensor, tolerance: float) -> bool:
    """Whether rows have less of something, or not more by so many standard errors."""
    mean, other = weighted_mean(values, weights), weighted_mean(others, weights)
    if mean < other or not tolerance:
        return mean < other
    difference = values - others
    error = (weights * (difference - (mean - other))).norm() / weights.sum()
    return mean - other <= tolerance * float(error)


@dataclass
class TrainingResult:
    """What a training run leaves behind.

    Attributes
    ----------
    history : list of dict
        One entry per epoch.
    best_epoch : int
        The epoch of which the weights were kept, counted from 1; 0 if none was finished.
    stop_reason : str
        "no improvement", "max_epochs" or "interrupted".
    second_moments : dict of {name: Tensor}
        What AdamW knows of the size of each parameter's gradient.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    stop_reason: str = "max_epochs"
    second_moments: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Trainer:
    """Maximises a likelihood by AdamW and keeps the best averaged weights.

    The learning rate warms up, stays, and falls in the last epochs. The moving average of the
    weights does what a decay would do at every epoch, so that training may end at any of them.

    Parameters
    ----------
    loss : callable
        ``loss(model, token_ids, weights)`` gives the scalar to minimise.
    validation : dict of {name: (weight, callable)}
        What is measured of each held-out row after every epoch, by ``callable(model,
        token_ids)``; the mean over the rows is stored in the history under its name. The epoch
        with the least weighted sum is kept. One in which the learning rate still rises gives way
        to later ones unless it is better by a standard error: of a few rows it is often the best
        by chance, for what knows nothing yet is never far off.
    device, precision
        Where and in what precision the matrix products run.
    max_epochs, batch_size, learning_rate, n_iter_no_change
        As in the estimator.
    patience_steps : int
        Training does not stop before so many steps without improvement.
    weight_decay : float
        Applied to the transformer's matrices alone.
    averaging : float
        Decay of the moving average of the weights, per step.
    warmup_steps : int
        Steps in which the learning rate rises, at most about a quarter of all.
    decay_share : float
        Share of the steps, at the end, in which the learning rate falls to a tenth.
    max_grad_norm : float
        Longer gradients are cut to this length.
    dropout : bool
        Whether the model's dropout is on.
    second_moments : dict of {name: Tensor}, optional
        Of an earlier run over the same model, from which AdamW goes on; its first steps are
        mostly noise without.
    verbose : int
        1 prints a line per epoch.
    """

    loss: Loss
    validation: dict[str, tuple[float, Measure]]
    device: torch.device
    precision: torch.dtype
    max_epochs: int
    batch_size: int
    learning_rate: float
    n_iter_no_change: int
    weight_decay: float = 0.01
    averaging: float = 0.998
    warmup_steps: int = 100
    decay_share: float = 0.4
    patience_steps: int = 200
    max_grad_norm: float = 1.0
    dropout: bool = True
    second_moments: dict[str, Tensor] | None = None
    verbose: int = 0

    def run(
        self,
        model: Backbone,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
    ) -> TrainingResult:
        """Train `model` in place; it ends with the best averaged weights.

        Parameters
        ----------
        model : Module
            On the right device already.
        train, validation : tuple of Tensor
            Token ids of shape (n_rows, n_digits), and what the loss takes beside them, of shape
            (n_rows, ...): the rows' weights.
        """
        with _own_accelerate_state():
            return self._run(model, train, validation)

    def _run(
        self,
        model: Backbone,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
    ) -> TrainingResult:
        accelerator = Accelerator(mixed_precision="no", cpu=self.device.type == "cpu")
        steps_per_epoch = math.ceil(len(train[0]) / self.batch_size)
        self._total_steps = self.max_epochs * steps_per_epoch
        optimizer = torch.optim.AdamW(
            self._parameter_groups(model),
            lr=self.learning_rate,
            betas=(0.9, 0.98),
            fused=self.device.type in ("cpu", "cuda"),
        )
        if self.second_moments:
            _go_on_from(optimizer, model, self.second_moments)
        # Token ids are small numbers in few bytes: a GPU holds them all.
        train = (train[0].to(self.device), train[1].to(self.device))
        policy, optimizer = accelerator.prepare(model, optimizer, device_placement=[False, False])
        average = copy.deepcopy(model)
        average.requires_grad_(False)
        result = TrainingResult()
        best: dict[str, Tensor] | None = None
        best_nats = torch.full((len(validation[0]),), math.inf, dtype=torch.float64)
        warm = self._warmup()
        self._step = 0
        start = time.perf_counter()
        try:
            for epoch in range(1, self.max_epochs + 1):
                entry = self._epoch(policy, model, average, optimizer, accelerator, train)
                nats, measured = self.measure(average, validation)  # of each row
                entry = {"stage": "supervised", "epoch": epoch, **entry, **measured}
                entry["elapsed_seconds"] = time.perf_counter() - start
                result.history.append(entry)
                risen = result.best_epoch * steps_per_epoch >= warm
                tolerance = 0.0 if risen else 1.0
                if not measured or _is_better(nats, best_nats, validation[1], tolerance):
                    best_nats, result.best_epoch = nats, epoch
                    best = copy.deepcopy(average.state_dict())
                self._report(entry, result.best_epoch)
                idle = epoch - result.best_epoch
                if idle >= self.n_iter_no_change and idle * steps_per_epoch >= self.patience_steps:
                    result.stop_reason = "no improvement"
                    break
        except KeyboardInterrupt:
            result.stop_reason = "interrupted"
        if best is None and result.history:
            raise ValueError(
                f"learning_rate must be small enough for the training to converge; with "
                f"{self.learning_rate} the held-out likelihood was never finite."
            )
        result.second_moments = {
            name: moments["exp_avg_sq"]
            for name, parameter in model.named_parameters()
            if (moments := optimizer.state.get(parameter))
        }
        model.load_state_dict(average.state_dict() if best is None else best)
        model.eval()
        if self.verbose:
            print(f"stopped: {result.stop_reason}; kept epoch {result.best_epoch}", flush=True)
        return result

    def _parameter_groups(self, model: Backbone) -> list[dict[str, Any]]:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if name.startswith("transformer.") and p.ndim == 2]
        decayed = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in decayed]
        return [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]

    def _epoch(
        self,
        policy: nn.Module,
        model: Backbone,
        average: Backbone,
        optimizer: Any,
        accelerator: Accelerator,
        train: tuple[Tensor, Tensor],
    ) -> dict[str, Any]:
        policy.train(self.dropout)
        start = time.perf_counter()
        total = torch.zeros((), device=self.device)
        n_columns = model.n_columns
        n_batches = 0
        for token_ids, weights in self._batches(train, accelerator):
            rate = self._learning_rate()
            for group in optimizer.param_groups:
                group["lr"] = rate
            with autocast(self.device, self.precision):
                loss = self.loss(policy, token_ids, weights)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(policy.parameters(), self.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            self._step += 1
            self._average(average, model)
            total += loss.detach()
            n_batches += 1
        seconds = time.perf_counter() - start
        return {
            "train_nats": float(total) / n_batches * n_columns,
            "learning_rate": rate,
            "rows_per_second": len(train[0]) / seconds,
            "seconds": seconds,
        }

    def _batches(
        self, train: tuple[Tensor, Tensor], accelerator: Accelerator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches; of several processes each takes its share of every batch."""
        token_ids, weights = train
        shuffled = torch.randperm(len(token_ids)).to(self.device)
        for index in shuffled.split(self.batch_size):
            if len(index) < accelerator.num_processes:  # a last batch that is too small to share
                continue
            index = index[accelerator.process_index :: accelerator.num_processes]
            yield token_ids[index].long(), weights[index]

    def _learning_rate(self) -> float:
        warm = min(1.0, (self._step + 1) / self._warmup())
        left = (self._total_steps - self._step) / (self._total_steps * self.decay_share)
        return self.learning_rate * warm * (0.1 + 0.9 * min(1.0, left))

    def _warmup(self) -> float:
        """Steps in which the learning rate rises."""
        return min(self.warmup_steps, self._total_steps / 4 + 1)

    @torch.no_grad()
    def _average(self, average: Backbone, model: Backbone) -> None:
        """Move the average towards the model; early steps count less the later it gets."""
        decay = min(self.averaging, (1 + self._step) / (10 + self._step))
        # Frozen weights never move, and copies may share them.
        pairs = zip(average.parameters(), model.parameters(), strict=True)
        moving = [pair for pair in pairs if pair[1].requires_grad]
        torch._foreach_lerp_([a for a, _ in moving], [b for _, b in moving], 1.0 - decay)

    def measure(
        self, model: Backbone, validation: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Judge a model by held-out rows.

        Returns
        -------
        weighted : Tensor of shape (n_rows,), float64
            The weighted sum of what is measured, to minimise.
        means : dict of {name: float}
            Of what is measured, over the rows by their weights.
        """
        rows = {
            name: self._validate(model, validation[0], m)
            for name, (_, m) in self.validation.items()
        }
        weighted = torch.zeros(len(validation[0]), dtype=torch.float64)
        for name, (weight, _) in self.validation.items():
            weighted += weight * rows[name]
        return weighted, {name: weighted_mean(part, validation[1]) for name, part in rows.items()}

    @torch.no_grad()
    def _validate(self, model: Backbone, token_ids: Tensor, measure: Measure) -> Tensor:
        """Nats of each held-out row, (n_rows,), float64 on the CPU."""
        model.eval()
        with autocast(self.device, self.precision):
            parts = [
                measure(model, rows.to(self.device, torch.long)).cpu().double()  # MPS has none
                for rows in token_ids.split(rows_per_pass(model.n_columns))
            ]
        return torch.cat(parts)

    def _report(self, entry: dict[str, Any], best_epoch: int) -> None:
        if not self.verbose:
            return
        per_epoch = entry["elapsed_seconds"] / entry["epoch"]
        steps_per_epoch = self._total_steps // self.max_epochs
        patience = max(self.n_iter_no_change, math.ceil(self.patience_steps / steps_per_epoch))
        patience -= entry["epoch"] - best_epoch
        most = min(self.max_epochs - entry["epoch"], max(patience, 0))
        held_out = " / ".join(f"{entry[name]:.4f}" for name in self.validation)
        print(
            f"epoch {entry['epoch']}/{self.max_epochs}"
            f"  train {entry['train_nats']:.4f}"
            f"  held out {held_out} nats per row"
            f"  {entry['rows_per_second']:,.0f} rows/s"
            f"  at most {per_epoch * (self.max_epochs - entry['epoch']):.0f} s left"
            f" ({per_epoch * most:.0f} s without improvement)",
            flush=True,
        )
