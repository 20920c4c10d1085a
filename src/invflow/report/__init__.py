"""Figures, and the HTML pages of runs."""

from invflow.report.page import require
from invflow.report.vae import BRIEF, results, sheet, write

__all__ = ["BRIEF", "require", "results", "sheet", "write"]
