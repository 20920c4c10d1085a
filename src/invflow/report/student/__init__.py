"""The report of a distillation run."""

from invflow.report.student.compare import compare
from invflow.report.student.write import brief, write

__all__ = ["brief", "compare", "write"]
