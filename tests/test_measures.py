"""The benchmarks' measures against naive oracles and known answers."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
measures = pytest.importorskip("measures", reason="benchmarks/ is not beside tests/")

LABELS = ["group", "code"]


def table(rows, seed):
    generator = np.random.default_rng(seed)
    group = generator.choice(["a", "b", "c"], rows)
    return pd.DataFrame(
        {
            "size": np.round(generator.normal(size=rows) + (group == "a"), 2),
            "group": group,
            "code": generator.integers(0, 4, rows),
            "when": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(generator.integers(0, 90, rows), unit="D"),
        }
    ).mask(generator.random((rows, 4)) < [0.1, 0.05, 0, 0.1])


@pytest.fixture
def parts():
    return table(120, 0), table(120, 1), table(60, 2)


def naive_distances(rows, queries, real):
    """Distance of every query to its nearest row, one pair of cells at a time."""
    span = {}
    for name in ("size", "when"):
        values = pd.to_numeric(real[name]).where(real[name].notna()).astype(float)
        span[name] = values.min(), values.max()
    nearest = []
    for _, query in queries.iterrows():
        squares = []
        for _, row in rows.iterrows():
            square = 0.0
            for name in real.columns:
                known = pd.notna(query[name]), pd.notna(row[name])
                if name in span:
                    low, high = span[name]
                    at = [
                        ((v.value if name == "when" else v) - low) / (high - low) if k else 0.5
                        for v, k in zip((query[name], row[name]), known, strict=True)
                    ]
                    square += (at[0] - at[1]) ** 2 + (known[0] != known[1])
                else:
                    same = known[0] == known[1] and (not known[0] or query[name] == row[name])
                    square += not same
            squares.append(square)
        nearest.append(np.sqrt(min(squares)))
    return np.array(nearest)


def test_nearest_distances_agree_with_a_loop(parts):
    train, synthetic, test = parts
    train["when"], synthetic["when"], test["when"] = (
        pd.to_datetime(part["when"]).astype("datetime64[ns]") for part in parts
    )
    rows, queries, _ = measures._distance_space(train, synthetic, test, LABELS)
    naive = naive_distances(train, synthetic, pd.concat([train, test]))
    np.testing.assert_allclose(measures._nearest_distance(rows, queries), naive, atol=1e-7)


def test_privacy_measures_of_fresh_rows_and_of_copies():
    train, fresh, test = (table(1000, seed) for seed in range(3))
    share = measures.nearest_record_share(train, fresh, test, categorical=LABELS)
    assert share == pytest.approx(0.5, abs=0.05)
    auc = measures.membership_auc(train, fresh, test, categorical=LABELS)
    assert auc == pytest.approx(0.5, abs=0.05)
    copied = measures.nearest_record_share(train, train, test, categorical=LABELS)
    assert copied > 0.9
    assert measures.membership_auc(train, train, test, categorical=LABELS) > 0.9


def test_exact_copies_counts_equal_rows():
    train = pd.DataFrame({"x": [1.0, 2.0, np.nan], "group": ["a", "b", None]})
    rows = pd.DataFrame({"group": ["a", "a", None, "b"], "x": [1, 2, None, 2]})
    assert measures.exact_copies(train, rows, categorical=["group"]) == 0.75


def test_codes_are_one_label_however_they_are_written():
    written = [pd.Series([1, 2, 1]), pd.Series([1.0, 2.0, 1.0]), pd.Series(["1", "2", "1"])]
    assert len({tuple(measures._labels(column)) for column in written}) == 1


def test_measures_leave_their_input_alone(parts):
    before = [part.copy(deep=True) for part in parts]
    measures.nearest_record_share(*parts, categorical=LABELS)
    measures.exact_copies(parts[0], parts[1], categorical=LABELS)
    for part, copy in zip(parts, before, strict=True):
        pd.testing.assert_frame_equal(part, copy)


@pytest.mark.parametrize("target", ["group", "size"])
def test_downstream_tuning_takes_what_is_best_on_a_ninth_of_the_synthetic_rows(target, monkeypatch):
    xgboost = pytest.importorskip("xgboost", reason="benchmarks extra")
    monkeypatch.setattr(measures, "TUNING_GRID", {"max_depth": [2, 6], "min_child_weight": [1]})
    monkeypatch.setattr(measures, "TUNING_TREES", (5, 20))
    train, synthetic, test = (table(n, seed).dropna() for n, seed in ((300, 0), (400, 1), (200, 2)))
    if target == "group":
        train, synthetic, test = (part[part["group"] != "c"] for part in (train, synthetic, test))
    got = measures.downstream_auc(
        train, synthetic, test, target=target, categorical=LABELS, n_jobs=1
    )
    names = [name for name in train.columns if name != target]
    labels = [name for name in names if name in LABELS]
    numbers = [name for name in names if name not in LABELS]

    def inputs(part):
        cells = [pd.to_numeric(part[name]).astype("float64").to_numpy() for name in numbers]
        for name in labels:
            cells += [(part[name] == value).to_numpy(float) for value in sorted(set(train[name]))]
        return np.column_stack(cells)

    def known(part):
        return (part[target] == "b").astype(int) if target == "group" else part[target]

    kind = xgboost.XGBClassifier if target == "group" else xgboost.XGBRegressor

    def judge(learnt, asked, depth, trees):
        model = kind(max_depth=depth, min_child_weight=1, n_estimators=trees, random_state=0)
        model.fit(inputs(learnt), known(learnt))
        if target == "group":
            return roc_auc_score(known(asked), model.predict_proba(inputs(asked))[:, 1])
        return r2_score(known(asked), model.predict(inputs(asked)))

    learnt, asked = train_test_split(np.arange(len(synthetic)), test_size=1 / 9, random_state=0)
    figures = {
        (depth, trees): judge(synthetic.iloc[learnt], synthetic.iloc[asked], depth, trees)
        for depth in (2, 6)
        for trees in (5, 20)
    }
    best = max(figures, key=figures.get)
    assert got == pytest.approx(judge(synthetic, test, *best), abs=2e-3)


def test_detection_is_sdmetrics_own_on_plain_columns():
    single_table = pytest.importorskip("sdmetrics.single_table", reason="benchmarks extra")
    train, fresh = (table(400, seed).dropna()[["size", "group"]].head(300) for seed in range(2))
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    expected = single_table.LogisticDetection.compute(train, fresh)
    np.random.set_state(state)  # noqa: NPY002
    got = measures.c2st_logistic(train, fresh, categorical=["group"], random_state=3)
    assert got == pytest.approx(expected, abs=1e-9)


def test_all_measures_on_a_mixed_table(parts):
    pytest.importorskip("sdmetrics", reason="benchmarks extra")
    pytest.importorskip("xgboost", reason="benchmarks extra")
    train, synthetic, test = (part.dropna(subset=["group"]) for part in parts)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    figures, again = (
        measures.measure_all(train, synthetic, test, target="group", categorical=LABELS, n_jobs=1)
        for _ in range(2)
    )
    assert figures == again
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert list(figures) == list(measures.MEASURES)
    for name, figure in figures.items():
        assert measures.MEASURES[name].low <= figure <= measures.MEASURES[name].high
