r"""Bijections from vectors onto n by n matrices that are determined by their lower triangles.

Densities of symmetric matrices are with respect to the entries of the lower triangle, as those of
the Wishart and LKJ distributions are.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform


class Triangle(Transform):
    """n (n + 1) / 2 numbers, row by row, as a lower triangular matrix.

    Example:
        >>> Triangle()(torch.tensor([1.0, 2.0, 3.0]))
        tensor([[1., 0.],
                [2., 3.]])
    """

    domain: ClassVar[Constraint] = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    codomain: ClassVar[Constraint] = constraints.lower_triangular  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    bijective = True
    #: The first diagonal that is filled: 0 for the main one, -1 for the one below it.
    diagonal: ClassVar[int] = 0

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    __hash__ = Transform.__hash__

    def forward_shape(self, shape: Size) -> Size:
        return Size((*shape[:-1], self._order(shape[-1]), self._order(shape[-1])))

    def inverse_shape(self, shape: Size) -> Size:
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ValueError(f"a matrix must be square, got shape {tuple(shape)}")
        n = shape[-1] + self.diagonal
        return Size((*shape[:-2], n * (n + 1) // 2))

    def _order(self, size: int) -> int:
        return (math.isqrt(8 * size + 1) - 1) // 2 - self.diagonal

    def _call(self, x: Tensor) -> Tensor:
        return self._lower(x)

    def _lower(self, x: Tensor) -> Tensor:
        n = self._order(x.shape[-1])
        row, column = torch.tril_indices(n, n, self.diagonal, device=x.device)
        # Gathered, because vmap cannot assign in place; entries above the triangle take the zero at
        # the end.
        place = torch.full((n, n), x.shape[-1], device=x.device)
        place[row, column] = torch.arange(x.shape[-1], device=x.device)
        return torch.cat([x, x.new_zeros((*x.shape[:-1], 1))], -1)[..., place]

    def _inverse(self, y: Tensor) -> Tensor:
        n = y.shape[-1]
        row, column = torch.tril_indices(n, n, self.diagonal, device=y.device)
        return y[..., row, column]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.new_zeros(x.shape[:-1])


class Symmetric(Triangle):
    """n (n + 1) / 2 numbers as a symmetric matrix."""

    codomain: ClassVar[Constraint] = constraints.symmetric

    def _call(self, x: Tensor) -> Tensor:
        lower = self._lower(x)
        return lower + lower.tril(-1).mT


class UnitTriangle(Triangle):
    """n (n - 1) / 2 numbers as a lower triangular matrix with ones on its diagonal."""

    diagonal: ClassVar[int] = -1

    def _call(self, x: Tensor) -> Tensor:
        lower = self._lower(x)
        return lower + torch.eye(lower.shape[-1], dtype=x.dtype, device=x.device)


class CholeskyFactor(Triangle):
    r"""`Triangle` with the exponential of the diagonal: $\log|\det| = \sum_i \log L_{ii}$."""

    codomain: ClassVar[Constraint] = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        lower = self._lower(x)
        return lower.tril(-1) + lower.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Tensor) -> Tensor:
        return super()._inverse(y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return _diagonal(self._lower(x)).sum(-1)


class PositiveDefinite(CholeskyFactor):
    r"""A Cholesky factor times its transpose.

    $$\Sigma = L L^\top, \qquad
    \log|\det \partial \Sigma / \partial z| = n \log 2 + \sum_{i=1}^n (n - i + 2) \log L_{ii}$$
    """

    codomain: ClassVar[Constraint] = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        factor = super()._call(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return super()._inverse(torch.linalg.cholesky(y))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        logs = _diagonal(self._lower(x))
        n = logs.shape[-1]
        powers = torch.arange(n + 1, 1, -1, dtype=x.dtype, device=x.device)
        return n * math.log(2) + (powers * logs).sum(-1)


def _diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1)
