"""What the benchmarks measure: fidelity, utility and privacy of a synthetic table.

Every measure is a pure function of data frames. ``train`` holds the real rows that a model was
fitted on, ``test`` real rows that it never saw, ``synthetic`` as many generated rows as ``train``
has; ``categorical`` names the columns whose values are labels, whatever their dtype. Missing cells
are allowed. :func:`measure_all` computes everything; :data:`MEASURES` says of each figure where it
comes from, its range and which way is better.

Fresh real rows are the ceiling, not 1.0: ``measure_all(train, test_rows, other_test_rows, ...)``
shows what a perfect generator would score.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import LabelEncoder, OneHotEncoder

from tabgraa_sklearn import metrics

Floats = NDArray[np.float64]

# Rows for which a nearest neighbour is looked up; more would only cost time.
MAX_QUERIES = 50_000
# Disjoint subsamples of the train rows that the nearest-record share is averaged over.
MAX_SUBSAMPLES = 5
# Labels of a column that get an indicator of their own; the rarer ones share one.
MAX_LABELS = 500
# Distances closer than this count as equal: about the rounding error of a computed distance.
TIE = 1e-6
# What the downstream XGBoost is tuned over: the grid of TabSyn's evaluation code.
TUNING_GRID = {"max_depth": [5, 10, 20], "min_child_weight": [1, 10], "gamma": [0.0, 1.0]}
TUNING_TREES = (10, 50, 100)


@dataclass(frozen=True)
class Measure:
    """What a figure is: one line, its source, its range, and which value is best."""

    meaning: str
    source: str
    low: float
    high: float
    best: str


MEASURES: dict[str, Measure] = {
    "column_shapes": Measure(
        "mean over columns of one minus the Kolmogorov-Smirnov or total variation distance",
        "SDMetrics QualityReport, 'Column Shapes'",
        0.0,
        1.0,
        "higher",
    ),
    "pair_trends": Measure(
        "mean over column pairs of the agreement of correlations or contingency tables",
        "SDMetrics QualityReport, 'Column Pair Trends', thresholds 0, no subsampling",
        0.0,
        1.0,
        "higher",
    ),
    "alpha_precision": Measure(
        "how far the shares of synthetic rows within balls around the real ones are as they should",
        "Alaa et al., ICML 2022, naive form (no embedding), as in synthcity",
        0.0,
        1.0,
        "higher",
    ),
    "beta_recall": Measure(
        "how far real rows have a synthetic row as near as the nearest other real row",
        "Alaa et al., ICML 2022, naive form (no embedding), as in synthcity",
        0.0,
        1.0,
        "0.5 of fresh rows",
    ),
    "c2st_logistic": Measure(
        "1 if logistic regression cannot tell synthetic rows from train rows, 0 if it always can",
        "SDMetrics LogisticDetection",
        0.0,
        1.0,
        "higher",
    ),
    "c2st_xgboost": Measure(
        "1 if XGBoost cannot tell synthetic rows from train rows, 0 if it always can",
        "SDMetrics detection with XGBoost at its defaults",
        0.0,
        1.0,
        "higher",
    ),
    "downstream_auc": Measure(
        "AUC (R2 for a numeric target) on real test rows of XGBoost trained on synthetic rows",
        "train on synthetic, test on real; XGBoost tuned as in TabSyn's evaluation",
        0.0,
        1.0,
        "higher",
    ),
    "downstream_auc_untuned": Measure(
        "the same with XGBoost as it comes, which over-fits small tables",
        "train on synthetic, test on real; XGBoost at its defaults",
        0.0,
        1.0,
        "higher",
    ),
    "nearest_record_share": Measure(
        "share of synthetic rows that lie nearer to a train row than to a held-out row",
        "distance to closest record, both sides of equal size",
        0.0,
        1.0,
        "0.5",
    ),
    "membership_auc": Measure(
        "AUC of telling train rows from test rows by the distance to the nearest synthetic row",
        "distance-based membership inference",
        0.0,
        1.0,
        "0.5",
    ),
    "exact_copies": Measure(
        "share of synthetic rows that equal a train row in every column",
        "row equality",
        0.0,
        1.0,
        "at most exact_copies_test",
    ),
    "exact_copies_test": Measure(
        "share of test rows that equal a train row in every column: the yardstick",
        "row equality",
        0.0,
        1.0,
        "-",
    ),
}


def measure_all(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    test: pd.DataFrame,
    *,
    target: str,
    categorical: Sequence[str],
    random_state: int = 0,
    n_jobs: int | None = None,
    seconds: dict[str, float] | None = None,
) -> dict[str, float]:
    """Compute every figure of :data:`MEASURES`.

    Parameters
    ----------
    train, synthetic, test : DataFrame
        Real rows the model saw, generated rows, real rows it never saw; the same columns.
    target : str
        Column that the downstream model predicts.
    categorical : sequence of str
        Columns whose values are labels.
    random_state : int, default=0
        Seeds folds and subsamples.
    n_jobs : int or None, default=None
        Threads of XGBoost; None leaves it to XGBoost.
    seconds : dict or None, default=None
        When given, receives the seconds each measure took.

    Returns
    -------
    dict of str to float
        One figure for every key of :data:`MEASURES`, in that order.
    """
    train, synthetic, test = (
        _plain(frame[list(train.columns)], categorical) for frame in (train, synthetic, test)
    )
    labels = [str(name) for name in categorical]
    times: dict[str, float] = {} if seconds is None else seconds
    figures: dict[str, float] = {}

    with _timed(times, "column_shapes, pair_trends"):
        figures["column_shapes"], figures["pair_trends"] = quality(
            train, synthetic, categorical=labels
        )
    for name in ("alpha_precision", "beta_recall"):
        with _timed(times, name):
            figures[name] = float(
                getattr(metrics, name)(
                    train, synthetic, categorical=labels, random_state=random_state, n_bootstraps=0
                )
            )
    with _timed(times, "c2st_logistic"):
        figures["c2st_logistic"] = c2st_logistic(
            train, synthetic, categorical=labels, random_state=random_state
        )
    with _timed(times, "c2st_xgboost"):
        figures["c2st_xgboost"] = c2st_xgboost(
            train, synthetic, categorical=labels, random_state=random_state, n_jobs=n_jobs
        )
    for name, tuned in (("downstream_auc", True), ("downstream_auc_untuned", False)):
        with _timed(times, name):
            figures[name] = downstream_auc(
                train,
                synthetic,
                test,
                target=str(target),
                categorical=labels,
                tuned=tuned,
                random_state=random_state,
                n_jobs=n_jobs,
            )
    with _timed(times, "nearest_record_share"):
        figures["nearest_record_share"] = nearest_record_share(
            train, synthetic, test, categorical=labels, random_state=random_state
        )
    with _timed(times, "membership_auc"):
        figures["membership_auc"] = membership_auc(
            train, synthetic, test, categorical=labels, random_state=random_state
        )
    with _timed(times, "exact_copies"):
        figures["exact_copies"] = exact_copies(train, synthetic, categorical=labels)
        figures["exact_copies_test"] = exact_copies(train, test, categorical=labels)
    return figures


def quality(
    train: pd.DataFrame, synthetic: pd.DataFrame, *, categorical: Sequence[str]
) -> tuple[float, float]:
    """Column shapes and pair trends, each in [0, 1], higher is better.

    Source: the properties 'Column Shapes' and 'Column Pair Trends' of SDMetrics' ``QualityReport``.
    Its two newer thresholds, which leave weakly dependent pairs out, are set to 0, as all published
    figures were computed before they existed; nothing is subsampled.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the report of several tables is preferred
        from sdmetrics.reports.single_table import QualityReport

    train, synthetic = _plain(train, categorical), _plain(synthetic, categorical)
    report = QualityReport()
    report.real_correlation_threshold = 0
    report.real_association_threshold = 0
    report.num_rows_subsample = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant columns: their pairs are left out
        report.generate(train, synthetic, _metadata(train), verbose=False)
    properties = report.get_properties().set_index("Property")["Score"]
    return float(properties["Column Shapes"]), float(properties["Column Pair Trends"])


