"""Mixtures of sigmoids, composed to any depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow import _checks
from invflow.univariate.bracketing import increasing_root
from invflow.univariate.numerical import Numerical, spread


@dataclass(frozen=True)
class Sigmoidal(Numerical):
    r"""The deep sigmoidal map of neural autoregressive flows; universal, given enough units.

    $$u = s_L \circ \dots \circ s_1, \qquad
    s(z) = \epsilon z + (1 - \epsilon) \operatorname{logit}
    \Big(\sum_j w_j\, \sigma(a_j z + b_j)\Big)$$

    with weights w that sum to one and slopes $a_j = e^{B \tanh(r_j / B)}$. The small multiple of z
    is this library's addition: between distant steps the slope of a mixture is almost zero and its
    inverse would lose all digits, while with it each layer's slope is at least $\epsilon$. The
    logit lies between the smallest and the largest $a_j z + b_j$, which brackets the inverse.

    Each feature has 3 * units parameters per layer: logits of the weights, r, and b. They start at
    a map near the identity, with the steps spread over [-1, 1] so that units differ.

    Args:
        units: number of sigmoids in a layer.
        layers: number of layers, L.
        floor: $\epsilon$, minimum slope of a layer.
        bound: B, limit of the log-slope of a sigmoid in nats, positive.

    Raises:
        TypeError: if an argument is not a number, or `units` or `layers` is not an integer.
        ValueError: if `units` or `layers` is below 1, `floor` is not between 0 and 1, or `bound` is
            not positive and finite.

    References:
        Huang et al. 2018, arXiv 1804.00779, section 3.1 (deep sigmoidal flow).

    Example:
        >>> import torch
        >>> map, z = Sigmoidal(units=4, layers=2), torch.tensor([-2.0, 0.5, 3.0])
        >>> params = torch.randn(3, map.parameters)
        >>> x, ladj = map.forward(z, params)
        >>> torch.allclose(map.inverse(x, params)[0], z, atol=1e-4)
        True
    """

    units: int = 8
    layers: int = 2
    floor: float = 1e-3
    bound: float = 3.0

    def __post_init__(self) -> None:
        _checks.settle(
            self,
            units=_checks.positive_integer("units", self.units),
            layers=_checks.positive_integer("layers", self.layers),
            floor=_checks.number("floor", self.floor),
            bound=_checks.number("bound", self.bound),
        )
        super().__post_init__()
        if not 0 < self.floor < 1:
            raise ValueError(f"floor must be between 0 and 1, got {self.floor!r}")
        if not 0 < self.bound < math.inf:
            raise ValueError(f"bound must be positive and finite, got {self.bound!r}")

    @property
    def start(self) -> tuple[float, ...]:
        return (*(0.0,) * (2 * self.units), *spread(self.units, 1.0)) * self.layers

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(z.dtype, torch.float32)
        x, ladj = z.to(dtype), torch.zeros((), dtype=dtype, device=z.device)
        for layer in self._split(params.to(dtype)):
            x, slope = self._mixture(x, *layer)
            ladj = ladj + torch.log(slope)
        return x.to(z.dtype), ladj.to(z.dtype)

    def root(self, x: Tensor, params: Tensor) -> Tensor:
        for logits, log_slopes, shifts in reversed(self._split(params)):

            def mixture(z: Tensor, layer: tuple[Tensor, ...] = (logits, log_slopes, shifts)):
                return self._mixture(z, *layer)

            # The roots of each unit alone: the root of the mixture lies between them.
            inner = self.floor + (1 - self.floor) * torch.exp(log_slopes)
            alone = (x.unsqueeze(-1) - (1 - self.floor) * shifts) / inner
            low, high = alone.amin(-1), alone.amax(-1)
            x = increasing_root(mixture, x, low, high, low + (high - low) / 2)
        return x

    def _split(self, params: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return, for each layer, the logits, log-slopes and shifts of its units."""
        layers = params.unflatten(-1, (self.layers, 3, self.units)).unbind(-3)
        parts = (layer.unbind(-2) for layer in layers)
        return [(w, torch.tanh(raw / self.bound) * self.bound, b) for w, raw, b in parts]

    def _mixture(
        self, z: Tensor, logits: Tensor, log_slopes: Tensor, shifts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the value and the slope of a layer."""
        inner = torch.exp(log_slopes) * z.unsqueeze(-1) + shifts
        weights = logits.log_softmax(-1)
        below, above = weights + F.logsigmoid(inner), weights + F.logsigmoid(-inner)
        low, high = below.logsumexp(-1), above.logsumexp(-1)
        # Each sum relative to its total: in the tails, the totals would cancel to the last digit.
        steep = log_slopes + below.log_softmax(-1) + above.log_softmax(-1) - weights
        slope = self.floor + (1 - self.floor) * torch.exp(steep.logsumexp(-1))
        return self.floor * z + (1 - self.floor) * (low - high), slope
