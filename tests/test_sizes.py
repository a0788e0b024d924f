import math

import pytest

from tabgraa_sklearn._sizes import default_sizes


@pytest.mark.parametrize("n_columns", [1, 2, 15, 300, 5000])
@pytest.mark.parametrize("n_rows", [1, 50, 1_000, 30_000, 1_000_000, 50_000_000])
def test_sizes_fit_every_table(n_rows, n_columns):
    sizes = default_sizes(n_rows, n_columns)
    assert 16 <= sizes.batch_size <= 512
    assert sizes.batch_size == 1 << (sizes.batch_size.bit_length() - 1)
    # What a step holds in memory: 16,384 cells, or the 16 rows that a step needs.
    assert sizes.batch_size * n_columns <= 16_384 or sizes.batch_size == 16
    assert 3 <= sizes.max_epochs <= 300
    assert 0 <= sizes.dropout < 1
    assert sizes.width % 32 == 0


def test_larger_tables_are_seen_fewer_times_in_more_steps():
    rows = [100, 1_000, 10_000, 100_000, 1_000_000]
    sizes = [default_sizes(n, 10) for n in rows]
    epochs = [s.max_epochs for s in sizes]
    steps = [s.max_epochs * math.ceil(n / s.batch_size) for s, n in zip(sizes, rows, strict=True)]
    assert epochs == sorted(epochs, reverse=True)
    assert steps == sorted(steps)
    assert sizes[0].width < sizes[-1].width
    assert sizes[0].dropout > sizes[-1].dropout
