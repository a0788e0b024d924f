"""The Adult census table, in the manner of scikit-learn's loaders."""

from __future__ import annotations

from importlib import resources
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

_DATA = resources.files("tabgraa_sklearn.datasets") / "data"
_FILES = {"train": "adult.train.csv.gz", "test": "adult.test.csv.gz"}
_TARGET = "income"


def load_adult(
    *,
    subset: Literal["train", "test", "all"] = "train",
    return_X_y: bool = False,
    as_frame: bool = True,
) -> Bunch | tuple[pd.DataFrame | np.ndarray, pd.Series | np.ndarray]:
    """Load the Adult census table: 48,842 people, 14 features, income as the target.

    The table is carried by the package; nothing is downloaded. It is licensed under CC BY 4.0, see
    ``DESCR`` of the result for its source and for what was changed.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The donors' 32,561 train rows, their 16,281 test rows, or both in this order.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=True
        Whether data and target are pandas objects (categories as ``category``, numbers as
        ``int64``) or numpy arrays of objects.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : DataFrame or ndarray of shape (n_rows, 14)
            The features.
        target : Series or ndarray of shape (n_rows,)
            ``"<=50K"`` or ``">50K"``.
        frame : DataFrame of shape (n_rows, 15) or None
            Features and target; None if ``as_frame=False``.
        feature_names : list of str
            Names of the features.
        target_names : list of str
            The target's two labels.
        DESCR : str
            Description, source, licence and changes.
        filename : list of str
            The files that were read.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these attributes.

    Raises
    ------
    ValueError
        If ``subset`` is none of the three names.

    Examples
    --------
    >>> from tabgraa_sklearn.datasets import load_adult
    >>> adult = load_adult()
    >>> adult.frame.shape
    (32561, 15)
    >>> adult.feature_names[:4]
    ['age', 'workclass', 'fnlwgt', 'education']
    >>> adult.target_names
    ['<=50K', '>50K']
    >>> X, y = load_adult(subset="test", return_X_y=True)
    >>> X.shape, y.name
    ((16281, 14), 'income')
    """
    subsets = (*_FILES, "all")
    if subset not in subsets:
        raise ValueError(f"subset must be one of {', '.join(map(repr, subsets))}; got {subset!r}")
    parts = {name: _read(file) for name, file in _FILES.items()}
    # Categories are those of the whole table, so that train and test rows have equal dtypes.
    frame = pd.concat(parts.values(), ignore_index=True)
    labels = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    frame = frame.astype(dict.fromkeys(labels, "category"))
    train_rows = len(parts["train"])
    if subset == "train":
        frame = frame.iloc[:train_rows]
    elif subset == "test":
        frame = frame.iloc[train_rows:].reset_index(drop=True)

    features, income = frame.drop(columns=_TARGET), frame[_TARGET]
    data = features if as_frame else features.to_numpy(dtype=object)
    target = income if as_frame else income.to_numpy(dtype=object)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame if as_frame else None,
        feature_names=list(features.columns),
        target_names=list(income.cat.categories),
        DESCR=(_DATA / "adult.rst").read_text(encoding="utf-8"),
        filename=[file for name, file in _FILES.items() if subset in (name, "all")],
    )


def _read(file: str) -> pd.DataFrame:
    with resources.as_file(_DATA / file) as path:
        return pd.read_csv(path, keep_default_na=False)
