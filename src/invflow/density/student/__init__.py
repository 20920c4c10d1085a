"""Densities of tables that are fast to sample, taught by others."""

from invflow.density.student.config import Config
from invflow.density.student.learn import learn
from invflow.density.student.run import Results, Run, density, load, table, train

__all__ = ["Config", "Results", "Run", "density", "learn", "load", "table", "train"]
