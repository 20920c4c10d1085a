"""Bijections onto circles and spheres."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform
from torch.nn.functional import softplus


class Wrap(Transform):
    r"""Any number as an angle in $(-\pi, \pi]$: one to one up to whole turns.

    Example:
        >>> Wrap()(torch.tensor([0.0, 4.0]))
        tensor([ 0.0000, -2.2832])
    """

    domain: ClassVar[Constraint] = constraints.real  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    codomain: ClassVar[Constraint] = constraints.real  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wrap)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return wrapped(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return wrapped(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(x)


def wrapped(angle: Tensor) -> Tensor:
    r"""Return angles in $(-\pi, \pi]$."""
    return angle - 2 * math.pi * torch.ceil((angle - math.pi) / (2 * math.pi))


class Sphere(Transform):
    r"""n - 1 numbers as n numbers of norm 1: the last is an angle, the others determine heights.

    $$x_j = r_j \tanh z_j, \quad r_{j+1} = r_j / \cosh z_j, \quad
    (x_{n-1}, x_n) = r_{n-1} (\cos z_{n-1}, \sin z_{n-1}), \quad r_1 = 1$$

    $$\log|\det| = \sum_{j=1}^{n-2} (n - j) \log \operatorname{sech} z_j$$

    with respect to the sphere's surface.

    Example:
        >>> Sphere()(torch.zeros(2))
        tensor([0., 1., 0.])
    """

    domain: ClassVar[Constraint] = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    codomain: ClassVar[Constraint] = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sphere)

    __hash__ = Transform.__hash__

    def forward_shape(self, shape: Size) -> Size:
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Size) -> Size:
        if not shape or shape[-1] < 2:
            raise ValueError(
                f"a unit vector must have at least 2 entries, got shape {tuple(shape)}"
            )
        return Size((*shape[:-1], shape[-1] - 1))

    def _call(self, x: Tensor) -> Tensor:
        heights, azimuth = x[..., :-1], x[..., -1:]
        log_radius = _log_sech(heights).cumsum(-1)
        before = torch.cat([torch.zeros_like(azimuth), log_radius], -1).exp()
        last = before[..., -1:]
        rest = before[..., :-1] * heights.tanh()
        return torch.cat([rest, last * azimuth.cos(), last * azimuth.sin()], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        radius = y.square().flip(-1).cumsum(-1).flip(-1).sqrt()[..., :-2]
        heights = (y[..., :-2] / radius).atanh()
        return torch.cat([heights, torch.atan2(y[..., -1:], y[..., -2:-1])], -1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        n = y.shape[-1]
        powers = torch.arange(n - 1, 1, -1, dtype=x.dtype, device=x.device)
        return (powers * _log_sech(x[..., :-1])).sum(-1)


def _log_sech(z: Tensor) -> Tensor:
    return math.log(2) - z.abs() - softplus(-2 * z.abs())
