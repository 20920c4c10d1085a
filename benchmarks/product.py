"""Speed of the kernels' matrix product, by variant, compared with NumPy's and PyTorch's.

A product of 96 x 128 weights with a tile: 128 rows of 256 bytes, which are 64 columns in single and
32 in double precision. All of it fits into the nearest caches. One thread, billions of operations a
second, the best of several rounds; all take turns, each in a process of its own.

    python benchmarks/product.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

VARIANTS = "avx512", "avx2", "neon"
ROWS, READ, TILE = 96, 128, 256
#: Products that a round takes.
REPETITIONS = 20_000
#: Operations a second by precision, none where a variant does not run here.
Rates = dict[str, float]


def kernels() -> Rates:
    """Return the rates of the variant that the environment asks for."""
    import torch

    from invflow.kernels.cpu import library

    if library.reason():
        return {}
    rate = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)
    return {
        str(dtype): rate(library.address("rate", dtype))(REPETITIONS)
        for dtype in (torch.float32, torch.float64)
    }


def _rate(product: Callable[[], object], columns: int) -> float:
    for _ in range(REPETITIONS // 10):
        product()
    start = time.perf_counter()
    for _ in range(REPETITIONS):
        product()
    return 2 * ROWS * READ * columns * REPETITIONS / (time.perf_counter() - start)


def numpy() -> Rates:
    """Return the rates of NumPy."""
    import numpy as np

    rates: Rates = {}
    for dtype in (np.float32, np.float64):
        columns = TILE // np.dtype(dtype).itemsize
        a, b, out = (np.ones(s, dtype) for s in ((ROWS, READ), (READ, columns), (ROWS, columns)))
        rates[f"torch.{np.dtype(dtype)}"] = _rate(partial(np.matmul, a, b, out=out), columns)
    return rates


def pytorch() -> Rates:
    """Return the rates of PyTorch."""
    import torch

    rates: Rates = {}
    for dtype in (torch.float32, torch.float64):
        columns = TILE // dtype.itemsize
        sizes = (ROWS, READ), (READ, columns), (ROWS, columns)
        a, b, out = (torch.ones(size, dtype=dtype) for size in sizes)
        rates[str(dtype)] = _rate(partial(torch.mm, a, b, out=out), columns)
    return rates


PRODUCTS = {**dict.fromkeys(VARIANTS, kernels), "NumPy": numpy, "PyTorch": pytorch}


def measured(name: str) -> Rates:
    """Return the rates that a process of its own finds."""
    variant = {"INVFLOW_KERNELS": name} if name in VARIANTS else {}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    found = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--once", name],
        env={**os.environ, **variant, **one},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(found.stdout)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--once", choices=PRODUCTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.once:
        print(json.dumps(PRODUCTS[options.once]()))
        return
    best: dict[str, Rates] = {name: {} for name in PRODUCTS}
    for _ in range(options.rounds):
        for name, rates in best.items():
            for dtype, rate in measured(name).items():
                rates[dtype] = max(rate, rates.get(dtype, 0.0))

    from directions import environment, table

    print(", ".join(f"{key} {value}" for key, value in environment(1).items()))
    rows = [[name, *(f"{rate / 1e9:.0f}" for rate in each.values())] for name, each in best.items()]
    print("\n" + table(["GFLOP/s", "float32", "float64"], [row for row in rows if len(row) > 1]))


if __name__ == "__main__":
    main(sys.argv[1:])
