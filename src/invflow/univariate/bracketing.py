"""Roots of increasing functions, one for each element of a tensor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Far more than needed: halving alone takes 64 steps from a bracket as wide as its ends.
_MOST_STEPS = 200


def increasing_root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    target: Tensor,
    low: Tensor,
    high: Tensor,
    start: Tensor,
) -> Tensor:
    """Return the z between `low` and `high` where an increasing function has the value `target`.

    Uses Newton's method inside a shrinking bracket. Where a step would leave the bracket, or is
    more than half as long as the previous one, the bracket is halved instead, so every element
    converges, most of them in a few steps. All elements take steps until the last has converged, to
    within rounding of 1 + |z|. Slopes must be finite.

    Args:
        function: returns value and slope at points shaped like `target`.
        target: any shape.
        low: points where the function is at most `target`, up to rounding.
        high: points where it is at least `target`, up to rounding.
        start: initial guess.

    Example:
        >>> ends = torch.tensor([-3.0, 3.0])
        >>> cube = lambda z: (z**3, 3 * z**2)
        >>> increasing_root(cube, torch.tensor([8.0]), ends[:1], ends[1:], torch.tensor([0.0]))
        tensor([2.])
    """
    rounding = torch.finfo(target.dtype).eps
    z, previous = start, high - low
    for _ in range(_MOST_STEPS):
        value, slope = function(z)
        low = torch.where(value <= target, z, low)
        high = torch.where(value >= target, z, high)
        step = (target - value) / slope
        after = z + step
        good = (after >= low) & (after <= high) & (2 * step.abs() <= previous)
        step = torch.where(good, step, low + (high - low) / 2 - z)
        z, previous = z + step, step.abs()
        if not _moving(z, previous, rounding):
            break
    return z


def _moving(z: Tensor, step: Tensor, rounding: float) -> bool:
    """Whether any step was longer than rounding; those to NaN were not, and stay there."""
    return bool((step > rounding * (1 + z.abs())).any())
