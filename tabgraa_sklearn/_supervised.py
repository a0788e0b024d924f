"""The supervised stage: from a table to a language model that has learnt its rows."""

from __future__ import annotations

import copy
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from transformers import PretrainedConfig

from ._backbone import CompactBackbone, compact_config
from ._device import autocast, private_torch_seed
from ._layout import TokenLayout
from ._protocols import Backbone, Tokenizer
from ._sizes import Sizes, default_sizes
from ._text_backbone import TextBackbone, TextRecipe
from ._tokenizer import TableTokenizer
from ._training import Trainer, TrainingResult, mixed_order_loss, nats_per_row, weighted_mean

__all__ = ["Interrupted", "Supervised", "SupervisedSettings", "fit_supervised", "made_with"]

_MATCHED_ROWS = 100_000  # rows whose marginal frequencies the output is fitted to
_MOST_HELD_OUT = 20_000

Part = tuple[torch.Tensor, torch.Tensor]


@dataclass
class SupervisedSettings:
    """The estimator's parameters that the supervised stage depends on."""

    backbone: Any
    max_epochs: int | None
    learning_rate: float | None
    batch_size: int | None
    validation_fraction: float
    n_iter_no_change: int
    dropout: float | None
    random_order_share: float
    column_kinds: Mapping[Hashable, str] | None


@dataclass
class Supervised:
    """What the supervised stage leaves behind.

    Attributes
    ----------
    tokenizer : Tokenizer
    model : Backbone
        On the device that it was learnt on.
    order : list of int
        The columns in the order in which they are drawn.
    result : TrainingResult
    held_out : ndarray of int
        Rows that were set aside to decide when to stop.
    """

    tokenizer: Tokenizer
    model: Backbone
    order: list[int]
    result: TrainingResult
    held_out: npt.NDArray[np.int64]


class Interrupted(Exception):
    """Raised with what was learnt so far, so that no cache takes it for the whole stage."""

    def __init__(self, supervised: Supervised) -> None:
        super().__init__()
        self.supervised = supervised


def fit_supervised(
    frame: pd.DataFrame,
    weights: npt.NDArray[np.float64],
    settings: SupervisedSettings,
    device: torch.device,
    precision: torch.dtype,
    seed_key: int | None,
    made_with: list[Any],
    seed: int,
    verbose: int,
) -> Supervised:
    """Learn a table that passes ``check_frame``.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
    weights : ndarray of shape (n_rows,)
        Positive, of mean 1.
    settings : SupervisedSettings
    device, precision
        Where and in what precision the matrix products run.
    seed_key : int or None
        What a cache tells seeds by: `seed`, or None where the user gave none.
    made_with : list
        What else a cache goes by, see :func:`made_with`.
    seed : int
    verbose : int

    Raises
    ------
    Interrupted
        Where the user stopped it; it carries the best model so far.
    """
    recipe = _recipe(settings)
    tokenizer = recipe.tokenizer(settings.column_kinds).fit(frame)
    layout = tokenizer.layout()
    with private_torch_seed(seed, device):
        token_ids = tokenizer.encode(frame)
        order = layout.surest_first(token_ids, weights)
        model = recipe.model(layout, len(frame)).to(device)
        sizes = recipe.sizes(len(frame), layout.n_columns)
        trainer = _trainer(settings, sizes, order, device, precision, verbose)
        learnt, held_out = split_rows(len(frame), settings.validation_fraction, seed)
        train, validation = (
            (torch.from_numpy(token_ids[rows]), torch.from_numpy(weights[rows].astype(np.float32)))
            for rows in (learnt, held_out)
        )
        model.start_from(train[0].numpy(), train[1].numpy())
        result = trainer.run(model, train, validation)
        if result.stop_reason != "interrupted":
            if model.has_marginals:
                _match_marginals(model, order, trainer, train, validation)
            rows = validation[0].to(device, torch.long)
            result.history[-1].update(model.figures(rows, torch.from_numpy(order[None])))
    supervised = Supervised(tokenizer, model, order.tolist(), result, held_out)
    if result.stop_reason == "interrupted":
        raise Interrupted(supervised)
    return supervised


def made_with(backbone: Any) -> list[Any]:
    """Give the version of this package, and the backbone's files, that a stage stands on."""
    from . import __version__

    found: list[Any] = [__version__]
    if isinstance(backbone, TextBackbone):
        backbone = backbone.name_or_path
    if isinstance(backbone, str | os.PathLike):
        place = Path(backbone)
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            if file.is_file():
                found.append((file.name, file.stat().st_size, file.stat().st_mtime_ns))
    return found


