"""Synthetic tables from a tabular language model, as a scikit-learn estimator."""

from ._imputer import TabGRAAImputer
from ._report import Report, report
from ._schema import ColumnKindWarning
from ._synthesizer import TabGRAASynthesizer
from ._text_backbone import TextBackbone

__all__ = [
    "ColumnKindWarning",
    "Report",
    "TabGRAAImputer",
    "TabGRAASynthesizer",
    "TextBackbone",
    "report",
]
__version__ = "0.1.0.dev0"
