"""A report of synthetic tables: what they are like, what they are good for, what they give away."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from . import _report_page as page
from ._frames import check_frame
from ._synthesizer import TabGRAASynthesizer
from .metrics import column_shapes, evaluate, mutual_information
from .metrics._tables import (
    Side,
    check_count,
    kept_columns,
    nearest,
    place,
    read_table,
    side_by_side,
)

__all__ = ["Report", "report"]

Floats = npt.NDArray[np.float64]

HOLDOUT = "real holdout"
_FOLDS = 3
_WORST = 10
_MOST_COLUMNS = 40  # of which pairs are looked at


@dataclass
class Differences:
    """Where a classifier sees a difference.

    Attributes
    ----------
    importances : Series of shape (n_columns,)
        The share of LightGBM's gain that splits on each column have, the largest first.
    worst_rows : DataFrame
        The synthetic rows that were most surely recognised, with the probability of being real
        that was given them, in folds that they were not in, as first column.
    auc : float
        How well the classifier tells rows, in folds that it was not trained on: .5 not at all.
    """

    importances: pd.Series
    worst_rows: pd.DataFrame
    auc: float


@dataclass
class Report:
    """What :func:`report` found out.

    In a notebook it shows itself.

    Attributes
    ----------
    figures : DataFrame
        What :meth:`frame` gives.
    shown : str
        The table that the sections on columns, pairs and differences are about.
    sides : list of Side
        Train rows and those of the table shown, as numbers and codes.
    shapes : DataFrame of shape (n_columns, 2)
        Likeness of each column.
    pairs : DataFrame of shape (n_pairs, 3)
        Normalised mutual information of pairs of columns, "real" and "synthetic".
    differences : Differences
    distances : dict of {str: ndarray}
        To the nearest train row, from rows of the table shown and from held-out ones.
    history : DataFrame
        The rounds of alignment, if there were any.
    n_rows : int
        Rows of each table that were compared.
    target : column name or None
        What a model learnt from the rows predicts.
    """

    figures: pd.DataFrame
    shown: str
    sides: list[Side]
    shapes: pd.DataFrame
    pairs: pd.DataFrame
    differences: Differences
    distances: dict[str, Floats]
    history: pd.DataFrame
    n_rows: int
    target: Hashable | None

    def frame(self) -> pd.DataFrame:
        """Give all figures as a DataFrame.

        Returns
        -------
        DataFrame of shape (n_tables * n_measures, 8)
            "table", "measure", "value", "low" and "high" (a 95 % interval), "about", "best" and
            "meaning". The table "real holdout" is the ceiling: held-out real rows in the place of
            synthetic ones. (Samples are stratified: of counts they may score a little more.)
        """
        return self.figures.copy()

    def to_html(self, path: str | Path | None = None) -> str:
        """Write the report as one file that needs no other.

        Parameters
        ----------
        path : str or Path, default=None
            Where to; None: nowhere.

        Returns
        -------
        str
            The page.

        Raises
        ------
        ImportError
            Without matplotlib, which the extra ``tabgraa-sklearn[report]`` brings.
        """
        text = page.document(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _repr_html_(self) -> str:
        try:
            return page.body(self)
        except ImportError as error:  # a notebook is no place for a traceback
            return page.without_pictures(self, str(error))

    def __repr__(self) -> str:
        wide = self.figures.pivot(index="measure", columns="table", values="value")
        order = self.figures["measure"].unique(), self.figures["table"].unique()
        return str(wide.loc[order[0], order[1]].round(4).to_string())


def report(
    synthesizer_or_tables: Any,
    X_train: Any,
    X_holdout: Any,
    *,
    target: Hashable | None = None,
    categorical: Collection[Hashable] | None = None,
    max_rows: int = 20_000,
    n_bootstraps: int = 50,
    random_state: int = 0,
) -> Report:
    """Compare synthetic tables with the real one.

    Parameters
    ----------
    synthesizer_or_tables : TabGRAASynthesizer, DataFrame or dict of {str: DataFrame}
        A fitted synthesizer, of which the supervised and the aligned model are set side by side;
        one synthetic table; or several by name, of which the last one is looked at in detail.
    X_train : DataFrame or array-like of shape (n_rows, n_columns)
        The rows that were learnt from.
    X_holdout : DataFrame or array-like of shape (n_rows, n_columns)
        Real rows that were not, at least 20. One half takes the place of a synthetic table, for
        what real rows score is the ceiling; the other is what train rows are compared with.
    target : column name, default=None
        What a model learnt from the rows predicts, and an attacker guesses; None: the last column,
        if a table does not lack its cells and it is neither identifier nor text.
    categorical : collection of column names, default=None
        Columns of numbers that are labels.
    max_rows : int, default=20_000
        Rows of each table at the most. All tables that are judged have the same number of rows, at
        the most that of half the holdout, so that their figures can be compared.
    n_bootstraps : int, default=50
        Resamples that the intervals are made of.
    random_state : int, default=0
        Seeds samples and subsamples.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If a table lacks columns or rows; the message names them.

    Examples
    --------
    >>> from tabgraa_sklearn import report
    >>> from tabgraa_sklearn.datasets import load_adult
    >>> rows = load_adult().frame
    >>> tables = {"other rows": rows[1000:2000]}
    >>> found = report(tables, rows[:1000], rows[2000:3000], n_bootstraps=5)
    >>> figures = found.frame().set_index(["measure", "table"])["value"]
    >>> bool(figures["c2st_lightgbm", "other rows"] > 0.8)
    True
    """
    check_count("max_rows", max_rows, 20)
    check_count("random_state", random_state, 0)
    random = np.random.default_rng(random_state)
    train, _ = read_table(X_train, "X_train")
    check_frame(train, min_rows=2)
    holdout = _like(train, X_holdout, "X_holdout")
    if len(holdout) < 20:
        raise ValueError(f"X_holdout must have at least 20 rows; got {len(holdout)}.")
    if target is not None and target not in train.columns:
        raise ValueError(f"target must be a column of X_train, one of {list(train.columns)}.")
    shuffled = holdout.iloc[random.permutation(len(holdout))]
    half = len(holdout) // 2
    fresh, strangers = (part.reset_index(drop=True) for part in (shuffled[:half], shuffled[half:]))
    n_rows = min(half, len(train), int(max_rows))
    tables, history = _tables(synthesizer_or_tables, train, n_rows, random_state)
    n_rows = min([n_rows, *map(len, tables.values())])
    tables = {
        name: table.iloc[np.sort(random.choice(len(table), n_rows, replace=False))]
        for name, table in {**tables, HOLDOUT: fresh}.items()
    }
    settings: dict[str, Any] = {"categorical": categorical, "random_state": random_state}
    target = _usable(target, kept_columns(train, categorical), [train, strangers, *tables.values()])
    figures = [
        evaluate(
            train,
            table,
            strangers,
            target=target,
            max_rows=max_rows,
            n_bootstraps=n_bootstraps,
            **settings,
        )
        .reset_index()
        .assign(table=name)
        for name, table in tables.items()
    ]
    order = ["table", "measure", "value", "low", "high", "about", "best", "meaning"]
    shown = list(tables)[-2]
    limits = {**settings, "max_rows": max_rows, "n_bootstraps": 0}
    sides = side_by_side([train, tables[shown], strangers], max_rows=max_rows, **settings)
    shapes = column_shapes(train, tables[shown], **limits).details
    looked_at = [name for name in train if name in set(shapes["column"])]
    if len(looked_at) > _MOST_COLUMNS:  # those that are least alike
        least = set(shapes.sort_values("score", kind="stable")["column"].head(_MOST_COLUMNS))
        looked_at = [name for name in looked_at if name in least]
    part = [name for name in categorical or () if name in looked_at]
    pairs = mutual_information(
        train[looked_at],
        tables[shown][looked_at],
        **{**limits, "categorical": part, "max_pairs": None},
    )
    spaces = place(sides, (0, 2))
    return Report(
        figures=pd.concat(figures, ignore_index=True)[order],
        shown=shown,
        sides=sides[:2],
        shapes=shapes,
        pairs=pairs.details,
        differences=_differences(sides, tables[shown], random_state),
        distances={
            shown: nearest(spaces[0], spaces[1])[0][:, 0],
            HOLDOUT: nearest(spaces[0], spaces[2])[0][:, 0],
        },
        history=history,
        n_rows=n_rows,
        target=target,
    )


def _usable(
    target: Hashable | None, kept: Mapping[Hashable, Any], tables: list[pd.DataFrame]
) -> Hashable | None:
    """Give the column that is predicted; None where the last one will not do.

    Raises
    ------
    ValueError
        Where it is the user's choice that will not do.
    """
    name = tables[0].columns[-1] if target is None else target
    if name not in kept:
        reason = "it is taken for an identifier or text"
    elif len(kept) == 1:
        reason = "there is no other column to predict it from"
    elif any(table[name].isna().all() for table in tables):
        reason = "its cells are all missing in a table"
    else:
        return name
    if target is None:
        return None
    raise ValueError(f"target cannot be {target!r}: {reason}.")


def _like(train: pd.DataFrame, table: Any, name: str) -> pd.DataFrame:
    """Give a table the columns of the train rows."""
    frame, is_array = read_table(table, name)
    if is_array and frame.shape[1] == train.shape[1]:
        frame = frame.set_axis(train.columns, axis=1)
    missing = [column for column in train.columns if column not in frame]
    if missing:
        raise ValueError(f"{name} must have the columns of X_train; missing {missing}.")
    return frame[list(train.columns)]


def _tables(
    given: Any, train: pd.DataFrame, n_rows: int, random_state: int
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Give the synthetic tables by name, and the history of rounds."""
    if isinstance(given, TabGRAASynthesizer):
        models = {"supervised": given.supervised()}
        if given.best_round_ > 0:
            models["aligned"] = given
        samples = {
            name: _like(train, model.sample(n_rows, random_state=random_state), name)
            for name, model in models.items()
        }
        history = given.history_frame()
        return samples, history[history["stage"] == "alignment"].dropna(axis=1, how="all")
    if not isinstance(given, Mapping) and np.ndim(given) != 2:
        raise ValueError(
            "synthesizer_or_tables must be a fitted TabGRAASynthesizer, a table, or a dict of "
            f"tables; got {given!r:.80}."
        )
    tables = given if isinstance(given, Mapping) else {"synthetic": given}
    if not tables:
        raise ValueError("synthesizer_or_tables must hold at least one table; got none.")
    if HOLDOUT in tables:
        raise ValueError(f"no table of synthesizer_or_tables may be named {HOLDOUT!r}.")
    named = {str(name): _like(train, table, str(name)) for name, table in tables.items()}
    if len(named) < len(tables):
        raise ValueError(f"names of tables must differ; got {list(tables)}.")
    return named, pd.DataFrame()


