"""What is seen of a column in a first pass: its kind, its bounds, and whether it has a density."""

from invflow.density.table.looks.context import Context
from invflow.density.table.looks.feature import Feature
from invflow.density.table.looks.levels import FEW_LEVELS, FEWEST_REPEATS, MOST_LEVELS

__all__ = ["FEWEST_REPEATS", "FEW_LEVELS", "MOST_LEVELS", "Context", "Feature"]
