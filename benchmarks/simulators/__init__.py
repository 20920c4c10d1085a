"""Tasks, reference draws and tools of `benchmarks/simulation.py`."""
