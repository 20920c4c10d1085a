"""Orthonormal columns from unconstrained parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow import _checks
from invflow._registry import Registry
from invflow.transforms.householder import pairs, reflect


class Basis(ABC):
    """A way to construct a D x M matrix Q with orthonormal columns."""

    @abstractmethod
    def start(self, features: int, columns: int, generator: torch.Generator | None) -> Tensor:
        """Return the initial parameters, of any shape."""

    @abstractmethod
    def columns(self, given: Tensor, features: int, columns: int) -> Tensor:
        """Return Q, (*batch, D, M), for parameters shaped like `start`, with any batch in front."""


@dataclass(frozen=True)
class Orthogonal(Basis):
    """Q of the QR decomposition of a D x M matrix, with signs such that R's diagonal is positive.

    This makes Q unique, and a smooth function of the matrix as long as it has rank M. (The paper
    iterates towards orthonormal columns instead, which converges only from nearly orthonormal
    ones.)

    Example:
        >>> Orthogonal().columns(torch.tensor([[-3.0], [4.0]]), 2, 1)
        tensor([[-0.6000],
                [ 0.8000]])
    """

    def start(self, features: int, columns: int, generator: torch.Generator | None) -> Tensor:
        return torch.linalg.qr(torch.randn(features, columns, generator=generator)).Q

    def columns(self, given: Tensor, features: int, columns: int) -> Tensor:
        q, r = torch.linalg.qr(given)
        signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(q.dtype)
        return q * signs.unsqueeze(-2)


@dataclass(frozen=True)
class Reflected(Basis):
    """The first M columns of a product of reflections.

    D reflections reach every Q if M < D, and those with one sign of the determinant if M = D.

    Args:
        reflections: number of reflections.

    Raises:
        TypeError: if `reflections` is not an integer.
        ValueError: if `reflections` is below 1.

    Example:
        >>> Reflected(1).columns(torch.tensor([[0.0, 3.0]]), 2, 2)
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """

    reflections: int = 8

    def __post_init__(self) -> None:
        reflections = _checks.positive_integer("reflections", self.reflections)
        _checks.settle(self, reflections=reflections)

    def start(self, features: int, columns: int, generator: torch.Generator | None) -> Tensor:
        return pairs(features, self.reflections, generator)

    def columns(self, given: Tensor, features: int, columns: int) -> Tensor:
        rows = torch.eye(columns, features, dtype=given.dtype, device=given.device)
        return reflect(rows, given.unsqueeze(-3)).mT


@dataclass(frozen=True)
class Permuted(Basis):
    """The first M columns of the identity, without parameters.

    Args:
        reverse: start from the last feature, as every other transform of a flow should.

    Raises:
        TypeError: if `reverse` is not True or False.

    Example:
        >>> Permuted(reverse=True).columns(torch.zeros(0), 2, 1)
        tensor([[0.],
                [1.]])
    """

    reverse: bool = False

    def __post_init__(self) -> None:
        _checks.settle(self, reverse=_checks.boolean("reverse", self.reverse))

    def start(self, features: int, columns: int, generator: torch.Generator | None) -> Tensor:
        return torch.zeros(0)

    def columns(self, given: Tensor, features: int, columns: int) -> Tensor:
        q = torch.eye(features, columns, dtype=given.dtype, device=given.device)
        return q.flip(-2) if self.reverse else q


#: Every basis, by name.
ORTHONORMAL = Registry[type[Basis]]("basis", "invflow.transforms.ORTHONORMAL", Basis)
ORTHONORMAL.update(orthogonal=Orthogonal, householder=Reflected, triangular=Permuted)
