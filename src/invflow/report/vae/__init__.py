"""The report of a VAE run."""

from invflow.report.pictures import sheet
from invflow.report.vae.compare import compare
from invflow.report.vae.table import brief, has_bits
from invflow.report.vae.write import write

__all__ = ["brief", "compare", "has_bits", "sheet", "write"]
