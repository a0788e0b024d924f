"""The benchmark tables by name, or any CSV file, each as train and test rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Table:
    """Real rows, split, with what a measure must know of the columns."""

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    target: str
    categorical: list[str]


def names() -> list[str]:
    """Names of the tables in ``benchmarks/data``."""
    return sorted(path.stem for path in DATA.glob("*.json"))


def load(name: str) -> Table:
    """Load a table of ``benchmarks/data`` with its fixed split."""
    if name not in names():
        raise SystemExit(f"unknown table {name!r}; there are {', '.join(names())}, or use --csv")
    facts = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    train, test = (pd.read_csv(DATA / f"{name}.{part}.csv.gz") for part in ("train", "test"))
    return Table(name, train, test, facts["target"], facts["categorical"])


def load_csv(
    path: Path,
    *,
    target: str | None = None,
    categorical: list[str] | None = None,
    test_share: float = 0.1,
    random_state: int = 0,
) -> Table:
    """Load a CSV file and cut it at random into train and test rows.

    ``target`` is the last column when not given. ``categorical`` are by default the columns that
    hold no numbers, and the target when it has at most 20 distinct values.
    """
    frame = pd.read_csv(path)
    target = frame.columns[-1] if target is None else target
    if target not in frame.columns:
        raise SystemExit(f"--target {target!r} is no column of {path}: {list(frame.columns)}")
    if categorical is None:
        categorical = [
            name
            for name in frame.columns
            if not pd.api.types.is_numeric_dtype(frame[name])
            or pd.api.types.is_bool_dtype(frame[name])
            or (name == target and frame[name].nunique() <= 20)
        ]
    order = np.random.default_rng(random_state).permutation(len(frame))
    cut = max(1, round(test_share * len(frame)))
    train, test = (
        frame.iloc[np.sort(part)].reset_index(drop=True) for part in (order[cut:], order[:cut])
    )
    return Table(path.stem, train, test, target, categorical)
