"""Torch's global random numbers, seeded for a block."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Generator[None]:
    """Draw torch's global random numbers from a seed in the block, and restore their state after.

    Args:
        seed: of the numbers of the CPU and of the device.
        device: an accelerator that draws too; None for the CPU alone.

    Example:
        >>> with seeded(0):
        ...     x = torch.rand(())
        >>> with seeded(0):
        ...     bool(torch.rand(()) == x)
        True
    """
    numbers: Any = None if device is None else getattr(torch, device.type, None)
    others = [device] if device is not None and hasattr(numbers, "set_rng_state") else []
    # fork_rng always restores the CPU's state, and that of the devices named. Seeding is not left
    # to torch.manual_seed, which seeds all devices, and takes long.
    kind = others[0].type if others else "cuda"
    with torch.random.fork_rng(others, device_type=kind):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        for other in others:
            numbers.set_rng_state(torch.Generator(other).manual_seed(seed).get_state(), other)
        yield
