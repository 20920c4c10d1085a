"""The IAF paper's gated update."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from invflow import _checks
from invflow.univariate.base import Univariate


@dataclass(frozen=True)
class Gated(Univariate):
    r"""The numerically stable update of the IAF paper, like the gates of an LSTM.

    $$x = \sigma(s) z + (1 - \sigma(s)) m, \qquad \log|dx/dz| = \log\sigma(s)$$

    with parameters $(m, s)$. The map always contracts; s starts with the gate mostly open.

    Args:
        gate: initial value of s; +1 to +2 lets most of z through.

    Raises:
        TypeError: if `gate` is not a number.
        ValueError: if `gate` is not finite.

    References:
        Kingma et al. 2016, arXiv 1606.04934, section 4, eq. 13-14.

    Example:
        >>> import torch
        >>> x, ladj = Gated().forward(torch.tensor([2.0]), torch.tensor([[1.0, 0.0]]))
        >>> x, ladj
        (tensor([1.5000]), tensor([-0.6931]))
    """

    gate: float = 1.5

    def __post_init__(self) -> None:
        _checks.settle(self, gate=_checks.number("gate", self.gate))
        if not math.isfinite(self.gate):
            raise ValueError(f"gate must be finite, got {self.gate!r}")

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0, self.gate)

    @property
    def location(self) -> int:
        return 0

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, gate = params.unbind(-1)
        return torch.lerp(mean, z, torch.sigmoid(gate)), logsigmoid(gate)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, gate = params.unbind(-1)
        ladj = -logsigmoid(gate)
        return mean + (x - mean) * torch.exp(ladj), ladj
