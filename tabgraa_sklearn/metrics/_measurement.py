"""A figure with its interval."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ._tables import check_count

__all__ = ["Measurement", "resamples"]

Floats = npt.NDArray[np.float64]

_NORMAL = 1.959964  # half the width of the normal distribution's middle 95 %, in deviations


class Measurement(float):
    """A float with a 95 % interval.

    Attributes
    ----------
    low, high : float
        The interval: the figure, less and plus 1.96 standard deviations of bootstrap resamples
        (of the rows that are judged, drawn with replacement; models are not fitted again), cut at
        the ends of the figure's range. NaN of fewer than two.
    details : DataFrame or None
        What the figure is made of, by column or pair of columns, where it is made of such.

    Examples
    --------
    >>> from tabgraa_sklearn.metrics import Measurement
    >>> figure = Measurement(0.93, 0.91, 0.95)
    >>> figure, figure + 0.01 > 0.93
    (0.9300 [0.9100, 0.9500], True)
    """

    low: float
    high: float
    details: Any

    def __new__(
        cls, value: float, low: float = math.nan, high: float = math.nan, details: Any = None
    ) -> Measurement:
        """Make a float that knows its interval."""
        measurement = super().__new__(cls, value)
        measurement.low, measurement.high = float(low), float(high)
        measurement.details = details
        return measurement

    @classmethod
    def of(
        cls,
        values: Floats,
        lowest: float = -math.inf,
        highest: float = math.inf,
        details: Any = None,
    ) -> Measurement:
        """Make one of the figure and, behind it, those of resamples.

        Parameters
        ----------
        values : ndarray of shape (1 + n_bootstraps,)
        lowest, highest : float
            The ends of its range.
        """
        value = float(values[0])
        if len(values) < 3:  # one resample has no deviation
            return cls(value, details=details)
        margin = _NORMAL * float(np.std(values[1:], ddof=1))
        return cls(value, max(value - margin, lowest), min(value + margin, highest), details)

    def __repr__(self) -> str:
        if math.isnan(self.low):
            return f"{float(self):.4f}"
        return f"{float(self):.4f} [{self.low:.4f}, {self.high:.4f}]"

    __str__ = __repr__

    def __getnewargs__(self) -> tuple[Any, ...]:
        return float(self), self.low, self.high, self.details


def resamples(n_rows: int, n_bootstraps: int, random: np.random.Generator) -> Floats:
    """How often each row counts: once, and in each resample as often as it was drawn.

    Returns
    -------
    ndarray of shape (1 + n_bootstraps, n_rows)
        Each line sums to `n_rows`.
    """
    check_count("n_bootstraps", n_bootstraps, 0)
    drawn = random.multinomial(n_rows, np.full(n_rows, 1.0 / max(n_rows, 1)), size=n_bootstraps)
    return np.concatenate([np.ones((1, n_rows)), drawn])
