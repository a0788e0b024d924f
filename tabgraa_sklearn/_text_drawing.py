"""Rows drawn as text: only tokens that some cell can go on with, in batches with a cache.

Between two choices everything is certain - the rest of a word, the name of the next column, cells
that are given - and goes through the model in one piece. So a column costs as many passes as its
cells have choices, and a row is valid on the first try.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ._agreement import advantage, known_first, known_later
from ._attention import CellCache
from ._automata import STATE, Automaton
from ._conditions import given_tokens
from ._device import autocast
from ._drawing import Wanted
from ._filling import fill_tokens
from ._prediction import distributions
from ._sampling import row_uniforms, sample_tokens, with_products_in
from ._text_model import TextModel
from ._text_tokenizer import TextTokenizer, WrittenNumbers

__all__ = ["draw_texts"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BLOCK = 8192  # rows that are drawn together: the more, the more begin alike
_DRAWS = 64  # from which the distribution of a number is counted
_STRATUM = 64  # rows whose numbers are spread evenly
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
    """Draw rows as codes of cells."""
    backbone = with_products_in(backbone, precision)
    n_columns, block = backbone.n_columns, _BLOCK
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
            stratified=stratified,
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
    corrected: Mask | None = None,
    stratified: bool = False,
) -> tuple[Ids, Floats]:
    """Draw the cells of rows that are not known, the known ones being read first."""
    backbone = with_products_in(backbone, precision)
    n_columns, block = backbone.n_columns, _BLOCK
    codes = np.maximum(token_ids, 0).astype(np.int64)
    own = known_first(known, order)
    # Candidates are needed where the known cells do not come first in the order of sampling.
    more = known_later(known, order) & (candidates > 1)
    if corrected is not None:
        more &= corrected
    seeds = [seed, *np.random.default_rng([seed, 11]).integers(2**31, size=candidates - 1)]
    used = seeds if more.any() else seeds[:1]
    uniforms = [row_uniforms(int(one), 0, len(codes), 2 * n_columns + 1) for one in used]
    groups = np.where(known.all(1), -1, 2 * known.sum(1) + more)
    for group in np.unique(groups[groups >= 0]).tolist():
        alike = np.flatnonzero(groups == group)
        for rows in np.split(alike, range(block, len(alike), block)):
            drawn, scores = [], []
            for of_one in uniforms[: candidates if group % 2 else 1]:
                numbers = of_one[rows]
                filled, _ = draw_texts(
                    backbone,
                    codes[rows],
                    known[rows],
                    own[rows],
                    numbers[:, :n_columns],
                    precision=precision,
                    temperature=temperature,
                    allowed=allowed or {},
                    stratified=stratified,
                )
                drawn.append(filled)
                # The largest of scores with Gumbel noise is one drawn by their exponentials.
                noise = -np.log(-np.log(np.clip(numbers[:, -1], 1e-300, 1 - 1e-16)))
                if group % 2:
                    gain = advantage(backbone, filled, known[rows], own[rows], order, precision)
                    noise = noise + gain / temperature
                scores.append(noise)
            best = np.argmax(scores, axis=0)
            codes[rows] = np.stack(drawn)[best, np.arange(len(rows))]
    return codes, uniforms[0][:, n_columns : 2 * n_columns]


@distributions.register
def _(
    backbone: TextModel,
    tokenizer: TextTokenizer,
    order: list[int],
    frame: Any,
    target: int,
    precision: torch.dtype,
    trials: bool,
) -> Iterator[tuple[Ids, Floats]]:
    """Probability of each value of a column, given the cells of each row that are there.

    Each of a list of values is tried: all that is known with it where they are few and `trials`
    says so, else behind what is known. Of numbers 64 are drawn, and counted with the nearest of up
    to 256.
    """
    backbone = with_products_in(backbone, precision)
    codec = tokenizer.codecs_[target]
    absent = codec.readings()[1]
    codes, known = given_tokens(frame, tokenizer, strict=False)
    codes, known[:, target] = np.maximum(codes, 0), False
    if isinstance(codec, WrittenNumbers):
        yield from _counted(backbone, codec, codes, known, order, target, precision)
        return
    values = np.flatnonzero(~absent)
    few = trials and len(values) <= _FEW_VALUES
    step = max(_BLOCK // len(values), 1)
    sizes = known.sum(1)
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        for rows in np.split(alike, range(step, len(alike), step)):
            tried = np.repeat(codes[rows], len(values), axis=0)
            tried[:, target] = np.tile(values, len(rows))
            if few:
                counted = known[rows].copy()
                counted[:, target] = True
                orders = known_first(counted, order)[:, : size + 1]
                orders = np.repeat(orders, len(values), axis=0)
                cells = _log_probabilities(backbone, tried, orders, precision)
                logs = (cells * np.repeat(counted, len(values), axis=0)).sum(1)
            else:
                orders = np.repeat(_known_then(known[rows], order, target), len(values), axis=0)
                follower = _Follower(backbone, tried)
                with _quietly(backbone, precision):
                    follower.run(tried, np.repeat(known[rows], len(values), axis=0), orders)
                logs = follower.logs
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
    sizes, step = known.sum(1), max(_BLOCK // _DRAWS, 1)
    numbers = row_uniforms(0, 0, _DRAWS, 1)
    for size in np.unique(sizes).tolist():
        alike = np.flatnonzero(sizes == size)
        for rows in np.split(alike, range(step, len(alike), step)):
            orders = _known_then(known[rows], order, target)
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


def _known_then(known: Mask, order: list[int], target: int) -> Ids:
    """Give the known columns of rows that know as many, as they are read, and one more."""
    first = known_first(known, order)[:, : int(known[0].sum())]
    return np.column_stack([first, np.full(len(known), target)])


def _most(backbone: TextModel) -> int:
    """Sequences that go through the model at once: few enough for the processor's memory."""
    largest, tokens = (64, 1 << 14) if backbone.device.type == "cpu" else (1024, 1 << 18)
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
        return cells.cpu().double().numpy()


