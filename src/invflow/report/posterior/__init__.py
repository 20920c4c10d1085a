"""The report of a posterior."""

from invflow.report.posterior.compare import compare
from invflow.report.posterior.write import brief, write

__all__ = ["brief", "compare", "write"]
