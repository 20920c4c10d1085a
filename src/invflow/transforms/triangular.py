"""A linear map with a unit lower triangular matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.transforms.base import Transform
from invflow.transforms.parameters import Parameters
from invflow.transforms.precision import at_least_single, without_autocast


class UnitTriangular(Transform):
    r"""Adds to each feature a linear combination of earlier ones; preserves volume.

    $$x = U z, \qquad U_{ii} = 1, \quad U_{ij} = 0 \text{ for } j > i, \qquad \log|\det U| = 0$$

    The entries below the diagonal are learned or linear in the context. Followed by an affine
    `Elementwise`, it turns a standard normal into a normal with full covariance. It starts as the
    identity.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` is below 1, or `context` is negative.

    References:
        Kingma et al. 2016, arXiv 1606.04934, appendix A (linear IAF).

    Example:
        >>> import torch
        >>> transform = UnitTriangular(features=3)
        >>> transform(torch.tensor([1.0, 2.0, 3.0]))
        (tensor([1., 2., 3.], grad_fn=...), tensor(0.))
    """

    _places: Tensor

    def __init__(
        self, features: int, *, context: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(features, context)
        below = features * (features - 1) // 2
        self.given = Parameters(torch.zeros(below), context, generator)
        self.keep_constants()

    def constants(self) -> dict[str, Tensor]:
        # The position of each entry of U in (0, 1, the entries below the diagonal).
        rows, columns = torch.tril_indices(self.features, self.features, -1)
        places = torch.eye(self.features, dtype=torch.long)
        places[rows, columns] = torch.arange(len(rows)) + 2
        return {"_places": places}

    def _matrix(self, context: Tensor | None, like: Tensor) -> Tensor:
        below = self.given(context, like)
        ends = torch.arange(2, dtype=like.dtype, device=like.device).expand(*below.shape[:-1], 2)
        return torch.cat([ends, below], -1)[..., self._places]

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        column = z.unsqueeze(-1).to(at_least_single(self.given.bias.dtype))
        with without_autocast(z.device.type):
            x = self._matrix(context, column) @ column
        return x.squeeze(-1).to(z.dtype), z.new_zeros(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        column = x.unsqueeze(-1).to(at_least_single(self.given.bias.dtype))
        with without_autocast(x.device.type):
            matrix = self._matrix(context, column)
        matrix = matrix.expand(*x.shape[:-1], *matrix.shape[-2:])
        z = torch.linalg.solve_triangular(matrix, column, upper=False, unitriangular=True)
        return z.squeeze(-1).to(x.dtype), x.new_zeros(x.shape[:-1])