@advantage.register
def _(
    backbone: TextModel,
    codes: npt.NDArray[Any],
    known: Mask,
    own: Ids,
    order: list[int],
    precision: torch.dtype,
) -> Floats:
    codes = codes.astype(np.int64)
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
    stratified: bool = False,
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
    stratified : bool
        Whether the numbers of rows that begin alike are spread evenly over [0, 1) before each
        cell, see :func:`tabgraa_sklearn._drawing.draw_rows`.

    Returns
    -------
    codes : ndarray of shape (n_rows, n_columns)
    chances : ndarray of shape (n_rows,)
        The probability that the model gave, step by step, to what was allowed. Weighted with it,
        rows follow the model's own distribution among what is allowed.
    """
    drawer = _Drawer(backbone, uniforms.copy(), temperature, allowed or {}, stratified)
    with _quietly(backbone, precision):
        return drawer.run(codes, known, orders)


@dataclass
class _Branch:
    """Sequences on their way, each for all rows that have begun so.

    Every sequence holds tokens that are certain and were not read yet. Sequences go through their
    columns in step: which is done with a cell waits until all are, so that the cache holds few
    gaps.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
    of : ndarray of shape (n_rows,)
        The sequence of each row.
    codes, known, orders : ndarray of shape (n_sequences, ...)
        As in :func:`draw_texts`.
    pending, n_pending : ndarray of shape (n_sequences, longest), (n_sequences,)
        Tokens to be read.
    n_read : ndarray of shape (n_sequences,)
        Tokens that were read.
    step : ndarray of shape (n_sequences,)
        Columns that were passed.
    inside : ndarray of shape (n_sequences,)
        Whether it stands within a cell.
    taken : ndarray of shape (n_sequences,)
        Tokens that were taken of that cell.
    states : ndarray of shape (n_sequences, STATE)
        Of the column's automaton, within a cell.
    chances : ndarray of shape (n_sequences,)
    seen : Tensor of shape (n_sequences or so, n_cached)
        Which of the cached tokens are no gaps.
    cache : CellCache
    source : ndarray of shape (n_sequences,) or None
        Where in `seen` and `cache` each sequence stands; None: in this order. What waits shares
        the memory of the sequences that it has parted from.
    """

    rows: Ids
    of: Ids
    codes: Ids
    known: Mask
    orders: Ids
    pending: Ids
    n_pending: Ids
    n_read: Ids
    step: Ids
    inside: Mask
    taken: Ids
    states: Ids
    chances: Floats
    seen: Tensor
    cache: CellCache
    source: Ids | None = None

    @classmethod
    def start(
        cls, codes: Ids, known: Mask, orders: Ids, longest: int, device: torch.device
    ) -> _Branch:
        """Begin with a sequence for all rows of which the same is asked."""
        asked = np.column_stack([np.where(known, codes, 0), known, orders])
        _, first, of = np.unique(asked, axis=0, return_index=True, return_inverse=True)
        n = len(first)
        zeros = np.zeros(n, dtype=np.int64)
        lower = torch.is_autocast_enabled(device.type)
        return cls(
            np.arange(len(codes)),
            of.ravel(),
            codes[first],
            known[first],
            orders[first],
            np.zeros((n, longest + 1), dtype=np.int64),
            zeros.copy(),
            zeros.copy(),
            zeros.copy(),
            np.zeros(n, dtype=bool),
            zeros.copy(),
            np.zeros((n, STATE), dtype=np.int64),
            np.ones(n),
            torch.zeros(n, 0, dtype=torch.long, device=device),
            # Rotated keys would come in single precision, to be converted at every step.
            CellCache(longest, torch.get_autocast_dtype(device.type) if lower else None),
        )

    def select(self, rows: Ids, of: Ids, source: Ids) -> _Branch:
        """Take some sequences, some of them several times."""
        names = ("codes", "known", "orders", "pending", "n_pending", "n_read", "step", "inside")
        parts = {
            name: getattr(self, name)[source] for name in (*names, "taken", "states", "chances")
        }
        if self.source is not None:
            source = self.source[source]
        return replace(self, rows=rows, of=of, source=source, **parts)

    def settle(self) -> None:
        """Copy what the sequences have read, so that they can read on."""
        if self.source is None:
            return
        index = torch.from_numpy(self.source).to(self.seen.device)
        self.seen, self.cache, self.source = self.seen[index], self.cache.select(index), None

    def split(self, most: int) -> list[_Branch]:
        """Cut into groups of at most so many sequences, neighbours together."""
        parts = []
        for source in np.array_split(np.arange(len(self.codes)), -(-len(self.codes) // most)):
            mine = (self.of >= source[0]) & (self.of <= source[-1])
            parts.append(self.select(self.rows[mine], self.of[mine] - source[0], source))
        return parts

    def by_column(self, places: Ids) -> Iterator[tuple[int, Ids]]:
        """Group sequences by the column that they stand at."""
        columns = self.orders[places, self.step[places]]
        for column in np.unique(columns).tolist():
            yield column, places[columns == column]

    def append(self, places: Ids, tokens: Ids) -> None:
        """Let tokens be read next, (n_places, n), -1 behind the end of shorter ones."""
        row, place = np.nonzero(tokens >= 0)
        self.pending[places[row], self.n_pending[places[row]] + place] = tokens[row, place]
        self.n_pending[places] += (tokens >= 0).sum(1)


class _Drawer:
    """Draws rows; those that begin alike are one sequence until they part."""

    def __init__(
        self,
        backbone: TextModel,
        uniforms: Floats,
        temperature: float,
        allowed: dict[int, Any],
        stratified: bool,
    ) -> None:
        self.backbone, self.layout = backbone, backbone.layout
        self.uniforms, self.temperature = uniforms, temperature
        self.stratified = stratified
        self.most = _most(backbone)
        # What the model may say, and what may be drawn of it.
        self.wide = self.layout.automata
        self.narrow: list[Automaton | None] = [
            automaton.restricted(allowed[column])
            if automaton is not None and column in allowed
            else automaton
            for column, automaton in enumerate(self.wide)
        ]

    def run(self, codes: Ids, known: Mask, orders: Ids) -> tuple[Ids, Floats]:
        """Draw rows, as :func:`draw_texts` says."""
        codes, chances = codes.astype(np.int64), np.ones(len(codes))
        branch = _Branch.start(codes, known, orders, self.layout.longest, self.backbone.device)
        begin = np.tile(np.array(self.layout.begin), (len(branch.codes), 1))
        branch.append(np.arange(len(begin)), begin)
        waiting = [branch]
        while waiting:
            branch = waiting.pop()
            self._go_on(branch)
            if not branch.inside.any():
                codes[branch.rows] = branch.codes[branch.of]
                chances[branch.rows] = branch.chances[branch.of]
            elif len(branch.codes) > self.most:
                waiting += branch.split(self.most)
            else:
                waiting.append(self._choose(branch, self._read(branch)))
        return codes, chances

    def _go_on(self, branch: _Branch) -> None:
        """Take every sequence to its next choice, as far as the others have come."""
        moving = branch.inside.copy()
        while True:
            for column, places in branch.by_column(np.flatnonzero(moving & branch.inside)):
                self._follow(branch, column, places, moving)
            if moving[branch.inside].any():
                continue
            left = branch.step < branch.orders.shape[1]
            if not left.any():
                return
            front = int(branch.step[left].min())
            if (branch.inside & (branch.step == front)).any():
                return
            for column, places in branch.by_column(np.flatnonzero(branch.step == front)):
                self._begin(branch, column, places, moving)

    def _begin(self, branch: _Branch, column: int, places: Ids, moving: Mask) -> None:
        automaton = self.narrow[column]
        if automaton is None:
            branch.codes[places, column] = 0
            branch.step[places] += 1
            return
        branch.append(places, np.tile(self.layout.names[column], (len(places), 1)))
        given = branch.known[places, column]
        some, free = places[given], places[~given]
        if len(some):
            spelled = automaton.spell(branch.codes[some, column])
            branch.append(some, np.where(spelled >= 0, automaton.tokens[spelled], -1))
            branch.step[some] += 1
        if self.stratified and len(free):
            begun = np.zeros(len(branch.codes), dtype=bool)
            begun[free] = True
            here = np.flatnonzero(begun[branch.of])
            # Sequences are numbered so that those which are near each other have parted late.
            rows = branch.rows[here[np.argsort(branch.of[here], kind="stable")]]
            self.uniforms[rows, column] = _spread(self.uniforms[rows, column])
        branch.states[free], branch.taken[free] = automaton.start(len(free)), 0
        branch.inside[free] = moving[free] = True

    def _follow(self, branch: _Branch, column: int, places: Ids, moving: Mask) -> None:
        """Take one token further where there is no choice."""
        automaton, wide = self.narrow[column], self.wide[column]
        assert automaton is not None and wide is not None
        allowed = automaton.allowed(branch.states[places])
        single = allowed.sum(1) == 1
        if wide is not automaton:
            # Where the model had a choice, its odds count.
            single &= wide.allowed(branch.states[places]).sum(1) == 1
        moving[places[~single]] = False
        self._take(branch, column, places[single], allowed[single].argmax(1))

    def _take(self, branch: _Branch, column: int, places: Ids, chosen: Ids) -> None:
        automaton = self.narrow[column]
        assert automaton is not None
        branch.append(places, automaton.tokens[chosen][:, None])
        branch.taken[places] += 1
        branch.states[places] = automaton.advance(branch.states[places], chosen)
        done = places[automaton.finished(branch.states[places])]
        branch.codes[done, column] = automaton.codes(branch.states[done])
        branch.step[done] += 1
        branch.inside[done] = False

    def _choose(self, branch: _Branch, states: Tensor) -> _Branch:
        """Draw one token of each row that stands at a choice; rows part where they differ."""
        chosen = np.zeros(len(branch.rows), dtype=np.int64)  # of each row
        for column, places in branch.by_column(np.flatnonzero(branch.inside)):
            shares = self._shares(branch, column, places, states)
            place = np.full(len(branch.codes), -1)
            place[places] = np.arange(len(places))
            here = np.flatnonzero(place[branch.of] >= 0)
            own = place[branch.of[here]]
            chosen[here] = self._pick(
                column, branch.rows[here], branch.taken[places][own], shares, own
            )
        width = int(chosen.max()) + 1
        keys, of = np.unique(branch.of * width + chosen, return_inverse=True)
        source, token = np.divmod(keys, width)
        if len(keys) == len(branch.codes):  # nobody has parted
            branch.of = of.ravel()
        else:
            branch = branch.select(branch.rows, of.ravel(), source)
        for column, places in list(branch.by_column(np.flatnonzero(branch.inside))):
            self._take(branch, column, places, token[places])
        return branch

    def _pick(self, column: int, rows: Ids, taken: Ids, shares: Floats, own: Ids) -> Ids:
        """Draw the next token of rows.

        Parameters
        ----------
        rows, taken, own : ndarray of shape (n_rows,)
            Which rows they are, how many tokens of their cell were taken, and which of the shares
            are theirs.
        shares : ndarray of shape (n_places, n_tokens)
        """
        cumulative = shares.cumsum(1)
        cumulative /= cumulative[:, -1:]
        number = self.uniforms[rows, column]
        chosen: Ids = (cumulative[own] > number[:, None]).argmax(1)
        share = shares[own, chosen]
        # What is left of the number decides what comes after.
        rest = (number - cumulative[own, chosen] + share) / share
        self.uniforms[rows, column] = np.clip(rest, 0.0, 1.0 - 2.0**-53)
        return chosen

    def _shares(self, branch: _Branch, column: int, places: Ids, states: Tensor) -> Floats:
        """Probability of each token of a column, (n_places, n_tokens)."""
        automaton, wide = self.narrow[column], self.wide[column]
        assert automaton is not None and wide is not None
        index = torch.from_numpy(places).to(states.device)
        tokens = self.backbone._tokens(automaton)
        logits = self.backbone._logits(states[index], tokens).float().cpu().double().numpy()
        logits = np.where(wide.allowed(branch.states[places]), logits, -np.inf)
        logits -= logits.max(1, keepdims=True)
        shares: Floats = np.exp(logits / min(max(self.temperature, 1e-30), 1e30))
        shares /= shares.sum(1, keepdims=True)
        if wide is not automaton:
            mask = automaton.allowed(branch.states[places])
            chance = (shares * mask).sum(1)
            branch.chances[places] *= chance
            # Of a row that is lost, with no odds left for what is allowed, anything allowed does.
            lost = (chance < 1e-290)[:, None]
            shares = np.where(lost, mask.astype(np.float64), shares * mask)
            shares /= shares.sum(1, keepdims=True)
        return shares

    def _read(self, branch: _Branch) -> Tensor:
        """Read what is pending; give the state behind each sequence, (n_sequences, width)."""
        branch.settle()
        device, width = self.backbone.device, int(branch.n_pending.max())
        ids, there = branch.pending[:, :width], np.arange(width) < branch.n_pending[:, None]
        places = np.where(there, branch.n_read[:, None] + np.arange(width), 0)
        branch.seen = torch.cat([branch.seen, torch.from_numpy(there).to(device).long()], 1)
        states = self.backbone._states(
            torch.from_numpy(ids).to(device),
            branch.seen,
            position_ids=torch.from_numpy(places).to(device),
            cache=branch.cache,
        )
        last = torch.from_numpy(np.maximum(branch.n_pending - 1, 0)).to(device)
        branch.n_read += branch.n_pending
        branch.n_pending[:] = 0
        return states[torch.arange(len(states), device=device), last]


class _Follower(_Drawer):
    """Follows cells that are told instead of drawing them; what is read alike is read once.

    Attributes
    ----------
    logs : ndarray of shape (n_rows,)
        The log-probability of the cells that were followed.
    """

    def __init__(self, backbone: TextModel, told: Ids) -> None:
        super().__init__(backbone, np.empty((0, 0)), 1.0, {}, stratified=False)
        self.told, self.logs = told, np.zeros(len(told))

    def _pick(self, column: int, rows: Ids, taken: Ids, shares: Floats, own: Ids) -> Ids:
        automaton = self.narrow[column]
        assert automaton is not None
        codes, back = np.unique(self.told[rows, column], return_inverse=True)
        chosen: Ids = automaton.spell(codes)[back, taken]
        self.logs[rows] += np.log(np.maximum(shares[own, chosen], 1e-300))
        return chosen


def _spread(numbers: Floats) -> Floats:
    """Spread numbers evenly over [0, 1) within every 64 neighbours.

    The k-th smallest of n becomes a number of [k / n, (k + 1) / n), wherein its further digits
    decide.
    """
    n_empty = -len(numbers) % _STRATUM
    ordered = np.append(numbers, np.full(n_empty, 2.0)).reshape(-1, _STRATUM)
    ranks = ordered.argsort(1).argsort(1)
    sizes = np.full((len(ordered), 1), _STRATUM)
    sizes[-1] -= n_empty
    spread: Floats = ((ranks + ordered * 4096.0 % 1.0) / sizes).ravel()[: len(numbers)]
    return np.minimum(spread, 1.0 - 2.0**-53)
