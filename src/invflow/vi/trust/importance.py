r"""What importance weights say about an approximation.

For draws $z_i \sim q$ with weights $w_i = p(z_i) / q(z_i)$, p up to a constant,

$$\mathrm{ELBO} = \frac1n \sum_i \log w_i, \qquad \hat Z = \frac1n \sum_i w_i, \qquad
\mathrm{ESS} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2} .$$

Where k-hat, the shape of a Pareto distribution fitted to the M largest weights, is below 0.7, the
weights can be trusted after smoothing (`pareto`).

A shape is not a size: where weights are nearly equal, it is that of rounding errors or of the edge
of a plateau. The size is the *tail mass*: the excess of the weights over the threshold u of that
fit, extrapolated to a hundred times as many draws,

$$\tau = \frac{\sum_i (w_i - u)_+}{\sum_i w_i} \cdot \frac{\log 100 M - 1}{\log M - 1} .$$

The second factor, about two, is that of a Pareto tail of shape one, the heaviest tail for which the
mean of the weights, the evidence, is finite. The tail changes no probability by more than about
$\tau$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vi.trust.pareto import smoothed, tail_length

#: k-hat above which importance weights are of no use (Vehtari et al. 2024).
USELESS_KHAT = 0.7
#: k-hat above which they have no variance.
FINITE_VARIANCE_KHAT = 0.5
#: Fraction of effective draws above which the flow's own draws are as good as weighted ones.
NEAR_EXACT = 0.99
#: Log weights within this range are equal up to rounding.
ROUNDING = 1e-6
#: The tail is extrapolated to this many times the number of draws.
HORIZON = 100


@dataclass(frozen=True)
class Importance:
    """What the importance weights of some draws say.

    Args:
        elbo: evidence lower bound in nats, over the draws with a finite log density.
        elbo_error: its Monte Carlo standard error.
        log_evidence: in nats, from smoothed weights.
        log_evidence_error: its standard error.
        khat: shape of the tail of the weights; 0 if all are equal, infinite if too few are nonzero.
        ess: effective sample size.
        draws: number of draws.
        non_finite: fraction of draws where the log density is not finite.
        tail: fraction of the posterior in the tail of the weights, at most 1.
        log_weights: smoothed and normalised, shape (draws,).
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

    @property
    def effective(self) -> float:
        """The effective fraction of the draws."""
        return self.ess / self.draws

    @property
    def equal(self) -> bool:
        """Whether the weights are so nearly equal that the shape of their tail does not matter."""
        noise = 0.5 / math.sqrt(self.draws)  # of a probability
        return self.effective > NEAR_EXACT and self.tail < noise

    @property
    def light(self) -> bool:
        """Whether weights repair the draws: their tail is light, or they are nearly equal."""
        return self.khat < USELESS_KHAT or self.equal


def importance(log_p: Tensor, log_q: Tensor) -> Importance:
    """Return what the weights of draws from q say about q as an approximation of p.

    Args:
        log_p: of the draws, up to a constant, shape (draws,); NaN and infinity count as -inf.
        log_q: of the draws, shape (draws,).

    Raises:
        ValueError: if the shapes differ, or there are fewer than two draws.

    Example:
        >>> found = importance(torch.full((100,), -1.5), torch.full((100,), -2.0))
        >>> found.log_evidence, round(found.ess, 6)
        (0.5, 100.0)
    """
    if log_p.ndim != 1 or log_p.shape != log_q.shape or len(log_p) < 2:
        raise ValueError(
            "log_p and log_q must both have shape (draws,) with at least two draws, "
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
        tail=_tail_mass(raw, len(finite)),
        log_weights=log_weights,
    )


def _smoothed(raw: Tensor, finite: Tensor) -> tuple[Tensor, float]:
    """Return the log weights with a smoothed tail, and the tail's shape."""
    if float(finite.max() - finite.min()) < ROUNDING:
        return raw, 0.0 if len(finite) > len(raw) / 2 else math.inf
    return smoothed(raw)


def _tail_mass(raw: Tensor, count: int) -> float:
    """Return the fraction of the posterior in the tail of the weights, `count` of them finite."""
    largest = tail_length(count)
    if largest < 5:
        return 1.0
    top = raw.softmax(0).topk(largest + 1).values
    growth = (math.log(HORIZON * largest) - 1) / (math.log(largest) - 1)
    return min(float((top - top[-1]).sum()) * growth, 1.0)


def resampled(log_weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    r"""Return indices of `count` draws chosen by weight, by systematic resampling.

    Draw i is chosen $\lfloor n w_i \rfloor$ or $\lceil n w_i \rceil$ times, $n w_i$ on average: not
    more than once unless its weight exceeds 1/n. The order is random.

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
