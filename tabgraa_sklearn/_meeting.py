"""Rows that meet a request, by drawing again where the model's own odds demand it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ._agreement import CANDIDATES as SEVERAL
from ._agreement import advantage, orders_disagree, probed
from ._conditions import Request, all_hold, order_for
from ._protocols import Backbone, Tokenizer
from ._sampling import sample_tokens

__all__ = ["meet"]

Floats = npt.NDArray[np.float64]

_CANDIDATES = (1, 4, 16, 64)  # rows drawn for each that is still wanted, round by round
_FOR_CONSTRAINTS = (256, 1024)  # and where constraints say what a row must meet
_TRIED = 50_000  # rows that are drawn before it is given up, where too few will do
_PILOT = 256  # candidates at the least, of which the largest weight is taken for the bound
_ROWS = 1 << 18  # candidates that are in memory at once


def meet(
    model: Backbone,
    tokenizer: Tokenizer,
    request: Request,
    *,
    order: list[int],
    precision: torch.dtype,
    temperature: float,
    seed: int,
) -> tuple[pd.DataFrame, int]:
    """Draw rows that meet a request.

    Given cells come first, then columns with a choice, then the rest. Where the model says another
    thing in that order than in the order of sampling, of several candidates for a row one is taken
    in proportion to the quotient (sampling importance resampling, Rubin 1987). One column with a
    choice is drawn from its distribution among what is allowed. Of several, and of columns
    whose tokens a constraint bars, the later ones weigh the earlier: a row is accepted in
    proportion to the probability that the model gives to what is allowed later, relative to the
    largest that was met. Where all rows are asked for alike, any row takes any candidate. After
    some 85 candidates for each a row takes one of the last 64 by these weights; constraints may
    take some 1365, and few rows as many as make 50,000.

    Returns
    -------
    rows : DataFrame of shape (n_rows, n_columns)
    n_drawn : int
        Rows that were drawn for them in all.

    Raises
    ------
    ValueError
        Where rows that meet the constraints are not found; it tells the rate of acceptance.
    """
    sampling_order, order = order, order_for(order, request)
    constraints = request.constraints
    exact = model.draws_sets_exactly
    weigh = bool(constraints) or len(request.allowed) > (1 if exact else 0)
    rounds: tuple[int, ...] = (1,)
    known = np.zeros((1, model.n_columns), dtype=bool)
    known[0, list(request.given)] = True

    n_drawn = 0

    def gained(ids: npt.NDArray[Any]) -> Floats:
        """Log of how much likelier rows are in the order of sampling."""
        knowing = np.repeat(known, len(ids), axis=0)
        own = np.array([order])
        return advantage(model, ids, knowing, own, sampling_order, precision) / temperature

    def draw(
        chosen: npt.NDArray[np.int64], seeds: list[int], *, stratified: bool
    ) -> tuple[npt.NDArray[Any], Floats, Floats]:
        """Draw candidates for some rows; also give the probability of what was allowed."""
        nonlocal n_drawn
        n_drawn += len(chosen)
        wanted = request.wanted(chosen)
        ids, numbers = _joined(
            sample_tokens(
                model,
                len(chosen),
                seed=int(np.random.default_rng(seeds).integers(2**31)),
                order=order,
                precision=precision,
                temperature=temperature,
                wanted=wanted,
                stratified=stratified,
            )
        )
        return ids, numbers, wanted.chances.numpy()

    corrected, usual = False, 0.0
    if order != sampling_order:
        ids, _, _ = draw(probed(len(request.rows)), [seed, 9], stratified=False)
        nats = gained(ids)
        corrected, usual = orders_disagree(nats, model.n_columns), float(nats.max())
    if corrected and not weigh:
        weigh, rounds = True, (SEVERAL,)
    elif weigh:
        rounds = _CANDIDATES + (_FOR_CONSTRAINTS if constraints else ())
        if corrected and not request.alike:
            # Of which each row has its own, among its candidates, to be weighed against.
            rounds = tuple(number for number in rounds if number >= SEVERAL)
    random = np.random.default_rng([seed, 1, 7])
    pending = np.arange(len(request.rows))
    met: list[tuple[npt.NDArray[np.int64], pd.DataFrame]] = []
    tried, suited, bound = 0, 0, 0.0
    for number, candidates in enumerate(rounds):
        is_last = number + 1 == len(rounds)
        if weigh:
            least = _TRIED if constraints and is_last else _PILOT
            candidates = max(candidates, -(-least // len(pending)))
        left = []
        step = max(_ROWS // candidates, 1)
        for start in range(0, len(pending), step):
            part = pending[start : start + step]
            chosen = np.repeat(part, candidates)
            ids, numbers, chances = draw(chosen, [seed, number, start, 5], stratified=not weigh)
            if corrected:
                nats = gained(ids).reshape(-1, candidates)
                # Rows of which other cells are given have other odds: each counts by its own.
                nats = nats - (usual if request.alike else nats.max(1, keepdims=True))
                chances = chances * np.exp(np.minimum(nats, 100.0)).ravel()
            frame = None
            if constraints:
                frame = request.restore(tokenizer.decode(ids, numbers), tokenizer, chosen)
                chances = chances * all_hold(constraints, frame)
                tried, suited = tried + len(chosen), suited + int((chances > 0).sum())
            if not weigh:
                found, places = np.ones(len(part), dtype=bool), np.arange(len(part))
            elif request.alike and (constraints or not is_last):
                bound = max(bound, float(chances.max()))
                places = np.flatnonzero(random.random(len(chances)) * bound < chances)
                if is_last and len(places) < len(part):
                    # By the same weights, but as many as are asked for.
                    races = random.exponential(size=len(chances)) / np.maximum(chances, 1e-300)
                    places = races.argsort()[: int((chances > 0).sum())]
                places = places[: len(part)]
                found = np.arange(len(part)) < len(places)
            else:
                chances = chances.reshape(-1, candidates)
                bound = max(bound, float(chances.max()))
                if is_last:
                    # The least of exponential variables divided by weights is one drawn by these.
                    races = random.exponential(size=chances.shape) / np.maximum(chances, 1e-300)
                    found = np.asarray(chances.any(1) | (not constraints))
                    taken = races.argmin(1)
                else:
                    accepted = random.random(chances.shape) * bound < chances
                    found, taken = np.asarray(accepted.any(1)), accepted.argmax(1)
                places = (np.arange(len(part)) * candidates + taken)[found]
            if frame is None:
                frame = tokenizer.decode(ids[places], numbers[places])
                frame = request.restore(frame, tokenizer, part[found])
            else:
                frame = frame.iloc[places]
            met.append((part[found], frame))
            left.append(part[~found])
        pending = np.concatenate(left)
        if len(pending) == 0:
            break
        if constraints and tried >= _TRIED and suited * sum(rounds) < tried:
            break  # at this rate even the last round would not find enough
    if len(pending):
        which = ""
        if request.cells is not None and not request.alike:
            which = f" The first of them is given {request.cells.iloc[pending[0]].to_dict()}."
        raise ValueError(
            f"constraints {constraints} were not met for {len(pending)} of {len(request.rows)} "
            f"rows: of {tried:,} that were drawn {suited:,} met them all ({suited / tried:.2%})."
            f"{which}"
        )
    drawn = pd.concat([frame for _, frame in met], ignore_index=True)
    places = np.concatenate([rows for rows, _ in met])
    return drawn.iloc[np.argsort(places, kind="stable")].reset_index(drop=True), n_drawn


def _joined(parts: Iterator[tuple[npt.NDArray[Any], Floats]]) -> tuple[npt.NDArray[Any], Floats]:
    ids, numbers = zip(*parts, strict=True)
    return np.concatenate(ids), np.concatenate(numbers)
