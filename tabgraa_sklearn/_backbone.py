"""The compact language model: a causal transformer over the cells of a row.

One position per cell. The input of a position is the cell before it, its position is the column
that is asked for next, so that columns may come in any order with the same weights. The logits of
a column are computed, and normalised, over that column's own tokens only.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModel,
    GPTBigCodeConfig,
    PretrainedConfig,
)

from ._attention import ATTENTION, CellCache, TreeCache, with_cache
from ._layout import TokenLayout
from ._protocols import Backbone
from ._sizes import rows_per_pass
from ._step import can_step, step

__all__ = ["CompactBackbone", "compact_config"]

_MASKED = -1e4  # a logit that never wins, finite so that bf16 gradients stay finite
_POOL = 1 << 22  # elements of the pool of dropout masks


class PooledDropout(nn.Module):
    """Dropout whose masks are windows of a pool drawn once.

    Drawing a mask costs more than a transformer layer's matrix products on a CPU; a random
    window of a large pool costs next to nothing.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._pool: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale the kept elements by 1 / (1 - p) in training, else pass `inputs` on."""
        if not self.training or self.p == 0.0:
            return inputs
        if inputs.device.type != "cpu" or inputs.numel() >= _POOL:
            return F.dropout(inputs, self.p)
        if self._pool is None or self._pool.dtype != inputs.dtype:
            kept = torch.rand(_POOL) >= self.p
            self._pool = kept.to(inputs.dtype) / (1.0 - self.p)
        start = int(torch.randint(_POOL - inputs.numel(), (1,)))
        return inputs * self._pool[start : start + inputs.numel()].view(inputs.shape)

    def train(self, mode: bool = True) -> PooledDropout:
        """Free the pool when training ends."""
        if not mode:
            self._pool = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the pool out of pickles and copies."""
        return {**self.__dict__, "_pool": None}


