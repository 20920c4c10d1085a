"""Modules away from where they start: near the identity, wrong log-determinants go unnoticed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from invflow.conditioners import MADE

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@torch.no_grad()
def perturbed(module: ModuleT, seed: int = 1, scale: float = 0.7) -> ModuleT:
    """Move a module to float64, add noise to its parameters, and return it.

    Args:
        module: is changed.
        seed: of the noise.
        scale: standard deviation of the noise, times the square root of a unit's inputs.
    """
    module = module.double()
    source = torch.Generator().manual_seed(seed)
    for tensor in _weights(module):
        fan_in = tensor.shape[-1] if tensor.ndim > 1 else 4
        noise = torch.randn(tensor.shape, generator=source, dtype=torch.float64)
        tensor.add_(scale / math.sqrt(max(fan_in, 1)) * noise.to(tensor.device))
    return module


def _weights(module: nn.Module) -> Iterable[Tensor]:
    """Return all parameters, and those of a MADE as the matrices and biases that they hold."""
    for part in module.modules():
        packed = ("weight", "bias") if isinstance(part, MADE) else ()
        for name, parameter in part.named_parameters(recurse=False):
            if name not in packed:
                yield parameter
        if isinstance(part, MADE):
            yield from (*part.weights, *part.biases)
