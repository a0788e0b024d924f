"""Measures of synthetic tables, and scorers for model selection.

Fidelity (:func:`column_shapes`, :func:`pair_trends`, :func:`mutual_information`,
:func:`classifier_two_sample`, :func:`alpha_precision`, :func:`beta_recall`), utility
(:func:`train_on_synthetic`) and privacy (:func:`nearest_record_share`,
:func:`nearest_neighbor_ratio`, :func:`membership_auc`, :func:`copy_share`,
:func:`attribute_inference`) are functions of tables. Each gives a :class:`Measurement`: a float
with a bootstrap interval. :func:`evaluate` takes them all.

Tables are DataFrames (pandas or polars) or arrays with the same columns. Numbers, times and
durations are compared as numbers, all other cells as labels; columns taken for identifiers or free
text are left out, for their values are fresh in every honest sample. `categorical` names columns of
numbers that are labels. Of tables with more than `max_rows` rows a random part is compared, seeded
by `random_state`; ``max_rows=None`` takes all. (Measures of privacy look up so many rows, among all
that memory holds.)

Real rows that no model saw do not reach the ends of these ranges either: compare a synthetic table
with what fresh real rows score in its place.

The scorers (:func:`log_likelihood_scorer`, :func:`two_sample_scorer`, :func:`column_shapes_scorer`)
have scikit-learn's signature ``(estimator, X, y=None)``; pass one as ``scoring=`` to
``GridSearchCV``, ``RandomizedSearchCV``, ``HalvingGridSearchCV`` or ``cross_validate``. Larger is
better.
"""

from ._evaluate import evaluate
from ._fidelity import (
    alpha_precision,
    beta_recall,
    classifier_two_sample,
    column_shapes,
    mutual_information,
    pair_trends,
)
from ._measurement import Measurement
from ._privacy import (
    attribute_inference,
    copy_share,
    membership_auc,
    nearest_neighbor_ratio,
    nearest_record_share,
)
from ._scorers import column_shapes_scorer, log_likelihood_scorer, two_sample_scorer
from ._utility import train_on_synthetic

__all__ = [
    "Measurement",
    "alpha_precision",
    "attribute_inference",
    "beta_recall",
    "classifier_two_sample",
    "column_shapes",
    "column_shapes_scorer",
    "copy_share",
    "evaluate",
    "log_likelihood_scorer",
    "membership_auc",
    "mutual_information",
    "nearest_neighbor_ratio",
    "nearest_record_share",
    "pair_trends",
    "train_on_synthetic",
    "two_sample_scorer",
]
