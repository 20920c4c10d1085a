"""Doctests are collected from all modules, but those that need what is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["src/invflow/kernels/gpu/*"]
