"""The distribution of one column given others, read off the model without drawing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ._agreement import known_alone
from ._backbone import CompactBackbone
from ._codecs import Codec, FreshValues
from ._conditions import given_tokens
from ._drawing import OutputTables
from ._protocols import Backbone, Tokenizer
from ._reading import by_chunks, cell_nats, read_rows
from ._sampling import Drawing
from ._summing import blocks_of, columns_to_sum, expand_rows, most_combinations

__all__ = ["distributions", "reduce_numbers"]

Floats = npt.NDArray[np.float64]

Found = Iterator[tuple[npt.NDArray[np.int64], torch.Tensor]]  # some of the rows, their shares

_CELLS = 1 << 22  # probabilities that are held at once
_BEGINNINGS = 1024  # of rows, that go through the model at once
_READ_CELLS = 1 << 19  # of rows that are searched for common beginnings
_FEW_VALUES = 8  # of a target, that each row is tried with
_FEW_CELLS = 256  # or where so few cells are read for it
_TRIED = 16  # values of a target that has more, at a time


@singledispatch
def distributions(
    backbone: Backbone,
    tokenizer: Tokenizer,
    order: list[int],
    frame: pd.DataFrame,
    target: int,
    precision: torch.dtype,
    trials: bool,
) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
    """Probability of each cell of a column given the cells of each row that are there.

    A column of few values is tried with each of them: by Bayes' rule its probabilities are in
    proportion to those of the rows that arise, read in the order of sampling, in which the model
    knows most. Unknown columns of few values are summed over, others left out. Of a target with
    more values the distribution is read off the model behind the cells that are there, and
    corrected by trials of 32 of them (:func:`_corrected`); what is unknown is left out. Without
    `trials` every target is read off so, and nothing corrected.

    Yields
    ------
    rows : ndarray of shape (n,)
        Which rows of `frame` they are.
    probabilities : ndarray of shape (n, n_first * n_second)
        Of the cells that are not missing; each row sums to 1.
    """
    assert isinstance(backbone, CompactBackbone)
    codec = tokenizer.codecs_[target]
    assert not isinstance(codec, FreshValues)
    absent = codec.readings()[1]
    drawing = Drawing.of(backbone, precision)
    token_ids, known = given_tokens(frame, tokenizer, strict=False)
    token_ids, known[:, target] = np.maximum(token_ids, 0), False
    values = np.flatnonzero(~absent)
    few = trials and (len(values) <= _FEW_VALUES or len(values) * len(order) <= _FEW_CELLS)
    read, n_tried = _in_one_pass, 1
    if trials:
        read, n_tried = (_by_trial, len(values)) if few else (_corrected_behind, _TRIED)
    summed, times = np.zeros_like(known), np.full(len(known), n_tried)
    if few:
        asked_for = known.copy()
        asked_for[:, target] = True
        most = most_combinations(len(order)) // len(values)
        summed, combinations = columns_to_sum(asked_for, order, tokenizer.codecs_, most)
        times *= combinations
    # As many rows at once as can be held.
    sizes = np.maximum(times * len(order), len(values) * _READ_CELLS // _CELLS)
    for rows in blocks_of(sizes, _READ_CELLS):
        tokens = torch.from_numpy(token_ids[rows]).to(drawing.device)
        asked = _Asked(
            drawing.model, tokenizer.codecs_, tokens, known[rows], summed[rows], order, target
        )
        parts = read(asked, values)
        while True:
            with drawing.mode():  # not while the caller has the word
                part = next(parts, None)
            if part is None:
                break
            own, found = part
            shares = found.cpu().double().numpy()
            probabilities = np.zeros((len(own), _size(codec)))
            total = np.maximum(shares.sum(1, keepdims=True), 1e-300)
            probabilities[:, values] = shares / total
            yield rows[own], probabilities


@dataclass
class _Asked:
    """A column of some rows.

    Attributes
    ----------
    codecs : list of Codec
        Of all columns.
    tokens : Tensor of shape (n_rows, n_digits), int64
    known : ndarray of shape (n_rows, n_columns)
        Not of the target.
    summed : ndarray of shape (n_rows, n_columns)
        Columns that are not known, over whose values is summed.
    """

    model: CompactBackbone
    codecs: list[Codec]
    tokens: torch.Tensor
    known: npt.NDArray[np.bool_]
    summed: npt.NDArray[np.bool_]
    order: list[int]
    target: int

    @property
    def codec(self) -> Codec:
        """Give that of the target."""
        return self.codecs[self.target]

    def orders(self, *, last: bool) -> torch.Tensor:
        """Give the known columns and the target of each row in the order of sampling, or it last.

        Returns
        -------
        Tensor of shape (n_rows, n_asked)
            -1 behind those of rows with fewer.
        """
        sizes = self.known.sum(1)
        if last:
            orders = known_alone(self.known, self.order)
            orders[np.arange(len(orders)), sizes] = self.target
        else:
            known = self.known.copy()
            known[:, self.target] = True
            orders = known_alone(known, self.order)
        return torch.from_numpy(orders[:, : int(sizes.max()) + 1]).to(self.tokens.device)

    def read_later(self) -> npt.NDArray[np.bool_]:
        """Say of each row whether a known cell comes behind the target in the order of sampling."""
        place = np.argsort(self.order)
        return np.asarray((self.known & (place > place[self.target])).any(1))

    def of(self, rows: torch.Tensor) -> _Asked:
        """Ask it of some of the rows."""
        own = rows.cpu().numpy()
        return replace(
            self, tokens=self.tokens[rows], known=self.known[own], summed=self.summed[own]
        )

    def expanded(self) -> tuple[_Asked, torch.Tensor]:
        """Repeat rows with each value of what is summed over; also give the row each stems from."""
        tokens, origin = expand_rows(
            self.tokens.cpu().numpy(), self.summed, self.codecs, self.model.layout.first
        )
        device, summed = self.tokens.device, self.summed[origin]
        asked = replace(
            self,
            tokens=torch.from_numpy(tokens).to(device),
            known=self.known[origin] | summed,
            summed=summed,
        )
        return asked, torch.from_numpy(origin).to(device)

    def tried(self, values: torch.Tensor) -> torch.Tensor:
        """Give the tokens of each row with each of its values, pairs of tokens as one number."""
        tokens = self.tokens.repeat_interleave(values.shape[1], 0)
        place, chosen = int(self.model.layout.first[self.target]), values.flatten()
        if len(self.codec.sizes) == 1:
            tokens[:, place] = chosen
        else:
            tokens[:, place] = chosen // self.codec.sizes[1]
            tokens[:, place + 1] = chosen % self.codec.sizes[1]
        return tokens


def _by_trial(asked: _Asked, values: npt.NDArray[np.int64]) -> Found:
    """Probability of rows with each value of the target, relative to the likeliest's."""
    n_rows = len(asked.tokens)
    asked, origin = asked.expanded()
    each = torch.from_numpy(values).to(asked.tokens.device).expand(len(asked.tokens), -1)
    nats = _nats_of_trials(asked, each)
    most = nats.new_full((n_rows,), -torch.inf)
    most = most.scatter_reduce(0, origin, nats.amax(1), "amax")
    chances = (nats - most[origin][:, None]).exp()
    yield np.arange(n_rows), chances.new_zeros(n_rows, len(values)).index_add(0, origin, chances)


