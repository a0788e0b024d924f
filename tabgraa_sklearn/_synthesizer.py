"""The estimator: fit a table, sample rows that look like it."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
)
from transformers import PretrainedConfig

from ._backbone import CompactBackbone, compact_config
from ._device import autocast, choose_device, choose_precision, private_torch_seed
from ._features import to_features
from ._frames import Container, check_frame, to_frame
from ._layout import TokenLayout
from ._sampling import sample_tokens
from ._scoring import N_FOLDS, log_likelihood, two_sample_score
from ._sizes import default_sizes
from ._tokenizer import TableTokenizer
from ._training import Trainer, mixed_order_loss, nats_per_row

__all__ = ["TabGRAASynthesizer"]

_SCORE_ROWS = 10_000  # rows of each kind that `score` compares at the most
_MATCHED_ROWS = 100_000  # rows whose marginal frequencies the output is fitted to
_BATCH_ROWS = 65_536  # rows that `sample` works on at once


class TabGRAASynthesizer(DensityMixin, BaseEstimator):
    """Synthetic rows from a small language model of the table.

    Every row is read as a sequence of cells, and a causal transformer learns the probability of
    each cell given those before it. Columns may be numbers, categories, strings, booleans, dates
    or times, with missing cells; what is sampled has the columns, order and dtypes of what was
    fitted.

    Parameters
    ----------
    backbone : transformers.PretrainedConfig, default=None
        The architecture of the language model. None takes a compact GPT-2 whose size follows
        the table. A configuration must belong to a causal model that accepts
        ``inputs_embeds``; it is trained from scratch.
    max_epochs : int, default=None
        Passes over the table at the most. None: from 3 for very large tables to 300 for very
        small ones.
    learning_rate : float, default=None
        Step size of AdamW. None: 0.0025 to 0.005, the larger the table the more.
    batch_size : int, default=None
        Rows per step. None: between 16 and 512, following the numbers of rows and columns.
    validation_fraction : float, default=0.05
        Share of the rows that is held out to decide when to stop; at most 20,000 rows.
    n_iter_no_change : int, default=4
        Training stops when the held-out likelihood has not improved for so many epochs, and for
        200 steps. It is the mean of that in the order of sampling and that in random orders,
        weighted by `random_order_share`. The weights of the best epoch are kept.
    dropout : float, default=None
        Share of activations that is dropped in training. None: the smaller the table the more.
        A `backbone` of your own brings its own.
    random_order_share : float, default=0.4
        Share of batches that are learnt with the columns in random order instead of in the order
        in which rows are sampled. Above 0, the one model can also predict any column from any
        others. Measured (benchmarks/RESULTS.md), 0.4 costs no quality of the samples against 0,
        for it keeps the model from over-fitting, but about a third more time.
    column_kinds : dict of {column name: kind}, default=None
        Overrides what is found out about columns: "categorical", "numeric", "datetime",
        "timedelta", "identifier" or "text".
    device : str or torch.device, default=None
        None: "cuda" where there is one, else "mps", else "cpu".
    precision : {"float32", "bfloat16"}, default=None
        Precision of matrix products. None: bfloat16 where the hardware multiplies it faster.
    n_jobs : int, default=None
        Threads of the classifier in :meth:`score`; None means 1, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Seeds the fit, and the calls of :meth:`sample` that bring no seed of their own.
    verbose : int, default=0
        1 prints a line per epoch: held-out nats per row, rows/s and the time left.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of `X` in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where all are strings.
    schema_ : Schema
        What each column was found to be.
    model_ : torch.nn.Module
        The language model.
    history_ : list of dict
        One entry per epoch: "stage", "epoch", "train_nats", "validation_nats" (held-out nats per
        row, columns in the order of sampling), "validation_nats_random" (columns in random
        order), "learning_rate", "rows_per_second", "seconds", "elapsed_seconds".
    n_epochs_ : int
        Epochs that were run.
    best_epoch_ : int
        The epoch whose weights were kept, counted from 1.
    stop_reason_ : {"no improvement", "max_epochs", "interrupted"}
        Why the training ended.
    column_order_ : list of int
        The order in which the columns of a row are drawn.
    device_ : torch.device
        Where the model is.
    precision_ : str
        Precision of the matrix products.

    Notes
    -----
    Fits that run in several threads of one process share torch's generator, so that their seeds
    give the same models only when they run one at a time; processes share nothing.

    The log-likelihood of a row is that of its tokens: the cells of a number with many values are
    intervals, so it is the probability of the interval, not a density.

    Examples
    --------
    >>> import pandas as pd
    >>> from tabgraa_sklearn import TabGRAASynthesizer
    >>> table = pd.DataFrame({"age": [31, 45, 27, 60] * 25, "smoker": ["no", "yes"] * 50})
    >>> synthesizer = TabGRAASynthesizer(max_epochs=2, random_state=0).fit(table)
    >>> rows = synthesizer.sample(3, random_state=0)
    >>> rows.shape, list(rows.columns)
    ((3, 2), ['age', 'smoker'])
    >>> rows["age"].dtype == table["age"].dtype
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "backbone": [PretrainedConfig, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "random_order_share": [Interval(Real, 0, 1, closed="both")],
        "column_kinds": [Mapping, None],
        "device": [str, torch.device, None],
        "precision": [StrOptions({"float32", "bfloat16"}), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        backbone: PretrainedConfig | None = None,
        max_epochs: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        validation_fraction: float = 0.05,
        n_iter_no_change: int = 4,
        dropout: float | None = None,
        random_order_share: float = 0.4,
        column_kinds: Mapping[Hashable, str] | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.random_order_share = random_order_share
        self.column_kinds = column_kinds
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> TabGRAASynthesizer:
        """Learn a table.

        Parameters
        ----------
        X : DataFrame (pandas or polars) or array-like of shape (n_rows, n_columns)
            At least two rows. Missing cells are learnt as values.
        y : array-like of shape (n_rows,), default=None
            One more column, learnt with `X` and sampled as the last column, named after `y` or
            "target".
        sample_weight : array-like of shape (n_rows,), default=None
            How often each row counts; rows of weight 0 are left out.

        Returns
        -------
        self : TabGRAASynthesizer

        Raises
        ------
        ValueError
            If a parameter or the table cannot be used; the message names the parameter or the
            column. A fitted synthesizer stays as it was.
        """
        self._validate_params()
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        frame, container = to_frame(X) if y is None else _join_target(X, y)
        check_frame(frame, min_rows=2)
        weights = _check_sample_weight(
            sample_weight, frame, dtype=np.float64, ensure_non_negative=True
        )
        if sample_weight is not None:
            # Relative to the largest, in the precision in which they are used.
            weights = weights / max(weights.max(), np.finfo(np.float64).tiny)
            kept = weights.astype(np.float32) > 0
            if kept.sum() < 2:
                raise ValueError("sample_weight must be positive for at least 2 rows.")
            frame, weights = frame[kept].reset_index(drop=True), weights[kept]
            weights = weights / weights.mean()

        random = _generator(self.random_state)
        tokenizer = TableTokenizer(column_kinds=self.column_kinds).fit(frame)
        layout = _layout(tokenizer)
        seed = int(random.randint(2**31 - 1))
        with private_torch_seed(seed, device):
            token_ids = tokenizer.encode(frame)
            order = layout.surest_first(token_ids, weights)
            model, trainer = self._build(layout, order, len(frame), device, precision)
            train, held_out = self._split(token_ids, weights, seed)
            model.start_from(train[0].numpy(), train[1].numpy())
            result = trainer.run(model, train, held_out)
            if result.stop_reason != "interrupted":
                _match_marginals(model, order, trainer, train, held_out)

        if result.stop_reason == "interrupted":
            warnings.warn(
                f"The fit was interrupted after {len(result.history)} epochs; the best model so "
                "far is kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
        n_features = frame.shape[1] - (y is not None)
        self.n_features_in_ = n_features
        self.__dict__.pop("feature_names_in_", None)
        names = frame.columns[:n_features]
        if container.kind != "array" and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.schema_ = tokenizer.schema_
        self.model_ = model
        self.history_ = result.history
        self.n_epochs_ = len(result.history)
        self.best_epoch_ = result.best_epoch
        self.stop_reason_ = result.stop_reason
        self.column_order_ = order.tolist()
        self.device_ = device
        self.precision_ = str(precision).removeprefix("torch.")
        self._container = container
        self._tokenizer = tokenizer
        self._n_rows = len(frame)
        self._random = np.random.RandomState(random.randint(2**31 - 1))
        return self

    def sample(
        self,
        n_samples: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
        temperature: float = 1.0,
        batch_size: int | None = None,
    ) -> Any:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
            Exactly so many rows come back.
        random_state : int, RandomState instance or None, default=None
            The same seed gives the same rows, whatever the batch size. None: new rows at every
            call, and the same sequence of calls after the same seeded fit; copies loaded from
            one pickle go on with one and the same sequence.
        temperature : float, default=1.0
            Divides the logits: below 1 the likely becomes likelier, above 1 less so.
        batch_size : int, default=None
            Rows that are worked on at once, which bounds the memory; None: 65,536, which is also
            the least (of more than 16 columns fewer).

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            The container, columns, order and dtypes of the fitted table.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If a parameter is out of range.
        """
        seed = self._check_sampling(n_samples, random_state, temperature, batch_size)
        frame = self._draw(
            int(n_samples),
            seed=seed,
            temperature=float(temperature),
            batch_size=int(batch_size or _BATCH_ROWS),
        )
        return self._container.restore(frame)

    def sample_batches(
        self,
        n_samples: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
        temperature: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[Any]:
        """Draw new rows in batches, for samples that are larger than the memory.

        Rows are drawn in blocks of up to 65,536, of which one is in memory at a time, and one
        batch.

        Parameters
        ----------
        n_samples : int, default=1
            Rows in all.
        random_state : int, RandomState instance or None, default=None
            As in :meth:`sample`, which gives the same rows for the same seed.
        temperature : float, default=1.0
            As in :meth:`sample`.
        batch_size : int, default=None
            Rows of a batch, the last of which may be smaller; None: 65,536.

        Returns
        -------
        iterator of DataFrame or ndarray of shape (batch_size, n_columns)
            In the container, columns, order and dtypes of the fitted table.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If a parameter is out of range; at once, not with the first batch.
        """
        seed = self._check_sampling(n_samples, random_state, temperature, batch_size)
        batch_rows = int(batch_size or _BATCH_ROWS)
        parts = self._draw_parts(
            int(n_samples), seed=seed, temperature=float(temperature), batch_size=batch_rows
        )
        container = self._container  # as it is now, whatever is fitted while batches are drawn
        return (container.restore(batch) for batch in _cut(parts, batch_rows))

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:
        """Log-likelihood of each row, in nats.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            The columns of :meth:`fit`. Where it was given `y`, that column may be there or
            not; without it, the likelihood is that of the other columns.

        Returns
        -------
        ndarray of shape (n_rows,), float64
            A number with many values counts with the probability of the interval that its token
            stands for, a number that was not seen with that of the nearest token. A category
            that was not seen in fit counts with one part in the number
            of rows fitted, plus one.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns are not those of :meth:`fit`.
        """
        check_is_fitted(self, "model_")
        frame = self._check_columns(X)
        tokenizer, names = self._tokenizer, self.schema_.names
        token_ids = np.zeros((len(frame), len(tokenizer.digit_sizes)), dtype=np.int64)
        for name in frame.columns:
            token_ids[:, tokenizer.digits(name)] = tokenizer.encode_column(
                name, frame[name], unknown="mark"
            )
        # What was not given is read last, where it has no say, and is not counted.
        n_given = frame.shape[1]
        given = set(frame.columns)
        order = sorted(self.column_order_, key=lambda column: names[column] not in given)
        cells = log_likelihood(self.model_, token_ids, order, -math.log1p(self._n_rows))
        total: npt.NDArray[np.float64] = cells[:, order[:n_given]].sum(1)
        return total

    def score(self, X: Any, y: Any = None) -> float:
        """How hard rows of `X` and fresh samples are to tell apart.

        A LightGBM classifier is trained to tell them apart, in three folds, and judged by the
        area A under its ROC curve on the rows left out. The score is ``2 - 2 * max(A, 1/2)``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            Real rows, at least 3; of more than 10,000 a random part is used.
        y : array-like of shape (n_rows,), default=None
            The column that was given to :meth:`fit` as `y`; without it the other columns are
            compared.

        Returns
        -------
        float
            1: as hard as rows of one table. 0: every row is recognised. The same for the same
            model and rows.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns are not those of :meth:`fit`, or there are fewer than 3 rows.

        References
        ----------
        Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
        """
        check_is_fitted(self, "model_")
        has_target = len(self.schema_) > self.n_features_in_
        frame = self._check_columns(X)
        if has_target and y is not None:
            target = _as_column(y)
            _check_lengths(len(frame), len(target))
            frame[self.schema_.names[-1]] = target.array
        if len(frame) < N_FOLDS:
            raise ValueError(f"score needs at least {N_FOLDS} rows; got {len(frame)}.")
        frame = frame.sample(min(len(frame), _SCORE_ROWS), random_state=0)
        samples = self._draw(len(frame), seed=0)[frame.columns]
        real, synthetic = (to_features(self._tokenizer, part) for part in (frame, samples))
        return two_sample_score(real, synthetic, self.n_jobs)

    def history_frame(self) -> pd.DataFrame:
        """Give ``history_`` as a DataFrame, one row per epoch."""
        check_is_fitted(self, "model_")
        return pd.DataFrame(self.history_)

    # -- steps of fit ----------------------------------------------------------------------

    def _build(
        self,
        layout: TokenLayout,
        order: npt.NDArray[Any],
        n_rows: int,
        device: torch.device,
        precision: torch.dtype,
    ) -> tuple[CompactBackbone, Trainer]:
        """Make the model and its trainer, with sizes that follow the table."""
        sizes = default_sizes(n_rows, layout.n_columns)
        config = self.backbone
        if config is None:
            dropout = sizes.dropout if self.dropout is None else self.dropout
            config = compact_config(
                layout.n_columns, width=sizes.width, n_layers=sizes.n_layers, dropout=dropout
            )
        model = CompactBackbone(layout, copy.deepcopy(config))
        if self.backbone is not None:
            model.check_causal()
        model.to(device)
        fixed = torch.from_numpy(order).to(device)
        share = self.random_order_share
        validation = {"validation_nats": (1.0 - share, nats_per_row(fixed))}
        if share > 0:
            validation["validation_nats_random"] = (share, nats_per_row(None))
        trainer = Trainer(
            loss=mixed_order_loss(fixed, share),
            validation=validation,
            device=device,
            precision=precision,
            max_epochs=self.max_epochs or sizes.max_epochs,
            batch_size=self.batch_size or sizes.batch_size,
            learning_rate=self.learning_rate or sizes.learning_rate,
            n_iter_no_change=self.n_iter_no_change,
            verbose=int(self.verbose),
        )
        return model, trainer

    def _split(
        self, token_ids: npt.NDArray[Any], weights: npt.NDArray[np.float64], seed: int
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Set rows aside that decide when to stop; the rest is learnt."""
        held_out = min(max(round(self.validation_fraction * len(token_ids)), 1), 20_000)
        held_out = min(held_out, len(token_ids) - 1)
        parts = train_test_split(
            token_ids, weights.astype(np.float32), test_size=held_out, random_state=seed
        )
        train_ids, held_ids, train_weights, held_weights = map(torch.from_numpy, parts)
        return (train_ids, train_weights), (held_ids, held_weights)

    # -- checks and state ------------------------------------------------------------------

    def _check_sampling(
        self, n_samples: Any, random_state: Any, temperature: Any, batch_size: Any
    ) -> int:
        """Check what sampling is asked for, and give the seed of this call."""
        check_is_fitted(self, "model_")
        _check_parameter("n_samples", n_samples, Integral, lambda n: n >= 1, "an int of at least 1")
        _check_parameter(
            "temperature",
            temperature,
            Real,
            lambda t: 0 < t < math.inf,
            "a finite number greater than 0",
        )
        if batch_size is not None:
            _check_parameter(
                "batch_size", batch_size, Integral, lambda n: n >= 1, "None or an int of at least 1"
            )
        random = self._random if random_state is None else _generator(random_state)
        return int(random.randint(2**31 - 1))

    def _draw(self, n_samples: int, **settings: Any) -> pd.DataFrame:
        """Sample rows as a pandas frame, whatever was fitted; `settings` as below."""
        return _assemble(self._draw_parts(n_samples, **settings), n_samples)

    def _draw_parts(
        self, n_samples: int, *, seed: int, temperature: float = 1.0, batch_size: int = _BATCH_ROWS
    ) -> Iterator[pd.DataFrame]:
        """Sample rows as pandas frames, one after the other."""
        tokens = sample_tokens(
            self.model_,
            n_samples,
            seed=seed,
            order=self.column_order_,
            precision=getattr(torch, self.precision_),
            temperature=temperature,
            batch_size=batch_size,
        )
        tokenizer = self._tokenizer
        return (tokenizer.decode(token_ids, uniforms) for token_ids, uniforms in tokens)

    def _check_columns(self, X: Any) -> pd.DataFrame:
        """Give `X` as a frame with the fitted names; the column fitted as `y` may be missing."""
        frame, container = to_frame(X)
        names = self.schema_.names
        check_frame(frame, min_rows=1)
        if frame.shape[1] == len(names) > self.n_features_in_:
            features = frame.columns if container.kind == "array" else names
        else:
            if len({isinstance(name, str) for name in frame.columns}) == 1:  # else it would raise
                _check_feature_names(self, X, reset=False)
            if frame.shape[1] != self.n_features_in_:
                _check_n_features(self, X, reset=False)
            features = names[: self.n_features_in_]
        if container.kind == "array":
            return frame.set_axis(names[: frame.shape[1]], axis=1)
        if self._container.kind == "array" and len(frame.columns) == len(features):
            return frame.set_axis(features, axis=1)
        missing = [name for name in features if name not in frame.columns]
        if missing:
            raise ValueError(
                f"X must have the columns seen in fit, {list(features)}; missing {missing}."
            )
        return frame[list(features)]

    def __getstate__(self) -> dict[str, Any]:
        """Keep the model on the CPU in a pickle, so that it loads without a GPU."""
        state: dict[str, Any] = super().__getstate__()
        if "model_" in state and state["device_"].type != "cpu":
            state = {**state, "model_": copy.deepcopy(state["model_"]).cpu()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go back to the device of the fit where there is one, else to the CPU."""
        super().__setstate__(state)
        if "model_" not in state:
            return
        try:
            self.device_ = choose_device(state["device_"])
        except ValueError:
            self.device_ = torch.device("cpu")
        self.model_.to(self.device_)
        if self.device_.type != state["device_"].type:
            precision = choose_precision(self.precision, self.device_)
            self.precision_ = str(precision).removeprefix("torch.")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags


def _assemble(parts: Iterator[pd.DataFrame], n_rows: int) -> pd.DataFrame:
    """Join batches of rows in the memory of the result and of one batch.

    The cells of NumPy columns are written where they stay; the other kinds of columns are small
    codes, masks or buffers and are joined one column at a time.
    """
    first = next(parts)
    if len(first) == n_rows:
        return first
    places = range(first.shape[1])
    plain = [isinstance(dtype, np.dtype) for dtype in first.dtypes]
    filled: list[Any] = [
        np.empty(n_rows, dtype=first.dtypes.iloc[i]) if plain[i] else [] for i in places
    ]
    start = 0
    for part in itertools.chain([first], parts):
        for i in places:
            if plain[i]:
                filled[i][start : start + len(part)] = part.iloc[:, i].to_numpy()
            else:
                filled[i].append(part.iloc[:, i])
        start += len(part)
    columns = {}
    for i in places:
        cells, filled[i] = filled[i], None
        # The dtype is named, else pandas would read objects as the times or strings they hold.
        columns[i] = (
            pd.Series(cells, dtype=first.dtypes.iloc[i])
            if plain[i]
            else pd.concat(cells, ignore_index=True)
        )
    return pd.DataFrame(columns, copy=False).set_axis(first.columns, axis=1)


def _cut(parts: Iterator[pd.DataFrame], n_rows: int) -> Iterator[pd.DataFrame]:
    """Cut a stream of frames anew, into frames of `n_rows` rows and a rest."""
    waiting: list[pd.DataFrame] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) < n_rows:
            continue
        rows = pd.concat(waiting, ignore_index=True)
        whole = len(rows) // n_rows * n_rows
        for start in range(0, whole, n_rows):
            yield rows.iloc[start : start + n_rows].reset_index(drop=True)
        waiting = [rows.iloc[whole:]] if whole < len(rows) else []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def _match_marginals(
    model: CompactBackbone,
    order: npt.NDArray[Any],
    trainer: Trainer,
    train: tuple[torch.Tensor, torch.Tensor],
    held_out: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Fit the output biases to the marginal frequencies, unless held-out rows speak against it.

    They do where at least 200 of them lose more than one part in a thousand: else it is chance.
    """
    state = copy.deepcopy(model.state_dict())
    enough = len(held_out[0]) >= 200
    fixed = torch.from_numpy(order).to(trainer.device)
    try:
        before = trainer.measure(model, held_out)[0] if enough else 0.0
        with autocast(trainer.device, trainer.precision):
            model.match_marginals(train[0][:_MATCHED_ROWS], train[1][:_MATCHED_ROWS], fixed)
        harmed = enough and trainer.measure(model, held_out)[0] > 1.001 * before
    except KeyboardInterrupt:
        harmed = True
    if harmed:
        model.load_state_dict(state)


def _generator(random_state: int | np.random.RandomState | None) -> np.random.RandomState:
    """Give a generator; None: a fresh one, where scikit-learn would take the caller's global."""
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)


def _layout(tokenizer: TableTokenizer) -> TokenLayout:
    tables = [tokenizer.position_tables(column.name) for column in tokenizer.schema_]
    return TokenLayout(
        sizes=tokenizer.digit_sizes,
        columns=tokenizer.digit_columns,
        positions=tokenizer.token_positions,
        bases=[base for base, _ in tables],
        steps=[step for _, step in tables],
        allowed=tokenizer.allowed,
    )


def _join_target(X: Any, y: Any) -> tuple[pd.DataFrame, Container]:
    """Give `X` with `y` as its last column."""
    frame, container = to_frame(X)
    if frame.shape[1] == 0:
        check_frame(frame)  # `y` alone would be a table, but not what was meant
    if hasattr(y, "columns"):
        if y.shape[1] != 1:
            raise ValueError(f"y should be a 1d array, got a table of shape {y.shape} instead.")
        y = y[y.columns[0]]
    named = getattr(y, "name", None)
    # The columns of an array have no names that `y` could have taken.
    nameless = named is None or named == "" or (container.kind == "array" and named in frame)
    name: Any = "target" if nameless else named
    name = str(name) if container.kind == "polars" else name
    if name in frame.columns:
        raise ValueError(f"y is named {name!r}, which is a column of X already; rename one.")
    if container.kind == "polars":
        import polars

        target = y if isinstance(y, polars.Series) else _as_polars(_as_column(y))
        _check_lengths(len(frame), len(target))
        return to_frame(X.with_columns(target.alias(name)))
    column = _as_column(y)
    _check_lengths(len(frame), len(column))
    frame[name] = column.array
    if container.kind == "array":
        parts = [frame.dtypes.iloc[0], frame[name].dtype]
        numeric = all(isinstance(part, np.dtype) and part.kind in "biuf" for part in parts)
        dtype = np.result_type(*parts) if numeric else np.dtype(object)
        container = dataclasses.replace(container, dtype=dtype)
    return frame, container


def _as_column(y: Any) -> pd.Series:
    if isinstance(y, np.ma.MaskedArray):
        return pd.Series(np.ma.ravel(y) if y.ndim == 2 and y.shape[1] == 1 else y)
    if isinstance(y, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(y)
    cells = column_or_1d(y, warn=True)
    # The dtype is named, else pandas would read objects as the times or strings they hold.
    return pd.Series(cells, dtype=object if cells.dtype == object else None)


def _as_polars(column: pd.Series) -> Any:
    """Give a pandas column as a polars one, missing cells as nulls; pyarrow is not needed."""
    import polars

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufMm":
        return polars.Series(column.to_numpy())
    cells = column.astype(object)
    return polars.Series(cells.where(cells.notna(), None).tolist(), strict=False)


def _check_lengths(n_rows: int, n_targets: int) -> None:
    if n_rows != n_targets:
        raise ValueError(
            f"X and y must have the same number of rows; got {n_rows} and {n_targets}."
        )


def _check_parameter(
    name: str, value: Any, kind: Any, holds: Callable[[Any], bool], requirement: str
) -> None:
    """Raise a ValueError in scikit-learn's form: parameter, requirement, value got."""
    if isinstance(value, bool) or not isinstance(value, kind) or not holds(value):
        raise ValueError(
            f"The {name!r} parameter of sample must be {requirement}. Got {value!r} instead."
        )
