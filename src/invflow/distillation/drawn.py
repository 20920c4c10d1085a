"""Draws of any distribution, on any device, by the numbers of a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from invflow.flows import FlowDistribution, MixtureDistribution


def drawn(distribution: Distribution, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return draws by a generator's numbers, also of distributions that take none.

    Torch's own random numbers are left as they were.

    Args:
        distribution: what to draw from.
        shape: of the draws.
        generator: random numbers, of any device: one of another device than the distribution's
            gives the seed of others there.
    """
    device = device_of(distribution)
    if isinstance(distribution, FlowDistribution | MixtureDistribution):
        if generator.device != device:
            generator = torch.Generator(device).manual_seed(_seed(generator))
        return distribution.sample(shape, generator=generator)
    seed = _seed(generator)
    # The CPU's numbers are always put back, others where they are named. Neither is seeded by
    # torch.manual_seed, which reaches all devices.
    numbers: Any = getattr(torch, device.type, None)
    others = [device] if hasattr(numbers, "set_rng_state") else []
    with torch.random.fork_rng(others, device_type=device.type if others else "cuda"):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        for other in others:
            numbers.set_rng_state(torch.Generator(other).manual_seed(seed).get_state(), other)
        return cast(Any, distribution).sample(shape)


def device_of(distribution: Distribution) -> torch.device:
    """Return where a distribution keeps the first tensor found in it; the CPU if it has none.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> device_of(Independent(Normal(torch.zeros(2), 1.0), 1))
        device(type='cpu')
    """
    for value in vars(distribution).values():
        if isinstance(value, Tensor):
            return value.device
        if isinstance(value, Distribution):
            return device_of(value)
    return torch.device("cpu")


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
