"""A report as a page."""

from __future__ import annotations

import html
import math
from typing import Any

import pandas as pd

from . import _report_plots as plots

__all__ = ["body", "document", "without_pictures"]

_STYLE = """
.tabgraa { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: auto }
.tabgraa h1 { font-size: 1.6em; margin: .8em 0 .2em }
.tabgraa h2 { font-size: 1.2em; margin: 1.8em 0 .4em; border-bottom: 1px solid #ddd }
.tabgraa p { color: #555; margin: .3em 0 .8em; max-width: 75ch }
.tabgraa table { border-collapse: collapse; font-size: .9em; background: #fff }
.tabgraa th, .tabgraa td { padding: .25em .8em; text-align: right; border-bottom: 1px solid #eee }
.tabgraa th { color: #555; font-weight: 600 }
.tabgraa th:first-child, .tabgraa td:first-child, .tabgraa .text { text-align: left }
.tabgraa small { color: #888 }
.tabgraa .real { color: #3d5a80 } .tabgraa .synthetic { color: #e07a3f }
.tabgraa .wide { overflow-x: auto }
.tabgraa img { max-width: 100%; height: auto }
"""


def document(report: Any) -> str:
    """Give the page, with all that it needs in it."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Synthetic tables: a report</title>\n</head>\n<body>\n{body(report)}\n"
        "</body>\n</html>\n"
    )


def body(report: Any) -> str:
    """Give what stands in the page, or in a notebook."""
    shown = html.escape(report.shown)
    sections = [
        _section(
            "overview",
            "Overview",
            f"{report.n_rows:,} rows of each table, with 95 % intervals. The real holdout is the "
            "ceiling: rows that no model saw, in the place of synthetic ones. (Samples are "
            "stratified, so that counts may score a little more.) " + _of_target(report),
            _figures(report, ("fidelity", "utility")),
        ),
        _section(
            "columns",
            "Columns",
            f'<span class="real">Real</span> and <span class="synthetic">{shown}</span> rows, the '
            "least alike columns first, each with its likeness (1: equal). Numbers between the "
            "0.5 % and the 99.5 % quantile; at most 24 columns, and 12 labels of each.",
            plots.columns(report),
        ),
        _section(
            "pairs",
            "Dependence of columns",
            "Normalised mutual information of pairs of columns; of more than 40 columns those that "
            "are least alike.",
            plots.pairs(report) if len(report.pairs) else "<p>There is only one column.</p>",
        ),
        _section(
            "differences",
            "Where a classifier sees a difference",
            f"LightGBM was trained to tell {shown} rows from train rows; labels are categories to "
            f"it. The area under its ROC curve is {report.differences.auc:.3f} (.5: it guesses), "
            "and what it goes by matters as far as it succeeds. Below, the rows that were most "
            "surely recognised, with the probability of being real that they were given.",
            plots.importances(report) + _rows(report.differences.worst_rows),
        ),
        _section(
            "privacy",
            "Privacy",
            "Figures of the real holdout are what rows score that were not learnt from.",
            _figures(report, ("privacy",)) + plots.distances(report),
        ),
        _section("rounds", "Rounds of alignment", "", _rounds(report)),
    ]
    return (
        f'<div class="tabgraa"><style>{_STYLE}</style><h1>Synthetic tables: a report</h1>'
        + "".join(sections)
        + "</div>"
    )


def without_pictures(report: Any, reason: str) -> str:
    """Give the figures alone, and why there is no more."""
    everything = _figures(report, ("fidelity", "utility", "privacy"))
    return (
        f'<div class="tabgraa"><style>{_STYLE}</style><h1>Synthetic tables: a report</h1>'
        f"<p>{html.escape(reason)}</p>{everything}</div>"
    )


def _of_target(report: Any) -> str:
    if report.target is None:
        return "No column is predicted: the last one will not do, and no other was named."
    return f"What is predicted is {html.escape(str(report.target))}."


def _section(key: str, title: str, text: str, content: str) -> str:
    return f'<section data-section="{key}"><h2>{title}</h2><p>{text}</p>{content}</section>'


def _figures(report: Any, about: tuple[str, ...]) -> str:
    figures = report.figures[report.figures["about"].isin(about)]
    tables = list(figures["table"].unique())
    head = "".join(f"<th>{html.escape(name)}</th>" for name in tables)
    lines = []
    for measure, lines_of in figures.groupby("measure", sort=False):
        by_table = lines_of.set_index("table")
        cells = "".join(_figure(by_table.loc[name]) for name in tables)
        first = by_table.iloc[0]
        lines.append(
            f"<tr><td>{html.escape(str(measure))}</td>{cells}<td>{html.escape(first['best'])}</td>"
            f'<td class="text">{html.escape(first["meaning"])}</td></tr>'
        )
    return (
        f'<div class="wide"><table><thead><tr><th>measure</th>{head}<th>best</th>'
        f'<th class="text">what it says</th></tr></thead><tbody>{"".join(lines)}</tbody>'
        "</table></div>"
    )


def _figure(line: Any) -> str:
    if math.isnan(line["low"]):
        return f"<td>{line['value']:.4f}</td>"
    interval = f"{line['low']:.4f} &ndash; {line['high']:.4f}"
    return f"<td>{line['value']:.4f}<br><small>{interval}</small></td>"


def _rows(frame: pd.DataFrame) -> str:
    table = frame.to_html(index=False, border=0, na_rep="", justify="right")
    return f'<div class="wide">{table}</div>'


def _rounds(report: Any) -> str:
    if len(report.history) == 0:
        return "<p>There were none.</p>"
    kept = ["round", "signal_auc", "judge_score", "held_out_gain", "log_ratio_std", "copy_share"]
    table = report.history[[name for name in [*kept, "seconds"] if name in report.history]]
    return plots.rounds(report) + _rows(table.astype({"round": int}).round(4))
