"""The report of a density of images."""

from invflow.report.images.compare import compare
from invflow.report.images.write import brief, write
from invflow.report.pictures import sheet

__all__ = ["brief", "compare", "sheet", "write"]
