"""Rows drawn cell by cell; those that begin alike share their computation until they part."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ._attention import CellCache
from ._backbone import CompactBackbone
from ._possible import Possible

__all__ = ["OutputTables", "Wanted", "draw_cell", "draw_rows"]

OutputTables = list[tuple[Tensor, Tensor]]

# From this share of distinct beginnings on every row goes alone: finding out which are equal,
# and gathering what was cached of them, would cost more than it saves.
_ALONE = 0.5
_ROUND = 64
_STRATUM = 64  # rows whose numbers are spread evenly


@dataclass
class Wanted:
    """What is asked of rows before they are drawn.

    Attributes
    ----------
    tokens : Tensor of shape (n_rows, n_digits), int64
        The tokens of the cells that are given; anything elsewhere.
    given : frozenset of int
        The columns whose cells are given.
    allowed : dict of {int: Tensor of shape (size of the first digit, size of the second or 1)}
        For some other columns, which tokens may be drawn: a mask, or a weight of each in [0, 1].
    chances : Tensor of shape (n_rows,)
        Written while rows are drawn: the probability that the model gave, before each such
        column but the first, to what is allowed there; the product over the columns. 0 where
        nothing was.
    possible : list of Possible
        What tells which tokens can still meet a constraint.
    """

    tokens: Tensor
    given: frozenset[int]
    allowed: dict[int, Tensor]
    chances: Tensor
    possible: list[Possible] = field(default_factory=list)


@dataclass
class _Branch:
    """Rows of which as many cells are drawn.

    Attributes
    ----------
    step : int
        Cells drawn so far.
    rows : Tensor of shape (n_rows,)
        Which rows they are.
    prefix : Tensor of shape (n_rows,)
        Which of the distinct beginnings each row has.
    inputs : Tensor of shape (n_distinct, width)
        The embedded last cell of each beginning.
    cache : CellCache
        Keys and values of the cells before it.
    source : Tensor of shape (n_distinct,) or None
        Where in `cache` each beginning stands; None: in this order.
    """

    step: int
    rows: Tensor
    prefix: Tensor
    inputs: Tensor
    cache: CellCache
    source: Tensor | None = None


def draw_rows(
    model: CompactBackbone,
    uniforms: Tensor,
    order: list[int],
    tables: OutputTables,
    temperature: float = 1.0,
    most: int = 4096,
    share: bool = True,
    wanted: Wanted | None = None,
    stratified: bool = True,
) -> Tensor:
    """Draw rows, cell by cell, with a key/value cache.

    Rows that begin alike are one sequence until they part. When more than `most` sequences have
    arisen, they are cut into groups that are completed one after the other, rows that began alike
    in one group: what a group caches stays near the processor.

    Parameters
    ----------
    model : CompactBackbone
    uniforms : Tensor of shape (n_rows, n_digits)
        Numbers in [0, 1), the only randomness: each digit is read off its cumulative
        distribution.
    order : list of n_columns int
        The columns in the order in which they are drawn.
    tables : list
        What :meth:`CompactBackbone.output_tables` gives.
    temperature : float
        Divides the logits.
    most : int
        Sequences that go through the model at once.
    share : bool
        Whether rows that begin alike are one sequence. To find them the host has to wait for the
        device at every cell: a GPU is faster without.
    wanted : Wanted, optional
        What is asked of the rows.
    stratified : bool
        Whether the numbers of rows that begin alike, or nearly so, are spread evenly over [0, 1)
        before each draw. Every row still follows the model's distribution, while counts of tokens,
        and of their combinations, come nearer to it than those of independent rows.

    Returns
    -------
    Tensor of shape (n_rows, n_digits), int64

    References
    ----------
    Stratified uniforms: Owen, "Monte Carlo Theory, Methods and Examples", 2013, chapter 8.
    """
    token_ids = torch.zeros(
        len(uniforms), model.layout.n_digits, dtype=torch.long, device=uniforms.device
    )
    everyone = torch.arange(len(uniforms), device=uniforms.device)
    waiting = []
    for rows in [everyone] if share else everyone.split(most):
        begin = model.begin.expand(1 if share else len(rows), -1)
        waiting.append(_Branch(0, rows, torch.zeros_like(rows), begin, CellCache(len(order))))
    while waiting:
        waiting += _follow(
            model,
            waiting.pop(),
            uniforms,
            order,
            tables,
            temperature,
            most,
            token_ids,
            wanted,
            stratified,
        )
    return token_ids


def _follow(
    model: CompactBackbone,
    branch: _Branch,
    uniforms: Tensor,
    order: list[int],
    tables: OutputTables,
    temperature: float,
    most: int,
    token_ids: Tensor,
    wanted: Wanted | None,
    stratified: bool,
) -> list[_Branch]:
    """Draw cells into `token_ids` until the rows are complete, or too many have parted."""
    rows, prefix, uniforms = branch.rows, branch.prefix, uniforms[branch.rows]
    inputs, cache = _filled(branch.inputs), branch.cache
    if branch.source is not None:
        cache = cache.select(_filled(branch.source))
    shared = len(branch.inputs) < len(rows)  # else sequence i is row i
    for step in range(branch.step, len(order)):
        column = order[step]
        given = wanted is not None and column in wanted.given
        states = model.advance(inputs, column, cache, states=not given)
        if not shared:
            states = states[: len(rows)]
        digit = int(model.layout.first[column])
        if wanted is not None and given:
            first = wanted.tokens[rows, digit]
            two = model.layout.second[column] >= 0
            level = wanted.tokens[rows, digit + 1] if two else torch.zeros_like(first)
        else:
            allowed, possible, alike = None, None, None
            if stratified:
                # Beginnings are numbered so that those which are near each other have parted late,
                # and rows that go alone stand in their order.
                alike = prefix if shared else torch.arange(len(rows), device=rows.device)
                alike = alike.argsort(stable=True)
            if wanted is not None:
                allowed = wanted.allowed.get(column)
                sequence = prefix if shared else None
                possible = _possible(
                    model, wanted.possible, column, order[:step], token_ids, rows, sequence
                )
            first, level, chance = draw_cell(
                model,
                states,
                prefix if shared else None,
                column,
                uniforms,
                tables,
                temperature,
                allowed,
                possible,
                alike,
            )
            if wanted is not None and chance is not None:
                # The first such column comes right after the given ones: its chance is that of all.
                wanted.chances[rows] *= chance if step > len(wanted.given) else chance > 0
        token_ids[rows, digit] = first
        if model.layout.second[column] >= 0:
            token_ids[rows, digit + 1] = level
        if step + 1 == len(order):
            break
        if not shared:
            inputs = _filled(model.embed_cell(column, first, level))
            continue
        sizes = model.layout.sizes[model.layout.columns == column]
        keys = (prefix * int(sizes[0]) + first) * int(sizes[1:].prod()) + level
        kept, parted = _beginnings(keys)
        source = prefix[kept]
        inputs = model.embed_cell(column, first[kept], level[kept])
        if len(kept) > most:
            return _split(_Branch(step + 1, rows, parted, inputs, cache, source), most)
        inputs = _filled(inputs)
        cache = cache.select(_filled(source))
        shared = len(kept) < len(rows)
        if shared:
            prefix = parted
        else:
            rows, uniforms = rows[kept], uniforms[kept]
    return []


def _filled(sequences: Tensor) -> Tensor:
    """Repeat the first of the sequences until their number is a round one.

    Of every shape that it meets anew, the library of matrix products makes a program of its own;
    this keeps the shapes few.
    """
    n = len(sequences)
    wanted = 1 << (n - 1).bit_length() if n <= _ROUND else -(-n // _ROUND) * _ROUND
    return torch.cat([sequences, sequences[:1].expand(wanted - n, *sequences.shape[1:])])


def draw_cell(
    model: CompactBackbone,
    states: Tensor,
    prefix: Tensor | None,
    column: int,
    uniforms: Tensor,
    tables: OutputTables,
    temperature: float,
    allowed: Tensor | None = None,
    possible: Tensor | None = None,
    alike: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Draw both digits of a column; the second is 0 where it does not apply.

    With `allowed`, and with the first digits that are `possible` of each sequence, only such tokens
    are drawn, and the probability of these comes back too; only where there are none it is 0, and
    any token is drawn. `alike` are the rows in an order in which neighbours begin alike: their
    numbers are stratified then.
    """
    digit = int(model.layout.first[column])
    weights, bias = tables[0]
    tokens = model.vocabulary.slot(column)
    logits = _tempered((states @ weights[tokens].T).to(bias.dtype) + bias[tokens], temperature)
    chance = None
    if allowed is not None or possible is not None:
        share = torch.ones_like(logits)
        if allowed is not None:
            share = share * _allowed_share(model, states, column, tables, temperature, allowed)
        if possible is not None:
            share[: len(possible)] *= possible
        some = (share > 0).any(-1)
        chance = (logits.softmax(-1) * share).sum(-1).clamp_min(1e-30) * some
        chance = chance if prefix is None else chance[prefix]
        logits = logits + torch.where(some[:, None], share, 1.0).log()
    first = _read_off(logits, _spread(uniforms[:, digit], alike), prefix)
    if model.layout.second[column] < 0:
        return first, torch.zeros_like(first), chance
    weights, bias = tables[1]
    tokens = model.level_vocabulary.slot(model.two_digit.index(column))
    own = states if prefix is None else states.index_select(0, prefix)
    index = first + model.first_start[column]
    inner = model.level_states(own, index)
    logits = _tempered((inner @ weights[tokens].T).to(bias.dtype) + bias[tokens], temperature)
    barred = model.barred(column, first)
    if barred is not None:
        logits = logits.masked_fill(barred < 0, -math.inf)
    if allowed is not None:
        # Of a row that is lost, with nothing allowed, any level will do.
        own_allowed = allowed[first].to(logits.dtype)
        open_ = model.opens[index] & (own_allowed > 0).any(1)
        logits = logits + torch.where(open_[:, None], own_allowed, 1.0).log()
    if alike is not None:  # rows of one first token together
        alike = alike[first[alike].argsort(stable=True)]
    level = _read_off(logits, _spread(uniforms[:, digit + 1], alike))
    return first, level * model.opens[index], chance


