"""Where to train: Lightning Fabric's devices."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import time
from typing import Any

from invflow import _checks

#: Fabric's names of how numbers are kept; "mixed" computes the models' forward in bfloat16.
PRECISIONS = ("32-true", "64-true", "bf16-mixed")
#: Seconds that the other processes are given after the end of the first.
GRACE = 5.0


def launch(accelerator: str = "cpu", devices: int = 1, precision: str = "32-true") -> Any:
    """Return a Lightning Fabric, and start a process for every further device.

    Such a process runs the program from its beginning, and comes out of this function like the
    first; `fabric.is_global_zero` tells which one is to write and to print. Under `torchrun` the
    processes are there already.

    Args:
        accelerator: "cpu", "cuda", "auto", ... as Fabric knows them.
        devices: how many; their gradients are averaged.
        precision: one of `PRECISIONS`. There is no "16-mixed", whose gradients need scaling:
            "bf16-mixed" is as fast.

    Raises:
        ImportError: Lightning Fabric is not installed.
        TypeError: `devices` is not an integer.
        ValueError: an unknown precision or accelerator, one that this machine does not have, or
            more devices than it has.

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
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            precision=precision,  # pyright: ignore[reportArgumentType]
        )
        atexit.register(_end, fabric.strategy.launcher)
        fabric.launch()
    except (RuntimeError, ValueError, ImportError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"accelerator {accelerator!r} cannot be used: {reason}") from error
    return fabric


def started() -> int:
    """Return how many processes torchrun has started, this one among them; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _end(launcher: Any) -> None:
    """See that no process outlives the first, whatever it waits for."""
    deadline = time.monotonic() + GRACE
    for process in getattr(launcher, "procs", ()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        process.kill()
