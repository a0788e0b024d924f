"""Rows drawn as text: only tokens that some cell can go on with, in batches with a cache.

Between two choices everything is certain - the rest of a word, the name of the next column, cells
that are given - and goes through the model in one piece. So a column costs as many passes as its
cells have choices, and a row is valid on the first try.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from ._automata import STATE, Automaton
from ._conditions import given_tokens
from ._device import autocast
from ._drawing import Wanted
from ._filling import fill_tokens
from ._prediction import distributions
from ._sampling import row_uniforms, sample_tokens
from ._text_model import TextModel
from ._text_tokenizer import TextTokenizer, WrittenNumbers

__all__ = ["draw_texts"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_DRAWS = 64  # from which the distribution of a number is counted
_FEW_VALUES = 8  # of a target, that each row is tried with


@sample_tokens.register
def _(
    backbone: TextModel,
    n_samples: int,
    *,
    seed: int,
    order: list[int],
    precision: torch.dtype,
    temperature: float = 1.0,
    batch_size: int = 65536,
    wanted: Wanted | None = None,
    stratified: bool = True,
) -> Iterator[tuple[Ids, Floats]]:
    """Draw rows as codes of cells; rows are independent, whether `stratified` or not."""
    n_columns, block = backbone.n_columns, _block(backbone)
    known = np.zeros(n_columns, dtype=bool)
    allowed: dict[int, Any] = {}
    if wanted is not None:
        known[list(wanted.given)] = True
        allowed = {column: mask.cpu().numpy() for column, mask in wanted.allowed.items()}
    for start in range(0, n_samples, block):
        stop = min(start + block, n_samples)
        numbers = row_uniforms(seed, start, stop, 2 * n_columns)
        codes = np.zeros((stop - start, n_columns), dtype=np.int64)
        if wanted is not None:
            codes = np.maximum(wanted.tokens[start:stop].cpu().numpy(), 0)
        codes, chances = draw_texts(
            backbone,
            codes,
            np.tile(known, (len(codes), 1)),
            np.tile(np.array(order), (len(codes), 1)),
            numbers[:, :n_columns],
            precision=precision,
            temperature=temperature,
            allowed=allowed,
        )
        if wanted is not None:
            wanted.chances[start:stop] = torch.from_numpy(chances)
        yield codes, numbers[:, n_columns:]


@fill_tokens.register
def _(
    backbone: TextModel,
    token_ids: npt.NDArray[Any],
    known: Mask,
    *,
    seed: int,
    order: list[int],
    precision: torch.dtype,
    temperature: float = 1.0,
    allowed: dict[int, Any] | None = None,
    candidates: int = 1,
    stratified: bool = False,
) -> tuple[Ids, Floats]:
    """Draw the cells of rows that are not known, the known ones being read first."""
    n_columns, block = backbone.n_columns, _block(backbone)
    codes = np.maximum(token_ids, 0).astype(np.int64)
    places = row_uniforms(seed, 0, len(codes), 3 * n_columns)[:, 2 * n_columns :]
    own = known_first(known, order)
    # Candidates are needed where the known cells do not come first in the order of sampling.
    later = (np.diff(known[:, order].astype(np.int8), axis=1) > 0).any(1)
    seeds = [seed, *np.random.default_rng([seed, 11]).integers(2**31, size=candidates - 1)]
    groups = np.where(known.all(1), -1, 2 * known.sum(1) + (later if candidates > 1 else 0))
    for group in np.unique(groups[groups >= 0]).tolist():
        alike = np.flatnonzero(groups == group)
        for rows in np.split(alike, range(block, len(alike), block)):
            drawn, scores = [], []
            for one in seeds[: candidates if group % 2 else 1]:
                numbers = row_uniforms(int(one), 0, int(rows[-1]) + 1, 3 * n_columns)[rows]
                filled, chances = draw_texts(
                    backbone,
                    codes[rows],
                    known[rows],
                    own[rows],
                    numbers[:, :n_columns],
                    precision=precision,
                    temperature=temperature,
                    allowed=allowed or {},
                )
                drawn.append(filled)
                # The largest of scores with Gumbel noise is one drawn by their exponentials.
                noise = -np.log(-np.log(np.clip(numbers[:, n_columns], 1e-300, 1 - 1e-16)))
                if group % 2:
                    gain = _advantage(backbone, filled, known[rows], own[rows], order, precision)
                    noise = noise + (gain + np.log(np.maximum(chances, 1e-300))) / temperature
                scores.append(noise)
            best = np.argmax(scores, axis=0)
            codes[rows] = np.stack(drawn)[best, np.arange(len(rows))]
    return codes, places


@distributions.register
def _(
    backbone: TextModel,
    tokenizer: TextTokenizer,
    order: list[int],
    frame: Any,
    target: int,
    precision: torch.dtype,
) -> Iterator[tuple[Ids, Floats]]:
    """Probability of each value of a column, given the cells of each row that are there.

    Each of a list of values is tried: all that is known with it where they are few, else behind
    what is known. Of numbers 64 are drawn, and counted with the nearest of up to 256.
    """
    codec = tokenizer.codecs_[target]
    absent = codec.readings()[1]
    codes, known = given_tokens(frame, tokenizer, strict=False)
    codes, known[:, target] = np.maximum(codes, 0), False
    if isinstance(codec, WrittenNumbers):
        yield from _counted(backbone, codec, codes, known, order, target, precision)
        return
    values = np.flatnonzero(~absent)
    few = len(values) <= _FEW_VALUES
    step = max(_block(backbone) // len(values), 1)
    sizes = known.sum(1)
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        for rows in np.split(alike, range(step, len(alike), step)):
            counted = known[rows].copy()
            counted[:, target] = True
            if few:
                orders = known_first(counted, order)[:, : size + 1]
            else:
                orders = known_first(known[rows], order)[:, :size]
                orders = np.column_stack([orders, np.full(len(rows), target)])
                counted[:] = False
                counted[:, target] = True
            tried = np.repeat(codes[rows], len(values), axis=0)
            tried[:, target] = np.tile(values, len(rows))
            cells = _log_probabilities(
                backbone, tried, np.repeat(orders, len(values), axis=0), precision
            )
            logs = (cells * np.repeat(counted, len(values), axis=0)).sum(1)
            logs = logs.reshape(len(rows), len(values))
            shares = np.exp(logs - logs.max(1, keepdims=True))
            table = np.zeros((len(rows), len(absent)))
            table[:, values] = shares / shares.sum(1, keepdims=True)
            yield rows, table


def _counted(
    backbone: TextModel,
    codec: WrittenNumbers,
    codes: Ids,
    known: Mask,
    order: list[int],
    target: int,
    precision: torch.dtype,
) -> Iterator[tuple[Ids, Floats]]:
    allowed = {target: codec.everything(missing=False)}
    sizes, step = known.sum(1), max(_block(backbone) // _DRAWS, 1)
    numbers = row_uniforms(0, 0, _DRAWS, 1)
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        for rows in np.split(alike, range(step, len(alike), step)):
            orders = known_first(known[rows], order)[:, :size]
            orders = np.column_stack([orders, np.full(len(rows), target)])
            uniforms = np.zeros((len(rows) * _DRAWS, backbone.n_columns))
            # Spread evenly, and the same for every row.
            places = (np.arange(_DRAWS) + numbers[:, 0]) / _DRAWS
            uniforms[:, target] = np.tile(places, len(rows))
            drawn, chances = draw_texts(
                backbone,
                np.repeat(codes[rows], _DRAWS, axis=0),
                np.repeat(known[rows], _DRAWS, axis=0),
                np.repeat(orders, _DRAWS, axis=0),
                uniforms,
                precision=precision,
                allowed=allowed,
            )
            middles = (codec.knots[1:] + codec.knots[:-1]) / 2
            nearest = np.searchsorted(middles, drawn[:, target])
            table = np.zeros((len(rows), len(codec.knots)))
            np.add.at(table, (np.repeat(np.arange(len(rows)), _DRAWS), nearest), chances)
            yield rows, table / table.sum(1, keepdims=True)


def known_first(known: Mask, order: list[int]) -> Ids:
    """Give the columns of each row as they are read: known ones, then the others."""
    rank = np.argsort(order) + len(order) * ~known
    return np.argsort(rank, axis=1)


def _block(backbone: TextModel) -> int:
    """Rows that are drawn together: as many as their cached keys leave room for."""
    largest, tokens = (256, 1 << 15) if backbone.device.type == "cpu" else (1024, 1 << 18)
    return max(min(largest, tokens // backbone.layout.longest), 16)


@contextlib.contextmanager
def _quietly(backbone: TextModel, precision: torch.dtype) -> Iterator[None]:
    backbone.eval()
    with torch.inference_mode(), autocast(backbone.device, precision):
        yield


def _log_probabilities(
    backbone: TextModel, codes: Ids, orders: Ids, precision: torch.dtype
) -> Floats:
    with _quietly(backbone, precision):
        device = backbone.device
        cells = backbone(torch.from_numpy(codes).to(device), torch.from_numpy(orders).to(device))
        return cells.double().cpu().numpy()


def _advantage(
    backbone: TextModel,
    codes: Ids,
    known: Mask,
    own: Ids,
    order: list[int],
    precision: torch.dtype,
) -> Floats:
    """Log-probability of rows in the order of sampling, less that of what was drawn in theirs."""
    in_order = _log_probabilities(backbone, codes, np.array([order]), precision)
    in_own = _log_probabilities(backbone, codes, own, precision)
    gain: Floats = in_order.sum(1) - (in_own * ~known).sum(1)
    return gain


def draw_texts(
    backbone: TextModel,
    codes: Ids,
    known: Mask,
    orders: Ids,
    uniforms: Floats,
    *,
    precision: torch.dtype,
    temperature: float = 1.0,
    allowed: dict[int, Any] | None = None,
) -> tuple[Ids, Floats]:
    """Draw the cells of rows that are not known.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_columns)
        Of the cells that are known; anything elsewhere.
    known : ndarray of shape (n_rows, n_columns)
    orders : ndarray of shape (n_rows, n_read)
        The columns of each row as they are read; others are left alone.
    uniforms : ndarray of shape (n_rows, n_columns)
        Numbers in [0, 1), the only randomness: one for each cell, read off digit by digit as in
        arithmetic coding.
    allowed : dict of {int: ndarray}
        What some columns may hold, as their codec says it.

    Returns
    -------
    codes : ndarray of shape (n_rows, n_columns)
    chances : ndarray of shape (n_rows,)
        The probability that the model gave, step by step, to what was allowed. Weighted with it,
        rows follow the model's own distribution among what is allowed.
    """
    with _quietly(backbone, precision):
        drawer = _Drawer(backbone, codes, known, orders, uniforms, temperature, allowed or {})
        return drawer.run()


class _Drawer:
    """Rows on their way.

    Every row holds tokens that are certain and were not read yet. Rows go through their columns
    in step: who is done with a cell waits until all are, so that the cache holds few gaps.
    """

    def __init__(
        self,
        backbone: TextModel,
        codes: Ids,
        known: Mask,
        orders: Ids,
        uniforms: Floats,
        temperature: float,
        allowed: dict[int, Any],
    ) -> None:
        self.backbone, self.layout = backbone, backbone.layout
        self.codes, self.known, self.orders = codes.astype(np.int64), known, orders
        self.uniforms, self.temperature = uniforms.copy(), temperature
        # What the model may say, and what may be drawn of it.
        self.wide = self.layout.automata
        self.narrow: list[Automaton | None] = [
            automaton.restricted(allowed[column])
            if automaton is not None and column in allowed
            else automaton
            for column, automaton in enumerate(self.wide)
        ]
        n_rows = len(codes)
        self.pending = np.zeros((n_rows, self.layout.longest + 1), dtype=np.int64)
        self.n_pending = np.zeros(n_rows, dtype=np.int64)
        self.step = np.zeros(n_rows, dtype=np.int64)
        self.inside = np.zeros(n_rows, dtype=bool)
        self.states = np.zeros((n_rows, STATE), dtype=np.int64)
        self.chances = np.ones(n_rows)
        self.n_read = np.zeros(n_rows, dtype=np.int64)
        self.seen = torch.zeros(n_rows, 0, dtype=torch.long, device=backbone.device)
        self.cache = DynamicCache()

    def run(self) -> tuple[Ids, Floats]:
        every = np.arange(len(self.codes))
        self._append(every, np.tile(np.array(self.layout.begin), (len(every), 1)))
        while True:
            self._go_on()
            if not self.inside.any():
                return self.codes, self.chances
            states = self._read()
            for column, rows in self._by_column(np.flatnonzero(self.inside)):
                self._choose(column, rows, states)

    def _go_on(self) -> None:
        """Take every row to its next choice, as far as the others have come."""
        n_steps = self.orders.shape[1]
        moving = self.inside.copy()
        while True:
            for column, rows in self._by_column(np.flatnonzero(moving & self.inside)):
                self._follow(column, rows, moving)
            if self.inside.any() and moving[self.inside].any():
                continue
            left = self.step < n_steps
            if not left.any():
                return
            front = int(self.step[left].min())
            rows = np.flatnonzero((self.step == front) & ~self.inside)
            if len(rows) == 0 or (self.inside & (self.step == front)).any():
                return
            for column, some in self._by_column(rows):
                self._begin(column, some, moving)

    def _begin(self, column: int, rows: Ids, moving: Mask) -> None:
        automaton = self.narrow[column]
        if automaton is None:
            self.codes[rows, column] = 0
            self.step[rows] += 1
            return
        self._append(rows, np.tile(self.layout.names[column], (len(rows), 1)))
        given = self.known[rows, column]
        if given.any():
            some = rows[given]
            spelled = automaton.spell(self.codes[some, column])
            self._append(some, np.where(spelled >= 0, automaton.tokens[spelled], -1))
            self.step[some] += 1
        free = rows[~given]
        self.states[free] = automaton.start(len(free))
        self.inside[free] = moving[free] = True

    def _follow(self, column: int, rows: Ids, moving: Mask) -> None:
        """Take one token further where there is no choice."""
        automaton = self.narrow[column]
        assert automaton is not None
        allowed = automaton.allowed(self.states[rows])
        single = allowed.sum(1) == 1
        wide = self.wide[column]
        if wide is not automaton and wide is not None:
            # Where the model had a choice, its odds count.
            single &= wide.allowed(self.states[rows]).sum(1) == 1
        moving[rows[~single]] = False
        self._take(column, rows[single], allowed[single].argmax(1), moving)

    def _take(self, column: int, rows: Ids, chosen: Ids, moving: Mask | None = None) -> None:
        automaton = self.narrow[column]
        assert automaton is not None
        self._append(rows, automaton.tokens[chosen][:, None])
        self.states[rows] = automaton.advance(self.states[rows], chosen)
        done = rows[automaton.finished(self.states[rows])]
        self.codes[done, column] = automaton.codes(self.states[done])
        self.step[done] += 1
        self.inside[done] = False
        if moving is not None:
            moving[done] = False

    def _choose(self, column: int, rows: Ids, states: Tensor) -> None:
        """Draw one token of each row."""
        automaton, wide = self.narrow[column], self.wide[column]
        assert automaton is not None and wide is not None
        index = torch.from_numpy(rows).to(states.device)
        tokens = self.backbone._tokens(automaton)
        logits = self.backbone._logits(states[index], tokens).double().cpu().numpy()
        mask = wide.allowed(self.states[rows])
        logits = np.where(mask, logits, -np.inf)
        logits -= logits.max(1, keepdims=True)
        shares = np.exp(logits / min(max(self.temperature, 1e-30), 1e30))
        shares /= shares.sum(1, keepdims=True)
        if wide is not automaton:
            mask = automaton.allowed(self.states[rows])
            chance = (shares * mask).sum(1)
            self.chances[rows] *= chance
            # Of a row that is lost, with no odds left for what is allowed, anything allowed does.
            lost = (chance < 1e-290)[:, None]
            shares = np.where(lost, mask.astype(np.float64), shares * mask)
            shares /= shares.sum(1, keepdims=True)
        cumulative = shares.cumsum(1)
        cumulative /= cumulative[:, -1:]
        number = self.uniforms[rows, column]
        chosen = (cumulative > number[:, None]).argmax(1)
        every = np.arange(len(rows))
        share = shares[every, chosen]
        below = cumulative[every, chosen] - share
        # What is left of the number decides what comes after.
        rest = (number - below) / share
        self.uniforms[rows, column] = np.clip(rest, 0.0, 1.0 - 2.0**-53)
        self._take(column, rows, chosen)

    def _by_column(self, rows: Ids) -> Iterator[tuple[int, Ids]]:
        columns = self.orders[rows, self.step[rows]]
        for column in np.unique(columns).tolist():
            yield column, rows[columns == column]

    def _append(self, rows: Ids, tokens: Ids) -> None:
        """Let tokens be read next, (n_rows, n), -1 behind the end of shorter ones."""
        row, place = np.nonzero(tokens >= 0)
        self.pending[rows[row], self.n_pending[rows[row]] + place] = tokens[row, place]
        self.n_pending[rows] += (tokens >= 0).sum(1)

    def _read(self) -> Tensor:
        """Read what is pending; give the state behind each row, (n_rows, width)."""
        device, width = self.backbone.device, int(self.n_pending.max())
        ids, there = self.pending[:, :width], np.arange(width) < self.n_pending[:, None]
        places = np.minimum(
            self.n_read[:, None] + np.arange(width), self.layout.longest + width - 1
        )
        places = np.where(there, places, 0)
        self.seen = torch.cat([self.seen, torch.from_numpy(there).to(device).long()], 1)
        states = self.backbone._states(
            torch.from_numpy(ids).to(device),
            self.seen,
            position_ids=torch.from_numpy(places).to(device),
            past_key_values=self.cache,
            use_cache=True,
        )
        last = torch.from_numpy(np.maximum(self.n_pending - 1, 0)).to(device)
        self.n_read += self.n_pending
        self.n_pending[:] = 0
        return states[torch.arange(len(states), device=device), last]