def column_shapes(
    train: pd.DataFrame, synthetic: pd.DataFrame, *, categorical: Sequence[str]
) -> float:
    """Mean similarity of single columns in [0, 1], higher is better; see :func:`quality`."""
    return quality(train, synthetic, categorical=categorical)[0]


def pair_trends(
    train: pd.DataFrame, synthetic: pd.DataFrame, *, categorical: Sequence[str]
) -> float:
    """Mean similarity of column pairs in [0, 1], higher is better; see :func:`quality`."""
    return quality(train, synthetic, categorical=categorical)[1]


def c2st_logistic(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    categorical: Sequence[str],
    random_state: int = 0,
) -> float:
    """Classifier two-sample score of logistic regression: 1 = cannot be told apart, 0 = always.

    Source: SDMetrics' ``LogisticDetection``, one minus twice the excess over .5 of the AUC, mean of
    three folds. Labels are one-hot encoded, apart from those written as numbers (codes), which
    stay numbers: that is how the published figures were computed.
    """
    from sdmetrics.single_table import LogisticDetection

    return _detection(LogisticDetection, train, synthetic, categorical, random_state)


def c2st_xgboost(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    categorical: Sequence[str],
    random_state: int = 0,
    n_jobs: int | None = None,
) -> float:
    """Classifier two-sample score of XGBoost: 1 = cannot be told apart, 0 = always.

    Source: SDMetrics' detection metric with ``xgboost.XGBClassifier`` at its defaults; features and
    score as in :func:`c2st_logistic`.
    """
    from sdmetrics.single_table.detection.sklearn import ScikitLearnClassifierDetectionMetric
    from xgboost import XGBClassifier

    class XGBoostDetection(ScikitLearnClassifierDetectionMetric):  # type: ignore[misc]
        @staticmethod
        def _get_classifier() -> XGBClassifier:
            return XGBClassifier(n_jobs=n_jobs, enable_categorical=True)

    return _detection(XGBoostDetection, train, synthetic, categorical, random_state)