def _possible(
    model: CompactBackbone,
    rules: list[Possible],
    column: int,
    drawn: list[int],
    token_ids: Tensor,
    rows: Tensor,
    prefix: Tensor | None,
) -> Tensor | None:
    """Say which first digits of a column can meet all constraints, (n_sequences, size)."""
    rules = [rule for rule in rules if column in rule.columns()]
    if not rules:
        return None
    if prefix is not None:  # one row of each beginning
        some = torch.zeros(int(prefix.max()) + 1, dtype=torch.long, device=prefix.device)
        some[prefix] = rows
        rows = some
    first = token_ids[rows][:, model.layout.first].cpu().numpy()
    masks = [
        rule.mask(column, {c: first[:, c] for c in drawn if c in rule.columns()}, len(first))
        for rule in rules
    ]
    return torch.from_numpy(np.logical_and.reduce(masks)).to(token_ids.device)


def _allowed_share(
    model: CompactBackbone,
    states: Tensor,
    column: int,
    tables: OutputTables,
    temperature: float,
    allowed: Tensor,
) -> Tensor:
    """Probability that what follows each first token is allowed, (n_states or 1, size).

    Where tokens are weighted, the mean of the weights.
    """
    allowed = allowed.float()
    if allowed.shape[1] == 1:
        return allowed.T
    opens = model.opens[model.first_start[column] : model.first_start[column + 1]]
    first = torch.arange(len(allowed), device=allowed.device)
    barred = model.barred(column, first)
    possible = torch.ones_like(allowed, dtype=torch.bool) if barred is None else barred == 0
    whole = opens & ((allowed == 1.0) | ~possible).all(1)
    part = opens & ((allowed > 0.0) & possible).any(1) & ~whole
    share = torch.where(opens, whole.float(), allowed[:, 0]).expand(len(states), -1).clone()
    weights, bias = tables[1]
    tokens = model.level_vocabulary.slot(model.two_digit.index(column))
    for token in part.nonzero()[:, 0]:  # few: the ends of a range, the bins of a set
        index = (token + model.first_start[column]).expand(len(states))
        inner = model.level_states(states, index)
        logits = _tempered((inner @ weights[tokens].T).to(bias.dtype) + bias[tokens], temperature)
        logits = logits.masked_fill(~possible[token], -math.inf)
        share[:, token] = (logits.softmax(-1) * allowed[token]).sum(-1)
    return share


