"""Figures, and the HTML page of a run."""

from invflow.report.vae import COLUMNS, rows, sheet, write

__all__ = ["COLUMNS", "rows", "sheet", "write"]
