"""Arithmetic in full precision, whatever the settings of the caller."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Disable autocast, on devices that have it."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    if torch.compiler.is_exporting() and not torch.is_autocast_enabled(device):
        return nullcontext()  # nothing to write into the program
    return torch.autocast(device, enabled=False)


def at_least_single(*dtypes: torch.dtype) -> torch.dtype:
    """Return the widest of some dtypes, at least float32: factorisations support no other."""
    widest = torch.float32
    for dtype in dtypes:
        widest = torch.promote_types(widest, dtype)
    return widest
