"""The pages of runs: a folder for each kind, each with the same `write`, `brief` and `compare`.

`write(run)` writes the run's `report.html`; `brief(run)` returns what a terminal shows, a title, a
head and rows; `compare(runs)` returns the `Comparison` of several runs.
"""

from invflow.report.page import require

__all__ = ["require"]
