"""Columns of few values, summed over where the order of sampling asks for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._agreement import patterns_of
from ._codecs import Codec

__all__ = ["blocks_of", "columns_to_sum", "expand_rows", "most_combinations"]

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]

_COMBINATIONS = 64
_CELLS = 1024  # of all combinations of a row


def most_combinations(n_columns: int) -> int:
    """Give how many combinations of values are summed over at the most."""
    return max(min(_COMBINATIONS, _CELLS // n_columns), 1)


def columns_to_sum(
    known: Mask, order: list[int], codecs: list[Codec], most: int
) -> tuple[Mask, Ids]:
    """Tell over which unknown columns the probability of each row is to be summed.

    Those that come before a known one in the order of sampling; behind all known ones they have
    no say. Of columns with many values only those that come to `most` combinations together.

    Parameters
    ----------
    known : ndarray of shape (n_rows, n_columns)
    order : list of n_columns int
    codecs : list of n_columns Codec
    most : int

    Returns
    -------
    summed : ndarray of shape (n_rows, n_columns)
    combinations : ndarray of shape (n_rows,)
        How many combinations of their values there are.
    """
    counts = [int(codec.everything().sum()) for codec in codecs]
    first, group, _ = patterns_of(known)
    summed = np.zeros((len(first), len(order)), dtype=bool)
    combinations = np.ones(len(first), dtype=np.int64)
    for number, pattern in enumerate(known[first]):
        places = np.flatnonzero(pattern[order])
        last = int(places.max()) if len(places) else 0
        unknown = [column for column in order[:last] if not pattern[column]]
        for column in sorted(unknown, key=counts.__getitem__):
            if combinations[number] * counts[column] > most:
                break
            summed[number, column] = True
            combinations[number] *= counts[column]
    return summed[group], combinations[group]


def expand_rows(
    token_ids: Ids, summed: Mask, codecs: list[Codec], first_digits: Ids
) -> tuple[Ids, Ids]:
    """Repeat rows with each combination of the values of some columns.

    Parameters
    ----------
    token_ids : ndarray of shape (n_rows, n_digits)
    summed : ndarray of shape (n_rows, n_columns)
        Which columns of each row.
    codecs : list of n_columns Codec
    first_digits : ndarray of shape (n_columns,)
        Where the digits of each column begin.

    Returns
    -------
    token_ids : ndarray of shape (n_expanded, n_digits)
    origin : ndarray of shape (n_expanded,)
        Which row each stems from.
    """
    first, group, _ = patterns_of(summed)
    parts, origins = [], []
    for number, pattern in enumerate(summed[first]):
        origin = np.flatnonzero(group == number)
        tokens = token_ids[origin]
        for column in np.flatnonzero(pattern):
            cells = np.argwhere(codecs[column].everything())[:, : len(codecs[column].sizes)]
            n_rows, digits = len(tokens), first_digits[column] + np.arange(cells.shape[1])
            tokens = np.repeat(tokens, len(cells), axis=0)
            tokens[:, digits] = np.tile(cells, (n_rows, 1))
            origin = np.repeat(origin, len(cells))
        parts.append(tokens)
        origins.append(origin)
    return np.concatenate(parts), np.concatenate(origins)


def blocks_of(sizes: Ids, most: int) -> list[Ids]:
    """Cut rows of different sizes into blocks that come to about `most` at once."""
    cuts = np.flatnonzero(np.diff(sizes.cumsum() // most)) + 1
    return np.split(np.arange(len(sizes)), cuts)
