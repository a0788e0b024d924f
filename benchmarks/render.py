"""Write ``RESULTS.md`` from the files in ``results/``: no figure there is typed by hand.

python benchmarks/render.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import results
from measures import MEASURES

OUT = Path(__file__).parent / "RESULTS.md"
# What a fit and a sample cost: column of the result file, heading, decimals.
COSTS = {
    "fit_seconds": ("fit, s", 1),
    "sample_rows_per_second": ("sample, rows/s", 0),
    "peak_memory_mb": ("peak memory, MB", 0),
    "epochs": ("epochs", 1),
    "parameters": ("weights", 0),
    "train_rows": ("train rows", 0),
}
# Of the alignment: what is averaged, and its short names.
QUALITY = {
    "c2st_xgboost": "C2ST",
    "column_shapes": "shapes",
    "pair_trends": "trends",
    "downstream_auc_untuned": "AUC",
}
# What a table of results does not say of itself.
NOTES = {
    "speed": "tabgraa-sklearn is its supervised stage alone (`n_rounds=0`), as the peers have "
    "nothing beyond it; what the default fit with its rounds takes stands above, under Defaults.",
    "text_great": "Where the processor multiplies bfloat16 faster, ours computes in it; be-great "
    "computes in float32, as it comes.",
    "text_objectives": "The variants of a seed share one supervised stage: its seconds stand with "
    "`none`, what comes after it with the others. Some ran beside other jobs, which took longer. "
    "`layers` says how many of the text model's layers were taken.",
    "conditional": "Rates are of the median of up to seven calls, as many as begin within ten "
    "seconds. `chances` are those of the target for each row; `one pass` is a fit with "
    '`random_order_share=0.8` and `n_rounds=0`, asked with `method="one_pass"`. Each number of '
    "cores has lines of its own.",
}
MACHINE = ("processor", "cores", "system", "versions", "date")


def main() -> None:
    """Write every result file that is there into one page."""
    OUT.write_text(rendered(), encoding="utf-8")
    print(f"wrote {OUT}")


def rendered() -> str:
    """Render every result file that is there."""
    parts = ["# Results", "Made by `render.py` from the files in `results/`; do not edit by hand."]
    fidelity = results.RESULTS / "fidelity.csv"
    if fidelity.exists():
        parts += render_fidelity(pd.read_csv(fidelity, dtype={"seed": str}))
    alignment = results.RESULTS / "alignment.csv"
    if alignment.exists():
        parts += render_alignment(pd.read_csv(alignment, dtype={"seed": str}))
    for file in sorted(results.RESULTS.glob("*.csv")):
        if file not in (fidelity, alignment):
            parts += render_plain(file.stem, pd.read_csv(file))
            picture = file.with_suffix(".png")
            if picture.exists():
                parts.append(f"![{file.stem}](results/{picture.name})")
    return "\n\n".join(parts) + "\n"


def render_fidelity(stored: pd.DataFrame) -> list[str]:
    """Render mean and standard deviation over seeds, for each of the settings that were run."""
    runs = stored[~stored["seed"].isin(results.SUMMARIES)]
    parts = ["## Fidelity, utility, privacy and cost"]
    for settings in sorted(runs["settings"].unique(), key=lambda text: (text != "{}", text)):
        group = runs[runs["settings"] == settings]
        parts.append(f"### {described(settings)}")
        tables = list(group.groupby("table", sort=False))
        parts.append(
            grid(
                ["measure", "best", *(f"{name} (n={len(table)})" for name, table in tables)],
                [
                    [f"`{name}`", measure.best, *(spread(table[name], 4) for _, table in tables)]
                    for name, measure in MEASURES.items()
                    if name in group
                ]
                + [
                    [heading, "", *(spread(table[name], digits) for _, table in tables)]
                    for name, (heading, digits) in COSTS.items()
                ],
            )
        )
        parts.append(machine_line(group))
    parts.append("Mean ± standard deviation over n seeds. What the measures are:")
    parts.append(
        grid(
            ["measure", "meaning", "source", "range"],
            [
                [f"`{name}`", m.meaning, m.source, f"{m.low:g} to {m.high:g}"]
                for name, m in MEASURES.items()
            ],
        )
    )
    return parts


def render_alignment(stored: pd.DataFrame) -> list[str]:
    """Render the variants of the alignment: figures by table, and their mean over all of them."""
    runs = stored[~stored["seed"].isin(results.SUMMARIES)].copy()
    runs["mean"] = runs[list(QUALITY)].mean(axis=1)
    run = ["table", "start", "rounds", "seed"]
    model = ["table", "start", "seed", "processor"]  # which round their sums differently
    none = runs[runs["variant"] == "none"].set_index(model)["mean"]
    none = none[~none.index.duplicated()]  # the same whatever the rounds and their pools are
    start = pd.MultiIndex.from_frame(runs[model])
    supervised = none.reindex(start).to_numpy(dtype=float)
    runs["handed_back"] = runs["mean"].where(runs["best_round"] > 0, supervised)
    runs["gain"] = runs["mean"] - supervised
    parts = ["## Rounds of alignment, from one supervised model each"]
    settings = ["start", "rounds", "pool"]
    for (start, rounds, pool), group in runs.groupby(settings, sort=False):
        tables = list(group["table"].unique())
        counts = group.groupby("table")["seed"].nunique()
        every = len(group[run].drop_duplicates())
        plural = "" if rounds == 1 else "s"
        parts.append(f"### Start: {start}, {rounds} round{plural}, pools of {pool:,} rows")
        lines = []
        for variant, own in group.groupby("variant", sort=False):
            # Runs of two machines from one seed count as one.
            figures = [*QUALITY, "mean", "handed_back"]
            seeds = own.groupby(["table", "seed"])[figures].mean()
            of_tables = seeds.groupby("table").mean()
            cells = [
                " / ".join(f"{of_tables.at[name, figure]:.4f}" for figure in QUALITY)
                if name in of_tables.index
                else ""
                for name in tables
            ]
            # A mean over fewer runs than others have would not be comparable.
            whole = len(seeds) == every
            means = [
                f"{seeds[name].mean():.4f}" if whole else "" for name in ("mean", "handed_back")
            ]
            gain = f"{own['gain'].mean():+.4f} ± {own['gain'].sem():.4f}" if len(own) > 1 else ""
            kept = f"{(own['best_round'] > 0).sum()} of {len(own)}"
            lines.append([variant, *cells, *means, gain, kept])
        heads = [f"{name} (n={counts[name]})" for name in tables]
        heads = ["variant", *heads, "mean of all", "as handed back", "gain", "runs kept"]
        parts += [grid(heads, lines), machine_line(group)]
    parts.append(
        f"{', '.join(QUALITY.values())} after the last round, means over n seeds; the AUC is that "
        'of XGBoost at its defaults. "As handed back": the supervised model\'s figures where the '
        'rule of the fit keeps no round ("runs kept" counts those of which it keeps one). "Gain": '
        "of the mean of the four after the last round over that of the same supervised model, of "
        "the same processor, mean and standard error over all runs of the variant."
    )
    return parts


def render_plain(name: str, stored: pd.DataFrame) -> list[str]:
    """Render a result file as it stands, without what describes the machine."""
    figures = stored.drop(columns=[column for column in MACHINE if column in stored])
    rows = [[plain(cell) for cell in row] for row in figures.itertuples(index=False)]
    parts = [f"## {name.capitalize()}", grid(list(figures.columns), rows), machine_line(stored)]
    return [*parts, NOTES[name]] if name in NOTES else parts


def described(settings: str) -> str:
    """Say which settings a run had."""
    chosen = json.loads(settings)
    if not chosen:
        return "Defaults"
    return ", ".join(f"`{name}={value!r}`" for name, value in chosen.items())


def machine_line(runs: pd.DataFrame) -> str:
    """Say what the runs ran on; several machines or days are all named."""
    if "seed" in runs:
        runs = runs[~runs["seed"].astype(str).isin(results.SUMMARIES)]
    lines = runs[list(MACHINE)].astype(str).drop_duplicates()
    return "\n".join(
        f"{line.processor}, {line.cores} cores, {line.system}; {line.versions}; {line.date}."
        for line in lines.itertuples()
    )


def spread(figures: pd.Series, digits: int) -> str:
    """Format mean ± standard deviation, or the one figure there is."""
    if figures.isna().all():
        return ""
    mean = f"{figures.mean():,.{digits}f}"
    return f"{mean} ± {figures.std():,.{digits}f}" if figures.nunique() > 1 else mean


def plain(cell: object) -> str:
    """Format a cell of a plain table."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        if math.isnan(cell):
            return ""
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", r"\|")


def grid(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
