"""Where randomness comes from."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["generator"]


def generator(random_state: int | np.random.RandomState | None) -> np.random.RandomState:
    """Give a generator; None: a fresh one, where scikit-learn would take the caller's global."""
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)
