"""A learned rotation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.transforms.base import Transform


class Rotation(Transform):
    r"""A rotation, $x = Q z$ with $Q = \exp(A - A^T)$; the log-determinant is zero.

    The exponential of skew-symmetric matrices reaches every rotation, and its derivative at A = 0,
    the initial value, is the identity. (The Cayley transform is cheaper, one linear system instead
    of a few matrix products, but cannot reach half turns.) The inverse is the transpose.

    Args:
        features: number of features, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

    References:
        Lezcano-Casado and Martinez-Rubio 2019, arXiv 1901.08428.

    Example:
        >>> import torch
        >>> rotation = Rotation(3)
        >>> x, _ = rotation(torch.tensor([3.0, 0.0, 4.0]))
        >>> x.norm().item()
        5.0
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.weight = nn.Parameter(torch.zeros(features, features))

    def _matrix(self) -> Tensor:
        return torch.linalg.matrix_exp(self.weight - self.weight.t())

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return F.linear(z, self._matrix()).to(z.dtype), z.new_zeros(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return F.linear(x, self._matrix().t()).to(x.dtype), x.new_zeros(x.shape[:-1])
