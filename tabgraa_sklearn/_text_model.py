"""A causal language model of text as the backbone: rows are read as sentences.

The probability of a cell is the product over its tokens of the model's softmax over those tokens
that some cell of the column can go on with. Where there is no choice nothing is lost: names of
columns, separators and the rest of a word that is certain cost no nats. Training maximises this
same probability, not that over the whole vocabulary: what is barred is never drawn, so there is
nothing to learn about it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import Cache

from ._attention import TEXT_ATTENTION, CellCache, with_cache
from ._protocols import Backbone
from ._text_layout import TextLayout

__all__ = ["TextModel"]

Ids = npt.NDArray[np.int64]

_BARRED = -1e30
_TOKENS = 1 << 15  # that go through the model at once without gradients
_MASS_ROWS = 64  # on which the mass outside of the mask is computed


@dataclass
class _Choices:
    """Where the cells of one column have more than one way on."""

    rows: Tensor
    places: Tensor  # of the state that predicts, in the row
    targets: Tensor
    mask: Tensor


class TextModel(Backbone):
    """A language model that reads rows as text, columns in any order.

    Parameters
    ----------
    layout : TextLayout
        What rows look like.
    language : transformers.PreTrainedModel
        A causal model with an output embedding.
    micro_batch_size : int
        Rows of which activations are kept at a time in training: a larger batch is computed in
        parts, each once more when its gradient is taken. Gradients are those of the whole batch.
    """

    # A set of values is drawn token by token: how likely it was is known afterwards.
    draws_sets_exactly = False
    has_marginals = False
    rows_per_step = 64
    rows_per_pool = 2048
    align_learning_rate = 2e-5

    def __init__(self, layout: TextLayout, language: Any, *, micro_batch_size: int = 16) -> None:
        super().__init__()
        self.layout = layout
        self.n_columns = layout.n_columns
        self.micro_batch_size = micro_batch_size
        # By this name the trainer tells matrices that decay.
        self.transformer = language
        if language.config._attn_implementation == "sdpa":
            language.set_attn_implementation(TEXT_ATTENTION)
        parameters = list(self.named_parameters(remove_duplicate=False))
        learning = {name for name, part in parameters if part.requires_grad}
        frozen = {name for name, part in parameters if not part.requires_grad}
        # What adapters stand beside: copies share it, and a state does without.
        self._frozen = frozen if learning else set()
        if self._frozen:
            self.align_learning_rate = 2e-4
        self._check_room()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return cast(Tensor, self.transformer.get_input_embeddings().weight).device

    # -- weights: frozen ones are shared by copies, and are no part of a state --------------

    def __deepcopy__(self, memo: dict[int, Any]) -> TextModel:
        """Copy the model; weights that never learn keep their storage."""
        for name, parameter in self.named_parameters(remove_duplicate=False):
            if name in self._frozen and id(parameter) not in memo:
                memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items()})
        return copied

    def state_dict(self, *args: Any, **settings: Any) -> Any:
        """Give the weights that learn."""
        state = super().state_dict(*args, **settings)
        for name in self._frozen & set(state):
            del state[name]
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take weights that learn."""
        return super().load_state_dict(state_dict, strict and not self._frozen, assign)

    # -- starting ---------------------------------------------------------------------------

    def _check_room(self) -> None:
        """Raise a ValueError where rows are longer, or have other tokens, than the model reads."""
        known, last = self.transformer.get_input_embeddings().num_embeddings, self.layout.last_token
        if last >= known:
            raise ValueError(
                f"backbone must embed every token of its tokenizer, which writes token {last}; "
                f"{type(self.transformer).__name__} embeds {known}."
            )
        room = getattr(self.transformer.config, "max_position_embeddings", None)
        if room is not None and self.layout.longest > room:
            raise ValueError(
                f"backbone must read as many tokens as a row has at the most, "
                f"{self.layout.longest}; {type(self.transformer).__name__} reads {room}."
            )
        window = getattr(self.transformer.config, "sliding_window", None)
        if window and self.layout.longest > window:
            raise ValueError(
                f"backbone must look back as many tokens as a row has at the most, "
                f"{self.layout.longest}; {type(self.transformer).__name__} looks back {window}."
            )

    @torch.no_grad()
    def check_causal(self) -> None:
        """Raise a ValueError unless the model reads and writes as rows are read and written.

        Its logits must be its states times its embedding, and what it reads piece by piece, with a
        gap between, must be what it reads at once: tried on a text as long as a row may be.
        """
        self.eval()
        layout = self.layout
        names = np.resize(np.concatenate(layout.names), max(layout.longest, len(layout.names[0])))
        ids = torch.tensor([[*layout.begin, *names.tolist()]], device=self.device)
        ids = ids[:, : max(layout.longest, 2)]
        mask = torch.ones_like(ids)
        tokens = ids[0].unique()
        try:
            states = self._states(ids, mask)
            whole = self.transformer(input_ids=ids, attention_mask=mask).logits[:, :, tokens]
            fits = torch.allclose(whole, self._logits(states, tokens), rtol=1e-3, atol=1e-3)
        except Exception as error:  # whatever a foreign architecture raises
            raise ValueError(f"{self._no_head()} {error}") from error
        if not fits:
            raise ValueError(self._no_head())
        try:
            parts = self._in_two_pieces(ids)
            same = torch.allclose(states[:, -parts.shape[1] :], parts, rtol=1e-3, atol=1e-3)
        except Exception as error:  # whatever a foreign architecture raises
            raise ValueError(f"{self._no_cache()} {error}") from error
        if not same:
            raise ValueError(self._no_cache())

    def _in_two_pieces(self, ids: Tensor) -> Tensor:
        """Read the second half of a text behind a cache of the first, which ends in a gap."""
        cache, half = CellCache(self.layout.longest), ids.shape[1] // 2
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        seen = torch.ones_like(ids[:, : half + 1])
        seen[:, half] = 0
        # The gap holds the first token once more, which nobody sees.
        first, positions = (torch.cat([part[:, :half], part[:, :1]], 1) for part in (ids, places))
        self._states(first, seen, cache, position_ids=positions)
        seen = torch.cat([seen, torch.ones_like(ids[:, half:])], 1)
        return self._states(ids[:, half:], seen, cache, position_ids=places[:, half:])

    def _no_head(self) -> str:
        return (
            "backbone must be a causal language model whose logits are its last states times "
            f"the output embedding; got {type(self.transformer).__name__}."
        )

    def _no_cache(self) -> str:
        return (
            "backbone must be a causal language model that reads a text piece by piece with a "
            "key/value cache, at the positions that it is told, as it reads it at once; "
            f"{type(self.transformer).__name__} does not."
        )

    # -- likelihood -------------------------------------------------------------------------

    def forward(self, token_ids: Tensor, order: Tensor | None = None) -> Tensor:
        """Log-probability of each cell given those before it in `order`, in nats.

        Parameters
        ----------
        token_ids : Tensor of shape (batch, n_columns), int64
        order : Tensor of shape (batch, n_read) or (1, n_read), int64, optional
            The columns of each row, or of all, as they are read; 0 nats of columns that are
            left out. None: as they stand.

        Returns
        -------
        Tensor of shape (batch, n_columns)
        """
        if order is None:
            order = torch.arange(self.n_columns, device=token_ids.device)[None]
        orders = order.expand(len(token_ids), -1)
        learning = torch.is_grad_enabled()
        rows = self.micro_batch_size if learning else max(_TOKENS // self.layout.longest, 1)
        if len(token_ids) <= rows:
            return self._cells(token_ids, orders)
        parts = zip(token_ids.split(rows), orders.split(rows), strict=True)
        if not learning:
            return torch.cat([self._cells(ids, own) for ids, own in parts])
        return torch.cat(
            [
                cast(Tensor, checkpoint(self._cells, ids, own, use_reentrant=False))
                for ids, own in parts
            ]
        )

    def _cells(self, token_ids: Tensor, orders: Tensor) -> Tensor:
        ids, choices = self._written(token_ids, orders)
        states = self._states(ids)
        # The gradient of a part of the output embedding is as large as the whole: one for all.
        pairs = list(zip(self.layout.automata, choices, strict=True))
        used = [self._tokens(automaton) for automaton, where in pairs if where is not None]
        tokens = torch.cat(used).unique() if used else torch.zeros(0, dtype=torch.long)
        weight, bias = self._head(tokens)
        cells = []
        for automaton, where in pairs:
            none = torch.zeros(len(ids), device=ids.device, dtype=_at_least_single(states.dtype))
            if automaton is not None and where is not None:
                own = torch.searchsorted(tokens, self._tokens(automaton))
                logits = F.linear(
                    states[where.rows, where.places],
                    weight[own],
                    None if bias is None else bias[own],
                )
                logits = logits.to(none.dtype).masked_fill(~where.mask, _BARRED)
                nats = F.cross_entropy(logits, where.targets, reduction="none")
                none = none.index_add(0, where.rows, -nats)
            cells.append(none)
        if all(automaton is None for automaton in self.layout.automata):
            # Of constant columns there is nothing to learn: the gradient is 0.
            cells[0] = cells[0] + 0.0 * states.sum()
        return torch.stack(cells, 1)  # (batch, n_columns)

    def _tokens(self, automaton: Any) -> Tensor:
        return torch.from_numpy(automaton.tokens).to(self.device)

    def _states(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        **settings: Any,
    ) -> Tensor:
        """Read tokens, (batch, length, width).

        Without a mask where texts begin together: no token looks at what fills up a shorter text
        behind its end.
        """
        decoder = self.transformer.base_model
        if cache is not None:
            settings |= with_cache(decoder, cache)
        return cast(Tensor, decoder(ids, attention_mask=mask, **settings).last_hidden_state)

    def _head(self, tokens: Tensor | slice) -> tuple[Tensor, Tensor | None]:
        head = self.transformer.get_output_embeddings()
        bias = getattr(head, "bias", None)
        return head.weight[tokens], None if bias is None else bias[tokens]

    def _logits(self, states: Tensor, tokens: Tensor | slice) -> Tensor:
        return F.linear(states, *self._head(tokens))

    def _written(self, token_ids: Tensor, orders: Tensor) -> tuple[Tensor, list[_Choices | None]]:
        """Write rows as text, (batch, length), and find where their cells have a choice."""
        layout, device = self.layout, self.device
        codes, order = (part.detach().cpu().numpy() for part in (token_ids, orders))
        n_rows = len(codes)
        read: list[Any] = [None] * self.n_columns
        lengths = np.zeros((n_rows, self.n_columns), dtype=np.int64)
        wanted = np.unique(order)
        for column in wanted.tolist():
            automaton = layout.automata[column]
            if automaton is None:
                continue
            read[column] = automaton.choices(codes[:, column].astype(np.int64))
            lengths[:, column] = len(layout.names[column]) + (read[column][0] >= 0).sum(1)
        ordered = np.take_along_axis(lengths, order, 1)
        ends = ordered.cumsum(1) + len(layout.begin)
        starts = np.zeros((n_rows, self.n_columns), dtype=np.int64)
        np.put_along_axis(starts, order, ends - ordered, 1)
        ids = np.zeros((n_rows, int(ends[:, -1].max(initial=1))), dtype=np.int64)
        ids[:, : len(layout.begin)] = layout.begin
        choices: list[_Choices | None] = [None] * self.n_columns
        every = np.arange(n_rows)[:, None]
        for column in wanted.tolist():
            automaton, name = layout.automata[column], layout.names[column]
            if automaton is None:
                continue
            spelled, rows, places, mask = read[column]
            start, has = starts[:, column], (order == column).any(1)
            ids[every[has], start[has, None] + np.arange(len(name))] = name
            start = start + len(name)
            row, place = np.nonzero((spelled >= 0) & has[:, None])
            ids[row, start[row] + place] = automaton.tokens[spelled[row, place]]
            of = has[rows]
            rows, places = rows[of], places[of]
            parts = (rows, start[rows] + places - 1, spelled[rows, places], mask[of])
            choices[column] = _Choices(*(torch.from_numpy(part).to(device) for part in parts))
        return torch.from_numpy(ids).to(device), choices

    @torch.no_grad()
    def figures(self, token_ids: Tensor, order: Tensor) -> dict[str, float]:
        """Give "masked_mass", the mean probability of tokens that no cell can go on with.

        Over the whole vocabulary, where cells have a choice, on 64 rows at the most.
        """
        self.eval()
        ids, choices = self._written(
            token_ids[:_MASS_ROWS], order.expand(len(token_ids[:_MASS_ROWS]), -1)
        )
        states, outside, count = self._states(ids), 0.0, 0
        for automaton, where in zip(self.layout.automata, choices, strict=True):
            if automaton is None or where is None or len(where.rows) == 0:
                continue
            logits = self._logits(states[where.rows, where.places], slice(None)).float()
            inside = logits.softmax(-1)[:, self._tokens(automaton)] * where.mask
            outside += float((1.0 - inside.sum(-1)).clamp(min=0.0).sum())
            count += len(where.rows)
        return {"masked_mass": outside / max(count, 1)}


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32
