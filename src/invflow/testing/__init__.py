"""Checks for univariate maps, conditioners and transforms of your own.

A flow is right if its parts have some properties: the inverse undoes the map, the log-determinant
is that of the derivative, the parameters of a feature do not depend on later features. Each
function takes a part, checks these in double precision and away from where the part starts, and
raises an `AssertionError` that says which property fails, by how much, and what follows.

The checks use copies and random numbers of their own: neither the part nor any global state is
changed.
"""

from invflow.testing.conditioner import check_conditioner
from invflow.testing.transform import check_transform
from invflow.testing.univariate import check_univariate

__all__ = ["check_conditioner", "check_transform", "check_univariate"]
