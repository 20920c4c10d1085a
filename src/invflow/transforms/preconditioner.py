"""A fixed change of location, scale and correlation."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.transforms.base import Transform
from invflow.transforms.precision import at_least_single, without_autocast


class Preconditioner(Transform):
    r"""A fixed affine map, which gives data at unit scale their location and scales.

    $$x = \mu + L z, \qquad \log|\det L| = \sum_i \log L_{ii}$$

    where L is lower triangular with a positive diagonal. Location and scale are not learned but
    measured, and set by `set`; a flow before this map works at unit scale. It starts as the
    identity.

    Args:
        features: number of features, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

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

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        if name == "scale" and bool((tensor.diagonal() <= 0).any() or tensor.triu(1).any()):
            return "must be lower triangular with a positive diagonal"
        return None

    @torch.no_grad()
    def set(self, location: Tensor, scale: Tensor) -> None:
        """Set the map.

        Args:
            location: mu, shape (features,).
            scale: L, shape (features, features); entries above the diagonal are ignored.

        Raises:
            TypeError: if an argument is not a tensor.
            ValueError: if a shape is wrong, an entry is not finite, or the diagonal is not
                positive.
        """
        if not (isinstance(location, Tensor) and isinstance(scale, Tensor)):
            kinds = f"{type(location).__name__} and {type(scale).__name__}"
            raise TypeError(f"location and scale must be tensors, got {kinds}")
        features = self.features
        if location.shape != (features,) or scale.shape != (features, features):
            raise ValueError(
                f"location and scale must have shapes ({features},) and ({features}, {features}), "
                f"got {tuple(location.shape)} and {tuple(scale.shape)}"
            )
        location, scale = location.to(self.location), scale.to(self.scale).tril()
        if not (location.isfinite().all() and scale.isfinite().all()):
            raise ValueError(f"location and scale must be finite in {self.scale.dtype}")
        if not (scale.diagonal() > 0).all():
            raise ValueError(f"scale must have a positive diagonal in {self.scale.dtype}")
        self.location.copy_(location)
        self.scale.copy_(scale)

    def _ladj(self, like: Tensor) -> Tensor:
        return self.scale.diagonal().log().sum().to(like.dtype).expand(like.shape[:-1])

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        dtype = at_least_single(z.dtype, self.scale.dtype)
        with without_autocast(z.device.type):
            x = self.location + z.to(dtype) @ self.scale.to(dtype).mT
        return x.to(z.dtype), self._ladj(z)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        dtype = at_least_single(x.dtype, self.scale.dtype)
        rows = (x.to(dtype) - self.location).reshape(-1, self.features)
        scale = self.scale.to(dtype)
        z = torch.linalg.solve_triangular(scale.mT, rows, upper=True, left=False)
        return z.reshape(x.shape).to(x.dtype), -self._ladj(x)

    def _push(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map noise, and its score by the inverse of L, transposed."""
        dtype = at_least_single(score.dtype, self.scale.dtype)
        rows, scale = score.to(dtype).reshape(-1, self.features), self.scale.to(dtype)
        pushed = torch.linalg.solve_triangular(scale, rows, upper=False, left=False)
        return *self._forward(z, context), pushed.reshape(score.shape).to(score.dtype)
