"""Runs beside each other: tables, figures, and the page that holds them."""

from invflow.report.comparison.check import labelled
from invflow.report.comparison.tables import results, seeds
from invflow.report.comparison.write import write

__all__ = ["labelled", "results", "seeds", "write"]