def _nats_of_trials(asked: _Asked, values: torch.Tensor) -> torch.Tensor:
    """Log-probability of rows with several values of the target each, but for a constant of each.

    Parameters
    ----------
    values : Tensor of shape (n_rows, n_values), int64
        Pairs of tokens, as one number.

    Returns
    -------
    Tensor of shape (n_rows, n_values), in nats
    """
    model, n_values = asked.model, values.shape[1]
    orders = asked.orders(last=False).repeat_interleave(n_values, 0)
    varied = torch.from_numpy(asked.summed.copy()).to(values.device)
    varied[:, asked.target] = True
    varied = varied.repeat_interleave(n_values, 0)
    tried = asked.tried(values)
    tables = model.output_tables(model.begin.dtype)
    nats = model.begin.new_zeros(len(tried))
    # What is asked for before anything varies is the same.
    there = orders >= 0
    differs = (varied.gather(1, orders.clamp_min(0)) & there).cummax(1).values & there
    levels = read_rows(model, tried, orders, _BEGINNINGS, differs)
    for next_, differing, (states, own) in zip(orders.T, differs.T, levels, strict=True):
        for column in next_[differing].unique().tolist():
            rows = (differing & (next_ == column)).nonzero()[:, 0]
            first, level = model.digits_of(column, tried)
            digits = first[rows], level[rows]
            nats[rows] += cell_nats(model, tables, column, states, own[rows], digits, _BEGINNINGS)
    return nats.view(values.shape)


