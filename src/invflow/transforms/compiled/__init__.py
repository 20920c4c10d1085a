"""The cached inverse of an affine, gated or additive MADE, compiled.

The same sweeps as `transforms.cached` takes, forwards and in reverse, each in one kernel instead of
some fifteen calls per feature. They are `operators` on plain tensors, run by the engine for their
device: on a CPU with Numba (`cpu`), where each thread runs the sweep over tiles of the batch whose
activations stay in the processor's cache, compiled at the first use and kept on disk; on CUDA with
Triton (`gpu`), where each program does so for its columns of the batch, in one launch.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from invflow.conditioners import MADE, Conditioner
from invflow.transforms.compiled import operators
from invflow.transforms.decode import Method, call
from invflow.univariate import Additive, Affine, Gated, Univariate

__all__ = ["DTYPES", "reason", "serves", "solve", "usable"]

#: The devices that there are kernels for, and the precisions that they take.
DTYPES = {
    "cpu": (torch.float32, torch.float64),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}


def serves(conditioner: Conditioner, univariate: Univariate) -> bool:
    """Return whether there are kernels for this pair."""
    maps = (Additive, Affine, Gated)
    return type(conditioner) is MADE and not conditioner.layout.norm and type(univariate) in maps


def usable(device: str) -> bool:
    """Return whether what the kernels for a kind of device need is there."""
    return reason(device) is None


# As torch.compiler.assume_constant_result does, which would load the compiler for it.
cast(Any, usable)._dynamo_marked_constant = True


@cache
def reason(device: str) -> str | None:
    """Return why the kernels for a kind of device cannot be used, None if they can."""
    if device == "cuda" and not torch.cuda.is_available():
        return "no CUDA device"
    try:
        operators.engine(device)
    except ImportError as error:
        return str(error)
    return None


def solve(
    method: Method, order: Tensor | None, x: Tensor, offset: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, and log|det dz/dx|.

    Args:
        method: what the tensors mean.
        order: the features in the order in which they are taken, None for that in which they come.
        x: data, [batch, features].
        offset: the conditioner's packed offset, [units, batch].
        weights: the conditioner's packed weights.

    Returns:
        Shapes [batch, features] and [batch]; differentiable with respect to all tensors.
    """
    if order is None:
        order = torch.arange(x.shape[1], device=x.device)
    z, ladj, _, _ = call(operators.Solve, method, order, x, offset, *weights)
    return z, ladj