def downstream_auc(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    test: pd.DataFrame,
    *,
    target: str,
    categorical: Sequence[str],
    tuned: bool = True,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> float:
    """Use of the rows: XGBoost trained on synthetic rows, tested on real test rows.

    AUC for a categorical target (one against the rest, macro mean, for several classes), in
    [0, 1]; R2 for a numeric one, at most 1. Higher is better; pass ``train`` as ``synthetic`` for
    the figure of the real rows. Labels are one-hot encoded by an encoder fitted on ``train``.

    The published figures are of a tuned XGBoost: the point of :data:`TUNING_GRID` that does best
    on a ninth of the synthetic rows after training on the rest is trained on all of them. No real
    row has a say in the choice. Source: the evaluation of TabSyn (Zhang et al., ICLR 2024), which
    its successors share. ``tuned=False`` takes XGBoost's defaults.
    """
    from xgboost import XGBClassifier, XGBRegressor

    train, synthetic, test = (_plain(frame, categorical) for frame in (train, synthetic, test))
    names = [name for name in train.columns if name != target]
    labels = [name for name in names if name in set(categorical)]
    numbers = [name for name in names if name not in labels]
    encoder = _one_hot().fit(train[labels])

    def features(frame: pd.DataFrame) -> Floats:
        return np.hstack([_numbers(frame[numbers]), encoder.transform(frame[labels])])

    is_label = target in set(categorical)
    make = XGBClassifier if is_label else XGBRegressor
    synthetic, test = (frame[frame[target].notna()] for frame in (synthetic, test))
    if is_label:
        classes = LabelEncoder().fit(synthetic[target])
        if len(classes.classes_) == 1:
            return 0.5  # nothing can be learnt from one class
        known, wanted = classes.transform(synthetic[target]), test[target].to_numpy()
    else:
        classes = None
        known, wanted = (_numbers(frame[[target]])[:, 0] for frame in (synthetic, test))

    inputs = features(synthetic)
    settings = {"n_jobs": n_jobs, "random_state": random_state}
    chosen: dict[str, float] = {}
    # A rare class may be missing among the rows to tune on, which XGBoost does not take.
    if tuned and len(inputs) >= 9:
        learn, judge = train_test_split(
            np.arange(len(inputs)), test_size=1 / 9, random_state=random_state
        )
        if not is_label or len(np.unique(known[learn])) == len(classes.classes_):
            truth = classes.inverse_transform(known[judge]) if is_label else known[judge]
            best = -np.inf
            for point in ParameterGrid(TUNING_GRID):
                model = make(**settings, **point, n_estimators=max(TUNING_TREES))
                model.fit(inputs[learn], known[learn])
                for trees in TUNING_TREES:
                    figure = _usefulness(model, inputs[judge], truth, classes, (0, trees))
                    if figure > best:
                        best, chosen = figure, {**point, "n_estimators": trees}
    model = make(**settings, **chosen).fit(inputs, known)
    return _usefulness(model, features(test), wanted, classes, None)


def _usefulness(
    model: Any,
    inputs: Floats,
    truth: NDArray[Any],
    classes: LabelEncoder | None,
    trees: tuple[int, int] | None,
) -> float:
    """Mean one-against-rest AUC of a classifier (R2 of a regressor) by its first `trees`."""
    if classes is None:
        return float(r2_score(truth, model.predict(inputs, iteration_range=trees)))
    probability = model.predict_proba(inputs, iteration_range=trees)
    # A class that the synthetic rows lack is ranked by a constant, that is, with AUC .5.
    aucs = []
    for label in np.unique(truth):
        column = np.flatnonzero(classes.classes_ == label)
        ranks = probability[:, column[0]] if len(column) else np.zeros(len(truth))
        if not (truth == label).all():
            aucs.append(roc_auc_score(truth == label, ranks))
    return float(np.mean(aucs)) if aucs else 0.5


def nearest_record_share(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    test: pd.DataFrame,
    *,
    categorical: Sequence[str],
    random_state: int = 0,
) -> float:
    """Share of synthetic rows nearer to a train row than to a held-out row: .5 = no memorising.

    Source: the distance-to-closest-record comparison of the literature, with both sides of the
    same size, so that .5 is what fresh rows of the same distribution score, and above is
    memorising. The train rows are cut at random into disjoint subsamples of the holdout's size,
    and the share is averaged over up to five of them; ties count half. Range [0, 1]; since a copied
    row is seen only when its original is in the subsample, copying every row scores
    ``0.5 + 0.5 * len(test) / len(train)`` where that is less than 1.
    """
    generator = np.random.default_rng(random_state)
    rows, queries, holdout = _distance_space(train, synthetic, test, categorical)
    queries = _subsample(queries, MAX_QUERIES, generator)
    size = min(len(rows), len(holdout))
    holdout = _subsample(holdout, size, generator)
    order = generator.permutation(len(rows))
    to_holdout = _nearest_distance(holdout, queries)
    shares = []
    for group in range(min(len(rows) // size, MAX_SUBSAMPLES)):
        to_train = _nearest_distance(rows[order[group * size : (group + 1) * size]], queries)
        nearer, tied = to_train < to_holdout - TIE, np.abs(to_train - to_holdout) <= TIE
        shares.append(nearer.mean() + 0.5 * tied.mean())
    return float(np.mean(shares))


def membership_auc(
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    test: pd.DataFrame,
    *,
    categorical: Sequence[str],
    random_state: int = 0,
) -> float:
    """AUC of telling train rows from test rows by their distance to the nearest synthetic row.

    Source: distance-based membership inference. .5 = the synthetic rows give no membership away;
    1 = they give away every one. All train rows are used (up to a cap): the AUC does not depend on
    the balance of the two sides and equals the mean over subsamples of the test rows' number.
    """
    generator = np.random.default_rng(random_state)
    members, generated, strangers = _distance_space(train, synthetic, test, categorical)
    members = _subsample(members, MAX_QUERIES, generator)
    strangers = _subsample(strangers, MAX_QUERIES, generator)
    distance = _nearest_distance(generated, np.vstack([members, strangers]))
    truth = np.repeat([1, 0], [len(members), len(strangers)])
    return float(roc_auc_score(truth, -np.round(distance / TIE)))


def exact_copies(train: pd.DataFrame, rows: pd.DataFrame, *, categorical: Sequence[str]) -> float:
    """Share of ``rows`` equal to some train row in every column; missing equals missing.

    The yardstick is the same share among real test rows, not 0: real rows repeat too. Range [0, 1],
    lower is better as far as the yardstick. Rows are compared by a hash of 64 bits.
    """
    train, rows = _plain(train, categorical), _plain(rows[list(train.columns)], categorical)

    def hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
        return pd.util.hash_pandas_object(frame, index=False).to_numpy()

    return float(np.isin(hashes(rows), hashes(train)).mean())


# ----- helpers ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _plain(frame: pd.DataFrame, categorical: Sequence[str]) -> pd.DataFrame:
    """Give every column one of three plain dtypes: object of str, float64 or datetime64[ns]."""
    labels = {str(name) for name in categorical}
    columns: dict[str, pd.Series] = {}
    for position, name in enumerate(map(str, frame.columns)):
        column = frame.iloc[:, position].reset_index(drop=True)
        if pd.api.types.is_datetime64_any_dtype(column.dtype) and name not in labels:
            columns[name] = pd.to_datetime(column, utc=True).dt.tz_localize(None)
        elif name in labels or not pd.api.types.is_numeric_dtype(column.dtype):
            columns[name] = _labels(column)
        else:
            columns[name] = pd.Series(_numbers(column.to_frame())[:, 0] + 0.0)  # -0.0 becomes 0.0
    return pd.DataFrame(columns)


def _labels(column: pd.Series) -> pd.Series:
    """Turn labels into str, so that 1, 1.0 and "1" are one label, and missing is one, too."""
    missing = column.isna()
    if pd.api.types.is_numeric_dtype(column.dtype) and not missing.all():
        numbers = column.astype("float64")
        whole = numbers.isna() | (numbers == np.floor(numbers))
        column = numbers.astype("Int64") if whole.all() else numbers
    text = column.astype(object).astype(str)
    return text.where(~missing, "<missing>").astype(object)


def _numbers(frame: pd.DataFrame) -> Floats:
    """Give a float64 matrix with NaN for missing cells; dates become nanoseconds."""
    columns = []
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            numbers = column.to_numpy().astype("datetime64[ns]").astype("float64")
            numbers[column.isna().to_numpy()] = np.nan
        else:
            numbers = column.to_numpy(dtype="float64", na_value=np.nan)
        columns.append(numbers)
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _one_hot() -> OneHotEncoder:
    """Make the encoder of labels that every measure uses."""
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_LABELS, sparse_output=False
    )


def _metadata(frame: pd.DataFrame) -> dict[str, object]:
    """Describe a plain frame in SDMetrics' terms."""
    kinds = {}
    for name in frame.columns:
        if frame[name].dtype == object:
            kinds[name] = {"sdtype": "categorical"}
        elif pd.api.types.is_datetime64_any_dtype(frame[name].dtype):
            kinds[name] = {"sdtype": "datetime"}
        else:
            kinds[name] = {"sdtype": "numerical"}
    return {"METADATA_SPEC_VERSION": "SINGLE_TABLE_V1", "columns": kinds}


def _detection(
    metric: type,
    train: pd.DataFrame,
    synthetic: pd.DataFrame,
    categorical: Sequence[str],
    random_state: int,
) -> float:
    """Run an SDMetrics detection metric on encoded rows, as many on either side."""
    train, synthetic = _plain(train, categorical), _plain(synthetic, categorical)
    generator = np.random.default_rng(random_state)
    size = min(len(train), len(synthetic))
    real, fake = (
        frame.iloc[np.sort(generator.choice(len(frame), size, replace=False))]
        if len(frame) > size
        else frame
        for frame in (train, synthetic)
    )
    both = pd.concat([real, fake], ignore_index=True)
    # SDMetrics' own encoder fails on a label that the real rows lack, and keeps state between
    # calls; numbers pass through it unchanged, so that labels are encoded here in its manner.
    blocks = [_numbers(both.loc[:, both.dtypes != object])]
    for name in both.columns[both.dtypes == object]:
        codes = pd.to_numeric(both[name].replace("<missing>", None), errors="coerce")
        if (codes.notna() | (both[name] == "<missing>")).all() and codes.notna().any():
            blocks.append(codes.to_numpy(dtype="float64")[:, None])
        else:
            blocks.append(_one_hot().fit_transform(both[[name]]))
    matrix = pd.DataFrame(np.hstack(blocks)).rename(columns=str)
    with _numpy_seed(random_state), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logistic regression stopped at its default max_iter
        score = metric.compute(matrix.iloc[:size], matrix.iloc[size:])  # type: ignore[attr-defined]
    return float(score)


@contextlib.contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which SDMetrics' folds are drawn from, and put it back."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _distance_space(
    train: pd.DataFrame, synthetic: pd.DataFrame, test: pd.DataFrame, categorical: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """Put rows in a space in which a full range and another label are both one apart (L2).

    Numbers are scaled by the range of all real rows, and a missing one lies at the middle with an
    indicator beside it; labels are one-hot encoded and divided by the root of two.
    """
    frames = [_plain(frame, categorical) for frame in (train, synthetic, test)]
    real = pd.concat([frames[0], frames[2]], ignore_index=True)
    labels = list(real.columns[real.dtypes == object])
    numbers = [name for name in real.columns if name not in set(labels)]
    encoder = _one_hot().fit(real[labels])
    matrix = _numbers(real[numbers])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any value
        low, high = np.nanmin(matrix, axis=0), np.nanmax(matrix, axis=0)
    span = np.where(high > low, high - low, 1.0)

    def place(frame: pd.DataFrame) -> Floats:
        scaled = (_numbers(frame[numbers]) - low) / span
        missing = np.isnan(scaled)
        blocks = [np.where(missing, 0.5, scaled), encoder.transform(frame[labels]) / np.sqrt(2)]
        return np.hstack([*blocks, missing.astype("float64")] if missing.any() else blocks)

    # All three at once, so that the indicators of missing cells are there for all or for none.
    placed = place(pd.concat(frames, ignore_index=True))
    ends = np.cumsum([len(frame) for frame in frames])
    return placed[: ends[0]], placed[ends[0] : ends[1]], placed[ends[1] :]


def _nearest_distance(rows: Floats, queries: Floats) -> Floats:
    """Distance of every query to the nearest of the rows."""
    return _neighbours(rows, 1).kneighbors(queries)[0][:, 0]


def _neighbours(rows: Floats, n_neighbors: int) -> NearestNeighbors:
    """Index rows for the search of nearest ones."""
    algorithm = "brute" if rows.shape[1] > 12 else "kd_tree"
    return NearestNeighbors(n_neighbors=n_neighbors, algorithm=algorithm).fit(rows)


def _subsample(rows: Floats, size: int, generator: np.random.Generator) -> Floats:
    """At most ``size`` rows, drawn without replacement."""
    if len(rows) <= size:
        return rows
    return rows[generator.choice(len(rows), size, replace=False)]
