"""Several processes that fit the same flow, started by torchrun, each with a part of the draws.

They must call `torch.distributed.init_process_group` first. All return the same posterior.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _on() else 1


def rank() -> int:
    """Return the number of this process, the first being 0."""
    return dist.get_rank() if _on() else 0


def part(whole: int) -> tuple[int, int]:
    """Return the start and size of this process's part; sizes differ by at most one."""
    least, more = divmod(whole, count())
    return rank() * least + min(rank(), more), least + (rank() < more)


def mean(value: Tensor) -> Tensor:
    """Return the mean of a value over processes."""
    if _on():
        value = value.contiguous()
        dist.all_reduce(value)
        value /= count()
    return value


def of_first(value: Tensor) -> Tensor:
    """Return the value of the first process, so that all decide alike."""
    if _on():
        value = value.contiguous()
        dist.broadcast(value, 0)
    return value


def decided_by_first(yes: bool) -> bool:
    """Return the first process's answer, so that all decide alike."""
    return bool(of_first(torch.tensor(float(yes))))


def agree(number: int) -> bool:
    """Return whether all processes have the same number."""
    if not _on():
        return True
    numbers = [0] * count()
    dist.all_gather_object(numbers, number)
    return len(set(numbers)) == 1


def wait() -> None:
    """Wait for all processes."""
    if _on():
        dist.barrier()


def _on() -> bool:
    return dist.is_available() and dist.is_initialized()
