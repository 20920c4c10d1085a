"""KL divergences: in closed form between Gaussians, by Monte Carlo between others."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, register_kl

from invflow import _checks
from invflow._broadcast import broadcast
from invflow.flows.affine import far, is_diagonal
from invflow.flows.distribution import FlowDistribution
from invflow.flows.estimated import Estimated


class Estimate(NamedTuple):
    """A Monte Carlo estimate.

    Attributes:
        value: the estimate, of the shape to which the batch shapes of p and q broadcast.
        error: its standard error, without a gradient, shaped like the value.
    """

    value: Tensor
    error: Tensor


def estimate_kl(
    p: Distribution,
    q: Distribution,
    samples: int = 1000,
    *,
    generator: torch.Generator | None = None,
) -> Estimate:
    r"""Return a Monte Carlo estimate of the KL divergence in nats, and its standard error.

    $$KL(p \| q) = E_{x \sim p}[\log p(x) - \log q(x)]$$

    It is unbiased, and can be negative if the divergence is smaller than the error. Where q has
    much less mass than p, the draws may miss it, and the error is then too small. The estimate has
    the gradient of reparameterised samples, or none if p has no such samples.

    Args:
        p: a flow's distribution, or any other from which to draw.
        q: a distribution of the same vectors.
        samples: number of draws from p, at least 2.
        generator: random numbers, for a flow's p; torch's own by default.

    Raises:
        TypeError: if `samples` is not an integer, or a p that takes no generator is given one.
        ValueError: if `samples` is below 2, the event shapes differ, or the batch shapes do not
            broadcast.

    Example:
        >>> import invflow
        >>> p, q = invflow.flows.Gaussian(2)(), invflow.MAF(2)()
        >>> value, error = estimate_kl(p, q, generator=torch.Generator().manual_seed(0))
        >>> value.shape, bool(error < 0.1)
        (torch.Size([]), True)
    """
    samples = _checks.positive_integer("samples", samples, minimum=2)
    batch = _common_batch(p, q)
    p = p if p.batch_shape == batch else p.expand(batch)
    with torch.set_grad_enabled(torch.is_grad_enabled() and p.has_rsample):
        x, log_p = _draws(p, Size([samples]), generator)
        ratios = log_p - q.log_prob(x)
        error = ratios.detach().std(0) / math.sqrt(samples)
        return Estimate(ratios.mean(0), error)


def _draws(
    p: Distribution, shape: Size, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return draws and their log density."""
    if isinstance(p, FlowDistribution) and p.has_rsample:
        return p.rsample_and_log_prob(shape, generator=generator)
    if isinstance(p, Estimated):
        x = p.sample(shape, generator=generator)  # pyright: ignore[reportCallIssue]
    elif generator is not None:
        raise TypeError(
            f"generator must be None for p, a {type(p).__name__}, which draws with torch's own: "
            "call torch.manual_seed before"
        )
    else:
        x = p.rsample(shape) if p.has_rsample else p.sample(shape)
    return x, p.log_prob(x)


def _common_batch(p: Distribution, q: Distribution) -> Size:
    """Return the shape to which the batch shapes of distributions of the same vectors broadcast."""
    if p.event_shape != q.event_shape:
        raise ValueError(
            "p and q must have the same event shape, "
            f"got {tuple(p.event_shape)} and {tuple(q.event_shape)}"
        )
    try:
        return broadcast(p.batch_shape, q.batch_shape)
    except ValueError as error:
        raise ValueError(
            "the batch shapes of p and q must broadcast, "
            f"got {tuple(p.batch_shape)} and {tuple(q.batch_shape)}"
        ) from error


