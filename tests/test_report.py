"""The report: its figures, its page, and the page in a browser."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_table, make_tiny
from sklearn.pipeline import make_pipeline

from tabgraa_sklearn import Report, metrics, report
from tabgraa_sklearn import _report_plots as plots

SECTIONS = ["overview", "columns", "pairs", "differences", "privacy", "rounds"]


@pytest.fixture(scope="module")
def aligned():
    """Give a synthesizer some of whose rounds were kept."""
    settings = {"max_epochs": 2, "batch_size": 64, "n_rounds": 2, "align_pool_size": 4000}
    model = make_tiny(align_learning_rate=3e-3, **settings).fit(make_table(1000))
    assert model.best_round_ > 0
    return model


@pytest.fixture(scope="module")
def found(aligned):
    return report(aligned, make_table(1000), make_table(300, seed=5), n_bootstraps=5)


@pytest.fixture(scope="module")
def of_tables():
    table = make_table(200)
    odd = table.assign(**{"price": table["price"] * 3, "<b>": ["$x$", "a & b"] * 100})
    plain = table.assign(**{"<b>": ["$x$", "a & b"] * 100})
    return report(
        {"_good $a_{$ <one>": plain.sample(frac=1, random_state=0), "bad <one> $b_{$": odd},
        plain,
        plain.sample(frac=1, random_state=1),
        target="group",
        n_bootstraps=5,
    )


# -- figures -------------------------------------------------------------------------------


def test_the_frame_has_every_measure_of_every_table(found):
    frame = found.frame()
    assert list(frame["table"].unique()) == ["supervised", "aligned", "real holdout"]
    assert (frame.groupby("table").size() == 13).all()
    assert list(frame.columns)[:5] == ["table", "measure", "value", "low", "high"]
    assert (frame["low"] <= frame["value"]).all()
    frame.loc[:, "value"] = 0.0
    assert (found.frame()["value"] != 0.0).any()


def test_the_figures_are_those_of_the_measures():
    """Nothing is drawn where all tables have as many rows."""
    train, synthetic, holdout = (make_table(150, seed) for seed in (0, 1, 2))
    both = pd.concat([holdout, make_table(150, 3)])
    figures = report(synthetic, train, both, n_bootstraps=0).frame()
    values = figures.set_index(["table", "measure"])["value"]
    assert values["synthetic", "column_shapes"] == metrics.column_shapes(train, synthetic)
    assert values["synthetic", "copy_share"] == metrics.copy_share(train, synthetic)


def test_the_supervised_model_is_set_beside_the_aligned_one(aligned):
    supervised = aligned.supervised()
    assert supervised.best_round_ == supervised.n_rounds_ == 0
    assert not hasattr(supervised, "signal_")
    assert {entry["stage"] for entry in supervised.history_} == {"supervised"}
    one, other = (model.sample(50, random_state=0) for model in (supervised, aligned))
    assert not one.equals(other)
    alone = make_tiny(**{**aligned.get_params(), "n_rounds": 0}).fit(make_table(1000))
    pd.testing.assert_frame_equal(alone.sample(50, random_state=0), one)


def test_without_rounds_there_is_one_model(fitted):
    found = report(fitted, make_table(120), make_table(60, 3), n_bootstraps=0)
    assert list(found.frame()["table"].unique()) == ["supervised", "real holdout"]
    assert "There were none" in found.to_html()


def test_a_column_that_differs_is_found(of_tables):
    assert of_tables.shown == "bad <one> $b_{$"
    assert of_tables.differences.importances.index[0] == "price"
    worst = of_tables.differences.worst_rows
    assert worst.columns[0] == "P(real)"
    assert len(worst) == 10
    assert worst["P(real)"].is_monotonic_increasing
    assert of_tables.shapes.sort_values("score")["column"].iloc[0] == "price"


def test_tables_are_compared_at_equal_numbers_of_rows(of_tables, found):
    assert of_tables.n_rows == 100  # half of the holdout
    assert found.n_rows == 150


def test_bad_input_is_named(fitted):
    table = make_table(60)
    with pytest.raises(ValueError, match="X_holdout must have at least 20 rows"):
        report(table, table, table.head(10))
    with pytest.raises(ValueError, match=r"X_holdout must have the columns.*'price'"):
        report(table, table, table.drop(columns="price"))
    with pytest.raises(ValueError, match=r"fake must have the columns.*'price'"):
        report({"fake": table.drop(columns="price")}, table, table)
    with pytest.raises(ValueError, match="target must be a column"):
        report(table, table, table, target="rent")
    with pytest.raises(ValueError, match="at least one table"):
        report({}, table, table)
    with pytest.raises(ValueError, match="may be named"):
        report({"real holdout": table}, table, table)
    with pytest.raises(ValueError, match="synthetic: it must have at least one row"):
        report(table.head(0), table, table)
    with pytest.raises(ValueError, match="names of tables must differ"):
        report({1: table, "1": table}, table, table)
    for wrong in (None, make_tiny(), [1, 2]):
        if wrong is not None and not isinstance(wrong, list):
            wrong = make_pipeline(wrong)
        with pytest.raises(ValueError, match="synthesizer_or_tables must be a fitted"):
            report(wrong, table, table)
    with pytest.raises((TypeError, ValueError), match="X_holdout: it must be a table; got None"):
        report(table, table, None)
    for wrong in (None, -3, 2.5):
        with pytest.raises(ValueError, match="max_rows must be an int of at least 20"):
            report(table, table, table, max_rows=wrong)


def test_rare_labels_are_no_numbers():
    """A label that one table lacks changes nothing in how labels are told apart."""
    random = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "label": random.choice(list("abcdefgh"), 400),
                "number": random.normal(size=400),
            }
        )
        for _ in range(3)
    ]
    tables[1]["label"] = np.where(random.random(400) < 0.5, "e", tables[1]["label"])
    tables[1].loc[0, "label"] = "z"
    found = report(tables[1], tables[0], tables[2], target="number", n_bootstraps=0)
    assert found.differences.worst_rows["label"].isin(["e", "z"]).mean() >= 0.8


def test_times_and_wide_tables_are_drawn():
    random = np.random.default_rng(0)
    tables = []
    for _ in range(3):
        table = pd.DataFrame(random.normal(size=(80, 45))).add_prefix("x")
        table["when"] = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(
            random.integers(0, 900, 80), "D"
        )
        table["lasted"] = pd.to_timedelta(random.integers(0, 900, 80), "min")
        table["none"] = None
        tables.append(table[["when", "lasted", "none", *table.columns[:45]]])
    found = report(*tables, n_bootstraps=0)
    assert len(found.pairs) == 40 * 39 / 2
    assert len(found.to_html()) > 10_000


def test_names_that_are_equal_once_cut_are_bars_of_their_own(found, monkeypatch):
    pytest.importorskip("matplotlib")
    names = ["a_rather_long_name_of_a_column_2019", "a_rather_long_name_of_a_column_2020"]
    shares = pd.Series([0.7, 0.3], index=names)
    part = replace(found, differences=replace(found.differences, importances=shares))
    monkeypatch.setattr(plots, "_image", lambda figure, text: figure)
    bars = plots.importances(part).axes[0].patches
    assert {(bar.get_y(), bar.get_width()) for bar in bars} == {(-0.4, 0.3), (0.6, 0.7)}


@pytest.mark.parametrize("cells", [pd.Timestamp("2020-01-01"), 10.0**17, None])
def test_a_column_of_one_value_or_none_is_drawn(cells):
    tables = [make_table(80, seed).assign(odd=cells) for seed in range(3)]
    found = report(*tables, n_bootstraps=0)
    assert len(found.to_html()) > 10_000
    assert (found.target == "odd") == (cells is not None)


def test_a_default_target_that_will_not_do_is_left_out_and_said():
    tables = [
        make_table(80, seed).assign(key=[f"id {seed} {k}" for k in range(80)]) for seed in range(3)
    ]
    found = report(*tables, n_bootstraps=0)
    assert found.target is None
    assert "train_on_synthetic" not in set(found.frame()["measure"])
    assert "No column is predicted" in found.to_html()
    with pytest.raises(ValueError, match="target cannot be 'key': it is taken for an identifier"):
        report(*tables, target="key", n_bootstraps=0)
    tables[0]["gone"] = None
    with pytest.raises(ValueError, match="target cannot be 'gone': its cells are all missing"):
        report(*(table.assign(gone=None) for table in tables), target="gone", n_bootstraps=0)


def test_a_table_of_numbers_alone_and_of_one_column():
    random = np.random.default_rng(0)
    tables = [pd.DataFrame(random.normal(size=(60, 1)), columns=["x"]) for _ in range(3)]
    page = report(*tables, n_bootstraps=0).to_html()
    assert "There is only one column" in page
    arrays = [random.normal(size=(60, 3)) for _ in range(3)]
    assert isinstance(report(*arrays, n_bootstraps=0), Report)


# -- the page ------------------------------------------------------------------------------


def test_the_page_is_whole_and_needs_nothing_else(found, tmp_path):
    path = tmp_path / "report.html"
    text = found.to_html(path)
    assert path.read_text(encoding="utf-8") == text
    assert re.findall(r'data-section="(\w+)"', text) == SECTIONS
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "<script" not in text
    assert "supervised" in text
    assert "aligned" in text
    value = found.frame()["value"].iloc[0]
    assert f"{value:.4f}" in text


def test_a_notebook_shows_the_same(found):
    assert found._repr_html_() in found.to_html()
    assert "column_shapes" in repr(found)


def test_pictures_are_pictures(found):
    image = pytest.importorskip("matplotlib.image")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', found.to_html())
    assert len(pictures) == 5
    for data in pictures:
        pixels = image.imread(io.BytesIO(base64.b64decode(data)))
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 0.01


def test_names_are_escaped(of_tables):
    text = of_tables.to_html()
    assert "_good $a_{$ &lt;one&gt;" in text
    assert "<one>" not in text
    assert "<b>" not in text


def test_without_matplotlib_the_figures_are_at_hand(of_tables, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"tabgraa-sklearn\[report\]"):
        of_tables.to_html()
    assert len(of_tables.frame()) > 0
    shown = of_tables._repr_html_()
    assert "pip install" in shown
    assert "column_shapes" in shown


def test_the_page_opens_in_a_browser(found, tmp_path):
    """Every section is drawn and nothing is complained of; CI insists on the browser."""
    image = pytest.importorskip("matplotlib.image")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        assert not os.environ.get("TABGRAA_BROWSER"), "no chromium, though TABGRAA_BROWSER is set"
        pytest.skip("no chromium")
    found.to_html(tmp_path / "report.html")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
    command += ["--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--window-size=1200,3600", "--hide-scrollbars"]
    page = (tmp_path / "report.html").as_uri()
    shown = subprocess.run(
        [*command, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True
    )
    assert re.findall(r'data-section="(\w+)"', shown.stdout) == SECTIONS
    assert "CONSOLE" not in shown.stderr
    picture = tmp_path / "page.png"
    subprocess.run(
        [*command, f"--screenshot={picture}", page], capture_output=True, timeout=120, check=True
    )
    pixels = image.imread(picture)
    assert pixels.shape[:2] == (3600, 1200)
    # Down to the foot of the page, stretches of every height hold something.
    filled = [part.std() > 0.005 for part in np.array_split(pixels[:, :, :3], 12)]
    assert sum(filled) >= 10
