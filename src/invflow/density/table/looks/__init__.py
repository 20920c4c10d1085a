"""What is seen of a column in a first pass: its kind, its bounds, and whether it has a density."""

from invflow.density.table.looks.context import Context
from invflow.density.table.looks.feature import Feature
from invflow.density.table.looks.levels import MOST_LEVELS, hardly_repeat

__all__ = ["MOST_LEVELS", "Context", "Feature", "hardly_repeat"]
