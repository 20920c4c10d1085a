"""Figures, and the HTML page of a run."""

from invflow.report.page import require
from invflow.report.vae import COLUMNS, rows, sheet, write

__all__ = ["COLUMNS", "require", "rows", "sheet", "write"]
