"""Threads that share the work of a kernel.

If PyTorch uses OpenMP threads, these are the same threads: they stay awake for a while before they
sleep, so they start at once, and they would compete with any others.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache, lru_cache

import torch

from invflow import _torch

#: Number of multiplications that justify more threads: if they are still awake, and if they must be
#: woken.
AWAKE, ASLEEP = 5e5, 2e6
#: With this many turns of OpenMP's waiting loop, threads are still awake at the next call.
AWAKE_FOR = 10_000
#: A kernel, called with the address of its record.
Kernel = Callable[[int], None]
_PROCESS = os.getpid()


def count(work: float, pieces: int) -> int:
    """Return the number of threads for some work: all of PyTorch's, or one.

    Never a number in between: OpenMP ends threads that a call does not use, and restarts them for
    the next. Threads that find no piece of work return at once.

    Args:
        work: number of multiplications.
        pieces: number of pieces of work.
    """
    share = ASLEEP if _asleep() or _team() is None else AWAKE
    return torch.get_num_threads() if min(pieces, work / share) >= 2 else 1


def run(address: int, record: int, threads: int) -> None:
    """Run a kernel on several threads, including this one, or on fewer if there are no more.

    Args:
        address: of the kernel.
        record: the address of its record.
        threads: number of threads.
    """
    if threads == 1:
        _kernel(address)(record)
    elif team := _team():
        team(address, record, threads, 0)
    else:
        _pooled(_kernel(address), record, threads)


@cache
def _kernel(address: int) -> Kernel:
    """Return the function at an address; it runs without Python's global lock."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)


@cache
def _asleep() -> bool:
    """Return whether threads sleep soon after their work, as OpenMP was configured."""
    turns = os.environ.get("GOMP_SPINCOUNT", "").strip()
    if turns.isdecimal():  # and not "infinite", or a number with a unit
        return int(turns) < AWAKE_FOR
    return os.environ.get("OMP_WAIT_POLICY", "").strip().lower() == "passive"


def _team() -> Callable[[int, int, int, int], None] | None:
    """Return a function that runs others on OpenMP's threads; None if that is impossible.

    A forked process has none of its parent's threads, and OpenMP does not know it.
    """
    return None if os.getpid() != _PROCESS or _forked() else _openmp()


@cache
def _forked() -> bool:
    """Return whether this module was imported in a process that `multiprocessing` forked."""
    start = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.parent_process() is not None and start == "fork"


@cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """Return PyTorch's own `GOMP_parallel`; None if it does not use OpenMP threads.

    The search includes the libraries that PyTorch's library depends on.
    """
    if _torch.LIBRARY is None:
        return None
    try:
        team = ctypes.CDLL(_torch.LIBRARY).GOMP_parallel
    except (AttributeError, OSError):
        return None
    team.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    team.restype = None
    return team


def _pooled(run: Kernel, record: int, threads: int) -> None:
    pool = _pool(os.getpid(), torch.get_num_threads())
    turns = [Future[None]() for _ in range(threads - 1)]
    try:
        with suppress(
            RuntimeError
        ):  # no more threads can be started: the existing ones do the work
            for turn in turns:
                pool.submit(_take, turn, run, record)
        run(record)
    finally:
        _wait([turn for turn in turns if not turn.cancel()])


def _take(turn: Future[None], run: Kernel, record: int) -> None:
    """Run a kernel, unless its caller has returned: its record may then be freed.

    The pool's futures do not tell, because it keeps jobs for which it could not start a thread.
    """
    if turn.set_running_or_notify_cancel():
        try:
            run(record)
        finally:
            turn.set_result(None)


def _wait(turns: Sequence[Future[None]]) -> None:
    """Wait for threads that have started, even if interrupted: the caller frees their data."""
    try:
        wait(turns)
    except BaseException:
        _wait(turns)
        raise


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return a thread pool; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")
