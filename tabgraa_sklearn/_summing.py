"""Columns of few values, summed over where the order of sampling asks for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._codecs import Codec

__all__ = ["expand_rows", "most_combinations", "summed_columns"]

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]


_COMBINATIONS = 64
_CELLS = 1024  # of all combinations of a row


def most_combinations(n_columns: int) -> int:
    """Give how many combinations of values are summed over at the most."""
    return max(min(_COMBINATIONS, _CELLS // n_columns), 1)


def summed_columns(known: Mask, order: list[int], codecs: list[Codec], most: int) -> list[int]:
    """Give the unknown columns of a row over whose values its probability is to be summed.

    Those that come before a known one in the order of sampling; behind all known ones they have
    no say. Of columns with many values only those that come to `most` combinations together.

    Parameters
    ----------
    known : ndarray of shape (n_columns,)
    order : list of n_columns int
    codecs : list of n_columns Codec
    most : int
    """
    places = np.flatnonzero(known[order])
    last = int(places.max()) if len(places) else 0
    unknown = [column for column in order[:last] if not known[column]]
    chosen, product = [], 1
    for size, column in sorted((int(codecs[c].everything().sum()), c) for c in unknown):
        product *= size
        if product > most:
            break
        chosen.append(column)
    return chosen


def expand_rows(
    token_ids: Ids, columns: list[int], codecs: list[Codec], first_digits: Ids
) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Repeat rows with each combination of the values of some columns.

    Parameters
    ----------
    token_ids : ndarray of shape (n_rows, n_digits)
    columns : list of int
    codecs : list of n_columns Codec
    first_digits : ndarray of shape (n_columns,)
        Where the digits of each column begin.

    Returns
    -------
    token_ids : ndarray of shape (n_rows * n_combinations, n_digits)
    origin : ndarray of shape (n_rows * n_combinations,)
        Which row each stems from.
    """
    origin = np.arange(len(token_ids))
    for column in columns:
        tokens = np.argwhere(codecs[column].everything())[:, : len(codecs[column].sizes)]
        digits = first_digits[column] + np.arange(tokens.shape[1])
        token_ids = np.repeat(token_ids, len(tokens), axis=0)
        token_ids[:, digits] = np.tile(tokens, (len(origin), 1))
        origin = np.repeat(origin, len(tokens))
    return token_ids, origin
