"""Sizes of model and training that follow the table."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Sizes", "default_sizes", "rows_per_pass"]


_SHORT = 3000  # rows


@dataclass(frozen=True)
class Sizes:
    """What the estimator takes where its parameters are None."""

    width: int
    n_layers: int
    dropout: float
    learning_rate: float
    batch_size: int
    max_epochs: int
    smooth_only: bool = False
    n_frequencies_in: int = 32
    n_frequencies_out: int = 16


def default_sizes(n_rows: int, n_columns: int) -> Sizes:
    """Choose sizes for a table.

    A batch is about a hundredth of the table, within what a step can use and what the memory of
    a laptop holds. The number of steps grows with the square root of those in an epoch: a small
    table is seen many times, a very large one a few times. The learning rate is higher where
    there is more to learn from. A wider model is a little better from 10,000 rows on, and takes
    over half as long again: it is for tables of which a fit takes a minute or two. The values of a
    short table share smooth embeddings, with few frequencies, and have none of their own: each
    would be learnt by heart before anything of how columns depend (``benchmarks/small.py``).
    """
    short = n_rows < _SHORT
    power = round(math.log2(max(n_rows / 80, 1)))
    largest = 8 if n_rows < 300_000 else 9
    by_columns = max(int(math.log2(16384 / n_columns)), 4) if n_columns < 1024 else 4
    batch_size = 1 << min(max(power, 4), largest, by_columns)
    steps = math.ceil(n_rows / batch_size)
    max_epochs = round(max(1200.0, 150.0 * math.sqrt(steps)) / steps)
    rate = 5e-3 * math.sqrt(n_rows * n_columns / 600_000)
    wide = n_rows >= 10_000 and n_rows * n_columns < 250_000
    return Sizes(
        width=192 if wide else 32 if n_rows < 500 else 64 if n_rows < 3000 else 128,
        n_layers=3,
        dropout=0.2 if n_rows < 1000 else 0.1 if n_rows < 10_000 else 0.05,
        learning_rate=min(max(rate, 2.5e-3), 5e-3),
        batch_size=batch_size,
        max_epochs=min(max(max_epochs, 3), 300),
        smooth_only=short,
        n_frequencies_in=8 if short else 32,
        n_frequencies_out=6 if short else 16,
    )


def rows_per_pass(n_columns: int) -> int:
    """Rows that go through the model at once without gradients.

    Attention holds a square of the columns for each row.
    """
    return max(16, min(1024, (1 << 22) // n_columns**2))
