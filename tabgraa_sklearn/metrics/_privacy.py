"""What synthetic rows give away about the rows they were learnt from."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from ._measurement import Measurement, resamples
from ._tables import (
    MAX_ROWS,
    N_BOOTSTRAPS,
    TIE,
    Side,
    check_count,
    n_dimensions,
    nearest,
    place,
    side_by_side,
)

__all__ = [
    "attribute_inference",
    "copy_share",
    "membership_auc",
    "nearest_neighbor_ratio",
    "nearest_record_share",
]

Floats = npt.NDArray[np.float64]

_NAMES = ("train", "synthetic", "holdout")
_SUBSAMPLES = 5  # of the train rows, that the nearest-record share is averaged over
_CELLS = 1 << 27  # of rows that others are compared with: 1 GiB
_LEAST = 1000  # rows that are looked up, however many they are compared with
_TOLERANCE = 0.05  # by which a guessed number may be off, relative to itself


def nearest_record_share(
    train: Any,
    synthetic: Any,
    holdout: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """Share of synthetic rows that lie nearer to a train row than to a held-out one.

    Both sides have the same number of rows: the train rows are cut at random into parts of the
    size of the holdout, and the share is averaged over up to five of them. Ties count half.

    Parameters
    ----------
    train, synthetic, holdout : DataFrame or array-like of shape (n_rows, n_columns)
        Rows that the synthetic ones were learnt from, these, and real rows that were not seen.
    categorical, n_bootstraps, random_state
        As in :func:`column_shapes`. Resampled are the synthetic rows.
    max_rows : int or None, default=50_000
        Rows that are looked up at the most, drawn at random (of much larger tables fewer, at least
        1,000); None: all. What they are compared with is thinned only where it would not fit in
        a gigabyte.

    Returns
    -------
    Measurement
        In [0, 1]; .5 of fresh rows of the same table, more is memorising. A copied row is found
        only if its original is in the part, so that copies of every row score
        ``0.5 + 0.5 * len(holdout) / len(train)`` where that is less than 1.

    References
    ----------
    Distance to closest record, as by Platzer and Reutterer, "Holdout-Based Empirical Assessment of
    Mixed-Type Synthetic Data", 2021.
    """
    sides = _sides(train, synthetic, holdout, categorical=categorical, random_state=random_state)
    random = np.random.default_rng(random_state)
    size = min(len(sides[0]), len(sides[2]), _most_compared(sides))
    sides[1] = _looked_up(sides[1], size, max_rows, random)
    n_parts = min(len(sides[0]) // size, _SUBSAMPLES)
    for number, n_rows in ((0, n_parts * size), (2, size)):
        sides[number] = sides[number].take(random.permutation(len(sides[number]))[:n_rows])
    rows, fresh, strangers = place(sides, (0, 2))
    parts = np.arange(len(rows)).reshape(n_parts, size)
    to_stranger = nearest(strangers, fresh)[0][:, 0]
    shares = np.zeros(len(fresh))
    for part in parts:
        to_train = nearest(rows[part], fresh)[0][:, 0]
        tied = np.abs(to_train - to_stranger) <= TIE
        shares += np.where(tied, 0.5, to_train < to_stranger) / n_parts
    return Measurement.of(_averages(shares, n_bootstraps, random), 0.0, 1.0)


def nearest_neighbor_ratio(
    train: Any,
    synthetic: Any,
    holdout: Any | None = None,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """Mean ratio of the distances to the nearest and the second nearest train row.

    Near 0 a synthetic row singles out one train row, near 1 it lies among several. Rows at no
    distance from both count as 1.

    Parameters
    ----------
    train, synthetic : DataFrame or array-like of shape (n_rows, n_columns)
    holdout : DataFrame or array-like, default=None
        Real rows that were not seen. With them the figure is the mean ratio of the synthetic rows
        divided by that of the holdout: 1 of fresh rows of the same table, less is memorising.
    categorical, max_rows, n_bootstraps, random_state
        As in :func:`nearest_record_share`.

    Returns
    -------
    Measurement
        In [0, 1] (with a holdout at least 0), higher is more private.

    References
    ----------
    The nearest-neighbour distance ratio of Zhao et al., "CTAB-GAN", ACML 2021.
    """
    tables = [train, synthetic] if holdout is None else [train, synthetic, holdout]
    sides = _sides(*tables, categorical=categorical, random_state=random_state)
    if len(sides[0]) < 2:
        raise ValueError("train must have at least 2 rows; got 1.")
    random = np.random.default_rng(random_state)
    sides = _thinned(sides, 0, max_rows, random)
    rows, *queries = place(sides, (0, 2) if holdout is not None else (0,))
    means = []
    for part in queries:
        first, second = nearest(rows, part, 2)[0].T
        ratio = np.where(second > TIE, first / np.maximum(second, TIE), 1.0)
        means.append(_averages(ratio, n_bootstraps, random))
    if holdout is None:
        return Measurement.of(means[0], 0.0, 1.0)
    return Measurement.of(means[0] / np.maximum(means[1], 1e-12), 0.0)


def membership_auc(
    train: Any,
    synthetic: Any,
    holdout: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How well train rows are told from held-out ones by the distance to the nearest synthetic row.

    Parameters
    ----------
    train, synthetic, holdout, categorical, max_rows, n_bootstraps, random_state
        As in :func:`nearest_record_share`. Resampled are the train and the held-out rows.

    Returns
    -------
    Measurement
        The area under the ROC curve, in [0, 1]: .5 if membership is not given away, 1 if it
        always is.

    References
    ----------
    Chen et al., "GAN-Leaks: A Taxonomy of Membership Inference Attacks", CCS 2020 (full black-box
    attack).
    """
    sides = _sides(train, synthetic, holdout, categorical=categorical, random_state=random_state)
    random = np.random.default_rng(random_state)
    rows, fresh, strangers = place(_thinned(sides, 1, max_rows, random), (0, 2))
    distances = nearest(fresh, np.concatenate([rows, strangers]))[0][:, 0]
    scores = -np.round(distances / TIE)
    truth = np.repeat([1, 0], [len(rows), len(strangers)])
    weights = [resamples(len(part), n_bootstraps, random) for part in (rows, strangers)]
    areas = [
        roc_auc_score(truth, scores, sample_weight=np.concatenate(line))
        for line in zip(*weights, strict=True)
    ]
    return Measurement.of(np.array(areas), 0.0, 1.0)


