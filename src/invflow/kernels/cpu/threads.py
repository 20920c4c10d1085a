"""Threads that share the work of a kernel.

Where PyTorch's threads are OpenMP's, these are the same ones: they wait for work for a while before
they sleep, ready at once, and would compete with any others.
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

#: The number of multiplications that is worth another thread: of threads that are still awake, and
#: of those that have to be woken.
AWAKE, ASLEEP = 5e5, 2e6
#: With this many turns of OpenMP's waiting loop, a thread is still awake when the next call comes.
AWAKE_FOR = 10_000
#: A kernel, called with the address of its record.
Kernel = Callable[[int], None]
_PROCESS = os.getpid()


def count(work: float, pieces: int) -> int:
    """Return how many threads are to share some work: all of PyTorch's, or one.

    No number between: OpenMP ends the threads that a call does not use, and starts them again for
    the next. Threads that find no piece return at once.

    Args:
        work: the number of multiplications.
        pieces: the number of pieces that they come in.
    """
    share = ASLEEP if _asleep() or _team() is None else AWAKE
    return torch.get_num_threads() if min(pieces, work / share) >= 2 else 1


def run(address: int, record: int, threads: int) -> None:
    """Run a kernel on several threads, this one among them; on fewer where there are no more.

    Args:
        address: of the kernel.
        record: the address of its record.
        threads: the number of threads.
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
        with suppress(RuntimeError):  # no thread can be started: those that there are do the work
            for turn in turns:
                pool.submit(_take, turn, run, record)
        run(record)
    finally:
        _wait([turn for turn in turns if not turn.cancel()])


def _take(turn: Future[None], run: Kernel, record: int) -> None:
    """Run a kernel, unless its caller has gone on: its record may then be freed.

    The pool's own futures do not show that, as it keeps what it could not start a thread for.
    """
    if turn.set_running_or_notify_cancel():
        try:
            run(record)
        finally:
            turn.set_result(None)


def _wait(turns: Sequence[Future[None]]) -> None:
    """Wait for threads that have begun, even if interrupted: the caller frees what they read."""
    try:
        wait(turns)
    except BaseException:
        _wait(turns)
        raise


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="invflow")
