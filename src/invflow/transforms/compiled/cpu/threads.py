"""Threads that share the work of a kernel.

Where PyTorch's threads are OpenMP's, these are the same ones: they wait for work for a while before
they sleep, ready at once, and would compete with any others.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, lru_cache
from typing import Any

import torch

#: A kernel, called with the address of its record.
Kernel = Callable[[int], None]
_PROCESS = os.getpid()


def run(address: int, record: int, threads: int) -> None:
    """Run a kernel on so many threads, this one among them.

    Args:
        address: of the kernel.
        record: of what it is given.
        threads: how many.
    """
    if threads == 1:
        kernel(address)(record)
    elif os.getpid() == _PROCESS and (team := _team()):
        team(address, record, threads, 0)
    else:
        _pooled(kernel(address), record, threads)


@cache
def awake() -> bool:
    """Return whether threads stay awake for a while after their work, ready for more."""
    return _team() is not None and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive"


@cache
def kernel(address: int) -> Kernel:
    """Return the function at an address; it runs without Python's lock."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)


@cache
def _team() -> Callable[[int, int, int, int], None] | None:
    """Return what runs a function on PyTorch's OpenMP threads, None where that is not to be found.

    The libraries that a library stands on are searched with it.
    """
    inner: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    try:
        team = ctypes.CDLL(inner.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None
    team.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    team.restype = None
    return team


def _pooled(kernel: Kernel, record: int, threads: int) -> None:
    pool = _pool(os.getpid(), torch.get_num_threads())
    futures = [pool.submit(kernel, record) for _ in range(threads - 1)]
    try:
        kernel(record)
    finally:
        # Whatever comes: those that have begun read memory that would be freed.
        wait([future for future in futures if not future.cancel()])


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")
