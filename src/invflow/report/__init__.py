"""Figures, and the HTML pages of runs."""

from invflow.report.page import require
from invflow.report.vae import brief, has_bits, results, sheet, write

__all__ = ["brief", "has_bits", "require", "results", "sheet", "write"]
