r"""Gradients of bounds along the paths of reparameterised draws: "sticking the landing".

Let $x_k = f_\theta(u_k)$ be draws of a flow q, $w_k = p(x_k) / q(x_k)$, and

$$L = E \log \frac1K \sum_{k=1}^K w_k .$$

With normalised weights $\tilde w_k = w_k / \sum_j w_j$ the gradient of the term inside is

$$\sum_k \tilde w_k \Big[\big(\nabla_x \log w_k\big)^\top \frac{\partial x_k}{\partial \theta}
- \frac{\partial \log q(x)}{\partial \theta}\Big|_{x = x_k}\Big] .$$

For K = 1 the last term, the score of q with respect to its own parameters, has expectation zero and
can be dropped (Roeder et al. 2017, arXiv 1703.09194). For larger K it does not, as the weights
depend on x; but it is reparameterised once more, by

$$E_q\Big[g(x)\, \frac{\partial \log q(x)}{\partial \theta}\Big]
= E_q\Big[\big(\nabla_x g\big)^\top \frac{\partial x}{\partial \theta}\Big], \qquad
\nabla_x \tilde w_k = \tilde w_k (1 - \tilde w_k) \nabla_x \log w_k ,$$

which leaves (Tucker et al. 2019, arXiv 1810.04152)

$$\nabla_\theta L = E \sum_k \tilde w_k^2 \big(\nabla_x \log w_k\big)^\top
\frac{\partial x_k}{\partial \theta} .$$

Its variance vanishes where q = p. It needs $\nabla_x \log q$, which `Transform.push` computes along
with the draws.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from invflow.flows.base import Base
from invflow.transforms import Transform


def pushed(
    transform: Transform, base: Base, z: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return x = f(z), log q(x) and $\nabla_x \log q(x)$; the gradient has no graph.

    Args:
        transform: f.
        base: the distribution of z.
        z: noise, (*batch, features).
        context: broadcastable to (*batch, context), or None.
    """
    point = z.detach().requires_grad_()
    with torch.enable_grad():
        total = base.log_prob(point).sum() + 0.0 * point[..., :0].sum()  # some densities are flat
        (score,) = torch.autograd.grad(total, point)
    x, ladj, score = transform.push(z, score, context)
    return x, base.log_prob(z) - ladj, score


def along_path(value: Tensor, slope: Tensor, x: Tensor) -> Tensor:
    r"""Return values, (*batch,), whose gradient is $s^\top \partial x / \partial \theta$.

    Args:
        value: of a function of x, (*batch,); its own gradient is not used.
        slope: s, the gradient of that function with respect to x, (*batch, features).
        x: draws with a graph, (*batch, features).

    Example:
        >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
        >>> y = along_path(torch.tensor([7.0]), torch.tensor([[3.0, 4.0]]), x)
        >>> y, torch.autograd.grad(y.sum(), x)[0]
        (tensor([7.], grad_fn=<SubBackward0>), tensor([[3., 4.]]))
    """
    pull = (slope * x).sum(-1)
    return value.detach() + pull - pull.detach()


def path_bound(x: Tensor, log_w: Tensor, slope: Tensor) -> Tensor:
    r"""Return $\log \frac1K \sum_k w_k$, (*batch,), with the gradient above.

    K = 1 is the evidence lower bound.

    Args:
        x: draws with a graph, (K, *batch, features).
        log_w: log p - log q of each, (K, *batch).
        slope: its gradient with respect to x, (K, *batch, features).

    References:
        Tucker et al. 2019, arXiv 1810.04152.

    Example:
        >>> x = torch.zeros(2, 1, requires_grad=True)
        >>> path_bound(x, torch.log(torch.tensor([1.0, 3.0])), torch.ones(2, 1)).backward()
        >>> x.grad.flatten()
        tensor([0.0625, 0.5625])
    """
    weights = log_w.detach().softmax(0)
    pulls = along_path(torch.zeros_like(weights), weights.square().unsqueeze(-1) * slope, x)
    return log_w.detach().logsumexp(0) - math.log(len(log_w)) + pulls.sum(0)
