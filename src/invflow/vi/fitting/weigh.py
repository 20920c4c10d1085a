r"""The weight of each mode in a posterior.

For draws $x_b$ from all flows in equal numbers, with importance weights
$\omega_b \propto p(x_b) / \bar q(x_b)$ under their even mixture $\bar q$, the mixture weights
$\alpha$ closest to the posterior maximise $\sum_b \omega_b \log \sum_k \alpha_k q_k(x_b)$:

$$\alpha_k \leftarrow \sum_b \omega_b \frac{\alpha_k q_k(x_b)}{\sum_j \alpha_j q_j(x_b)} .$$

If flows do not overlap, these are their fractions of the evidence; if they do, nothing is counted
twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from invflow.flows import Flow
from invflow.vi.targets.density import Density

#: Draws of each flow, and iterations of the update above.
DRAWS_PER_MODE, ITERATIONS = 2000, 200


@torch.no_grad()
def weigh(density: Density, flows: Sequence[Flow], seed: int) -> tuple[Tensor, list[float]]:
    """Return the mixture weights of flows, (flows,), and each one's log evidence.

    Args:
        density: of the target.
        flows: one for each mode.
        seed: random seed of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [
        flow(validate_args=False).sample((DRAWS_PER_MODE,), generator=generator) for flow in flows
    ]
    x = torch.cat(draws)
    log_p = density.exact(x)
    log_q = torch.stack([flow(validate_args=False).log_prob(x) for flow in flows], -1)
    own = log_q.unflatten(0, (len(flows), -1)).diagonal(dim1=0, dim2=2)
    log_w = log_p.unflatten(0, (len(flows), -1)) - own.mT
    evidence = (log_w.logsumexp(1) - math.log(DRAWS_PER_MODE)).tolist()
    weights = (log_p - log_q.logsumexp(-1)).softmax(0)
    shares = torch.full((len(flows),), 1 / len(flows), dtype=weights.dtype)
    for _ in range(ITERATIONS):
        shares = weights @ (log_q + shares.log()).softmax(-1)
    return shares, evidence
