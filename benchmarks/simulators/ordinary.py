"""Ordinary differential equations, many at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def solve(
    slope: Callable[[Tensor], Tensor], start: Tensor, end: float, step: float, every: int
) -> Tensor:
    """Return the states at equal distances in time, by the fourth-order Runge-Kutta method.

    Args:
        slope: the derivative of a state.
        start: the first state.
        end: the last time.
        step: the length of a step.
        every: the number of steps between states that are kept.
    """
    state, kept = start, []
    for index in range(1, round(end / step) + 1):
        first = slope(state)
        second = slope(state + step / 2 * first)
        third = slope(state + step / 2 * second)
        fourth = slope(state + step * third)
        state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
        if index % every == 0:
            kept.append(state)
    return torch.stack(kept)
