"""What a fitted synthesizer answers: conditions, gaps, predictions, likelihoods."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted

from ._agreement import CANDIDATES as CANDIDATES_OF_ORDERS
from ._agreement import (
    advantage,
    candidates_of,
    known_first,
    orders_disagree,
    probed_groups,
)
from ._conditions import (
    Request,
    all_hold,
    check_cells,
    check_cells_together,
    check_constraints,
    constrain,
    given_tokens,
    parse_conditions,
    requests_of_cells,
    restore_cells,
    tokens_of_values,
)
from ._filling import fill_tokens
from ._frames import Container, check_frame, to_frame
from ._joining import filled_cells
from ._meeting import meet
from ._prediction import distributions, reduce_numbers
from ._protocols import Backbone, Tokenizer
from ._random import generator
from ._refinement import CANDIDATES, chosen_candidates
from ._rewards import log_odds, log_ratios
from ._schema import Schema
from ._scoring import row_log_likelihood
from .constraints import Constraint
from .signals import suppression

if TYPE_CHECKING:
    from ._alignment import AlignmentResult

__all__ = ["QuestionsMixin", "check_parameter"]

_METHODS = ("trials", "one_pass")  # of prediction

_COMPLETED = 32  # times that rows which miss a constraint are completed again
_MOST = 0.05  # as long as this share of them meets all


class QuestionsMixin:
    """Questions to the model of a fitted table, as methods of the estimator."""

    model_: Backbone
    schema_: Schema
    column_order_: list[int]
    precision_: str
    n_features_in_: int
    random_order_share: float
    signal_: Any
    stop_reason_: str
    rounds_stop_reason_: str
    _tokenizer: Tokenizer
    _container: Container
    _rounds: AlignmentResult
    _n_rows: int
    _random: np.random.RandomState

    def impute(
        self,
        X: Any,
        *,
        n_draws: int = 1,
        random_state: int | np.random.RandomState | None = None,
        temperature: float = 1.0,
    ) -> Any:
        """Draw the missing cells of rows, given the cells that are there.

        That a cell is missing has no say: each is drawn as if it were there, given those that are
        and those that were drawn before it.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            The columns of :meth:`fit`. A category that was not seen in it is kept, and has no say.
        n_draws : int, default=1
            How many completed tables come back, for multiple imputation.
        random_state, temperature
            As in :meth:`sample`.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_columns), or a list of `n_draws` of them
            Given cells are untouched; no cell is missing but those of columns of which every
            cell was missing in fit. The index of a DataFrame stays.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns are not those of :meth:`fit`.
        """
        seed = self._check_sampling(1, random_state, temperature, None, False)
        check_parameter(
            "n_draws", n_draws, Integral, lambda n: n >= 1, "an int of at least 1", "impute"
        )
        frame = self._check_columns(X)
        container = to_frame(X)[1]
        given = given_tokens(frame, self._tokenizer, strict=False)
        allowed = tokens_of_values(self._tokenizer)
        completed = []
        for number in range(int(n_draws)):
            own = int(np.random.default_rng([seed, number, 5]).integers(2**31))
            drawn = self._fill(
                *given,
                seed=own,
                temperature=float(temperature),
                allowed=allowed,
                candidates=candidates_of(len(frame.columns)),
            )
            filled = frame.copy()
            for name in frame.columns:
                missing = frame[name].isna().to_numpy()
                if missing.any():
                    filled[name] = filled_cells(frame[name], drawn[name], missing)
            if isinstance(X, pd.DataFrame):
                filled = filled[list(X.columns)] if set(X.columns) == set(filled) else filled
                filled.index = X.index
            completed.append(container.restore(filled))
        return completed[0] if n_draws == 1 else completed

    def predict(
        self,
        X: Any,
        target: Hashable = None,
        *,
        statistic: Any = "mean",
        method: str = "trials",
    ) -> npt.NDArray[Any]:
        """Predict a column from the others.

        Parameters
        ----------
        X : DataFrame or array-like
            Any columns of :meth:`fit`; that of `target`, if it is there, has no say. Missing cells
            and missing columns have none either: for a target of few values those of few values
            (up to 64 combinations with the target's; of more than 16 columns fewer) are summed
            over by "trials", others the model leaves out, which it has learnt less well than to
            sample in its order; a text backbone draws.
        target : column name, default=None
            What is predicted (the number of the column, where an array was fitted). None: the
            last column, which is `y` where it was given to :meth:`fit`.
        statistic : {"mean", "median"}, float or list of float, default="mean"
            What of the distribution of a numeric column is given; floats are quantiles in
            (0, 1).
        method : {"trials", "one_pass"}, default="trials"
            "trials": by Bayes' rule, from how likely each row is with values of the target, in
            the order of sampling, which the model knows best. Of columns with up to eight values
            each is tried; of others up to 32, between which the rest is interpolated, or the 16
            likeliest where they have no order. "one_pass": what the model says of the target once
            it has read the cells that are there, twice as fast for a target of two values, for
            more values several times. That is learnt in random orders alone: it comes near to
            "trials" in some tables and not in others, least in small ones, and how near depends on
            `random_order_share`, too (benchmarks/RESULTS.md has Adult's income). For a text
            backbone it says how values of a column that has few are tried; numbers are drawn.

        Returns
        -------
        ndarray of shape (n_rows,), or (n_rows, n_quantiles)
            The likeliest value of a categorical column; of a column of numbers or times the
            statistic.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If `target` is unknown, an identifier or text, or had no values.

        Warns
        -----
        UserWarning
            If `method` is "one_pass" and the fit has seen no random orders.
        """
        _check_statistic(statistic)
        _check_choice("method", method, _METHODS, "predict")
        frame, number = self._check_target(X, target)
        codec, column = self._tokenizer.codecs_[number], self.schema_.columns[number]
        values, absent = codec.readings()
        parts = self._distributions(frame, number, method)
        if not column.has_numbers:
            best = np.empty(len(frame), dtype=np.int64)
            for rows, probabilities in parts:
                best[rows] = probabilities.argmax(1)
            return np.asarray(values.iloc[best])
        is_time = column.kind != "numeric"
        cells = column.to_numbers(values)[0] if is_time else values.astype(object)
        numbers = np.where(absent, 0.0, cells).astype(np.float64)
        found: Any = None
        for rows, probabilities in parts:
            reduced = reduce_numbers(numbers, probabilities, statistic)
            found = np.empty((len(frame), *reduced.shape[1:])) if found is None else found
            found[rows] = reduced
        if is_time:
            whole = np.rint(found).astype(np.uint64).ravel()
            times = column.from_numbers(whole, np.zeros(len(whole), dtype=bool))
            return np.asarray(times).reshape(found.shape)
        return np.asarray(found)

    def predict_proba(
        self, X: Any, target: Hashable = None, *, method: str = "trials"
    ) -> pd.DataFrame:
        """Give the probability of each value of a column from the others.

        Parameters
        ----------
        X, target, method
            As in :meth:`predict`.

        Returns
        -------
        DataFrame of shape (n_rows, n_values)
            One column for each value, in their order; each row sums to 1. The values of a column
            of many different numbers are the middles of its intervals; with a text backbone they
            are up to 256 quantiles, and the probabilities shares of 64 draws, many of them 0.
            Computed in the precision of the fit, `precision_`.
        """
        _check_choice("method", method, _METHODS, "predict_proba")
        frame, number = self._check_target(X, target)
        column = self.schema_.columns[number]
        values, absent = self._tokenizer.codecs_[number].readings()
        table = np.empty((len(frame), int((~absent).sum())))
        parts = self._distributions(frame, number, method)
        for rows, probabilities in parts:
            table[rows] = probabilities[:, ~absent]
        index = X.index if isinstance(X, pd.DataFrame) else None
        # Several cells may stand for one number.
        present = values[~absent]
        codes, names = pd.factorize(present.astype(object))
        if len(names) < len(codes):
            table = pd.DataFrame(table.T).groupby(codes).sum().to_numpy().T
        labels = pd.Index(names, name=column.name, dtype=object)
        with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair is no string
            labels = labels.infer_objects()
        result = pd.DataFrame(table, columns=labels, index=index)
        try:
            ranks: Any = names
            if column.has_numbers:
                ranks = column.to_numbers(present)[0][np.unique(codes, return_index=True)[1]]
            elif isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
                ranks = column.dtype.categories.get_indexer(pd.Index(names))
            places = np.argsort(np.asarray(ranks), kind="stable")
        except TypeError:  # values without an order among them
            return result
        return result.iloc[:, places]

    def score_samples(
        self,
        X: Any,
        *,
        columns: Sequence[Hashable] | None = None,
        missing: str = "value",
        n_orders: int | None = None,
        numbers: str = "density",
    ) -> npt.NDArray[np.float64]:
        """Log-likelihood of each row, in nats.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            The columns of :meth:`fit`. Where it was given `y`, that column may be there or
            not; without it, the likelihood is that of the other columns.
        columns : list of column names, default=None
            The likelihood of these columns alone, whatever the others are; a DataFrame need not
            have the others then. Others of few values, up to 64 combinations (of more than 16
            columns fewer), are summed over, as probability has it; of those with more the model is
            asked for an order without them, and the figure may differ by a few hundredths from
            such a sum, as it may with random orders and text backbones. None: of all.
        missing : {"value", "marginal"}, default="value"
            Whether a missing cell counts with the probability that it is missing, or not at all:
            the likelihood is then that of the cells that are there, others as with `columns`.
        n_orders : int, default=None
            Every order of the columns factorises the likelihood in another way, and the model
            gives another figure. None: the order in which rows are sampled. An int: the logarithm
            of the mean likelihood over so many random orders, the same at every call; sensible
            where `random_order_share` is above 0.
        numbers : {"density", "interval"}, default="density"
            A number with many values has a token for an interval. "interval" counts its
            probability; "density" divides that by the interval's length: in steps of the column's
            last place where it has one and the interval holds several (so that a whole number
            counts with its own probability), else in its unit. Values that repeat often count
            with their probability either way.

        Returns
        -------
        ndarray of shape (n_rows,), float64
            A number that was not seen counts as the nearest token, with all of its probability
            where that is a single number: of a column whose numbers are listed the sum over all
            numbers it might hold exceeds 1. A category that was not seen
            in fit counts with one part in the number of rows fitted, plus one.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If a parameter is out of range or the columns are not those of :meth:`fit`.
        """
        check_is_fitted(self, "model_")
        where = "score_samples"
        _check_choice("missing", missing, ("value", "marginal"), where)
        _check_choice("numbers", numbers, ("density", "interval"), where)
        if n_orders is not None:
            check_parameter(
                "n_orders",
                n_orders,
                Integral,
                lambda n: n >= 1,
                "None or an int of at least 1",
                where,
            )
        frame = self._check_columns(X) if columns is None else self._some_columns(X, columns)
        tokenizer = self._tokenizer
        token_ids = np.zeros((len(frame), len(tokenizer.digit_sizes)), dtype=np.int64)
        known = np.zeros((len(frame), len(self.schema_)), dtype=bool)
        widths = np.zeros(len(frame))
        for name in frame.columns:
            ids = tokenizer.encode_column(name, frame[name], unknown="mark")
            token_ids[:, tokenizer.digits(name)] = ids
            there = frame[name].notna().to_numpy() | (missing == "value")
            number = self.schema_.position(name)
            known[:, number] = there
            widths += np.where(there, tokenizer.codecs_[number].log_widths(ids), 0.0)
        total = row_log_likelihood(
            self.model_,
            token_ids,
            known,
            self.column_order_,
            tokenizer.codecs_,
            -math.log1p(self._n_rows),
            None if n_orders is None else int(n_orders),
        )
        return total - widths if numbers == "density" else total

    # -- how they are answered -------------------------------------------------------------

    def _fill(
        self,
        token_ids: npt.NDArray[Any],
        known: npt.NDArray[np.bool_],
        *,
        seed: int,
        temperature: float,
        allowed: dict[int, npt.NDArray[np.bool_]] | None = None,
        candidates: int = 1,
        corrected: npt.NDArray[np.bool_] | None = None,
        stratified: bool = False,
    ) -> pd.DataFrame:
        """Draw the cells of rows that are not known; the others as their tokens stand for them."""
        drawn = fill_tokens(
            self.model_,
            token_ids,
            known,
            seed=seed,
            order=self.column_order_,
            precision=getattr(torch, self.precision_),
            temperature=temperature,
            allowed=allowed,
            candidates=candidates,
            corrected=corrected,
            stratified=stratified,
        )
        return self._tokenizer.decode(*drawn)

    def _meet(
        self,
        conditions: Any,
        constraints: Any,
        n_samples: int,
        *,
        seed: int,
        temperature: float,
        refine: bool,
    ) -> pd.DataFrame:
        """Draw rows that meet what is asked of them."""
        tokenizer = self._tokenizer
        held = check_constraints(constraints or [], tokenizer)
        if conditions is None or isinstance(conditions, Mapping):
            requests = parse_conditions(conditions or {}, n_samples, tokenizer, seed)
        else:
            cells = check_cells(conditions, n_samples, tokenizer)
            if not refine:
                return self._complete(cells, held, seed=seed, temperature=temperature)
            requests = requests_of_cells(cells, tokenizer)
        constrain(requests, held, tokenizer)
        return self._fulfil(requests, seed=seed, temperature=temperature, refine=refine)

    def _complete(
        self, cells: pd.DataFrame, held: list[Constraint], *, seed: int, temperature: float
    ) -> pd.DataFrame:
        """Draw the missing cells of rows of which any cells are given.

        Rows are completed all at once, and those that miss a constraint drawn again, unless hardly
        any meets them; what is left is asked for pattern by pattern.
        """
        tokenizer = self._tokenizer
        token_ids, known = given_tokens(cells, tokenizer, strict=True)
        check_cells_together(cells, token_ids, held, tokenizer)
        corrected = self._to_correct(token_ids, known, seed=seed, temperature=temperature)
        pending, places, frames = np.arange(len(cells)), [], []
        for number in range(_COMPLETED if held else 1):
            drawn = self._fill(
                token_ids[pending],
                known[pending],
                seed=seed + number,
                temperature=temperature,
                candidates=CANDIDATES_OF_ORDERS,
                corrected=corrected[pending],
                stratified=True,
            )
            drawn = restore_cells(drawn, cells.iloc[pending], tokenizer)
            met = all_hold(held, drawn)
            places.append(pending[met])
            frames.append(drawn[met])
            pending = pending[~met]
            if len(pending) == 0 or met.mean() < _MOST:
                break
        if len(pending):
            requests = requests_of_cells(cells.iloc[pending], tokenizer)
            constrain(requests, held, tokenizer)
            places.append(pending)
            frames.append(self._fulfil(requests, seed=seed, temperature=temperature, refine=False))
        if len(frames) == 1:
            return frames[0]
        found = pd.concat(frames, ignore_index=True)
        return found.iloc[np.argsort(np.concatenate(places))].reset_index(drop=True)

    def _to_correct(
        self,
        token_ids: npt.NDArray[Any],
        known: npt.NDArray[np.bool_],
        *,
        seed: int,
        temperature: float,
    ) -> npt.NDArray[np.bool_]:
        """Find out on some rows of which of them several candidates are to be drawn."""
        order, precision = self.column_order_, getattr(torch, self.precision_)
        found = np.zeros(len(known), dtype=bool)
        groups = probed_groups(known, order)
        if not groups:
            return found
        probe = np.concatenate([some for _, some in groups])
        drawn, _ = fill_tokens(
            self.model_,
            token_ids[probe],
            known[probe],
            seed=seed,
            order=order,
            precision=precision,
            temperature=temperature,
        )
        own = known_first(known[probe], order)
        nats = advantage(self.model_, drawn, known[probe], own, order, precision) / temperature
        ends = np.cumsum([len(some) for _, some in groups])
        for (rows, _), part in zip(groups, np.split(nats, ends[:-1]), strict=True):
            found[rows] = orders_disagree(part, len(order))
        return found

    def _fulfil(
        self, requests: list[Request], *, seed: int, temperature: float, refine: bool
    ) -> pd.DataFrame:
        """Draw the rows that are asked for."""
        frames, places = [], []
        n_candidates = CANDIDATES if refine and self._rounds.tells else 1
        n_drawn = 0
        for number, request in enumerate(requests):
            part, tried = meet(
                self.model_,
                self._tokenizer,
                request.repeated(n_candidates) if n_candidates > 1 else request,
                order=self.column_order_,
                precision=getattr(torch, self.precision_),
                temperature=temperature,
                seed=int(np.random.default_rng([seed, 3, number]).integers(2**31)),
            )
            if n_candidates > 1:
                scores = self._log_ratios()(part).reshape(-1, n_candidates)
                chosen = chosen_candidates(scores, seed + number)
                part = part.iloc[np.arange(len(scores)) * n_candidates + chosen]
            n_drawn += tried
            frames.append(part)
            places.append(request.rows)
        drawn = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
        if refine:
            self.refinement_ = {"drawn": n_drawn, "returned": len(drawn)}
        drawn = drawn.iloc[np.argsort(np.concatenate(places), kind="stable")]
        return drawn.reset_index(drop=True)

    def _log_ratios(self) -> Callable[[pd.DataFrame], npt.NDArray[np.float64]]:
        """Give a function of rows: the log density ratio by the signal as it is now."""
        signal, rounds = self.signal_, self._rounds
        digester = rounds.digester
        assert digester is not None

        def score(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
            scores = log_odds(signal, digester.feed(signal, frame))
            ratios = log_ratios(scores, rounds.prior, rounds.slope, suppression(signal, frame))
            # Within what has an exponential: a density may have peaks without bounds.
            return np.clip(ratios, -100.0, 100.0)

        return score

    def _distributions(
        self, frame: pd.DataFrame, target: int, method: str
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Give what each row says of a column, block by block."""
        if (
            method == "one_pass"
            and not self.random_order_share
            and target != self.column_order_[-1]
        ):
            warnings.warn(
                "method='one_pass' reads the target behind the other columns, an order that this "
                "model has not learnt: it was fitted with random_order_share=0. Use 'trials'.",
                UserWarning,
                stacklevel=3,
            )
        return distributions(
            self.model_,
            self._tokenizer,
            self.column_order_,
            frame,
            target,
            getattr(torch, self.precision_),
            method == "trials",
        )

    def _check_sampling(
        self, n_samples: Any, random_state: Any, temperature: Any, batch_size: Any, refine: Any
    ) -> int:
        """Check what sampling is asked for, and give the seed of this call."""
        check_is_fitted(self, "model_")
        check_parameter("n_samples", n_samples, Integral, lambda n: n >= 1, "an int of at least 1")
        check_parameter(
            "temperature",
            temperature,
            Real,
            lambda t: 0 < t < math.inf,
            "a finite number greater than 0",
        )
        if batch_size is not None:
            check_parameter(
                "batch_size", batch_size, Integral, lambda n: n >= 1, "None or an int of at least 1"
            )
        check_parameter("refine", refine, Integral, lambda r: r in (0, 1), "a bool", boolean=True)
        if refine and not hasattr(self, "signal_"):
            why = "without rounds of alignment; fit with n_rounds of at least 1"
            if self.rounds_stop_reason_ == "too few rows":
                why = "of too few rows for a signal"
            elif "interrupted" in (self.stop_reason_, self.rounds_stop_reason_):
                why = "interrupted before its signal was fitted; fit on with warm_start=True"
            raise ValueError(
                f"The 'refine' parameter of sample must be False after this fit, which was {why}."
            )
        random = self._random if random_state is None else generator(random_state)
        return int(random.randint(2**31 - 1))

    def _check_target(self, X: Any, target: Hashable) -> tuple[pd.DataFrame, int]:
        """Give the columns that predict, and the number of the one that is predicted."""
        check_is_fitted(self, "model_")
        names = self.schema_.names
        target = names[-1] if target is None else target
        if not isinstance(target, Hashable):
            raise ValueError(f"target must be the name of a column; got {target!r}.")
        number = self.schema_.position(target)
        if self.schema_.columns[number].kind in ("identifier", "text"):
            raise ValueError(
                f"target must be a column whose values are learnt; {target!r} is taken for "
                f"{self.schema_.columns[number].kind}."
            )
        if self.schema_.columns[number].n_distinct == 0:
            raise ValueError(f"target must be a column with values; {target!r} had none in fit.")
        frame, container = to_frame(X)
        check_frame(frame, min_rows=1)
        if container.kind == "array" or (
            self._container.kind == "array" and not frame.columns.isin(names).all()
        ):
            if frame.shape[1] == len(names) - 1:
                frame = frame.set_axis(names.delete(number), axis=1)
            elif frame.shape[1] == len(names):
                frame = frame.set_axis(names, axis=1)
            else:
                _check_n_features(self, X, reset=False)
                raise ValueError(
                    f"X must have {len(names)} columns, or all but the target; got "
                    f"{frame.shape[1]}."
                )
        unknown = [name for name in frame.columns if name not in names]
        if unknown:
            raise ValueError(f"X must have columns seen in fit, {list(names)}; unknown {unknown}.")
        return frame.drop(columns=[target], errors="ignore"), number

    def _some_columns(self, X: Any, columns: Sequence[Hashable]) -> pd.DataFrame:
        """Give some columns of `X`, which may lack the others."""
        names = list(self.schema_.names)
        if isinstance(columns, str) or not isinstance(columns, Sequence | np.ndarray | pd.Index):
            raise ValueError(f"columns must be a list of column names; got {columns!r}.")
        unknown = [name for name in columns if name not in names]
        if unknown or len(columns) == 0 or len(set(columns)) < len(columns):
            raise ValueError(
                f"columns must be different columns seen in fit, {names}; got {list(columns)}."
            )
        frame, container = to_frame(X)
        if container.kind == "array":
            frame = self._check_columns(X)
        check_frame(frame, min_rows=1)
        lacking = [name for name in columns if name not in frame.columns]
        if lacking:
            raise ValueError(f"X must have the columns {list(columns)}; missing {lacking}.")
        return frame[list(columns)]

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


def check_parameter(
    name: str,
    value: Any,
    kind: Any,
    holds: Callable[[Any], bool],
    requirement: str,
    method: str = "sample",
    boolean: bool = False,
) -> None:
    """Raise a ValueError in scikit-learn's form: parameter, requirement, value got."""
    if (isinstance(value, bool) and not boolean) or not isinstance(value, kind) or not holds(value):
        raise ValueError(
            f"The {name!r} parameter of {method} must be {requirement}. Got {value!r} instead."
        )


def _check_choice(name: str, value: Any, choices: tuple[str, ...], method: str) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"The {name!r} parameter of {method} must be one of {list(choices)}. Got {value!r} "
            "instead."
        )


def _check_statistic(statistic: Any) -> None:
    levels = np.atleast_1d(np.asarray(statistic, dtype=object))
    known = isinstance(statistic, str) and statistic in ("mean", "median")
    if not known and (
        len(levels) == 0
        or levels.ndim > 1
        or not all(isinstance(level, Real) and 0.0 < float(level) < 1.0 for level in levels)
    ):
        raise ValueError(
            "The 'statistic' parameter of predict must be 'mean', 'median', or quantiles in "
            f"(0, 1). Got {statistic!r} instead."
        )
