"""The report of a density run."""

from invflow.report.density.compare import compare
from invflow.report.density.tables import brief
from invflow.report.density.write import write

__all__ = ["brief", "compare", "write"]