def _corrected(asked: _Asked, values: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Bring distributions nearer to those of the order of sampling, (n_rows, n_values).

    Some values are tried as in :func:`_by_trial`. Of values with an order these are quantiles of
    what was found, and then quantiles of what came of it; the logarithm of the quotient is
    interpolated between them. Else they are the likeliest, and the others keep their odds to all of
    these.
    """
    codec = asked.codec
    n_second = codec.sizes[1] if len(codec.sizes) > 1 else 1
    position = codec.positions[0][values.cpu().numpy() // n_second]
    nats = found.clamp_min(1e-30).log()
    n_tried = min(_TRIED, len(values))

    def quotient(tried: torch.Tensor) -> torch.Tensor:
        return _nats_of_trials(asked, values[tried]) - nats.gather(1, tried)

    if not np.isfinite(position).all():
        tried = found.topk(n_tried, 1).indices
        gained = quotient(tried)
        gained = gained - gained.amax(1, keepdim=True)
        share = found.gather(1, tried)
        usual = (share * gained.exp()).sum(1, keepdim=True).log() - share.sum(1, keepdim=True).log()
        more = usual.expand_as(found).scatter(1, tried, gained)
        return (nats + more).softmax(1)
    # Second digits stand in their order.
    ranked = torch.from_numpy(position.argsort(kind="stable")).to(values.device)
    back = ranked.argsort()
    steps = torch.arange(n_tried, device=values.device)
    levels = (steps + 0.5) / n_tried
    shares = found[:, ranked]
    places, gained = torch.empty_like(shares[:, :0], dtype=torch.int64), shares[:, :0]
    for _ in range(2):
        cumulative = shares.cumsum(1)
        wanted = levels.expand(len(shares), -1) * cumulative[:, -1:]
        new = torch.searchsorted(cumulative, wanted.contiguous())
        # Each another one: where one value has many quantiles, those behind it are tried too.
        new = (new - steps).cummax(1).values.clamp_max(len(values) - n_tried) + steps
        places, by_place = torch.cat([places, new], 1).sort(1)
        gained = torch.cat([gained, quotient(ranked[new])], 1).gather(1, by_place)
        shares = (nats[:, ranked] + _interpolated(places, gained, len(values))).softmax(1)
    return shares[:, back]


def _interpolated(places: torch.Tensor, heights: torch.Tensor, n: int) -> torch.Tensor:
    """Interpolate between points of each row at 0 .. n - 1, (n_rows, n); flat beyond the ends."""
    at = torch.arange(n, device=places.device).expand(len(places), -1).contiguous()
    right = torch.searchsorted(places.contiguous(), at).clamp_max(places.shape[1] - 1)
    left = (right - 1).clamp_min(0)
    low, high = places.gather(1, left), places.gather(1, right)
    share = ((at - low) / (high - low).clamp_min(1)).clamp(0.0, 1.0)
    return torch.lerp(heights.gather(1, left), heights.gather(1, right), share.to(heights.dtype))


def _corrected_behind(asked: _Asked, values: npt.NDArray[np.int64]) -> Found:
    """Correct what :func:`_in_one_pass` gives where it is not in the order of sampling."""
    later, cells = asked.read_later(), torch.from_numpy(values).to(asked.tokens.device)
    for rows, shares in _in_one_pass(asked, values):
        wrong = torch.from_numpy(later[rows]).to(cells.device)
        if wrong.any():
            own = torch.from_numpy(rows).to(cells.device)[wrong]
            shares[wrong] = _corrected(asked.of(own), cells, shares[wrong])
        yield rows, shares


def _in_one_pass(asked: _Asked, values: npt.NDArray[np.int64]) -> Found:
    """Probability of each value of the target behind the cells that are there."""
    orders = asked.orders(last=True)
    sizes = (orders >= 0).sum(1)
    last = torch.arange(orders.shape[1], device=orders.device) == sizes[:, None] - 1
    parts: list[torch.Tensor] = []
    own, n_states = torch.zeros_like(sizes), 0
    levels = read_rows(asked.model, asked.tokens, orders, _BEGINNINGS, last)
    for ends, (states, sequence) in zip(last.T, levels, strict=True):
        ended = ends.nonzero()[:, 0]  # where the target was asked for
        kept, place = sequence[ended].unique(return_inverse=True)
        own[ended] = n_states + place
        n_states += len(kept)
        parts.append(states[kept])
    chosen = torch.from_numpy(values).to(orders.device)
    at_once = 1 << min(max(_CELLS // _size(asked.codec), 1), _BEGINNINGS).bit_length() - 1
    tables = asked.model.output_tables(asked.model.begin.dtype)

    def of_states(states: torch.Tensor) -> torch.Tensor:
        return _cells(asked.model, asked.codec, states, asked.target, tables)[:, chosen]

    for number, part in enumerate(torch.cat(parts).split(at_once)):
        here = (own // at_once == number).nonzero()[:, 0]
        shares = by_chunks(of_states, at_once, part)[own[here] % at_once]
        shares /= shares.sum(1, keepdim=True).clamp_min(1e-30)
        yield here.cpu().numpy(), shares


def reduce_numbers(values: Floats, probabilities: Floats, statistic: Any) -> Floats:
    """Reduce distributions over numbers to their mean, median or quantiles.

    Returns
    -------
    ndarray of shape (n_rows,), or (n_rows, n_quantiles)
    """
    if isinstance(statistic, str) and statistic == "mean":
        mean: Floats = probabilities @ values
        return mean
    order = np.argsort(values, kind="stable")
    cumulative = probabilities[:, order].cumsum(1)
    is_median = isinstance(statistic, str)
    levels = np.atleast_1d(0.5 if is_median else statistic)
    places = [(cumulative < level - 1e-12).sum(1).clip(max=len(values) - 1) for level in levels]
    found = values[order][np.stack(places, 1)]
    scalar = is_median or np.ndim(statistic) == 0
    result: Floats = found[:, 0] if scalar else found
    return result


def _size(codec: Codec) -> int:
    return int(np.prod(codec.sizes))


def _cells(
    model: CompactBackbone,
    codec: Codec,
    states: torch.Tensor,
    column: int,
    tables: OutputTables,
) -> torch.Tensor:
    """Probability of each pair of tokens, (n, n_first * n_second)."""
    weights, bias = (part[model.vocabulary.slot(column)] for part in tables[0])
    first = (states @ weights.T + bias).softmax(-1)
    if len(codec.sizes) == 1:
        return first
    slot = model.level_vocabulary.slot(model.two_digit.index(column))
    weights, bias = (part[slot] for part in tables[1])
    opens = model.opens[model.first_start[column] : model.first_start[column + 1]].tolist()
    joint = first.new_zeros(len(states), *codec.sizes)
    for token in range(codec.sizes[0]):
        if not opens[token]:
            joint[:, token, 0] = first[:, token]
            continue
        index = torch.full((len(states),), token, device=states.device)
        inner = model.level_states(states, index + model.first_start[column])
        logits = inner @ weights.T + bias
        barred = model.barred(column, index)
        levels = (logits if barred is None else logits + barred).softmax(-1)
        joint[:, token] = first[:, token, None] * levels
    return joint.flatten(1)
