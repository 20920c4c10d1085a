"""Log densities that another library computes, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function

Array = NDArray[np.float64]
#: Vectors, (batch, dim), to log densities, (batch,), and gradients, (batch, dim).
ValueAndGradient = Callable[[Array], tuple[Array, Array]]


def external(function: ValueAndGradient, z: Tensor) -> Tensor:
    """Return log densities of `z`, with first derivatives.

    Args:
        function: returns values and gradients of rows in double precision.
        z: shape (batch, dim).
    """
    return cast(Tensor, cast(Any, _External).apply(function, z))


class _External(Function):
    @staticmethod
    def forward(ctx: Any, function: ValueAndGradient, z: Tensor) -> Tensor:
        values, gradients = function(z.detach().cpu().double().numpy())
        ctx.save_for_backward(torch.from_numpy(np.asarray(gradients)).to(z))
        return torch.from_numpy(np.asarray(values)).to(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *cotangents: Tensor
    ) -> tuple[None, Tensor]:
        (gradients,) = ctx.saved_tensors
        return None, cotangents[0].unsqueeze(-1) * gradients
