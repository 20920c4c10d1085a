"""Transforms whose parameters are learned, or computed from the context."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from invflow.transforms.base import Transform
from invflow.transforms.parameters import Parameters
from invflow.transforms.precision import at_least_single, without_autocast


class Amortised(Transform):
    """A transform defined by tensors that are learned or, with a context, linear in it.

    A subclass declares the initial values of the tensors and implements both directions as
    functions of them. The tensors have the context's batch dimensions in front. Everything is
    computed in the dtype of the parameters, even under autocast: roots and orthonormal columns need
    the precision.
    """

    def _declare(self, starts: Sequence[Tensor], generator: torch.Generator | None) -> None:
        """Create the parameters.

        Args:
            starts: initial value of each tensor.
            generator: random numbers for the initial weights of the context.
        """
        self._shapes = [tuple(start.shape) for start in starts]
        flat = torch.cat([start.flatten() for start in starts])
        self.given = Parameters(flat, self.context, generator)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(self._map, z, context)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(self._unmap, x, context)

    def _run(
        self, map: Callable[..., tuple[Tensor, Tensor]], value: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        with without_autocast(value.device.type):
            fine = value.to(at_least_single(self.given.bias.dtype))
            flat = self.given(context, fine).split([prod(shape) for shape in self._shapes], -1)
            pairs = zip(flat, self._shapes, strict=True)
            result, ladj = map(fine, *(part.unflatten(-1, shape) for part, shape in pairs))
            return result.to(value.dtype), ladj.to(value.dtype)

    @abstractmethod
    def _map(self, z: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and log|det dx/dz|, given the tensors in the order of declaration."""

    @abstractmethod
    def _unmap(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log|det dz/dx|, given the tensors in the order of declaration."""
