"""The estimator: fit a table, sample rows that look like it."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pandas.util import hash_pandas_object
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_memory,
)
from transformers import PretrainedConfig

from . import _text_drawing  # noqa: F401 - registers how texts are drawn
from ._alignment import OBJECTIVES, Aligner, AlignmentResult, RealRows
from ._device import (
    choose_device,
    choose_precision,
    private_torch_modes,
    private_torch_seed,
)
from ._features import to_features
from ._frames import check_frame, to_frame
from ._joining import as_column, assemble, check_lengths, cut, join_target
from ._questions import QuestionsMixin
from ._random import generator
from ._refinement import refined
from ._rewards import signal_kind
from ._sampling import sample_tokens
from ._scoring import N_FOLDS, two_sample_score
from ._supervised import (
    Interrupted,
    Supervised,
    SupervisedSettings,
    fit_supervised,
    made_with,
    split_rows,
)
from ._text_backbone import TextBackbone
from ._training import TrainingResult
from ._trial import try_signal

__all__ = ["TabGRAASynthesizer"]

_SCORE_ROWS = 10_000  # rows of each kind that `score` compares at the most
_ROUNDS = 3  # of alignment, by default
_ROUNDS_FROM = 1_000  # rows of a table: fewer are held out than tell whether rounds help
_SIGNAL_ROWS = 200_000  # real rows that the rounds work with, at the most
_BATCH_ROWS = 65_536  # rows that `sample` works on at once


class TabGRAASynthesizer(QuestionsMixin, DensityMixin, BaseEstimator):
    """Synthetic rows from a small language model of the table.

    Every row is read as a sequence of cells, and a causal transformer learns the probability of
    each cell given those before it. Columns may be numbers, categories, strings, booleans, dates
    or times, with missing cells; what is sampled has the columns, order and dtypes of what was
    fitted.

    Parameters
    ----------
    backbone : str, path, TextBackbone or transformers.PretrainedConfig, default=None
        The language model. None takes a compact GPT whose heads share their keys (GPTBigCode) and
        whose size follows the table. A configuration must belong to a causal model that accepts
        ``inputs_embeds``; it is trained from scratch. A name on the Hugging Face hub, a folder or
        a ``.gguf`` file is a pretrained model of text, which reads rows as sentences;
        `TextBackbone` has its settings. Every row that it draws is valid.
    max_epochs : int, default=None
        Passes over the table at the most. None: from 3 for very large tables to 300 for very
        small ones; from 4 to 100 for a model of text.
    learning_rate : float, default=None
        Step size of AdamW. None: 0.0025 to 0.005, the larger the table the more; 5e-5 for a model
        of text, 5e-4 for its adapters.
    batch_size : int, default=None
        Rows per step. None: between 16 and 512, following the numbers of rows and columns; 16 or
        32 for a model of text.
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
    n_rounds : int, default=None
        Rounds of alignment after the supervised stage: the model draws rows, a signal scores
        them, and the model is moved towards what scores well. The best round by held-out rows is
        kept, the supervised model included, unless `signal` is to forget rows. 0 leaves the
        supervised model. None: 3 for tables of at least 1,000 rows or where there is a `signal`,
        else 0: of fewer rows too few are held out to tell.
    signal : estimator, default=None
        What scores rows: any classifier of scikit-learn's kind, fitted on real rows (1) against
        drawn ones (0), or any density model or outlier detector, fitted on real rows. Pipelines
        get the table, other estimators numbers. It is tried on up to 1,000 rows before anything
        is learnt. See :mod:`tabgraa_sklearn.signals`. None: LightGBM, which has no nested
        parameters here: a search over ``signal__...`` needs an estimator.
    reward : {"realism", "indistinguishability"} or callable, default="realism"
        What is rewarded: the log density ratio of real rows to drawn ones (by a classifier, times
        its slope of calibration on held-out rows); the nearness of the
        probability p to one half, ``1 - |p - 1/2|``; or what the callable gives for an array of
        probabilities (of scores, by a detector).
    objective : str, default="tabgraa"
        "tabgraa" and "tabgraa-sigmoid" are group-relative; "dpo", "kto", "npo", "ipo" and "sft"
        (more supervised steps) are baselines.
    beta : float, default=1.0
        The reward, in nats, that a log-ratio of 1 stands for: the larger, the nearer the model
        stays to the supervised one. At most 1e6.
    quantile : float, default=0.5
        Share of the ranking by reward that each group takes; 0.5: halves.
    align_learning_rate : float, default=None
        Step size of AdamW in the rounds. None: 4e-4 for the compact model, 2e-5 for a model of
        text, 2e-4 for its adapters.
    align_credit : {"cell", "row"}, default="cell"
        Whether each cell is credited with what it contributed to the reward of its row, or each
        row as a whole. The baselines take whole rows.
    align_retain : {"kl", "supervised"}, default=None
        What is added to the objective: the divergence from the supervised model on drawn rows,
        or the supervised loss on real ones (which "sft" consists of already).
    align_pool_size : int, default=None
        Rows that are drawn for the fit of the signal, and again to be scored, in each round.
        None: six for each real row, within 65,536 rows and 1.5 million cells; of a model of text
        2,048 at the most.
    memory : str or joblib.Memory, default=None
        Where supervised stages are kept for reuse: fits that differ in parameters of the
        alignment alone share one. Without `random_state` they share one seed, too.
    warm_start : bool, default=False
        Whether :meth:`fit` goes on from the fitted model, with rounds of alignment up to
        `n_rounds` in all.
    n_jobs : int, default=None
        Threads of the classifier in :meth:`score`; None means 1, -1 all processors. In the
        rounds None means as many as torch uses.
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
        One entry per epoch of the supervised stage, then one per round.

        Of an epoch: "stage", "epoch", "train_nats", "validation_nats" (held-out nats per row,
        columns in the order of sampling), "validation_nats_random" (columns in random order),
        "learning_rate", "rows_per_second", "seconds", "elapsed_seconds". Of the last epoch of a
        model of text also "masked_mass": the mean probability, over its whole vocabulary, of
        tokens that no cell could have gone on with.

        Of a round, 0 being the supervised model, with figures of the model after it: "stage",
        "round", "signal_auc" (area under the ROC curve of a signal fitted against it, held-out
        real rows against fresh ones that it has not seen; NaN of a last round that was not
        kept), "judge_score" (``2 - 2 max(A, 1/2)`` of another classifier's area A on held-out
        rows) and "judge_error" (its standard error), "held_out_gain" (nats per held-out row
        against the supervised model) and "held_out_error", "group_gap", "log_ratio_mean",
        "log_ratio_std" (to the supervised model, or the one that a warm start began with, of the
        rows learnt from), "copy_share" (fresh rows whose tokens are those of a real row),
        "seconds".
    n_epochs_ : int
        Epochs that were run.
    best_epoch_ : int
        The epoch whose weights were kept, counted from 1.
    stop_reason_ : {"no improvement", "max_epochs", "interrupted"}
        Why the training ended.
    signal_ : estimator
        The signal, fitted against the model that was kept; where rounds were run. Mind that some
        estimators (neighbours, kernels) keep the real rows that they were fitted on, and with
        them a pickle.
    n_rounds_ : int
        Rounds that were run.
    best_round_ : int
        The round whose model was kept; 0: the supervised model.
    rounds_stop_reason_ : str
        Why the rounds ended: "n_rounds", "no improvement" (of two rounds), "indistinguishable"
        (the signal tells nothing that holds on held-out rows for sure), "too few rows" or
        "interrupted".
    refinement_ : dict
        "drawn" and "returned" rows of the last call of :meth:`sample` with ``refine=True``.
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
        "backbone": [PretrainedConfig, TextBackbone, str, os.PathLike, None],
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
        "n_rounds": [Interval(Integral, 0, None, closed="left"), None],
        "signal": [HasMethods(["fit"]), None],
        "reward": [StrOptions({"realism", "indistinguishability"}), callable],
        "objective": [StrOptions(set(OBJECTIVES))],
        "beta": [Interval(Real, 0, 1e6, closed="right")],
        "quantile": [Interval(Real, 0, 0.5, closed="right")],
        "align_learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "align_credit": [StrOptions({"cell", "row"})],
        "align_retain": [StrOptions({"kl", "supervised"}), None],
        "align_pool_size": [Interval(Integral, 64, None, closed="left"), None],
        "memory": [str, HasMethods(["cache"]), None],
        "warm_start": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        backbone: PretrainedConfig | TextBackbone | str | os.PathLike[str] | None = None,
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
        n_rounds: int | None = None,
        signal: Any = None,
        reward: str | Callable[[Any], Any] = "realism",
        objective: str = "tabgraa",
        beta: float = 1.0,
        quantile: float = 0.5,
        align_learning_rate: float | None = None,
        align_credit: str = "cell",
        align_retain: str | None = None,
        align_pool_size: int | None = None,
        memory: Any = None,
        warm_start: bool = False,
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
        self.n_rounds = n_rounds
        self.signal = signal
        self.reward = reward
        self.objective = objective
        self.beta = beta
        self.quantile = quantile
        self.align_learning_rate = align_learning_rate
        self.align_credit = align_credit
        self.align_retain = align_retain
        self.align_pool_size = align_pool_size
        self.memory = memory
        self.warm_start = warm_start
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
        frame, container = to_frame(X) if y is None else join_target(X, y)
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

        kind = "classifier" if self.signal is None else signal_kind(self.signal)
        if kind == "detector" and self.reward == "indistinguishability":
            raise ValueError(
                "reward must be 'realism' or a callable where signal is a density model or outlier "
                "detector; got 'indistinguishability'."
            )
        own = self.signal is not None or callable(self.reward)
        if own and self._wanted_rounds(len(frame)) > 0:
            with private_torch_modes(device):
                try_signal(self.signal, self.reward, frame, self.column_kinds)
        digest = _digest(frame)
        random = generator(self.random_state)
        seed = int(random.randint(2**31 - 1))
        going_on = self.warm_start and hasattr(self, "model_")
        before: AlignmentResult = vars(self)["_rounds"] if going_on else AlignmentResult()
        rounds = self._without_rounds(before, len(frame))
        with private_torch_modes(device):
            if going_on:
                stage = self._go_on(frame, digest, device, seed)
            else:
                stage = self._supervise(frame, weights, device, precision, seed)
            if rounds is None and not going_on and stage.result.stop_reason == "interrupted":
                rounds = AlignmentResult(stop_reason="interrupted")
            elif rounds is None:
                rounds = self._align(stage, before, frame, weights, device, precision, seed)

        stopped = [] if going_on else [stage.result.stop_reason]
        stopped += [] if rounds is before else [rounds.stop_reason]
        if "interrupted" in stopped:
            warnings.warn(
                f"The fit was interrupted after {len(stage.result.history)} epochs and "
                f"{rounds.n_rounds} rounds; the best model so far is kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
        n_features = frame.shape[1] - (y is not None)
        self.n_features_in_ = n_features
        self.__dict__.pop("feature_names_in_", None)
        names = frame.columns[:n_features]
        if container.kind != "array" and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.asarray(names, dtype=object)
        self.schema_ = stage.tokenizer.schema_
        self.model_ = stage.model
        self.history_ = stage.result.history + rounds.history
        self.n_epochs_ = len(stage.result.history)
        self.best_epoch_ = stage.result.best_epoch
        self.stop_reason_ = stage.result.stop_reason
        self.n_rounds_ = rounds.n_rounds
        self.best_round_ = rounds.best_round
        self.rounds_stop_reason_ = rounds.stop_reason
        self.__dict__.pop("signal_", None)
        if rounds.signal is not None:
            self.signal_ = rounds.signal
        self._rounds = rounds
        self.column_order_ = stage.order
        self.device_ = device
        self.precision_ = str(precision).removeprefix("torch.")
        self._container = container
        self._tokenizer = stage.tokenizer
        self._n_rows, self._table_digest = len(frame), digest
        self._held_out = stage.held_out
        self._random = np.random.RandomState(random.randint(2**31 - 1))
        return self

    def sample(
        self,
        n_samples: int = 1,
        *,
        conditions: Any = None,
        constraints: Any = None,
        random_state: int | np.random.RandomState | None = None,
        temperature: float = 1.0,
        batch_size: int | None = None,
        refine: bool = False,
    ) -> Any:
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
            Exactly so many rows come back; with a DataFrame of conditions one for each of its.
        conditions : dict or DataFrame, default=None
            What holds for the rows. A dict gives columns a value; a list or set of values, of
            which None allows missing cells; a range, as a tuple (low, high) whose ends belong to
            it, None being open; or shares, a dict of {value: share}, as in ``{"income": {"<=50K":
            0.5, ">50K": 0.5}}``, relative to their sum. A DataFrame gives one row for each of its
            rows: cells that are there are kept, missing ones and other columns are drawn.
        constraints : list of Constraint, default=None
            What every row must meet, from :mod:`tabgraa_sklearn.constraints`: only combinations
            that were seen, an inequality of two columns, or any predicate.
        random_state : int, RandomState instance or None, default=None
            The same seed gives the same rows, whatever the batch size. Rows are spread evenly
            (stratified), so that they change with `n_samples`. None: new rows at every
            call, and the same sequence of calls after the same seeded fit; copies loaded from
            one pickle go on with one and the same sequence.
        temperature : float, default=1.0
            Divides the logits: below 1 the likely becomes likelier, above 1 less so.
        batch_size : int, default=None
            Rows that are worked on at once, which bounds the memory; None: 65,536, which is also
            the least (of more than 16 columns fewer).
        refine : bool, default=False
            Whether fresh rows are accepted by the density ratio of the last fitted signal, at
            the most four times the mean, which brings the sample nearer to the table and draws
            about four rows for each that is returned, fewer where the signal tells little, 1,024
            at the least; where it tells nothing for sure, rows come as they are. `refinement_` has
            the numbers. With conditions or constraints one of eight rows that meet them is chosen
            for each. Needs a fit with rounds.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            The container, columns, order and dtypes of the fitted table.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If a parameter is out of range, no row can meet `conditions`, or rows that meet the
            `constraints` are not found; the message has the rate of acceptance.

        Notes
        -----
        Given cells are read before the others. Where the model says another thing of trial rows in
        that order than in the order of sampling, which it knows best, each row is one of 16
        candidates, by the quotient of the two: where the weights of the trial rows differ by more
        than 5 %, in tables of more than eight columns by more than their mean. So in small tables
        frequencies of common values are right within a few percent; those of rare ones may be
        further off.
        """
        seed = self._check_sampling(n_samples, random_state, temperature, batch_size, refine)
        if conditions is not None or constraints:
            frame = self._meet(
                conditions,
                constraints,
                int(n_samples),
                seed=seed,
                temperature=float(temperature),
                refine=refine,
            )
            return self._container.restore(frame)
        frame = self._draw(
            int(n_samples),
            seed=seed,
            temperature=float(temperature),
            batch_size=int(batch_size or _BATCH_ROWS),
            refine=refine,
        )
        return self._container.restore(frame)

    def sample_batches(
        self,
        n_samples: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
        temperature: float = 1.0,
        batch_size: int | None = None,
        refine: bool = False,
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
        refine : bool, default=False
            As in :meth:`sample`.

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
        seed = self._check_sampling(n_samples, random_state, temperature, batch_size, refine)
        batch_rows = int(batch_size or _BATCH_ROWS)
        parts = self._draw_parts(
            int(n_samples),
            seed=seed,
            temperature=float(temperature),
            batch_size=batch_rows,
            refine=refine,
        )
        container = self._container  # as it is now, whatever is fitted while batches are drawn
        return (container.restore(batch) for batch in cut(parts, batch_rows))

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
            target = as_column(y)
            check_lengths(len(frame), len(target))
            frame[self.schema_.names[-1]] = target.array
        if len(frame) < N_FOLDS:
            raise ValueError(f"score needs at least {N_FOLDS} rows; got {len(frame)}.")
        frame = frame.sample(min(len(frame), _SCORE_ROWS), random_state=0)
        samples = self._draw(len(frame), seed=0)[frame.columns]
        real, synthetic = (to_features(self._tokenizer, part) for part in (frame, samples))
        return two_sample_score(real, synthetic, self.n_jobs)

    def history_frame(self) -> pd.DataFrame:
        """Give ``history_`` as a DataFrame, one row per epoch and one per round."""
        check_is_fitted(self, "model_")
        return pd.DataFrame(self.history_)

    def supervised(self) -> TabGRAASynthesizer:
        """Give a copy whose model is that of the supervised stage, before any round.

        Returns
        -------
        TabGRAASynthesizer
            Fitted; without a signal, so that it cannot refine.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        """
        check_is_fitted(self, "model_")
        earlier = copy.deepcopy(self)
        start = earlier._rounds.start
        if start is not None:
            earlier.model_.load_state_dict(start)
        earlier._rounds = AlignmentResult()
        earlier.history_ = [entry for entry in self.history_ if entry["stage"] == "supervised"]
        earlier.n_rounds_ = earlier.best_round_ = 0
        earlier.rounds_stop_reason_ = earlier._rounds.stop_reason
        earlier.__dict__.pop("signal_", None)
        return earlier

    # -- steps of fit ----------------------------------------------------------------------

    def _supervise(
        self,
        frame: pd.DataFrame,
        weights: npt.NDArray[np.float64],
        device: torch.device,
        precision: torch.dtype,
        seed: int,
    ) -> Supervised:
        """Learn the table, or take what `memory` has of the same stage."""
        settings = SupervisedSettings(
            **{name: getattr(self, name) for name in SupervisedSettings.__annotations__}
        )
        learn = check_memory(self.memory).cache(fit_supervised, ignore=["seed", "verbose"])
        seed_key = None if self.random_state is None else seed
        for dtype in frame.dtypes:  # joblib hashes what extension dtypes remember once asked
            for name in ("numpy_dtype", "kind", "itemsize"):
                getattr(dtype, name, None)
        try:
            stage: Supervised = learn(
                frame,
                weights,
                settings,
                device,
                precision,
                seed_key=seed_key,
                made_with=made_with(self.backbone),
                seed=seed,
                verbose=int(self.verbose),
            )
        except Interrupted as interrupted:
            return interrupted.supervised
        # What a cache holds stays as it is.
        return stage if self.memory is None else copy.deepcopy(stage)

    def _go_on(
        self, frame: pd.DataFrame, digest: str, device: torch.device, seed: int
    ) -> Supervised:
        """Give the fitted model as it stands, for further rounds over rows of the same table."""
        names = self.schema_.names
        if list(frame.columns) != list(names):
            raise ValueError(
                f"X must have the columns seen in fit, {list(names)}, for warm_start; got "
                f"{list(frame.columns)}."
            )
        epochs = [entry for entry in self.history_ if entry["stage"] == "supervised"]
        result = TrainingResult(copy.deepcopy(epochs), self.best_epoch_, self.stop_reason_)
        held_out = self._held_out
        if len(frame) != self._n_rows:  # other rows of the same table
            _, held_out = split_rows(len(frame), self.validation_fraction, seed)
        if digest != self._table_digest:
            warnings.warn(
                "X is not the table of the last fit, row by row: rows that the model has learnt "
                "may be held out from the further rounds, whose figures are too good then.",
                UserWarning,
                stacklevel=3,
            )
        model = copy.deepcopy(self.model_).to(device)
        return Supervised(self._tokenizer, model, self.column_order_, result, held_out)

    def _wanted_rounds(self, n_rows: int) -> int:
        if self.n_rounds is not None:
            return int(self.n_rounds)
        return _ROUNDS if n_rows >= _ROUNDS_FROM or self.signal is not None else 0

    def _without_rounds(self, before: AlignmentResult, n_rows: int) -> AlignmentResult | None:
        """Give what stands if no further rounds are wanted; None where they are."""
        wanted = self._wanted_rounds(n_rows)
        if wanted == 0 and self.n_rounds is None and not before.history:
            return AlignmentResult(stop_reason="too few rows")
        if wanted == 0 or (wanted <= before.n_rounds and not before.lacks_signal):
            return before
        return None

    def _align(
        self,
        stage: Supervised,
        before: AlignmentResult,
        frame: pd.DataFrame,
        weights: npt.NDArray[np.float64],
        device: torch.device,
        precision: torch.dtype,
        seed: int,
    ) -> AlignmentResult:
        """Run the rounds on the model of the supervised stage, which changes in place."""
        rate, n_pool = self.align_learning_rate, self.align_pool_size
        aligner = Aligner(
            tokenizer=stage.tokenizer,
            order=stage.order,
            device=device,
            precision=precision,
            signal=self.signal,
            reward=self.reward,
            objective=self.objective,
            beta=float(self.beta),
            quantile=float(self.quantile),
            learning_rate=None if rate is None else float(rate),
            n_rounds=max(self._wanted_rounds(len(frame)) - before.n_rounds, 0),
            retain=self.align_retain,
            credit=self.align_credit,
            n_pool=None if n_pool is None else int(n_pool),
            second_moments=stage.result.second_moments,
            n_jobs=self.n_jobs,
            verbose=int(self.verbose),
            rounds_before=before.n_rounds,
            best_before=before.best_round,
        )
        learnt = np.setdiff1d(np.arange(len(frame)), stage.held_out)
        if len(learnt) > _SIGNAL_ROWS:
            chosen = np.random.default_rng(seed).choice(len(learnt), _SIGNAL_ROWS, replace=False)
            learnt = learnt[np.sort(chosen)]
        train, held_out = (
            RealRows.of(frame.iloc[rows], weights[rows], stage.tokenizer)
            for rows in (learnt, stage.held_out)
        )
        with private_torch_seed(seed, device):
            rounds = aligner.run(stage.model, train, held_out, seed)
        return rounds.after(before) if before.history else rounds

    # -- rows and state -------------------------------------------------------------------

    def _draw(self, n_samples: int, **settings: Any) -> pd.DataFrame:
        """Sample rows as a pandas frame, whatever was fitted; `settings` as below."""
        return assemble(self._draw_parts(n_samples, **settings), n_samples)

    def _draw_parts(
        self,
        n_samples: int,
        *,
        seed: int,
        temperature: float = 1.0,
        batch_size: int = _BATCH_ROWS,
        refine: bool = False,
    ) -> Iterator[pd.DataFrame]:
        """Sample rows as pandas frames, one after the other."""
        tokenizer, model, order = self._tokenizer, self.model_, self.column_order_
        precision = getattr(torch, self.precision_)

        def fresh(n_rows: int, seed: int) -> Iterator[pd.DataFrame]:
            tokens = sample_tokens(
                model,
                n_rows,
                seed=seed,
                order=order,
                precision=precision,
                temperature=temperature,
                batch_size=batch_size,
            )
            return (tokenizer.decode(token_ids, uniforms) for token_ids, uniforms in tokens)

        if not refine:
            return fresh(n_samples, seed)
        if not self._rounds.tells:
            self.refinement_ = {"drawn": n_samples, "returned": n_samples}
            return fresh(n_samples, seed)
        self.refinement_ = {"drawn": 0, "returned": 0}
        return refined(
            fresh,
            self._log_ratios(),
            n_samples,
            seed=seed,
            report=self.refinement_,
            verbose=int(self.verbose),
        )

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


def _digest(frame: pd.DataFrame) -> str:
    """Tell a table, row by row, from others; of the rows themselves nothing can be read off."""
    digest = hashlib.sha256()
    for place in range(frame.shape[1]):
        digest.update(_column_bytes(frame.iloc[:, place]))
    return digest.hexdigest()


def _column_bytes(column: pd.Series) -> bytes:
    """Give bytes that are the same for the same cells, in every process."""
    try:
        return hash_pandas_object(column, index=False).to_numpy().tobytes()
    except (TypeError, ValueError):  # cells that pandas cannot hash, half a surrogate pair say
        return "\n".join(map(repr, column)).encode("utf-8", "surrogatepass")
