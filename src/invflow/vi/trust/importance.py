r"""What importance weights say of an approximation.

For draws $z_i \sim q$ with weights $w_i = p(z_i) / q(z_i)$, p up to a constant,

$$\mathrm{ELBO} = \frac1n \sum_i \log w_i, \qquad \hat Z = \frac1n \sum_i w_i, \qquad
\mathrm{ESS} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2} .$$

Where k-hat, the shape of a Pareto distribution fitted to the M largest weights, is below 0.7, the
weights can be trusted after smoothing (Vehtari et al. 2024, arXiv 1507.02646, by ArviZ).

A shape says nothing of a size: where weights are nearly equal, it is that of rounding errors or of
the edge of a plateau. The size is the *tail share*: what the weights above the threshold u of that
fit hold beyond it, extrapolated to a hundred times as many draws,

$$\tau = \frac{\sum_i (w_i - u)_+}{\sum_i w_i} \cdot \frac{\log 100 M - 1}{\log M - 1} .$$

The second factor, about two, is that of a Pareto tail of shape one, the heaviest that there is
where the mean of the weights, the evidence, is finite. On account of the tail no probability is off
by more than about $\tau$.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.flows.distribution import FlowDistribution
from invflow.flows.named import Named
from invflow.vi.targets.density import Density
from invflow.vi.trust._arviz import smoothed

#: How many draws are looked at together.
CHUNK = 4096
#: Log weights closer together than this are equal: what is left is rounding.
EQUAL = 1e-6
#: How many times more draws the tail is extrapolated to.
HORIZON = 100


@dataclass(frozen=True)
class Importance:
    """What the importance weights of a number of draws say.

    Args:
        elbo: evidence lower bound in nats, over the draws with a finite log density.
        elbo_error: its Monte Carlo standard error.
        log_evidence: in nats, by smoothed weights.
        log_evidence_error: its standard error.
        khat: shape of the weights' tail; 0 if they are all equal, infinite if too few are not zero.
        ess: effective sample size.
        draws: how many draws there are.
        non_finite: the share of them with a log density that is not finite.
        tail: the share of the posterior that the tail of the weights holds, at most 1.
        log_weights: smoothed, and normalised to sum to one: shape (draws,).
    """

    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    khat: float
    ess: float
    draws: int
    non_finite: float
    tail: float
    log_weights: Tensor


def importance(log_p: Tensor, log_q: Tensor) -> Importance:
    """Return what the weights of draws from q say of q as an approximation of p.

    Args:
        log_p: of the draws, up to a constant, shape (draws,); NaN or infinite counts as -inf.
        log_q: of the draws, shape (draws,).

    Raises:
        ValueError: shapes that differ, or fewer than two draws.
        ImportError: ArviZ is not installed.

    Example:
        >>> found = importance(torch.full((100,), -1.5), torch.full((100,), -2.0))
        >>> found.log_evidence, round(found.ess, 6)
        (0.5, 100.0)
    """
    if log_p.ndim != 1 or log_p.shape != log_q.shape or len(log_p) < 2:
        raise ValueError(
            "log_p and log_q must have one shape (draws,) with two draws or more, "
            f"got {tuple(log_p.shape)} and {tuple(log_q.shape)}"
        )
    raw = (log_p - log_q).double().cpu()
    raw = torch.where(torch.isfinite(raw), raw, -torch.inf)
    finite = raw[torch.isfinite(raw)]
    count, share = len(raw), 1 - len(finite) / len(raw)
    if not len(finite):
        even = torch.full_like(raw, -math.log(count))
        nothing = (-math.inf, math.nan, -math.inf, math.nan, math.inf, 0.0)
        return Importance(*nothing, count, share, 1.0, even)
    smooth, khat = _smoothed(raw, finite)
    log_evidence = float(smooth.logsumexp(0)) - math.log(count)
    log_weights = smooth.log_softmax(0)
    ess = min(float((-(2 * log_weights).logsumexp(0)).exp()), float(count))
    return Importance(
        elbo=float(finite.mean()),
        elbo_error=float(finite.std(correction=0)) / math.sqrt(len(finite)),
        log_evidence=log_evidence,
        log_evidence_error=math.sqrt(max(count / ess - 1, 0.0) / count),
        khat=khat,
        ess=ess,
        draws=count,
        non_finite=share,
        tail=_tail_share(raw),
        log_weights=log_weights,
    )


def _smoothed(raw: Tensor, finite: Tensor) -> tuple[Tensor, float]:
    """Return the log weights with a smoothed tail, and its shape."""
    if float(finite.max() - finite.min()) < EQUAL:
        return raw, 0.0 if len(finite) > len(raw) / 2 else math.inf
    smooth, khat = smoothed(raw.numpy())
    return torch.from_numpy(smooth), khat


def _tail_share(raw: Tensor) -> float:
    """Return how much of the whole the tail of the weights holds."""
    largest = min(len(raw) // 5, math.ceil(3 * math.sqrt(len(raw))))  # as many as k-hat is of
    if largest < 5:
        return 1.0
    top = raw.softmax(0).topk(largest + 1).values
    growth = (math.log(HORIZON * largest) - 1) / (math.log(largest) - 1)
    return min(float((top - top[-1]).sum()) * growth, 1.0)


@torch.no_grad()
def pool(
    flow: Named, density: Density, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return draws of a flow, (count, dim), and log p and log q of each, (count,), in chunks.

    Args:
        flow: calling it gives a distribution without context.
        density: of the target.
        count: how many.
        generator: random numbers.
    """
    parts = [
        (z, density.exact(z), log_q)
        for z, log_q in drawn(flow(validate_args=False), count, generator)
    ]
    z, log_p, log_q = (torch.cat(part) for part in zip(*parts, strict=True))
    return z, log_p, log_q


@torch.no_grad()
def drawn(
    distribution: torch.distributions.Distribution, count: int, generator: torch.Generator
) -> Generator[tuple[Tensor, Tensor]]:
    """Give `count` draws of a flow's or a mixture's distribution and their log q, in chunks."""
    for start in range(0, count, CHUNK):
        shape = (min(CHUNK, count - start),)
        if isinstance(distribution, FlowDistribution) and distribution.has_rsample:
            yield distribution.rsample_and_log_prob(shape, generator=generator)
        else:
            z: Tensor = distribution.sample(shape, generator=generator)  # pyright: ignore[reportCallIssue]
            yield z, distribution.log_prob(z)


def resampled(log_weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    r"""Return indices of `count` draws by their weights, by systematic resampling.

    Draw i comes $\lfloor n w_i \rfloor$ or $\lceil n w_i \rceil$ times, $n w_i$ on average: none
    comes twice unless its weight asks for more than one. In random order.

    Args:
        log_weights: normalised, shape (draws,).
        count: n.
        generator: random numbers.
    """
    order = torch.randperm(len(log_weights), generator=generator)
    edges = log_weights[order].exp().cumsum(0)
    offset = torch.rand((), generator=generator, dtype=edges.dtype)
    points = (torch.arange(count, dtype=edges.dtype) + offset) / count * edges[-1]
    chosen = order[torch.searchsorted(edges, points, right=True).clamp(max=len(edges) - 1)]
    return chosen[torch.randperm(count, generator=generator)]
