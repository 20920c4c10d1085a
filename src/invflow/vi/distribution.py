"""Several processes that fit the same flow, started by torchrun: each takes a part of the draws."""

from __future__ import annotations

from collections.abc import Iterable

import torch.distributed as dist
from torch import nn


def count() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if _on() else 1


def rank() -> int:
    """Return which of them this is."""
    return dist.get_rank() if _on() else 0


def average(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their mean over processes."""
    if not _on():
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= count()


def _on() -> bool:
    return dist.is_available() and dist.is_initialized()
