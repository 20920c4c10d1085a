"""Integer levels, and the intervals of real numbers that represent them."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor

from invflow import _checks
from invflow.transforms import Sigmoid, Transform

NatsT = TypeVar("NatsT", float, Tensor)


class Scaled(Transform):
    """The map of numbers from -1 to 1 onto dequantised levels: $y = L (v + 1) / 2$.

    Args:
        pixels: numbers per image, D.
        levels: number of levels, L.
    """

    def __init__(self, pixels: int, levels: int) -> None:
        super().__init__(pixels)
        self.scale = levels / 2
        self.ladj = pixels * math.log(self.scale)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return (z + 1) * self.scale, z.new_full(z.shape[:-1], self.ladj)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x / self.scale - 1, x.new_full(x.shape[:-1], -self.ladj)


def squash(pixels: int, levels: int, alpha: float | None) -> Transform:
    r"""Return the map of real numbers v onto dequantised levels y, whose inverse is the logit.

    $$v = \operatorname{logit}\big(\alpha + (1 - 2\alpha)\, y / L\big), \qquad
    y = L\, \frac{\sigma(v) - \alpha}{1 - 2\alpha}$$

    Its Jacobian includes all three steps: the scale of the levels, the margin and the logit.
    Without alpha there is no logit: $y = L (v + 1) / 2$.

    Args:
        pixels: numbers per image, D.
        levels: number of levels, L; level k is the interval [k, k + 1).
        alpha: margin that keeps the logit finite at the ends, in [0, 1/2); None for no logit.

    Raises:
        TypeError: if `alpha` is not a number.
        ValueError: if `alpha` is out of range.

    References:
        Papamakarios et al. 2017, arXiv 1705.07057.

    Example:
        >>> import torch
        >>> squash(3, levels=4, alpha=0.05)(torch.zeros(3))[0]
        tensor([2., 2., 2.])
    """
    if alpha is None:
        return Scaled(pixels, levels)
    alpha = _checks.number("alpha", alpha)
    if not 0 <= alpha < 0.5:
        raise ValueError(f"alpha must be at least 0 and below 1/2, got {alpha!r}")
    margin = alpha * levels / (1 - 2 * alpha)
    return Sigmoid(pixels, -margin, levels + margin)


def bits_per_dim(nats: NatsT, pixels: int) -> NatsT:
    """Return log probabilities in nats per image as bits per dimension, -nats / (pixels ln 2).

    Example:
        >>> bits_per_dim(-64 * math.log(2), 64)
        1.0
    """
    return -nats / (pixels * math.log(2))


def flattened(x: Any, shape: tuple[int, int, int]) -> Tensor:
    """Return images as vectors, (*batch, pixels).

    Args:
        x: (*batch, channels, height, width), or (*batch, pixels).
        shape: channels, height and width.

    Raises:
        TypeError: if `x` is not a tensor.
        ValueError: if the images have another shape.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, got {type(x).__name__}")
    pixels = math.prod(shape)
    if x.shape[-3:] == shape:
        return x.flatten(-3)
    if x.shape[-1:] != (pixels,):
        raise ValueError(
            f"x must have shape (*batch, {', '.join(map(str, shape))}) or (*batch, {pixels}), "
            f"got {tuple(x.shape)}"
        )
    return x


def check_levels(x: Tensor, levels: int) -> None:
    """Check that numbers are levels, of an integer or floating-point dtype.

    Raises:
        TypeError: if they are booleans or complex.
        ValueError: if they are not among 0 .. levels - 1.
    """
    if x.dtype == torch.bool or x.dtype.is_complex:
        raise TypeError(f"x must contain integers or floating-point numbers, got dtype {x.dtype}")
    if x.is_floating_point() and not bool((x == x.floor()).all()):  # NaN equals nothing
        raise ValueError("x must contain whole numbers, got NaN or numbers between levels")
    if x.numel():
        low, high = (end.item() for end in x.aminmax())
        if low < 0 or high >= levels:
            raise ValueError(f"x must lie in 0 .. {levels - 1}, got {low:g} to {high:g}")
