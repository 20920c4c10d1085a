"""Variational inference: posteriors of log densities."""

from invflow.vi.target import Flat, Named, Parameter, Target

__all__ = ["Flat", "Named", "Parameter", "Target"]
