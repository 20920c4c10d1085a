"""The page of a run of inference from simulations."""

from invflow.report.inference.compare import compare
from invflow.report.inference.write import brief, write

__all__ = ["brief", "compare", "write"]
