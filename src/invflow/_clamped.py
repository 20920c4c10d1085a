"""Clamping that has the same derivative in all versions of PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def clamped(value: Tensor, low: float, high: float) -> Tensor:
    """Return `value` limited to [low, high]; its derivative at the ends is 1, as between them.

    That of `torch.clamp` is 1 there in PyTorch 2.13 and 0 in 2.15, which is wrong where what is
    clamped continues beyond the ends, such as a circle, or a curve of several pieces.

    Example:
        >>> clamped(torch.tensor([-3.0, 0.5, 1.0]), -1.0, 1.0)
        tensor([-1.0000,  0.5000,  1.0000])
    """
    limited = value.clamp(low, high)
    return torch.where(limited == value, value, limited)
