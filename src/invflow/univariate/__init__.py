"""Monotone maps of one feature, by name or as an object."""

from invflow.univariate.additive import Additive
from invflow.univariate.affine import Affine
from invflow.univariate.base import Univariate
from invflow.univariate.circular import CircularSpline
from invflow.univariate.gated import Gated
from invflow.univariate.monotonic import Monotonic
from invflow.univariate.numerical import Numerical
from invflow.univariate.sigmoidal import Sigmoidal
from invflow.univariate.spline import Spline
from invflow.univariate.table import UNIVARIATES, describe, from_recipe, to_recipe, univariate

__all__ = [
    "UNIVARIATES",
    "Additive",
    "Affine",
    "CircularSpline",
    "Gated",
    "Monotonic",
    "Numerical",
    "Sigmoidal",
    "Spline",
    "Univariate",
    "describe",
    "from_recipe",
    "to_recipe",
    "univariate",
]

UNIVARIATES.update(
    affine=Affine,
    gated=Gated,
    additive=Additive,
    spline=Spline,
    circular=CircularSpline,
    sigmoidal=Sigmoidal,
    monotonic=Monotonic,
)