def _divergence(p: Distribution, q: Distribution) -> Tensor:
    r"""Return the KL divergence of Gaussians $x = A z + b$ in nats.

    $$\tfrac12 \big(\|A_q^{-1} A_p\|^2 + \|A_q^{-1} (b_p - b_q)\|^2 - D\big)
    + \log|\det A_q| - \log|\det A_p|$$

    Raises:
        NotImplementedError: if one is not known to be Gaussian.
        ValueError: if the sizes differ, or the batch shapes do not broadcast.
    """
    if not (_is_gaussian(p) and _is_gaussian(q)):
        raise no_divergence(p, q)
    batch, features = _common_batch(p, q), p.event_shape[0]
    p, q = p.expand(batch), q.expand(batch)
    like = p.like if isinstance(p, FlowDistribution) else p.mean
    # The columns of a diagonal matrix sum to its diagonal, so one direction is enough.
    directions = like.new_ones(1, features)
    if not (_is_diagonal(p) and _is_diagonal(q)):
        directions = torch.eye(features, dtype=like.dtype, device=like.device)
    length = far(like)
    noise = torch.cat([like.new_zeros(1, features), length * directions])
    noise = noise.reshape(-1, *(1 for _ in batch), features).expand(-1, *batch, features)
    x, p_ladj = _mapped(p, noise)
    z, q_inverse_ladj = _whitened(q, x)
    columns = (z[1:] - z[0]) / length
    squares = columns.square().sum((0, -1)) + z[0].square().sum(-1)
    return 0.5 * (squares - features) - q_inverse_ladj[0] - p_ladj[0]


def _is_gaussian(q: Distribution) -> bool:
    if isinstance(q, FlowDistribution):
        return q.affine_map() is not None
    if isinstance(q, Independent):
        return isinstance(q.base_dist, Normal) and len(q.event_shape) == 1
    return isinstance(q, MultivariateNormal)


def _is_diagonal(q: Distribution) -> bool:
    if isinstance(q, FlowDistribution):
        return is_diagonal(q.transform)
    return isinstance(q, Independent)


def _mapped(p: Distribution, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return A z + b and log|det A| for noise, (any, *batch, D)."""
    if isinstance(p, FlowDistribution):
        return p.mapped(z)
    if isinstance(p, MultivariateNormal):
        factor = p.scale_tril
        return p.mean + (factor @ z.unsqueeze(-1)).squeeze(-1), _log_det(p).expand(z.shape[:-1])
    return p.mean + p.stddev * z, _log_det(p).expand(z.shape[:-1])


def _whitened(q: Distribution, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return A^-1 (x - b) and log|det A^-1| for vectors, (any, *batch, D)."""
    if isinstance(q, FlowDistribution):
        return q.whitened(x)
    if isinstance(q, MultivariateNormal):
        columns = (x - q.mean).unsqueeze(-1)
        z = torch.linalg.solve_triangular(q.scale_tril, columns, upper=False).squeeze(-1)
        return z, -_log_det(q).expand(x.shape[:-1])
    return (x - q.mean) / q.stddev, -_log_det(q).expand(x.shape[:-1])


def _log_det(q: Distribution) -> Tensor:
    """Return log|det A| of one of torch's Gaussians, shape `batch`."""
    if isinstance(q, MultivariateNormal):
        return q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return q.stddev.log().sum(-1)


def no_divergence(p: Distribution, q: Distribution) -> NotImplementedError:
    """Return the error for a divergence without a closed form."""
    return NotImplementedError(
        f"the KL divergence of p, a {type(p).__name__}, from q, a {type(q).__name__}, has no "
        "closed form; estimate it: invflow.flows.estimate_kl(p, q)"
    )


def _none(p: Distribution, q: Distribution) -> Tensor:
    raise no_divergence(p, q)


for _pair in ((Estimated, Distribution), (Distribution, Estimated), (Estimated, Estimated)):
    register_kl(*_pair)(_none)
for _other in (FlowDistribution, MultivariateNormal, Independent):
    register_kl(FlowDistribution, _other)(_divergence)
    register_kl(_other, FlowDistribution)(_divergence)
