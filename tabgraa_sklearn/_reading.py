"""Known rows, read cell by cell: those that begin alike are read once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from ._attention import TreeCache
from ._backbone import CompactBackbone
from ._drawing import OutputTables

__all__ = ["by_chunks", "cell_nats", "read_rows"]


def read_rows(
    model: CompactBackbone,
    token_ids: Tensor,
    orders: Tensor,
    at_once: int,
    wanted: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read rows column by column: states from which each column is predicted, given those before.

    The last of them are what :meth:`CompactBackbone.read` computes, but beginnings that rows share
    are read once. Always as many sequences go through the model together: a matrix product may
    round differently for another number of rows, and a row's figures must not depend on those
    beside it.

    Parameters
    ----------
    model : CompactBackbone
    token_ids : Tensor of shape (n_rows, n_digits), int64
    orders : Tensor of shape (n_rows, n_asked), int64
        The columns of each row in the order in which they are asked for; -1 behind the last, of
        rows that are asked for fewer. The cells of all but the last are read.
    at_once : int
        Sequences that go through the model together.
    wanted : Tensor of shape (n_rows, n_asked), bool, optional
        Of which columns the states are asked for; None: of all. Where no row wants one, only what
        later cells need is computed.

    Yields
    ------
    states : Tensor of shape (n_distinct, width)
        Repeated up to a multiple of `at_once`; none, or anything, for what nobody wants.
    own : Tensor of shape (n_rows,)
        Which of the states is each row's; anything of rows that are asked for nothing more.
    """
    there = orders >= 0
    cells = _numbered(model, token_ids).gather(1, orders[:, :-1].clamp_min(0))
    # The last of a row is not read, but asked for.
    cells = cells.where(there[:, 1:], -2 - orders[:, :-1])
    ranked = _lexicographic(torch.cat([cells, orders[:, -1:]], 1))
    cells, orders, token_ids = (x.index_select(0, ranked) for x in (cells, orders, token_ids))
    # A row parts from the one before it where a cell differs, or what is asked for next.
    parted = torch.ones_like(orders, dtype=torch.bool)
    parted[1:] = orders[1:] != orders[:-1]
    parted[1:, 1:] |= cells[1:] != cells[:-1]
    parted = parted.cummax(1).values & there[ranked]
    wanted = there[ranked] if wanted is None else wanted.index_select(0, ranked)
    # Always so many sequences at once.
    rooms = [-(-n // at_once) * at_once for n in parted.sum(0).tolist()]
    *starts, _ = itertools.accumulate(rooms, initial=0)
    cache = TreeCache(starts[-1] + at_once)
    paths, sequence = ranked.new_empty(rooms[0], 0), torch.zeros_like(ranked)
    tables: dict[int, Tensor] = {}
    inputs: Iterable[Tensor] = itertools.repeat(model.begin.expand(at_once, -1))
    for step, fresh in enumerate(parted.T):
        kept = _repeated(fresh.nonzero()[:, 0], rooms[step])
        asked = orders[kept, step]
        if step > 0:
            inputs = _embedded(model, token_ids, kept, orders[kept, step - 1], at_once, tables)
            before = sequence[kept]
            own = (starts[step - 1] + before)[:, None]
            paths = torch.cat([paths.index_select(0, before), own], 1)
        sequence = (fresh.cumsum(0) - 1).clamp_min(0)
        asking = torch.zeros_like(asked, dtype=torch.bool)
        asking[sequence[wanted[:, step]]] = True
        needed = asking.view(-1, at_once).any(1).tolist()
        chunks = zip(inputs, asked.split(at_once), paths.split(at_once), needed, strict=False)
        # Nothing comes behind the last cells: each lot is written over the one before.
        stride = at_once if step + 1 < len(rooms) else 0
        found = [
            model.advance(
                cells_, columns, cache.at(before_, starts[step] + number * stride), states=needed_
            )
            for number, (cells_, columns, before_, needed_) in enumerate(chunks)
        ]
        states = torch.cat(found) if any(needed) else found[0][:0]
        yield states, torch.empty_like(sequence).scatter_(0, ranked, sequence)


def cell_nats(
    model: CompactBackbone,
    tables: OutputTables,
    column: int,
    states: Tensor,
    own: Tensor,
    digits: tuple[Tensor, Tensor],
    at_once: int,
) -> Tensor:
    """Log-probability of one cell of each row, (n_rows,), in nats.

    Parameters
    ----------
    model : CompactBackbone
    tables : list of (weights, biases)
        By :meth:`CompactBackbone.output_tables`.
    column : int
    states : Tensor of shape (n_states, width)
    own : Tensor of shape (n_rows,)
        From which of the states each row's cell is predicted.
    digits : pair of Tensor of shape (n_rows,)
        Of each cell, by :meth:`CompactBackbone.digits_of`.
    at_once : int
        Sequences that are computed together.
    """
    (first, level), start = digits, model.first_start[column]
    if 2 * len(own) < len(states):  # most are asked for other columns
        kept, own = own.unique(return_inverse=True)
        states = states[kept]
    weights, bias = (part[model.vocabulary.slot(column)] for part in tables[0])

    def of_first(states: Tensor) -> Tensor:
        return ((states @ weights.T).to(bias.dtype) + bias).log_softmax(-1)

    nats = by_chunks(of_first, at_once, states)[own, first]
    if model.layout.second[column] < 0:
        return nats
    slot = model.level_vocabulary.slot(model.two_digit.index(column))
    fine_weights, fine_bias = (part[slot] for part in tables[1])

    def of_second(states: Tensor, first: Tensor) -> Tensor:
        inner = model.level_states(states, first + start)
        logits = (inner @ fine_weights.T).to(fine_bias.dtype) + fine_bias
        barred = model.barred(column, first)
        return (logits if barred is None else logits + barred).log_softmax(-1)

    # Of each state and first digit once.
    pairs, place = (own * len(bias) + first).unique(return_inverse=True)
    own, first = pairs // len(bias), pairs % len(bias)
    levels = by_chunks(of_second, at_once, states[own], first)[place, level]
    return nats + levels * model.opens[first + start][place]


def by_chunks(compute: Callable[..., Tensor], at_once: int, *parts: Tensor) -> Tensor:
    """Compute something of so many rows at once, always as many, and put it together.

    Parameters
    ----------
    compute : callable
        ``compute(*chunks)`` gives a tensor with one entry for each row.
    at_once : int
    *parts : Tensor of shape (n_rows, ...)
    """
    n_rows = len(parts[0])
    room = -(-n_rows // at_once) * at_once
    chunks = zip(*(_repeated(part, room).split(at_once) for part in parts), strict=True)
    return torch.cat([compute(*chunk) for chunk in chunks])[:n_rows]


def _numbered(model: CompactBackbone, token_ids: Tensor) -> Tensor:
    """Number of each cell among those of all columns, (n_rows, n_columns)."""
    first = token_ids[:, model.first] + model.start
    levels = torch.zeros_like(first)
    if model.two_digit:
        levels[:, model.two] = token_ids[:, model.second]
    return first * int(model.layout.sizes.max()) + levels


def _lexicographic(keys: Tensor) -> Tensor:
    """Order of rows by their first number, then by their second, and so on."""
    ranked = torch.arange(len(keys), device=keys.device)
    for column in reversed(keys.T):
        ranked = ranked[column[ranked].argsort(stable=True)]
    return ranked


def _embedded(
    model: CompactBackbone,
    token_ids: Tensor,
    rows: Tensor,
    columns: Tensor,
    at_once: int,
    tables: dict[int, Tensor],
) -> Iterator[Tensor]:
    """Embed one cell of each of some rows, so many at once; `tables` keeps those of one digit."""

    def of_column(column: int, own: Tensor) -> Tensor:
        first, level = (x.index_select(0, own) for x in model.digits_of(column, token_ids))
        embed = functools.partial(model.embed_cell, column)
        if model.layout.second[column] >= 0:
            return by_chunks(embed, at_once, first, level)
        if column not in tables:
            start, stop = model.first_start[column : column + 2]
            every = torch.arange(stop - start, device=first.device)
            tables[column] = embed(every, torch.zeros_like(every))
        return tables[column].index_select(0, first)

    present = columns.unique().tolist()
    if len(present) == 1:
        for part in rows.split(at_once):  # together they would take fresh memory
            yield of_column(present[0], part)
        return
    places = [(columns == column).nonzero()[:, 0] for column in present]
    cells = [of_column(column, rows[at]) for column, at in zip(present, places, strict=True)]
    yield from torch.cat(cells).index_select(0, torch.cat(places).argsort()).split(at_once)


def _repeated(sequences: Tensor, wanted: int) -> Tensor:
    """Repeat the first of the sequences until there are as many as wanted."""
    filling = sequences[:1].expand(wanted - len(sequences), *sequences.shape[1:])
    return torch.cat([sequences, filling])
