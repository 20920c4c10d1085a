"""Permutations of the features."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import torch
from torch import Tensor

from invflow import _checks
from invflow.transforms.base import Transform

ORDERS = ("reverse", "random", "same")


def orders(
    how: str, features: int, count: int, generator: torch.Generator | None = None
) -> list[Tensor | None]:
    """Return the orders in which `count` autoregressive transforms take the features.

    Args:
        how: "same" to keep the order, "reverse" to reverse it in every other transform, "random"
            for a new random order in each transform after the first.
        features: number of features, D.
        count: number of orders.
        generator: random numbers; torch's own by default.

    Returns:
        Permutations of 0 .. D - 1; None to keep the order.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if `how` is unknown, or a size is below 1.

    Example:
        >>> orders("reverse", 3, 3)
        [None, tensor([2, 1, 0]), None]
    """
    _checks.choice("order", how, ORDERS)
    features = _checks.positive_integer("features", features)
    count = _checks.positive_integer("count", count)
    if how == "random":
        rest = [randperm(features, generator) for _ in range(count - 1)]
        return [None, *rest]
    backwards = torch.arange(features, device="cpu").flip(0)
    return [backwards if how == "reverse" and k % 2 else None for k in range(count)]


def randperm(features: int, generator: torch.Generator | None) -> Tensor:
    """Return a random order, with values even if the default device is "meta"."""
    device = "cpu" if generator is None else generator.device
    return torch.randperm(features, generator=generator, device=device)


class Permutation(Transform):
    r"""The features in another order: $x_i = z_{\text{order}_i}$, with log-determinant zero.

    Args:
        order: a permutation of 0 .. D - 1.

    Raises:
        TypeError: if `order` does not hold integers.
        ValueError: if `order` is not a permutation.

    Example:
        >>> import torch
        >>> Permutation([2, 0, 1])(torch.tensor([1.0, 2.0, 3.0]))
        (tensor([3., 1., 2.]), tensor(0.))
    """

    order: Tensor

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        features = len(order) if isinstance(order, Sized) else 0
        positions = _checks.permutation("order", order, features)
        super().__init__(features)
        self.register_buffer("order", positions)

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        return _checks.no_permutation(tensor, self.features)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.index_select(-1, self.order), z.new_zeros(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self.order.argsort()), x.new_zeros(x.shape[:-1])
