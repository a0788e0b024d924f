"""What the benchmarks share: result files, their rendering, and slopes of growth."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="no benchmarks beside the tests")


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    names = {path.stem for path in FOLDER.glob("*.py")}

    yield importlib.import_module
    for name in names & set(sys.modules):
        del sys.modules[name]


def line(seed, value, outcome="done"):
    return {"table": "adult", "seed": str(seed), "repeats": 1, "value": value, "outcome": outcome}


def test_a_repeated_run_takes_the_place_of_the_earlier_one(module, tmp_path):
    results = module("results")
    file = tmp_path / "figures.csv"
    for seed, value in ((0, 1.0), (1, 2.0), (0, 4.0)):
        stored = results.store(file, [line(seed, value)], key=["table"])
    values = stored.set_index("seed")["value"]
    assert values.to_dict() == pytest.approx({"1": 2.0, "0": 4.0, "mean": 3.0, "sd": 2**0.5})
    assert (stored["repeats"] == 2).all()
    pd.testing.assert_frame_equal(pd.read_csv(file, dtype={"seed": str}), stored)


def test_only_what_was_done_is_summarised(module, tmp_path):
    results = module("results")
    rows = [line(0, 1.0), line(1, 3.0), line(2, np.nan, "not done in 300 s")]
    stored = results.store(tmp_path / "figures.csv", rows, key=["table"]).set_index("seed")
    assert stored.loc["mean", "value"] == 2.0
    assert stored.loc["mean", "outcome"] == "2 of 3 done"
    assert stored.loc["mean", "repeats"] == 2
    failed = [line(seed, np.nan, "failed") for seed in (0, 1)]
    stored = results.store(tmp_path / "others.csv", failed, key=["table"])
    assert list(stored["seed"]) == ["0", "1"]


def test_cells_of_a_rendered_table_stay_in_their_columns(module):
    render = module("render")
    assert render.plain("a | b") == r"a \| b"
    assert render.plain(float("nan")) == ""
    assert render.plain(12345.6) == "12,346"


def test_the_rendered_page_is_that_of_the_results(module):
    render = module("render")
    assert render.OUT.read_text(encoding="utf-8") == render.rendered()


def test_slopes_are_exponents_of_growth(module):
    scaling = module("scaling")
    sizes = np.array([1e3, 1e4, 1e5, 1e6])
    growth = {"epoch_seconds": sizes, "fit_seconds": sizes**1.5, "sample_seconds": sizes**0.5}
    stored = pd.DataFrame({"axis": "rows", "rows": sizes, "seed": "0", "memory_mb": 1.0, **growth})
    found = scaling.slopes(stored).set_index("figure")
    wanted = {"epoch_seconds": 1.0, "fit_seconds": 1.5, "sample_seconds": 0.5, "memory_mb": 0.0}
    assert found["slope"].to_dict() == pytest.approx(wanted, abs=1e-9)
    assert list(found["at_most_linear"]) == [True, False, True, True]


def test_only_one_column_has_the_many_categories(module):
    table = module("scaling").make_table(5000, 4, 1000, seed=0)
    assert table["label_1"].nunique() > 900
    assert table["label_3"].nunique() == 20


def test_rows_are_valid_where_each_cell_could_be_one_of_the_table(module):
    train = pd.DataFrame({"age": [20, 60], "job": ["a", None], "income": ["x", "y"]})
    table = module("tables").Table("some", train, train, "income", ["job", "income"])
    rows = pd.DataFrame(
        {
            "age": ["30", "61", "old", "20", "25"],
            "job": ["a", "a", "a", None, "b"],
            "income": ["x", "y", "x", "y", "x"],
        }
    )
    assert module("text").share_valid(rows, table) == 3 / 5
    assert module("text").share_valid(rows.head(0), table) == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to catch")
def test_a_system_ends_with_the_benchmark_that_started_it(tmp_path):
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    # A system holds the pipe open as long as it lives: its reader then comes to an end.
    system = f"import time; held = open({str(pipe)!r}, 'w'); print('on', file=held, flush=True); "
    command = [sys.executable, "-c", system + "time.sleep(300)"]
    work = f"import workers; workers.run_within(300, {command!r}, {str(tmp_path)!r})"
    benchmark = subprocess.Popen([sys.executable, "-c", work], cwd=FOLDER)
    with pipe.open() as held:
        assert held.readline() == "on\n"
        benchmark.terminate()
        assert held.read() == ""
    assert benchmark.wait(30) == 128 + signal.SIGTERM


def test_ratios_count_the_repeats_of_the_peer(module):
    speed = module("speed")
    of = dict.fromkeys(speed.FIGURES, 2.0) | {"table": "adult", "target": 0.75, "date": "today"}
    of |= dict.fromkeys(speed.MACHINE, "x") | {"c2st_xgboost": 0.7}
    peer = of | {"synthesizer": "peer", "seed": "1", "fit_seconds": 5.0}
    peer |= {"seconds_to_target": np.nan}
    ours = [of | {"synthesizer": speed.OURS, "seed": str(seed)} for seed in range(3)]
    elsewhere = peer | {"seed": "0", "processor": "another"}
    ratios = speed.ratios(speed.reached(pd.DataFrame([*ours, peer, elsewhere])))
    assert ratios.groupby("processor")["without_result"].sum().to_dict() == {"another": 4, "x": 1}
    here = ratios[ratios["processor"] == "x"].set_index("figure")
    assert (here["repeats"] == 1).all()
    assert here.loc["fit_seconds", "median"] == 2.5
    assert here.loc["seconds_to_target", "without_result"] == 1
    good = peer | {"c2st_xgboost": 0.8}  # its default fit reaches the target, no shorter one did
    ratios = speed.ratios(speed.reached(pd.DataFrame([*ours, good]))).set_index("figure")
    assert ratios.loc["seconds_to_target", "median"] == 2.5


def test_fields_of_a_variant_reach_the_aligner(module):
    alignment = module("alignment")
    before = alignment.module.Aligner
    parts = dict.fromkeys(("tokenizer", "order", "device", "precision"))
    for name, variant in alignment.VARIANTS.items():
        with alignment.changed(variant, []):
            aligner = alignment.module.Aligner(**parts, match=True, trust=2.0)
        found = {key: getattr(aligner, key) for key in variant.fields}
        assert found == variant.fields, name
    assert alignment.module.Aligner is before
    usual = before(**parts)
    assert all(
        getattr(usual, key) != value
        for variant in alignment.VARIANTS.values()
        for key, value in variant.fields.items()
    )


def rendered_alignment(render, runs):
    """Cells of the first table that the runs are rendered to, under its heads."""
    line = {"start": "weak", "rounds": 2, "pool": 9, **dict.fromkeys(render.MACHINE, "x")}
    full = [
        {**line, **run, **dict.fromkeys(render.QUALITY, run.pop("value"))}
        for run in (dict(run) for run in runs)
    ]
    table = render.render_alignment(pd.DataFrame(full))[2].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]


def aligned(table, variant, value, best_round, seed="0"):
    names = ("table", "variant", "value", "best_round", "seed")
    return dict(zip(names, (table, variant, value, best_round, seed), strict=True))


def test_variants_of_the_alignment_are_rendered_with_their_means(module):
    runs = [
        aligned("adult", "none", 0.6, 0),
        aligned("magic", "none", 0.8, 0),
        aligned("adult", "dpo", 0.2, 0),
        aligned("magic", "dpo", 0.9, 2),
        aligned("magic", "kto", 0.9, 2),
        {**aligned("magic", "none", 0.8, 0), "pool": 99},
    ]
    none, dpo, kto = rendered_alignment(module("render"), runs)
    assert none[3:] == ["0.7000", "0.7000", "+0.0000 ± 0.0000", "0 of 2"]
    assert dpo[2:] == [" / ".join(["0.9000"] * 4), "0.5500", "0.7500", "-0.1500 ± 0.2500", "1 of 2"]
    assert kto[1] == kto[3] == kto[4] == kto[5] == ""


def test_rounds_are_compared_with_the_supervised_model_of_their_machine(module):
    runs = [
        aligned("magic", "none", 0.8, 0),
        aligned("magic", "none", 0.9, 0, "1"),
        aligned("magic", "dpo", 0.7, 0, "1"),
        {**aligned("magic", "none", 0.6, 0), "processor": "y"},
        {**aligned("magic", "dpo", 0.7, 1), "processor": "y"},
    ]
    none, dpo = rendered_alignment(module("render"), runs)
    # A seed of two machines counts once: ((.8 + .6) / 2 + .9) / 2.
    assert none[1:4] == [" / ".join(["0.8000"] * 4), "0.8000", "0.8000"]
    assert dpo[1:] == [
        " / ".join(["0.7000"] * 4),
        "0.7000",
        "0.8000",
        "-0.0500 ± 0.1500",
        "1 of 2",
    ]


def test_results_of_runs_side_by_side_are_put_together(module, tmp_path):
    # Another experiment has a word where this one has a number.
    results, line = module("results"), {"table": "adult", "variant": "dpo", "layers": 6}
    other = [{**line, "layers": "all", "seed": "0", "c2st_xgboost": 0.9}]
    results.store(tmp_path / "both.csv", other, key=list(line))
    for seed in ("0", "1"):
        run = [{**line, "seed": seed, "c2st_xgboost": 0.5 + int(seed)}]
        results.store(tmp_path / f"{seed}.csv", run, key=list(line))
    both = tmp_path / "both.csv"
    results.merge([tmp_path / "0.csv", tmp_path / "1.csv"], both, key=list(line))
    results.merge([tmp_path / "1.csv"], both, key=list(line))  # in place of what is there
    stored = pd.read_csv(both, dtype={"seed": str})
    assert len(stored) == 5
    stored = stored.query("layers == '6'").set_index("seed")["c2st_xgboost"]
    assert stored.drop("sd").to_dict() == {"0": 0.5, "1": 1.5, "mean": 1.0}
