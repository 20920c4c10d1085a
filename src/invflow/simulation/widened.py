r"""How wide densities must be, judged by simulations that were held out.

A flow that learned from few simulations is overconfident: it errs by more than its width says. Its
noise is multiplied by a scale t, the same for all flows of a mixture:

$$\log q_t(u|c) = \log p(z / t) - D \log t + \log |\det dz/du|, \qquad z = f^{-1}(u; c)$$

The scale is the smallest, of those from one to two, that the simulations which a flow was not
trained on do not contradict: their log likelihood, over all flows, is within half a nat, one
standard error, of the best. Not the best itself: a mixture is wider than its flows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invflow.flows.base import Base
from invflow.simulation.network import Conditional

#: The scales that are compared.
SCALES = [1 + k / 100 for k in range(101)]
#: Nats below the best log likelihood that a scale may be.
ALLOWED = 0.5


class Widened(Base):
    """Noise of another base, multiplied by a scale.

    Args:
        base: of the noise.
        scale: positive.

    Example:
        >>> from invflow.flows import StandardNormal
        >>> Widened(StandardNormal(1), 2.0).log_prob(torch.zeros(1))
        tensor(-1.6121)
    """

    scale: Tensor

    def __init__(self, base: Base, scale: float = 1.0) -> None:
        super().__init__(base.features)
        self.base = base
        self.has_rsample = base.has_rsample
        self.register_buffer("scale", torch.tensor(scale))

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = self.base.rsample(shape, dtype=dtype, device=device, generator=generator)
        return self.scale * noise

    def log_prob(self, z: Tensor) -> Tensor:
        return self.base.log_prob(z / self.scale) - self.features * self.scale.log()


@torch.no_grad()
def widen(networks: Sequence[Conditional], value: Tensor, given: Tensor, held: Tensor) -> float:
    """Multiply the noise of the flows of a mixture, and return the scale.

    Args:
        networks: of the mixture, trained.
        value: standardised values, shape (rows, features).
        given: standardised others, shape (rows, *shape).
        held: which rows each network was not trained on, shape (networks, rows).
    """
    flows = [each.flow for each in networks]
    noise = [
        each.flow.transform.inverse(value[out].float(), each.context(given[out].float()))[0]
        for each, out in zip(networks, held, strict=True)
    ]

    def total(scale: float) -> float:
        parts = zip(flows, noise, strict=True)
        return sum(float(Widened(each.base, scale).log_prob(z).double().sum()) for each, z in parts)

    totals = [total(scale) for scale in SCALES]
    best = max(totals)
    scale = next(t for t, found in zip(SCALES, totals, strict=True) if found >= best - ALLOWED)
    for each in flows:
        each.base = Widened(each.base, scale)
    return scale
