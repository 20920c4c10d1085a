"""Shift and scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow import _checks
from invflow.univariate.base import Univariate


@dataclass(frozen=True)
class Affine(Univariate):
    r"""A shift and a positive scale, with a softly bounded log-scale.

    $$x = \mu + e^{s} z, \qquad s = b \tanh(r / b), \qquad \log|dx/dz| = s$$

    with parameters $(\mu, r)$ and bound $b$. Whatever the network returns, $|s| < b$, so neither
    direction can overflow in training.

    Args:
        bound: b, limit of the log-scale in nats, positive.

    Raises:
        TypeError: if `bound` is not a number.
        ValueError: if `bound` is not positive and finite.

    References:
        Kingma et al. 2016, arXiv 1606.04934; Papamakarios et al. 2017, arXiv 1705.07057, eq. 3-4.

    Example:
        >>> import torch
        >>> x, ladj = Affine().forward(torch.tensor([2.0]), torch.tensor([[1.0, 0.0]]))
        >>> x, ladj
        (tensor([3.]), tensor([0.]))
    """

    bound: float = 5.0

    def __post_init__(self) -> None:
        _checks.settle(self, bound=_checks.number("bound", self.bound))
        if not 0 < self.bound < math.inf:
            raise ValueError(f"bound must be positive and finite, got {self.bound!r}")

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    @property
    def location(self) -> int:
        return 0

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(-1)
        log_scale = torch.tanh(raw / self.bound) * self.bound
        return torch.addcmul(shift, torch.exp(log_scale), z), log_scale

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.unbind(-1)
        ladj = torch.tanh(raw / self.bound) * -self.bound
        return (x - shift) * torch.exp(ladj), ladj

    def solver(self, like: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        bound, minus = like.new_full((), self.bound), like.new_full((), -self.bound)

        def solve(x: Tensor, params: Tensor) -> Tensor:
            shift, raw = params.unbind(-1)
            return (x - shift).mul_((raw / bound).tanh_().mul_(minus).exp_())

        return solve