def _beginnings(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which rows still begin alike.

    Parameters
    ----------
    keys : Tensor of shape (n_rows,), int64
        Equal where rows begin alike, and near each other where they parted just now.

    Returns
    -------
    kept : Tensor of shape (n_distinct,)
        A row of each beginning, by rising keys.
    parted : Tensor of shape (n_rows,)
        The beginning of each row, as a place in `kept`.
    """
    ranked, order = keys.sort(stable=True)
    fresh = torch.ones_like(ranked, dtype=torch.bool)
    fresh[1:] = ranked[1:] != ranked[:-1]
    number = fresh.cumsum(0) - 1
    kept = order[fresh]
    if len(kept) > _ALONE * len(keys):
        kept, number = order, torch.arange(len(keys), device=keys.device)
    return kept, torch.empty_like(number).scatter_(0, order, number)


def _split(branch: _Branch, most: int) -> list[_Branch]:
    """Cut a branch into groups of at most `most` beginnings."""
    assert branch.source is not None
    n_groups = math.ceil(len(branch.source) / most)
    by_prefix, places = branch.prefix.sort(stable=True)
    groups = []
    for number in range(n_groups):
        low, high = (len(branch.source) * (number + k) // n_groups for k in (0, 1))
        start, stop = torch.searchsorted(
            by_prefix, torch.tensor([low, high], device=by_prefix.device)
        ).tolist()
        groups.append(
            _Branch(
                branch.step,
                branch.rows[places[start:stop]],
                by_prefix[start:stop] - low,
                branch.inputs[low:high],
                branch.cache,
                branch.source[low:high],
            )
        )
    return groups


def _spread(uniforms: Tensor, alike: Tensor | None) -> Tensor:
    """Spread numbers evenly over [0, 1) within every `_STRATUM` neighbours of an order.

    The k-th smallest of n neighbours becomes a number of [k / n, (k + 1) / n), wherein further
    digits of the number it was decide.

    Parameters
    ----------
    uniforms : Tensor of shape (n_rows,)
    alike : Tensor of shape (n_rows,), optional
        The rows in that order; None: the numbers stay.

    Returns
    -------
    Tensor of shape (n_rows,), float32
    """
    if alike is not None and len(uniforms) > 1:
        n_rows = len(uniforms)
        n_empty = -n_rows % _STRATUM
        ordered = F.pad(uniforms[alike], (0, n_empty), value=2.0).view(-1, _STRATUM)
        ranks = ordered.argsort(1).argsort(1)
        sizes = torch.full_like(ordered[:, :1], _STRATUM)
        sizes[-1] -= n_empty
        digits = (ordered * (1 << 20 if ordered.dtype is torch.float64 else 1 << 12)) % 1.0
        spread = ((ranks + digits) / sizes).flatten()[:n_rows]
        uniforms = torch.empty_like(uniforms).scatter_(0, alike, spread)
    return uniforms.float().clamp_(max=1.0 - 2.0**-24)  # rounding must not make them 1


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    """Divide logits by a temperature, relative to the largest, so that none overflows."""
    if temperature == 1.0:
        return logits
    return (logits - logits.amax(-1, keepdim=True)) / min(max(temperature, 1e-30), 1e30)


def _read_off(logits: Tensor, uniforms: Tensor, rows: Tensor | None = None) -> Tensor:
    """Index of each uniform number on the cumulative distribution of its logits.

    Parameters
    ----------
    logits : Tensor of shape (n_distributions, size)
    uniforms : Tensor of shape (batch,)
    rows : Tensor of shape (batch,), optional
        Which distribution each number belongs to; None: one each.
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    if rows is not None:
        cumulative = cumulative.index_select(0, rows)
    # The last column is at most 1 by rounding; scaling by it keeps every draw inside.
    wanted = (uniforms * cumulative[:, -1])[:, None]
    chosen = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    return chosen.clamp_(max=logits.shape[-1] - 1)
