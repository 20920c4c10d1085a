"""Densities of tables and images, and fast samplers by distillation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invflow.density.estimator import FlowDensity

__all__ = ["FlowDensity"]


def __getattr__(name: str) -> Any:
    # Not at once, as images and distillation do without scikit-learn and pandas.
    if name == "FlowDensity":
        from invflow.density.estimator import FlowDensity

        return FlowDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
