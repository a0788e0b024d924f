"""A transformer that fills missing cells with draws from a fitted synthesizer."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from ._random import generator
from ._synthesizer import TabGRAASynthesizer

__all__ = ["TabGRAAImputer"]


class TabGRAAImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill missing cells with draws from their distribution given the cells that are there.

    Columns may be of any kind that :class:`TabGRAASynthesizer` takes; a filled table keeps what
    filling by means or most frequent values loses: spread and dependence.

    Parameters
    ----------
    synthesizer : TabGRAASynthesizer, default=None
        What learns the table; it is cloned. None: one without rounds of alignment, whose
        predictions of any column from any others are the supervised model's.
    temperature : float, default=1.0
        Divides the logits: below 1 the likely becomes likelier.
    random_state : int, RandomState instance or None, default=None
        Seeds the fit, unless `synthesizer` has a seed of its own, and the draws.

    Attributes
    ----------
    synthesizer_ : TabGRAASynthesizer
        Fitted; its ``impute(X, n_draws=5)`` gives several completed tables.
    n_features_in_ : int
        Number of columns of `X` in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where all are strings.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from tabgraa_sklearn import TabGRAAImputer
    >>> table = pd.DataFrame({"age": [31, 45, None, 60] * 25, "smoker": ["no", "yes"] * 50})
    >>> filled = TabGRAAImputer(random_state=0).fit_transform(table)
    >>> int(filled["age"].isna().sum())
    0
    >>> filled["age"][~table["age"].isna()].equals(table["age"].dropna())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "synthesizer": [HasMethods(["fit", "impute"]), None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        synthesizer: TabGRAASynthesizer | None = None,
        *,
        temperature: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.synthesizer = synthesizer
        self.temperature = temperature
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> TabGRAAImputer:
        """Learn a table, whose cells may be missing.

        Parameters
        ----------
        X : DataFrame (pandas or polars) or array-like of shape (n_rows, n_columns)
        y : ignored

        Returns
        -------
        self : TabGRAAImputer
        """
        self._validate_params()
        random = generator(self.random_state)
        synthesizer = self.synthesizer
        synthesizer = TabGRAASynthesizer(n_rounds=0) if synthesizer is None else clone(synthesizer)
        own = synthesizer.get_params()
        if own.get("random_state", 0) is None and self.random_state is not None:
            synthesizer.set_params(random_state=int(random.randint(2**31 - 1)))
        synthesizer.fit(X)
        self.synthesizer_ = synthesizer
        self.n_features_in_ = synthesizer.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(synthesizer, "feature_names_in_"):
            self.feature_names_in_ = synthesizer.feature_names_in_
        self._seed = int(random.randint(2**31 - 1))
        return self

    def transform(self, X: Any) -> Any:
        """Fill the missing cells of rows; the same table is filled alike at every call.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            The columns of :meth:`fit`.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_columns)
            Of the container that came in; given cells are untouched. Cells of a column that was
            missing throughout in :meth:`fit` stay missing.
        """
        check_is_fitted(self, "synthesizer_")
        return self.synthesizer_.impute(
            X, random_state=self._seed, temperature=float(self.temperature)
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags
