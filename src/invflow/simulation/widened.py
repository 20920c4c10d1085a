r"""How wide densities must be, judged by simulations that were held out.

A flow that learned from few simulations is overconfident: it errs by more than its width says. Its
noise is multiplied by a scale t, the same for all flows of a mixture:

$$\log q_t(u|c) = \log p(z / t) - D \log t + \log |\det dz/du|, \qquad z = f^{-1}(u; c)$$

for noise about zero (`Tempered`).

The scale is the smallest, of those from one to two, that the simulations which a flow was not
trained on do not contradict: their log likelihood, over all flows, is within half a nat, one
standard error, of the best. Not the best itself: a mixture is wider than its flows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invflow.flows import Tempered
from invflow.simulation.network import Conditional

#: The scales that are compared.
SCALES = [1 + k / 100 for k in range(101)]
#: Nats below the best log likelihood that a scale may be.
ALLOWED = 0.5


@torch.no_grad()
def widen(networks: Sequence[Conditional], value: Tensor, given: Tensor, held: Tensor) -> float:
    """Multiply the noise of the flows of a mixture about its centre, and return the scale.

    Noise without a centre, such as a uniform one, has bounds or a shape that a scale would change:
    it stays, and the scale is 1.

    Args:
        networks: of the mixture, trained.
        value: standardised values, shape (rows, features).
        given: standardised others, shape (rows, *shape).
        held: which rows each network was not trained on, shape (networks, rows).
    """
    flows = [each.flow for each in networks]
    if any(each.base.centre is None for each in flows):
        return 1.0
    noise = [
        each.flow.transform.inverse(value[out].float(), each.context(given[out].float()))[0]
        for each, out in zip(networks, held, strict=True)
    ]

    def total(scale: float) -> float:
        parts = zip(flows, noise, strict=True)
        return sum(
            float(Tempered(each.base, scale).log_prob(z).double().sum()) for each, z in parts
        )

    totals = [total(scale) for scale in SCALES]
    best = max(totals)
    scale = next(t for t, found in zip(SCALES, totals, strict=True) if found >= best - ALLOWED)
    for each in flows:
        each.base = Tempered(each.base, scale)
    return scale
