"""Threads that share the work of a kernel.

Where PyTorch's threads are OpenMP's, these are the same ones: they wait for work for a while before
they sleep, ready at once, and would compete with any others.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, lru_cache
from typing import Any

import torch

#: Multiplications that are worth a thread of their own, where threads wait for them awake, and
#: where they have to be woken.
AWAKE, ASLEEP = 5e5, 2e6
#: From how many turns of OpenMP's waiting loop on a thread is awake still when the next call comes.
AWAKE_FOR = 10_000
#: A kernel, called with the address of its record.
Kernel = Callable[[int], None]
_PROCESS = os.getpid()


def count(work: float, pieces: int) -> int:
    """Return how many threads are to share so many multiplications, in so many pieces.

    All or one: OpenMP ends threads that are not wanted by one call, and makes them anew for the
    next. Those that find no piece return at once.
    """
    share = ASLEEP if _asleep() or _team() is None else AWAKE
    return torch.get_num_threads() if min(pieces, work / share) >= 2 else 1


def run(address: int, record: int, threads: int) -> None:
    """Run a kernel on so many threads, this one among them.

    Args:
        address: of the kernel.
        record: of what it is given.
        threads: how many.
    """
    if threads == 1:
        _kernel(address)(record)
    elif team := _team():
        team(address, record, threads, 0)
    else:
        _pooled(_kernel(address), record, threads)


@cache
def _kernel(address: int) -> Kernel:
    """Return the function at an address; it runs without Python's lock."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)


@cache
def _asleep() -> bool:
    """Return whether threads sleep soon after their work; OpenMP reads this once, too."""
    turns = os.environ.get("GOMP_SPINCOUNT", "").strip()
    if turns.isdecimal():  # and not "infinite", or a number with a unit
        return int(turns) < AWAKE_FOR
    return os.environ.get("OMP_WAIT_POLICY", "").strip().lower() == "passive"


def _team() -> Callable[[int, int, int, int], None] | None:
    """Return what runs a function on OpenMP's threads, None where that cannot be done.

    A forked process has none of its parent's threads, and OpenMP does not know.
    """
    return None if os.getpid() != _PROCESS or _forked() else _openmp()


@cache
def _forked() -> bool:
    """Return whether this module was imported in a process that `multiprocessing` forked."""
    start = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.parent_process() is not None and start == "fork"


@cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """Return PyTorch's own `GOMP_parallel`, None where its threads are others.

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


def _pooled(run: Kernel, record: int, threads: int) -> None:
    pool = _pool(os.getpid(), torch.get_num_threads())
    futures = [pool.submit(run, record) for _ in range(threads - 1)]
    try:
        run(record)
    finally:
        # Whatever comes: those that have begun read memory that would be freed.
        wait([future for future in futures if not future.cancel()])


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")
