"""Sizes of model and training that follow the table."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Sizes", "default_sizes"]


@dataclass(frozen=True)
class Sizes:
    """What the estimator takes where its parameters are None."""

    width: int
    n_layers: int
    dropout: float
    learning_rate: float
    batch_size: int
    max_epochs: int


def default_sizes(n_rows: int, n_columns: int) -> Sizes:
    """Choose sizes for a table.

    A batch is about a hundredth of the table, within what a step can use and what the memory of
    a laptop holds; the epochs are as many as a budget of steps and of cells allows.
    """
    cells = n_rows * n_columns
    width = 32 if n_rows < 500 else 64 if n_rows < 3000 else 128
    power = round(math.log2(max(n_rows / 80, 1)))
    widest = max(int(math.log2(max(16384 / n_columns, 1))), 4)
    batch_size = 1 << min(max(power, 4), 8 if n_rows < 300_000 else 9, widest)
    steps = math.ceil(n_rows / batch_size)
    max_epochs = min(max(round(min(6000 / steps, 8e6 / cells)), 4), 300)
    return Sizes(
        width=width,
        n_layers=3,
        dropout=0.25 if n_rows < 25_000 else 0.1,
        learning_rate=5e-3,
        batch_size=batch_size,
        max_epochs=max_epochs,
    )
