"""The report of a density run: tables, figures, and the page that holds them."""

from invflow.report.density.tables import brief
from invflow.report.density.write import write

__all__ = ["brief", "write"]
