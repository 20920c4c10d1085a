"""Where to train: Lightning Fabric's devices, whose processes end together."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import torch.distributed as dist

from invflow import _checks

#: Fabric's names of precisions; "bf16-mixed" computes the forward pass of models in bfloat16.
PRECISIONS = ("32-true", "64-true", "bf16-mixed")
#: Seconds that the other processes have to end after the first.
GRACE = 5.0
#: Seconds in which a failure in another process becomes known.
NOTICE = 2.0

#: The processes that this one has started, and whether they are being stopped.
_children: list[subprocess.Popen[bytes]] = []
_stopping = Event()


def launch(accelerator: str = "cpu", devices: int = 1, precision: str = "32-true") -> Any:
    """Return a Lightning Fabric, and start a process for every further device.

    Each such process runs the program from its beginning and returns from this function like the
    first; `fabric.is_global_zero` tells which one should write and print. Under `torchrun` the
    processes exist already. When one of them ends, all do.

    Args:
        accelerator: "cpu", "cuda", "auto", ... as in Fabric.
        devices: number of devices; their gradients are averaged.
        precision: one of `PRECISIONS`. "16-mixed", whose gradients need scaling, is not supported:
            "bf16-mixed" is as fast.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        TypeError: if `devices` is not an integer.
        ValueError: if the precision or accelerator is unknown, or this machine does not have the
            accelerator or as many devices.

    Example:
        >>> launch("cpu").device
        device(type='cpu')
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        raise ImportError(
            'training needs Lightning Fabric: pip install "invflow[training]"'
        ) from error
    devices = _checks.positive_integer("devices", devices)
    _checks.choice("precision", precision, PRECISIONS)

    class Joined(Fabric):
        def barrier(self, name: str | None = None) -> None:
            with together(self):
                super().barrier(name)

    try:
        fabric = Joined(
            accelerator=accelerator,
            devices=devices,
            precision=precision,  # pyright: ignore[reportArgumentType]
        )
        atexit.register(_end)
        fabric.launch()
    except (RuntimeError, ValueError, ImportError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"accelerator {accelerator!r} cannot be used: {reason}") from error
    _watch(fabric)
    return fabric


def started() -> int:
    """Return the number of processes that torchrun has started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


@contextmanager
def together(fabric: Any) -> Generator[None]:
    """Let an error in the block end all processes, with one message.

    Raises:
        ConnectionError: if another process ended.
    """
    try:
        yield
    except BaseException as error:
        if fabric.world_size > 1:
            lost = isinstance(error, RuntimeError) and _is_of_a_collective(error)
            if lost or fabric.global_rank:
                # Whoever watches the process that failed first ends this one, without its message.
                time.sleep(NOTICE)
            _stop()
            if lost:
                raise ConnectionError(_message("another process", "ended")) from error
        raise


def _is_of_a_collective(error: RuntimeError) -> bool:
    return isinstance(error, getattr(dist, "DistError", ())) or "gloo" in str(error).lower()


def _watch(fabric: Any) -> None:
    """Watch the processes that this one has started, or the one that has started it."""
    new = [each for each in getattr(fabric.strategy.launcher, "procs", ()) if each not in _children]
    _children.extend(new)
    for number, process in enumerate(new, 2):
        what = f"process {number} of {fabric.world_size}"
        Thread(target=_follow_child, args=(process, what), daemon=True).start()
    if fabric.world_size > 1 and fabric.global_rank:
        what = f"process 1 of {fabric.world_size}" if fabric.global_rank == 1 else ""
        Thread(target=_follow_parent, args=(os.getppid(), what), daemon=True).start()


def _follow_child(process: subprocess.Popen[bytes], what: str) -> None:
    status = process.wait()
    if status and not _stopping.is_set():
        how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
        _say(_message(what, how))
        _stop()
        os._exit(1)


def _follow_parent(parent: int, what: str) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    if what:
        _say(_message(what, "ended"))
    os._exit(1)


def _message(what: str, how: str) -> str:
    then = "the same command, without --overwrite, resumes the run"
    return f"{what} {how}; the others were stopped; {then}"


def _say(message: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # of a stream that is closed
        # A progress bar leaves the cursor in its line.
        sys.stderr.write(f"{chr(10) if sys.stderr.isatty() else ''}invflow: {message}\n")
        sys.stderr.flush()


def _stop() -> None:
    """Stop the processes that this one has started."""
    _stopping.set()
    for process in _children:
        process.kill()


def _end() -> None:
    """Give the processes that this one has started some time to end."""
    deadline = time.monotonic() + GRACE
    for process in _children:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    _stop()