def compact_config(
    n_columns: int, *, width: int = 128, n_layers: int = 3, dropout: float = 0.1
) -> GPTBigCodeConfig:
    """Give the transformers configuration of the compact model.

    The inner layers are twice as wide as the model, not four times as in text models: cells have
    met their neighbours in attention, and a vocabulary of their own does the rest. All heads share
    their keys and values: what a row's cells leave behind is a quarter as much to keep and to read.

    References
    ----------
    Shazeer, "Fast Transformer Decoding: One Write-Head is All You Need", 2019.
    """
    return GPTBigCodeConfig(
        vocab_size=1,
        n_positions=max(n_columns, 2),
        n_embd=width,
        n_inner=2 * width,
        n_layer=n_layers,
        n_head=max(width // 32, 1),
        multi_query=True,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=0.0,
        activation_function="gelu",
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )


def _cosines(positions: Tensor, n_frequencies: int) -> Tensor:
    """Smooth basis of a position in [0, 1]: cos(pi k u) for k = 1 .. n_frequencies."""
    steps = torch.arange(1, n_frequencies + 1, device=positions.device, dtype=torch.float32)
    return torch.cos(positions[..., None] * (steps * math.pi))  # (..., n_frequencies)


class _Vocabulary(nn.Module):
    """Output embeddings of several slots: free token tables plus a smooth function of the order.

    The embedding of token v of a slot is ``table[v] + sum_k cos(pi k u_v) * smooth[k]``: tokens
    that are near each other share what they learn, and each may still differ, unless `smooth_only`
    says that those with a position may not.
    """

    free: Tensor | None

    def __init__(
        self, positions: list[Tensor], width: int, n_frequencies: int, *, smooth_only: bool = False
    ) -> None:
        super().__init__()
        self.sizes = [len(p) for p in positions]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)]).tolist()
        total = self.starts[-1]
        self.table = nn.Parameter(torch.randn(total, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(total))
        self.smooth = nn.Parameter(torch.zeros(len(self.sizes), n_frequencies, width))
        flat = torch.cat(positions).float()
        basis = _cosines(flat.nan_to_num(), n_frequencies) * flat.isfinite()[:, None]
        self.register_buffer("basis", basis, persistent=False)
        free = (~flat.isfinite()).float()[:, None] if smooth_only else None
        self.register_buffer("free", free, persistent=False)
        # Slots of similar size are padded to one size and multiplied in one batched product.
        by_size: dict[int, list[int]] = {}
        for slot, size in enumerate(self.sizes):
            by_size.setdefault(max(8, 1 << (size - 1).bit_length()), []).append(slot)
        self.groups: list[list[int]] = list(by_size.values())
        for number, slots in enumerate(self.groups):
            widest = max(self.sizes[s] for s in slots)
            rows = torch.zeros(len(slots), widest, dtype=torch.long)
            absent = torch.full((len(slots), widest), _MASKED)
            for i, s in enumerate(slots):
                rows[i, : self.sizes[s]] = torch.arange(self.starts[s], self.starts[s + 1])
                absent[i, : self.sizes[s]] = 0.0
            self.register_buffer(f"rows_{number}", rows, persistent=False)
            self.register_buffer(f"absent_{number}", absent, persistent=False)
            self.register_buffer(f"basis_{number}", basis[rows], persistent=False)
            self.register_buffer(f"slots_{number}", torch.tensor(slots), persistent=False)

    def slot(self, index: int) -> slice:
        """Rows of the flat tables that belong to one slot."""
        return slice(self.starts[index], self.starts[index + 1])

    @torch.no_grad()
    def set_marginals(self, slot: int, tokens: Any, weights: Any) -> None:
        """Make the bias of a slot the logarithm of its smoothed frequencies."""
        counts = np.bincount(tokens, weights, minlength=self.sizes[slot]) + 0.1
        self.bias[self.slot(slot)] = torch.from_numpy(np.log(counts / counts.sum())).to(self.bias)

    @torch.no_grad()
    def expected_counts(
        self, hidden: Tensor, weights: Tensor, extra: list[Tensor | None]
    ) -> Tensor:
        """Sum over rows of the probability of each token, (n_tokens,), float64 on the CPU.

        Parameters
        ----------
        hidden : Tensor of shape (batch, n_slots, width)
        weights : Tensor of shape (batch, n_slots)
            How often each cell counts.
        extra : list of n_slots entries
            As in :meth:`log_prob`.
        """
        tables = self.weights()
        counts = []
        for slot in range(len(self.sizes)):
            rows = self.slot(slot)
            logits = (hidden[:, slot] @ tables[rows].to(hidden.dtype).T).to(self.bias.dtype)
            logits = logits + self.bias[rows]
            mask = extra[slot]
            probabilities = (logits if mask is None else logits + mask).softmax(-1)
            counts.append((weights[:, slot] @ probabilities).cpu())
        return torch.cat(counts).double()

    @torch.no_grad()
    def observed_counts(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """Sum over rows of the weights of each token, (n_tokens,), float64 on the CPU."""
        places = (tokens.cpu() + torch.tensor(self.starts[:-1])).flatten()
        counts = torch.zeros(self.starts[-1], dtype=torch.float64)
        return counts.index_add(0, places, weights.cpu().double().flatten())

    @torch.no_grad()
    def shift_bias(self, observed: Tensor, expected: Tensor) -> None:
        """Move each token's bias by the logarithm of how much too rare it is."""
        self.bias.add_(((observed + 0.5) / (expected + 0.5)).log().to(self.bias))

    def weights(self) -> Tensor:
        """Output embeddings of all tokens, (n_tokens, width)."""
        basis = cast(Tensor, self.basis)
        smooth = [basis[self.slot(i)] @ self.smooth[i] for i in range(len(self.sizes))]
        return self._own() + torch.cat(smooth)

    def _own(self) -> Tensor:
        """Give what each token has of its own."""
        return self.table if self.free is None else self.table * self.free

    def log_prob(self, hidden: Tensor, targets: Tensor, extra: list[Tensor | None]) -> Tensor:
        """Log-probability of one token per slot.

        Parameters
        ----------
        hidden : Tensor of shape (batch, n_slots, width)
        targets : Tensor of shape (batch, n_slots), int64
        extra : list of n_slots entries
            None, or a (batch, size) tensor to add to a slot's logits.

        Returns
        -------
        Tensor of shape (batch, n_slots), float32 or float64
        """
        out: list[Tensor] = []
        order: list[int] = []
        for number, slots in enumerate(self.groups):
            rows, absent, basis, index = (
                cast(Tensor, getattr(self, f"{name}_{number}"))
                for name in ("rows", "absent", "basis", "slots")
            )
            states = hidden.index_select(1, index).transpose(0, 1)  # (slots, batch, width)
            # Where a slot has fewer tokens than the widest, some other's stand in, and never win.
            smooth = torch.bmm(basis, self.smooth.index_select(0, index))
            weights = F.embedding(rows, self._own()) + smooth
            logits = torch.bmm(states, weights.to(states.dtype).transpose(1, 2))
            # The bias is added in full precision: it carries the marginal frequencies.
            bias = self.bias.index_select(0, rows.flatten()).view(rows.shape) + absent
            logits = logits.to(bias.dtype) + bias[:, None]
            for i, s in enumerate(slots):
                mask = extra[s]
                if mask is not None:
                    logits[i, :, : self.sizes[s]] += mask
            target = targets.index_select(1, index).T
            nats = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
            out.append(-nats.view(target.shape))  # (slots, batch)
            order.extend(slots)
        inverse = torch.tensor(np.argsort(order), device=hidden.device)
        return torch.cat(out).index_select(0, inverse).T


class CompactBackbone(Backbone):
    """Causal transformer over the cells of a row, columns in any order.

    Parameters
    ----------
    layout : TokenLayout
        The slots and their vocabularies.
    config : transformers.PretrainedConfig
        The architecture; the model built from it has to accept ``inputs_embeds``.
    n_frequencies_in, n_frequencies_out : int
        Cosines of the value's position that enter the input and the output embeddings.
    smooth_only : bool
        Whether values with a position have no embeddings beside these: a short table's would be
        learnt by heart.
    """

    # Buffers: where a column's digits stand, and what is known of each first token.
    first: Tensor
    second: Tensor
    two: Tensor
    start: Tensor
    bases: Tensor
    steps: Tensor
    ordered: Tensor
    opens: Tensor
    fine_start: Tensor
    free: Tensor | None

    def __init__(
        self,
        layout: TokenLayout,
        config: PretrainedConfig,
        *,
        n_frequencies_in: int = 32,
        n_frequencies_out: int = 16,
        smooth_only: bool = False,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.n_columns = layout.n_columns
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ValueError(_not_causal(config))
        config._attn_implementation = ATTENTION
        self.transformer = AutoModel.from_config(config)
        width = int(self.transformer.get_input_embeddings().embedding_dim)
        dropout = float(getattr(config, "resid_pdrop", 0.0) or 0.0)
        _replace_dropout(self.transformer)
        # Rows enter as embeddings of their own, so that no text vocabulary need be kept.
        self.transformer.set_input_embeddings(nn.Embedding(1, width).requires_grad_(False))

        first_sizes = layout.sizes[layout.first]
        starts = np.concatenate([[0], np.cumsum(first_sizes)])
        bases = torch.from_numpy(np.concatenate(layout.bases)).float()
        steps = torch.from_numpy(np.concatenate(layout.steps)).float()
        self.two_digit = np.flatnonzero(layout.second >= 0).tolist()
        self.first_start: list[int] = starts.tolist()
        self.register_buffer("first", torch.from_numpy(layout.first), persistent=False)
        self.register_buffer(
            "second", torch.from_numpy(layout.second[self.two_digit]), persistent=False
        )
        self.register_buffer(
            "two", torch.tensor(self.two_digit, dtype=torch.long), persistent=False
        )
        self.register_buffer("start", torch.from_numpy(starts[:-1]), persistent=False)
        self.register_buffer("bases", bases.nan_to_num(), persistent=False)
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("ordered", bases.isfinite().float(), persistent=False)
        free = (~bases.isfinite()).float()[:, None] if smooth_only else None
        self.register_buffer("free", free, persistent=False)

        self.begin = nn.Parameter(torch.randn(width) * 0.5)
        self.asked = nn.Parameter(torch.randn(self.n_columns, width) * 0.5)
        self.value = nn.Parameter(torch.randn(int(starts[-1]), width) * 0.02)
        has_order = np.array([np.isfinite(b).any() for b in layout.bases])
        self.value.data[torch.from_numpy(np.repeat(~has_order, first_sizes))] *= 5.0
        self.curve = nn.Parameter(torch.randn(self.n_columns, n_frequencies_in, width) * 0.1)
        # Without an order, the second digit is read off an embedding of its own; row 0 is for
        # the columns that need none.
        fine_start, n_fine = np.zeros(int(starts[-1]), dtype=np.int64), 1
        for wide in np.flatnonzero((layout.second >= 0) & ~has_order):
            fine_start[starts[wide] : starts[wide + 1]] = n_fine
            n_fine += int(layout.sizes[layout.second[wide]])
        self.register_buffer("fine_start", torch.from_numpy(fine_start), persistent=False)
        self.fine = nn.Parameter(torch.randn(n_fine, width) * 0.1) if n_fine > 1 else None
        self.input_dropout = PooledDropout(dropout)
        self.vocabulary = _Vocabulary(
            [torch.from_numpy(layout.positions[d]) for d in layout.first],
            width,
            n_frequencies_out,
            smooth_only=smooth_only,
        )
        if self.two_digit:
            self.given = nn.Parameter(torch.randn(int(starts[-1]), width) * 0.02)
            self.level_norm = nn.LayerNorm(width)
            self.level_in = nn.Linear(width, 2 * width)
            self.level_out = nn.Linear(2 * width, width)
            self.level_final = nn.LayerNorm(width)
            second = layout.second[self.two_digit]
            self.level_vocabulary = _Vocabulary(
                [torch.from_numpy(layout.positions[d]) for d in second],
                width,
                n_frequencies_out,
                smooth_only=smooth_only,
            )
        # Where a second digit applies, it may still be barred from some tokens (the last group of
        # a column of many categories is shorter); where it does not, it is certain.
        opens, barred = [], {}
        for column, after in enumerate(layout.second.tolist()):
            allowed = layout.allowed[after] if after >= 0 else None
            if allowed is None:
                opens.append(np.zeros(first_sizes[column], dtype=bool))
                continue
            open_ = allowed[:, 1:].any(1)
            opens.append(open_)
            if not allowed[open_].all():
                barred[column] = torch.from_numpy(~allowed).float() * _MASKED
        self.register_buffer("opens", torch.from_numpy(np.concatenate(opens)), persistent=False)
        self.barred_columns = sorted(barred)
        for column, mask in barred.items():
            self.register_buffer(f"barred_{column}", mask, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.begin.device

    @torch.no_grad()
    def start_from(self, token_ids: Any, weights: Any) -> None:
        """Start from the marginal frequencies: they are the biases of the logits.

        Parameters
        ----------
        token_ids : ndarray of shape (n_rows, n_digits)
        weights : ndarray of shape (n_rows,)
        """
        for column, (digit, second) in enumerate(
            zip(self.layout.first, self.layout.second, strict=True)
        ):
            self.vocabulary.set_marginals(column, token_ids[:, digit], weights)
            if second >= 0:
                place = self.two_digit.index(column)
                self.level_vocabulary.set_marginals(place, token_ids[:, second], weights)

    @torch.no_grad()
    def token_counts(self, token_ids: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Sum the weights of the rows that have each token.

        Parameters
        ----------
        token_ids : Tensor of shape (n_rows, n_digits)
        weights : Tensor of shape (n_rows,)

        Returns
        -------
        first : Tensor of shape (n_tokens,), float64
        second : Tensor of shape (n_levels,), float64, or None
            Of second digits, where columns have them.
        """
        first = token_ids[:, self.first.cpu()].long()
        each = weights[:, None].expand(first.shape)
        counts = self.vocabulary.observed_counts(first, each)
        if not self.two_digit:
            return counts, None
        index = (first + self.start.cpu())[:, self.two]
        open_ = weights[:, None] * self.opens.cpu()[index]
        levels = token_ids[:, self.second.cpu()].long()
        return counts, self.level_vocabulary.observed_counts(levels, open_)

    def match_marginals(
        self,
        token_ids: Tensor,
        weights: Tensor,
        order: Tensor,
        observed: tuple[Tensor, Tensor | None] | None = None,
    ) -> None:
        """Set the output biases so that each token is as frequent as it was observed.

        At the maximum of the likelihood the mean probability of a token is its frequency: that
        is where the derivative by its bias is 0. Weights averaged over the steps of a stochastic
        search are near that point and not at it. Two rounds of iterative scaling reach it at the
        cost of two passes without gradients.

        Parameters
        ----------
        token_ids : Tensor of shape (n_rows, n_digits)
        weights : Tensor of shape (n_rows,)
        order : Tensor of shape (n_columns,)
            The order in which rows are drawn.
        observed : pair of Tensor, optional
            Counts of other rows than these, by :meth:`token_counts`; None: of these.
        """
        self.eval()
        first_counts, level_counts = observed or self.token_counts(token_ids, weights)
        # As many rows as are given here.
        scale = weights.sum().double().cpu() * self.n_columns / first_counts.sum()
        device = self.begin.device
        rows = rows_per_pass(self.n_columns)
        for _ in range(2):
            sums: list[Tensor] = []
            for ids, share in zip(token_ids.split(rows), weights.split(rows), strict=True):
                ids, share = ids.to(device, torch.long), share.to(device)[:, None]
                states = self.hidden(ids, order[None])
                first = ids[:, self.first]
                each = share.expand(first.shape)
                parts = [self.vocabulary.expected_counts(states, each, [None] * self.n_columns)]
                if self.two_digit:
                    index = (first + self.start)[:, self.two]
                    inner = self.level_states(states[:, self.two], index)
                    open_ = share * self.opens[index]
                    masks = [self.barred(c, first[:, c]) for c in self.two_digit]
                    parts.append(self.level_vocabulary.expected_counts(inner, open_, masks))
                sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
            self.vocabulary.shift_bias(scale * first_counts, sums[0])
            if level_counts is not None:
                self.level_vocabulary.shift_bias(scale * level_counts, sums[1])

    # -- the row as a sequence -------------------------------------------------------------

    def embed(self, token_ids: Tensor) -> Tensor:
        """Embed the cells of rows.

        Parameters
        ----------
        token_ids : Tensor of shape (batch, n_digits), int64

        Returns
        -------
        Tensor of shape (batch, n_columns, width)
        """
        index = token_ids[:, self.first] + self.start
        levels = torch.zeros_like(index)
        if self.two_digit:
            levels[:, self.two] = token_ids[:, self.second]
        return self._embed_cells(index, levels, self.curve)

    def _embed_cells(self, index: Tensor, levels: Tensor, curve: Tensor) -> Tensor:
        steps = self.steps[index]
        place = self.bases[index] + steps * (levels.to(steps.dtype) + 0.5)
        basis = _cosines(place, curve.shape[1]) * self.ordered[index][..., None]
        smooth = torch.bmm(basis.transpose(0, 1), curve).transpose(0, 1)
        own = self.value if self.free is None else self.value * self.free
        cells = F.embedding(index, own) + smooth  # (batch, columns, width)
        if self.fine is not None:
            fine = self.fine_start[index]
            cells = cells + F.embedding(fine + levels * (fine > 0), self.fine)
        return cells

    def hidden(self, token_ids: Tensor, order: Tensor | None = None) -> Tensor:
        """State from which each column is predicted, (batch, n_columns, width).

        Parameters
        ----------
        token_ids : Tensor of shape (batch, n_digits), int64
        order : Tensor of shape (batch, n_columns) or (1, n_columns), int64, optional
            The columns of each row, or of all, in the order in which they are read; None: as they
            stand.
        """
        cells = self.embed(token_ids)
        begin = self.begin.expand(len(cells), 1, -1).to(cells.dtype)
        if order is None:
            inputs = torch.cat([begin, cells[:, :-1]], 1) + self.asked
        else:
            before = torch.cat([begin, _rearranged(cells, order[:, :-1])], 1)
            inputs = before + F.embedding(order, self.asked)
        states = self._transform(self.input_dropout(inputs))
        return states if order is None else _rearranged(states, order.argsort(1))

    def _transform(self, inputs: Tensor, cache: CellCache | TreeCache | None = None) -> Tensor:
        inputs = inputs.to(next(self.transformer.parameters()).dtype)
        result = self.transformer(inputs_embeds=inputs, **with_cache(self.transformer, cache))
        return cast(Tensor, result.last_hidden_state)

    @torch.no_grad()
    def check_causal(self) -> None:
        """Raise a ValueError unless rows read cell by cell give the states of whole rows.

        An architecture that looks ahead, or knows no key/value cache, does not.
        """
        self.eval()
        inputs = torch.randn(1, self.n_columns, len(self.begin), device=self.begin.device)
        cache = CellCache(self.n_columns)
        try:
            whole = self._transform(inputs)
            steps = [self._transform(part, cache) for part in inputs.split(1, dim=1)]
        except Exception as error:  # whatever a foreign architecture raises
            raise ValueError(f"{_not_causal(self.transformer.config)} {error}") from error
        if not torch.allclose(whole, torch.cat(steps, 1), rtol=1e-3, atol=1e-3):
            raise ValueError(_not_causal(self.transformer.config))

    def level_states(self, states: Tensor, index: Tensor) -> Tensor:
        """State from which the second digit is predicted, once the first is known."""
        states = states + F.embedding(index, self.given)
        inner = F.gelu(self.level_in(self.level_norm(states)))
        return cast(Tensor, self.level_final(states + self.level_out(inner)))

    # -- likelihood ------------------------------------------------------------------------

    def forward(
        self,
        token_ids: Tensor,
        order: Tensor | None = None,
        barred: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """Log-probability of each cell given those before it in `order`, in nats.

        Parameters
        ----------
        token_ids : Tensor of shape (batch, n_digits), int64
        order : Tensor of shape (batch, n_columns) or (1, n_columns), int64, optional
            As in :meth:`hidden`.
        barred : dict of {column: Tensor of shape (batch, n_first), bool}, optional
            First tokens of a cell that are out of the question.

        Returns
        -------
        Tensor of shape (batch, n_columns)
            A row's log-probability is the sum over the columns.
        """
        states = self.hidden(token_ids, order)
        first = token_ids[:, self.first]
        barred = barred or {}
        extra = [barred[c] * _MASKED if c in barred else None for c in range(self.n_columns)]
        cells = self.vocabulary.log_prob(states, first, extra)
        if self.two_digit:
            index = (first + self.start)[:, self.two]
            inner = self.level_states(states[:, self.two], index)
            masks = [self.barred(c, first[:, c]) for c in self.two_digit]
            levels = self.level_vocabulary.log_prob(inner, token_ids[:, self.second], masks)
            cells = cells.index_add(1, self.two, levels * self.opens[index])
        return cells

    def barred(self, column: int, first: Tensor) -> Tensor | None:
        """What to add to the second digit's logits, (batch, size), or None for nothing."""
        if column not in self.barred_columns:
            return None
        return cast(Tensor, getattr(self, f"barred_{column}")[first])

    # -- one cell at a time ----------------------------------------------------------------

    def output_tables(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Output embeddings and biases for drawing, made once for many draws."""
        parts = [self.vocabulary] + ([self.level_vocabulary] if self.two_digit else [])
        return [(part.weights().to(dtype), part.bias) for part in parts]

    def read(self, token_ids: Tensor, orders: Tensor, cache: CellCache | None = None) -> Tensor:
        """State from which the last of some columns is predicted, given the others before it.

        Parameters
        ----------
        token_ids : Tensor of shape (batch, n_digits), int64
        orders : Tensor of shape (batch, n_read + 1), int64
            The columns of each row in the order in which they are read, and the one asked for.
        cache : CellCache, optional
            Empty before; holds what was read then.

        Returns
        -------
        Tensor of shape (batch, width)
        """
        cells = self.embed(token_ids)
        begin = self.begin.expand(len(cells), 1, -1).to(cells.dtype)
        before = cells.gather(1, orders[:, :-1, None].expand(-1, -1, cells.shape[-1]))
        inputs = torch.cat([begin, before], 1) + F.embedding(orders, self.asked)
        return self._transform(inputs, cache)[:, -1]

    def advance(
        self,
        inputs: Tensor,
        column: int | Tensor,
        cache: CellCache | TreeCache,
        *,
        states: bool = True,
    ) -> Tensor:
        """State from which a column is predicted, given what `cache` has read before.

        Parameters
        ----------
        inputs : Tensor of shape (batch, width)
            The embedded cell before it; the first column has `begin` before it.
        column : int, or Tensor of shape (batch,)
            The same of all rows, or one for each.
        cache : CellCache or TreeCache
            Grows by the cell that is read now.
        states : bool, default=True
            False: none is asked for, and anything may be given; only the cache is to grow.

        Returns
        -------
        Tensor of shape (batch, width)
        """
        own = self.asked[column] if isinstance(column, int) else F.embedding(column, self.asked)
        if can_step(self.transformer):
            inputs = (inputs + own).to(self.transformer.wpe.weight.dtype)
            return step(self.transformer, inputs, cache, states=states)
        return self._transform((inputs + own)[:, None], cache)[:, 0]

    def digits_of(self, column: int, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Give both digits of a column's cells, each (n_rows,); the second is 0 without one."""
        first, second = int(self.layout.first[column]), int(self.layout.second[column])
        digit = token_ids[:, first]
        return digit, token_ids[:, second] if second >= 0 else torch.zeros_like(digit)

    def embed_cell(self, column: int, first: Tensor, level: Tensor) -> Tensor:
        """Embed cells of one column, (batch, width), from both of their digits."""
        index = (first + self.first_start[column])[:, None]
        curve = self.curve[column : column + 1]
        return self._embed_cells(index, level[:, None], curve)[:, 0]


def _rearranged(cells: Tensor, order: Tensor) -> Tensor:
    """Take cells of each row in an order of its own, or of all rows in one, by far the faster."""
    if len(order) == 1:
        return cells.index_select(1, order[0])
    return cells.gather(1, order[..., None].expand(-1, -1, cells.shape[-1]))


def _not_causal(config: PretrainedConfig) -> str:
    return (
        "backbone must be the configuration of a causal language model that accepts "
        f"inputs_embeds, a key/value cache and as many positions as there are columns; got "
        f"{type(config).__name__}."
    )


def _replace_dropout(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, PooledDropout(child.p))
        else:
            _replace_dropout(child)
