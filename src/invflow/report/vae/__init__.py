"""The report of a VAE run: a table, figures, and the page that holds them."""

from invflow.report.vae.pictures import sheet
from invflow.report.vae.table import brief, has_bits, results
from invflow.report.vae.write import write

__all__ = ["brief", "has_bits", "results", "sheet", "write"]
