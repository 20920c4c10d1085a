"""A fixed change of location, scale and correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.transforms.base import Transform


class Preconditioner(Transform):
    r"""A fixed affine map: what comes after it sees a location and scales that are no longer one.

    $$x = \mu + L z, \qquad \log|\det L| = \sum_i \log L_{ii}$$

    with L lower triangular and a positive diagonal. Neither is learned: they are measured, and set
    by `set`; a flow before it works on numbers near zero and of size one. Starts as the identity.

    Args:
        features: number of features, D.

    Raises:
        TypeError: `features` is no integer.
        ValueError: `features` below 1.

    Example:
        >>> transform = Preconditioner(features=2)
        >>> transform.set(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        >>> transform(torch.tensor([1.0, 1.0]))
        (tensor([3., 2.]), tensor(0.6931))
    """

    location: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features, 0)
        self.register_buffer("location", torch.zeros(features))
        self.register_buffer("scale", torch.eye(features))

    def set(self, location: Tensor, scale: Tensor) -> None:
        """Set the map.

        Args:
            location: mu, shape (features,).
            scale: L, shape (features, features); what is above the diagonal is ignored.

        Raises:
            ValueError: a wrong shape, entries that are not finite, a diagonal not positive.
        """
        shapes = tuple(location.shape), tuple(scale.shape)
        expected = (self.features,), (self.features, self.features)
        if shapes != expected:
            raise ValueError(f"location and scale must have shapes {expected}, got {shapes}")
        if not (location.isfinite().all() and scale.isfinite().all()):
            raise ValueError("location and scale must be finite")
        if not (scale.diagonal() > 0).all():
            raise ValueError("scale must have a positive diagonal")
        self.location.copy_(location)
        self.scale.copy_(scale.tril())

    def _ladj(self, like: Tensor) -> Tensor:
        return self.scale.diagonal().log().sum().to(like.dtype).expand(like.shape[:-1])

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.location + z.to(self.scale.dtype) @ self.scale.mT
        return x.to(z.dtype), self._ladj(z)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = (x.to(self.scale.dtype) - self.location).reshape(-1, self.features)
        z = torch.linalg.solve_triangular(self.scale.mT, rows, upper=True, left=False)
        return z.reshape(x.shape).to(x.dtype), -self._ladj(x)
