"""Densities of tables and images, and fast samplers by distillation."""

from invflow.density.estimator import FlowDensity

__all__ = ["FlowDensity"]
