"""The compiled sweeps for CUDA, in Triton: each program takes some columns of the batch."""

# pyright: reportMissingImports=false
from __future__ import annotations

import triton

# Older versions have no products in double precision.
if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 5):
    raise ModuleNotFoundError(f"the kernels need Triton 3.5 or newer, got {triton.__version__}")
