"""Result files: one CSV a benchmark, a line a run, with mean and sd lines behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

RESULTS = Path(__file__).parent / "results"
SUMMARIES = ("mean", "sd")
# What describes a run and is no figure of it.
FACTS = ("repeats", "train_rows", "test_rows", "threads", "cores", "time_box")


def store(
    file: Path, rows: list[dict[str, Any]], *, key: Sequence[str], seed: str = "seed"
) -> pd.DataFrame:
    """Store runs in place of earlier runs of the same key and seed; give the whole file back.

    ``key`` names the columns that tell one experiment from another. Its runs differ by ``seed``
    only; behind them stand their mean and standard deviation (n - 1) and ``repeats``, their number.
    Runs whose ``outcome`` is not "done" have no part in these.
    """
    new = pd.DataFrame(rows)
    if file.exists():
        old = pd.read_csv(file, dtype={seed: str})
        old = old[~old[seed].isin(SUMMARIES)]
        again = pd.MultiIndex.from_frame(new[[*key, seed]].astype(str))
        kept = ~pd.MultiIndex.from_frame(old[[*key, seed]].astype(str)).isin(again)
        new = pd.concat([old[kept], new], ignore_index=True)
    blocks = []
    # As text: of a column that holds words too, a file's numbers are words.
    for _, runs in new.groupby([new[name].astype(str) for name in key], sort=False):
        figures = runs.drop(columns=[*key, seed, *FACTS], errors="ignore")
        figures = figures.select_dtypes("number").columns
        done = runs[runs["outcome"] == "done"] if "outcome" in runs else runs
        lines = [runs.assign(repeats=len(done))]
        if len(runs) > 1 and len(done) > 0:
            for name, figure in zip(
                SUMMARIES, (done[figures].mean(), done[figures].std()), strict=True
            ):
                line = done.iloc[[-1]].copy()
                line[figures] = line[figures].astype("float64")
                line[figures] = figure.to_numpy(dtype="float64")[None, :]
                lines.append(line.assign(**{seed: name, "repeats": len(done)}))
                if len(done) < len(runs):
                    lines[-1]["outcome"] = f"{len(done)} of {len(runs)} done"
        blocks.append(pd.concat(lines))
    stored = pd.concat(blocks, ignore_index=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    stored.to_csv(file, index=False, float_format="%.6g")
    return stored


def merge(files: Sequence[Path], out: Path, *, key: Sequence[str]) -> None:
    """Put the runs of several result files into one, as :func:`store` does."""
    for file in files:
        runs = pd.read_csv(file, dtype={"seed": str})
        runs = runs[~runs["seed"].isin(SUMMARIES)]
        store(out, runs.to_dict("records"), key=key)  # type: ignore[arg-type]
