"""Constant numbers as tensors, made once for each device and precision.

A copy from the memory of Python to that of an accelerator makes the accelerator wait, and is not
allowed where a CUDA graph is captured. So a constant is kept for good once it has been used: a
captured graph reads it again in every replay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invflow._torch import dense

_kept: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}


def constant(numbers: tuple[float, ...], like: Tensor) -> Tensor:
    """Return numbers as a vector with the precision and on the device of `like`.

    It must not be changed. Fake tensors, which have no values, and calls that `torch.compile`
    traces get a tensor of their own.

    Example:
        >>> constant((0.5, 2.0), torch.ones(3))
        tensor([0.5000, 2.0000])
    """
    if torch.compiler.is_compiling() or type(like) not in (Tensor, nn.Parameter):
        return like.new_tensor(numbers)
    key = numbers, like.dtype, like.device
    if key not in _kept:
        with torch.inference_mode(False):  # or no gradient could be computed with it later
            made = torch.tensor(numbers, dtype=like.dtype, device=like.device)
        if not dense(made):  # made inside a transform of torch.func, which must not outlive it
            return made
        _kept[key] = made
    return _kept[key]