def _differences(sides: list[Side], synthetic: pd.DataFrame, random_state: int) -> Differences:
    """Let LightGBM tell synthetic rows from as many train rows, and look at what it goes by."""
    size = min(len(sides[0]), len(sides[1]))
    random = np.random.default_rng(random_state)
    real = sides[0].take(np.sort(random.choice(len(sides[0]), size, replace=False)))
    both = [pd.concat([side.numbers, side.labels], axis=1)[side.order] for side in (real, sides[1])]
    features = pd.concat(both, ignore_index=True)
    for name in real.labels:
        codes = range(-1, len(real.texts[name]))
        features[name] = pd.Categorical(features[name], categories=codes)
    features.columns = [f"column_{number}" for number in range(features.shape[1])]
    is_real = np.repeat([1, 0], [size, len(sides[1])])
    chances = np.empty(len(is_real))
    gain = np.zeros(features.shape[1])
    folds = StratifiedKFold(min(_FOLDS, size), shuffle=True, random_state=random_state)
    for learn, judge in folds.split(features, is_real):
        model = lightgbm.LGBMClassifier(
            importance_type="gain",
            random_state=0,
            deterministic=True,
            force_row_wise=True,
            verbosity=-1,
        )
        model.fit(features.iloc[learn], is_real[learn])
        chances[judge] = model.predict_proba(features.iloc[judge])[:, 1]
        gain += model.feature_importances_
    importances = pd.Series(gain / max(gain.sum(), 1e-300), index=pd.Index(sides[0].order))
    on_synthetic = chances[size:]
    worst = np.argsort(on_synthetic, kind="stable")[:_WORST]
    rows = synthetic.iloc[worst].reset_index(drop=True)
    rows.insert(0, "P(real)", on_synthetic[worst].round(4), allow_duplicates=True)
    auc = float(roc_auc_score(is_real, chances))
    return Differences(importances.sort_values(ascending=False), rows, auc)