def copy_share(
    train: Any,
    synthetic: Any,
    *,
    categorical: Collection[Hashable] | None = None,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """Share of synthetic rows that equal a train row in every column that is compared.

    The yardstick is the same share among real rows that were not seen, not 0: real rows repeat.

    Parameters
    ----------
    train, synthetic : DataFrame or array-like of shape (n_rows, n_columns)
        All their rows are compared; missing equals missing.
    categorical, n_bootstraps, random_state
        As in :func:`column_shapes`. Resampled are the synthetic rows.

    Returns
    -------
    Measurement
        In [0, 1], lower is better as far as the yardstick.
    """
    sides = _sides(train, synthetic, categorical=categorical, random_state=random_state)
    known, fresh = (_hashes(side) for side in sides)
    random = np.random.default_rng(random_state)
    share, n_rows = float(np.isin(fresh, known).mean()), len(fresh)
    # Resampled rows that are copies follow a binomial distribution.
    check_count("n_bootstraps", n_bootstraps, 0)
    drawn = random.binomial(n_rows, share, size=n_bootstraps) / n_rows
    return Measurement.of(np.concatenate([[share], drawn]), 0.0, 1.0)


def attribute_inference(
    train: Any,
    synthetic: Any,
    holdout: Any,
    secret: Hashable,
    *,
    known: Sequence[Hashable] | None = None,
    categorical: Collection[Hashable] | None = None,
    max_rows: int | None = MAX_ROWS,
    n_bootstraps: int = N_BOOTSTRAPS,
    random_state: int = 0,
) -> Measurement:
    """How much better a cell is guessed of people in the train rows than of others.

    The attacker knows some columns of a row and takes the secret one from the synthetic row that
    is nearest in them. With the shares S of train and H of held-out rows guessed right, the figure
    is ``(S - H) / (1 - H)``: what holds of the population is no breach.

    Parameters
    ----------
    train, synthetic, holdout : DataFrame or array-like of shape (n_rows, n_columns)
    secret : column name
        What is guessed. A guessed number is right if it is off by 5 % of itself at the most, a
        time or duration by 5 % of the range of the train rows.
    known : sequence of column names, default=None
        What the attacker knows; None: all other columns.
    categorical, max_rows, n_bootstraps, random_state
        As in :func:`nearest_record_share`. Resampled are the train and the held-out rows.

    Returns
    -------
    Measurement
        In [-1, 1]; 0 or less: nothing is given away. 0 where all held-out rows are guessed right.

    References
    ----------
    Giomi et al., "A Unified Framework for Quantifying Privacy Risk in Synthetic Data" (Anonymeter),
    PoPETs 2023.
    """
    sides = _sides(train, synthetic, holdout, categorical=categorical, random_state=random_state)
    random = np.random.default_rng(random_state)
    sides = _thinned(sides, 1, max_rows, random)
    columns = sides[0].order
    for name in [secret, *(known or ())]:
        if name not in columns:
            raise ValueError(f"{name!r} must be a column that is compared, one of {columns}.")
    seen = [name for name in (columns if known is None else known) if name != secret]
    if not seen:
        raise ValueError("known must hold a column other than secret.")
    part = "numbers" if secret in sides[0].numbers else "labels"
    secrets = [getattr(side, part)[secret].to_numpy() for side in sides]
    span = None
    if sides[0].columns[secret].kind in ("datetime", "timedelta"):
        present = secrets[0][~np.isnan(secrets[0])]
        span = _TOLERANCE * float(np.ptp(present)) if len(present) else 0.0
    for name in columns:
        if name not in seen:
            sides = [side.drop(name) for side in sides]
    rows, fresh, strangers = place(sides, (0, 2))
    rates = []
    for queries, truth in ((rows, secrets[0]), (strangers, secrets[2])):
        guess = secrets[1][nearest(fresh, queries)[1][:, 0]]
        right = (guess == truth).astype(np.float64)
        if part == "numbers":
            near = np.abs(guess - truth) <= (_TOLERANCE * np.abs(guess) if span is None else span)
            right = (near | (np.isnan(guess) & np.isnan(truth))).astype(np.float64)
        rates.append(_averages(right, n_bootstraps, random))
    room = 1.0 - rates[1]
    values = np.clip((rates[0] - rates[1]) / np.maximum(room, 1e-12), -1.0, 1.0)
    return Measurement.of(np.where(room > 1e-12, values, 0.0), -1.0, 1.0)


def _sides(
    *tables: Any, categorical: Collection[Hashable] | None = None, random_state: int = 0
) -> list[Side]:
    return side_by_side(tables, categorical=categorical, random_state=random_state, names=_NAMES)


def _thinned(
    sides: list[Side], compared: int, max_rows: int | None, random: np.random.Generator
) -> list[Side]:
    """Thin what is looked up in one of the tables, and that one only where it is huge.

    Were both thinned, a copy and its original would hardly meet.
    """
    size = min(len(sides[compared]), _most_compared(sides))
    return [
        side.take(np.sort(random.choice(len(side), size, replace=False)))
        if number == compared
        else _looked_up(side, size, max_rows, random)
        for number, side in enumerate(sides)
    ]


def _looked_up(
    side: Side, n_compared: int, max_rows: int | None, random: np.random.Generator
) -> Side:
    """Draw the rows that are looked up: the fewer, the more they are compared with."""
    if max_rows is None:
        return side
    check_count("max_rows", max_rows, 1, "None or ")
    size = min(max_rows, max(max_rows * max_rows // n_compared, _LEAST), len(side))
    return side.take(np.sort(random.choice(len(side), size, replace=False)))


def _most_compared(sides: list[Side]) -> int:
    """Rows that others are compared with at the most: what memory holds of them."""
    return max(_CELLS // max(n_dimensions(sides), 1), _LEAST)


def _averages(values: Floats, n_bootstraps: int, random: np.random.Generator) -> Floats:
    """Mean of the values, and of each resample of them."""
    means: Floats = resamples(len(values), n_bootstraps, random) @ values / len(values)
    return means


def _hashes(side: Side) -> npt.NDArray[np.uint64]:
    """Give each row a number of 64 bits that equal rows share."""
    both = pd.concat([side.numbers + 0.0, side.labels], axis=1)  # -0.0 becomes 0.0
    return np.asarray(pd.util.hash_pandas_object(both, index=False))
