"""The report of a posterior: the page, and the table that a terminal shows."""

from invflow.report.posterior.write import write

__all__ = ["write"]
