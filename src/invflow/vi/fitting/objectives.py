r"""Gradients of bounds on the evidence, along the path of reparameterised draws.

For draws x = f(z) of a flow q and log-weights $\log w = \log p(x) - \log q(x)$, each objective is a
loss whose gradient is

$$-\sum_b c_b \, \big(\nabla_x \log p(x_b) - \nabla_x \log q(x_b)\big)^\top
\frac{\partial x_b}{\partial \theta} :$$

the score of q with respect to its own parameters, zero in expectation, is left out (sticking the
landing), so that the gradient's variance vanishes where q = p. It takes $\nabla_x \log q$ at given
x, which is the gradient of the flow's inverse.

- the evidence lower bound (Roeder et al. 2017, arXiv 1703.09194): $c_b = 1 / B$;
- the importance-weighted bound over groups of K draws, doubly reparameterised (Tucker et al. 2019,
  arXiv 1810.04152): $c_b = \tilde w_b^2 / (B / K)$, with weights normalised within the group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.flows import Flow
from invflow.vi.targets.density import Density


def path_loss(flow: Flow, density: Density, noise: Tensor, draws: int = 1) -> tuple[Tensor, Tensor]:
    """Return a loss with the gradient above, and the log-weights, without a gradient.

    Draws where the log density is not finite are left out.

    Args:
        flow: whose parameters are learned.
        density: of the target.
        noise: of the flow's base, shape (batch, dim).
        draws: K, draws in a group: 1 for the evidence lower bound; it divides the batch.
    """
    x, _ = flow.transform(noise)
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        log_q = flow(validate_args=False).log_prob(point)
        (slope,) = torch.autograd.grad(log_q.sum(), point)
    log_p, score = density.scores(point, exact=False)
    log_w = log_p - log_q.detach()
    good = torch.isfinite(log_w) & torch.isfinite(slope).all(-1)
    log_w = torch.where(good, log_w, -torch.inf)
    shares = log_w.unflatten(0, (-1, draws)).softmax(-1).nan_to_num(0.0).flatten()
    weight = shares.square() / (len(noise) // draws)
    pull = torch.where(good.unsqueeze(-1), weight.unsqueeze(-1) * (slope - score), 0.0)
    return (pull * x).sum(), log_w
