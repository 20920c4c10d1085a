"""Doctests are collected from all modules, but those that need what is not installed."""

from importlib.util import find_spec

NEEDS = {
    "triton": "src/invflow/kernels/gpu/*",
    "zuko": "src/invflow/adapters/*zuko.py",
    "sbi": "src/invflow/adapters/sbi.py",
    "nessai": "src/invflow/adapters/*nessai.py",
}
collect_ignore_glob = [files for module, files in NEEDS.items() if not find_spec(module)]