def split_rows(
    n_rows: int, validation_fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the rows that are learnt, and those that decide when to stop."""
    held_out = min(max(round(float(validation_fraction) * n_rows), 1), _MOST_HELD_OUT)
    learnt, held = train_test_split(
        np.arange(n_rows), test_size=min(held_out, n_rows - 1), random_state=seed
    )
    return learnt, held


def make_layout(tokenizer: TableTokenizer) -> TokenLayout:
    """Give what the language model has to know of a tokenizer."""
    return tokenizer.layout()


class _CompactRecipe:
    """Makes tokenizer and model of the compact backbone."""

    def __init__(self, config: PretrainedConfig | None, dropout: float | None) -> None:
        self.config, self.dropout = config, dropout

    def tokenizer(self, column_kinds: Mapping[Hashable, str] | None) -> TableTokenizer:
        return TableTokenizer(column_kinds=column_kinds)

    def model(self, layout: TokenLayout, n_rows: int) -> CompactBackbone:
        """Make the model, whose size follows the table unless it was given."""
        sizes = self.sizes(n_rows, layout.n_columns)
        embeddings: dict[str, Any] = {
            "smooth_only": sizes.smooth_only,
            "n_frequencies_in": sizes.n_frequencies_in,
            "n_frequencies_out": sizes.n_frequencies_out,
        }
        if self.config is not None:
            model = CompactBackbone(layout, copy.deepcopy(self.config), **embeddings)
            model.check_causal()
            return model
        dropout = sizes.dropout if self.dropout is None else float(self.dropout)
        config = compact_config(
            layout.n_columns, width=sizes.width, n_layers=sizes.n_layers, dropout=dropout
        )
        return CompactBackbone(layout, config, **embeddings)

    def sizes(self, n_rows: int, n_columns: int) -> Sizes:
        return default_sizes(n_rows, n_columns)


def _recipe(settings: SupervisedSettings) -> Any:
    """Tell by the parameter `backbone` how tokenizer and model are made."""
    backbone = settings.backbone
    if isinstance(backbone, str | os.PathLike):
        backbone = TextBackbone(backbone)
    if isinstance(backbone, TextBackbone):
        return TextRecipe(backbone)
    return _CompactRecipe(backbone, settings.dropout)


def _trainer(
    settings: SupervisedSettings,
    sizes: Sizes,
    order: npt.NDArray[Any],
    device: torch.device,
    precision: torch.dtype,
    verbose: int,
) -> Trainer:
    """Make the trainer, with sizes that follow the table."""
    fixed = torch.from_numpy(order).to(device)
    share = float(settings.random_order_share)
    validation = {"validation_nats": (1.0 - share, nats_per_row(fixed))}
    if share > 0:
        validation["validation_nats_random"] = (share, nats_per_row(None))
    return Trainer(
        loss=mixed_order_loss(fixed, share),
        validation=validation,
        device=device,
        precision=precision,
        # torch knows no NumPy numbers.
        max_epochs=int(settings.max_epochs or sizes.max_epochs),
        batch_size=int(settings.batch_size or sizes.batch_size),
        learning_rate=float(settings.learning_rate or sizes.learning_rate),
        n_iter_no_change=int(settings.n_iter_no_change),
        verbose=verbose,
    )


def _match_marginals(
    model: Backbone,
    order: npt.NDArray[Any],
    trainer: Trainer,
    train: Part,
    held_out: Part,
) -> None:
    """Fit the output biases to the marginal frequencies, unless held-out rows speak against it.

    They do where at least 200 of them lose more than one part in a thousand: else it is chance.
    """
    state = copy.deepcopy(model.state_dict())
    enough = len(held_out[0]) >= 200
    fixed = torch.from_numpy(order).to(trainer.device)

    def nats() -> float:
        return weighted_mean(trainer.measure(model, held_out)[0], held_out[1])

    try:
        before = nats() if enough else 0.0
        with autocast(trainer.device, trainer.precision):
            model.match_marginals(train[0][:_MATCHED_ROWS], train[1][:_MATCHED_ROWS], fixed)
        harmed = enough and nats() > 1.001 * before
    except KeyboardInterrupt:
        harmed = True
    if harmed:
        model.load_state_dict(state)
