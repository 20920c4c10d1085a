"""Draws from any distribution, on any device, with the random numbers of a generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from invflow._random import seeded
from invflow.flows import FlowDistribution, MixtureDistribution


def drawn(distribution: Distribution, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return draws with a generator's random numbers, also from distributions that take none.

    Torch's global random state does not change.

    Args:
        distribution: to draw from.
        shape: of the draws.
        generator: random numbers on any device; if it is not the distribution's, it seeds a
            generator there.
    """
    device = device_of(distribution)
    if isinstance(distribution, FlowDistribution | MixtureDistribution):
        if generator.device != device:
            generator = torch.Generator(device).manual_seed(_seed(generator))
        return distribution.sample(shape, generator=generator)
    with seeded(_seed(generator), device):
        return cast(Any, distribution).sample(shape)


def device_of(distribution: Distribution) -> torch.device:
    """Return the device of the first tensor found in a distribution; the CPU if it has none.

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
