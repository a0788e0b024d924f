"""The pictures of a report, as images that stand in the page itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["columns", "distances", "importances", "pairs", "rounds"]

Floats = npt.NDArray[np.float64]

REAL, SYNTHETIC = "#3d5a80", "#e07a3f"
_MOST_COLUMNS = 24  # that are drawn
_MOST_LABELS = 12  # of a column


def columns(report: Any) -> str:
    """Draw the distributions of single columns, the least alike first."""
    shapes = report.shapes.sort_values("score", kind="stable").head(_MOST_COLUMNS)
    n_wide = min(3, max(len(shapes), 1))
    n_high = -(-len(shapes) // n_wide)
    figure = _figure(3.6 * n_wide, 2.5 * n_high)
    for place, (name, score) in enumerate(zip(shapes["column"], shapes["score"], strict=True)):
        axes = figure.add_subplot(n_high, n_wide, place + 1)
        draw = _histogram if name in report.sides[0].numbers else _bars
        draw(axes, report.sides, name)
        axes.set_title(f"{_short(name, 28)}   {score:.3f}", fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    return _image(figure, "Distributions of single columns, real and synthetic")


def _histogram(axes: Any, sides: list[Any], name: Any) -> None:
    real, synthetic = (side.numbers[name].dropna().to_numpy() for side in sides)
    if len(real) == 0 and len(synthetic) == 0:
        return
    both = np.concatenate([real, synthetic])
    low, high = np.quantile(both, [0.005, 0.995])
    if low == high:
        low, high = both.min(), both.max()
    if low == high:  # one value: a bar around it
        low, high = low - max(abs(low) / 2, 0.5), high + max(abs(high) / 2, 0.5)
    share = np.linspace(0.0, 1.0, 41)
    edges = low * (1.0 - share) + high * share  # their difference may be more than a float holds
    for values, colour, style in ((real, REAL, "stepfilled"), (synthetic, SYNTHETIC, "step")):
        weights = np.full(len(values), 1.0 / max(len(values), 1))
        alpha = 0.35 if style == "stepfilled" else 1.0
        axes.hist(values, edges, weights=weights, histtype=style, color=colour, alpha=alpha)
    column = sides[0].columns[name]
    if column.kind == "datetime":
        unit: Any = getattr(column.cells, "unit", "ns")
        axes.xaxis.set_major_formatter(lambda place, _: str(np.datetime64(int(place), unit))[:10])
        axes.tick_params(axis="x", rotation=20)


def _bars(axes: Any, sides: list[Any], name: Any) -> None:
    real, synthetic = (side.labels[name].value_counts(normalize=True) for side in sides)
    largest = pd.concat([real, synthetic], axis=1).fillna(0.0).max(axis=1)
    frequent = largest.sort_values(ascending=False, kind="stable").index[:_MOST_LABELS].tolist()
    texts = sides[0].texts[name]
    places = np.arange(len(frequent))
    for shift, shares, colour in ((-0.2, real, REAL), (0.2, synthetic, SYNTHETIC)):
        axes.bar(places + shift, shares.reindex(frequent).fillna(0.0), 0.4, color=colour)
    labels = ["missing" if code < 0 else _short(texts[code], 12) for code in frequent]
    axes.set_xticks(places, labels, rotation=60, ha="right")


def pairs(report: Any) -> str:
    """Draw the dependence of pairs of columns: real, synthetic, and the difference."""
    found = report.pairs
    paired = {name for pair in found["columns"] for name in pair}
    names = [name for name in report.sides[0].order if name in paired]
    place = {name: number for number, name in enumerate(names)}
    matrices = np.full((2, len(names), len(names)), np.nan)
    for (one, other), *values in found[["columns", "real", "synthetic"]].itertuples(index=False):
        matrices[:, place[one], place[other]] = values
        matrices[:, place[other], place[one]] = values
    size = max(3.4, 0.16 * len(names) + 1.2)
    figure = _figure(3 * size, size)
    largest = max(float(np.nanmax(matrices, initial=0.0)), 1e-6)
    apart = max(float(np.nanmax(np.abs(matrices[1] - matrices[0]), initial=0.0)), 0.1)
    parts = [
        ("real", matrices[0], "Blues", 0.0, largest),
        ("synthetic", matrices[1], "Blues", 0.0, largest),
        ("synthetic less real", matrices[1] - matrices[0], "RdBu_r", -apart, apart),
    ]
    for number, (title, matrix, colours, low, high) in enumerate(parts):
        axes = figure.add_subplot(1, 3, number + 1)
        image = axes.imshow(matrix, cmap=colours, vmin=low, vmax=high)
        axes.set_title(title, fontsize=9, loc="left")
        labels = [_short(name, 14) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), labels if number == 0 else [], fontsize=6)
        bar = figure.colorbar(image, ax=axes, shrink=0.7)
        bar.ax.tick_params(labelsize=6)
    return _image(figure, "Mutual information of pairs of columns, real, synthetic, difference")


def importances(report: Any) -> str:
    """Draw what the classifier goes by."""
    shares = report.differences.importances.head(_MOST_COLUMNS)[::-1]
    figure = _figure(6.4, 0.24 * len(shares) + 0.7)
    axes = figure.add_subplot(1, 1, 1)
    places = range(len(shares))  # names may be equal once they are cut
    axes.barh(places, shares, color=SYNTHETIC)
    axes.set_yticks(places, [_short(name, 28) for name in shares.index])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("share of the gain", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return _image(figure, "Share of the classifier's gain by column")


def distances(report: Any) -> str:
    """Draw how near to train rows synthetic and held-out ones lie."""
    figure = _figure(6.4, 2.6)
    axes = figure.add_subplot(1, 1, 1)
    values = list(report.distances.values())
    high = max(float(np.quantile(np.concatenate(values), 0.99)), 1e-9)
    edges = np.linspace(0.0, high, 50)
    for (name, part), colour in zip(report.distances.items(), (SYNTHETIC, REAL), strict=True):
        weights = np.full(len(part), 1.0 / len(part))
        clipped = np.minimum(part, high)
        axes.hist(
            clipped, edges, weights=weights, histtype="step", color=colour, label=_short(name, 28)
        )
    axes.set_xlabel("distance to the nearest train row", fontsize=8)
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return _image(figure, "Distances to the nearest train row")


def rounds(report: Any) -> str:
    """Draw the rounds of alignment."""
    history = report.history
    parts = [
        ("judge_score", "judge score (1: not told apart)", "judge_error"),
        ("held_out_gain", "held-out gain, nats per row", "held_out_error"),
    ]
    figure = _figure(8.0, 2.6)
    for number, (name, title, error) in enumerate(parts):
        axes = figure.add_subplot(1, 2, number + 1)
        axes.errorbar(
            history["round"], history[name], history[error], marker="o", color=SYNTHETIC, capsize=3
        )
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("round", fontsize=8)
        axes.set_xticks(history["round"])
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return _image(figure, "The rounds of alignment")


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "The pictures of a report need matplotlib: pip install 'tabgraa-sklearn[report]'. Its "
            "figures are at hand without, as report.frame()."
        ) from error
    return Figure(figsize=(width, max(height, 1.2)), layout="constrained")


def _image(figure: Any, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{text}" src="data:image/png;base64,{data}">'


def _short(name: Any, length: int) -> str:
    """Cut a name; a dollar sign would start a formula, an underscore would hide it in a legend."""
    text = str(name)
    text = "\u200b" + text if text.startswith("_") else text
    text = text if len(text) <= length else text[: length - 1] + "…"
    return text.replace("$", r"\$")
