"""The check of a conditioner's Jacobian, shared with the test that it can fail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def assert_strictly_causal(jacobian: Tensor, groups: Sequence[int] | None = None) -> None:
    """Check d params / d features, [D, P, D]: zero from the diagonal on, nonzero before it.

    With the sizes of groups, block by block.
    """
    sizes = torch.tensor(groups or [1] * len(jacobian))
    group = torch.arange(len(sizes)).repeat_interleave(sizes)
    earlier = group[:, None] > group
    seen = jacobian != 0
    leaks = seen & ~earlier[:, None, :]
    assert not leaks.any(), f"parameters see features not before their own: {leaks.nonzero()}"
    missing = ~seen & earlier[:, None, :]
    assert not missing.any(), f"parameters miss earlier features: {missing.nonzero()}"


def assert_reached_by_context(jacobian: Tensor) -> None:
    """Check d params / d context, [D, P, C]: nonzero everywhere."""
    missing = jacobian == 0
    assert not missing.any(), f"parameters miss entries of the context: {missing.nonzero()}"
