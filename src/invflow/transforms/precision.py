"""Arithmetic in full precision, whatever the settings of the caller."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Disable autocast, on devices that have it."""
    available = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if available else nullcontext()


def at_least_single(*dtypes: torch.dtype) -> torch.dtype:
    """Return the widest of some dtypes, at least float32: factorisations support no other."""
    widest = torch.float32
    for dtype in dtypes:
        widest = torch.promote_types(widest, dtype)
    return widest
