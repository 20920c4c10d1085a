"""Which tensors are plain numbers in memory, which kernels read by address.

Some tensors have none: symbolic zeros, wrappers around other tensors, tensors whose storage was
freed. Their address is 0, or that of something else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from invflow._torch import dense

__all__ = ["check_memory", "whole"]


def whole(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor's numbers in contiguous memory: its own, or a copy.

    Raises:
        ValueError: if its storage has been freed, or is too small for its shape.
        RuntimeError: if it is a kind of tensor without numbers to copy.
    """
    if dense(tensor):
        check_memory(name, tensor)
        return tensor.contiguous()
    numbers = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    if not dense(numbers):
        raise RuntimeError(f"{name} must be a plain tensor of numbers, got {type(tensor).__name__}")
    return numbers.copy_(tensor)


def check_memory(name: str, tensor: Tensor) -> None:
    """Raise a ValueError if a plain tensor's storage does not hold all of its numbers."""
    count = tensor.numel()
    if count and not tensor.is_contiguous():
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        count = 1 + sum((size - 1) * stride for size, stride in steps)
    held = tensor.untyped_storage().nbytes()
    if count and held < (needed := (tensor.storage_offset() + count) * tensor.itemsize):
        raise ValueError(
            f"{name} of shape {tuple(tensor.shape)} needs {needed} bytes of memory, but its "
            f"storage has {held}: has it been freed or resized?"
        )
