"""The cached inverse of an affine, gated or additive MADE, compiled for the CPU.

The same sweeps as `transforms.cached` takes, forwards and in reverse, in a kernel that each thread
runs over tiles of the batch: a tile's activations stay in the processor's cache, and there is one
call instead of some fifteen per feature. Needs Numba; compiled at the first use and kept on disk.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from invflow.conditioners import MADE, Conditioner
from invflow.transforms.compiled import operators
from invflow.transforms.decode import Method, call
from invflow.univariate import Additive, Affine, Gated, Univariate

__all__ = ["reason", "serves", "solve", "usable"]


def serves(conditioner: Conditioner, univariate: Univariate) -> bool:
    """Return whether there are kernels for this pair."""
    maps = (Additive, Affine, Gated)
    return type(conditioner) is MADE and not conditioner.layout.norm and type(univariate) in maps


def usable() -> bool:
    """Return whether Numba is there, and the processor's registers can be used."""
    return reason() is None


# As torch.compiler.assume_constant_result does, which would load the compiler for it.
cast(Any, usable)._dynamo_marked_constant = True


@cache
def reason() -> str | None:
    """Return why the kernels cannot be used, None if they can."""
    try:
        importlib.import_module("invflow.transforms.compiled.engine")
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
