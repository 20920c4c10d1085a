"""Transforms whose parameters are learned, or come from the context."""

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
    """A transform given by tensors that are learned, or where there is a context linear in it.

    A subclass declares the tensors by what they start from, and gives both directions as functions
    of them. They come with the context's batch dimensions in front. All is worked out in the dtype
    of the learned numbers, under autocast too: roots and orthonormal columns need the digits.
    """

    def _declare(self, starts: Sequence[Tensor], generator: torch.Generator | None) -> None:
        """Make the parameters.

        Args:
            starts: what each tensor starts from.
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
        """Return x and log|det dx/dz|, given the tensors in the order of their declaration."""

    @abstractmethod
    def _unmap(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log|det dz/dx|, given the tensors in the order of their declaration."""
