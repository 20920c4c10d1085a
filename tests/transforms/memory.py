"""How much a call keeps for its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

from invflow.kernels.cpu import memory


def kept_bytes(run: Callable[[], Any]) -> int:
    """Return the bytes that are allocated when a call is done, and were not before."""
    run()
    memory.clear()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = run()
    del result
    return sum(event.self_cpu_memory_usage for event in record.events())
