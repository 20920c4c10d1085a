r"""Pareto smoothed importance sampling (Vehtari et al. 2024, arXiv 1507.02646).

The largest M of n weights, less the largest of the others, u, are fitted by a generalised Pareto
distribution with shape k and scale $\sigma$, and replaced by its quantiles:

$$w_{(n - M + j)} \leftarrow u + \frac\sigma k \Big[\Big(1 - \frac{j - 1/2}M\Big)^{-k} - 1\Big],
\qquad j = 1 \dots M,$$

but by none above the largest weight. The fit is that of Zhang and Stephens (2009, Technometrics 51,
316-325): with $\theta = -k / \sigma$ the likelihood at the best k, $\frac1M \sum_j \log(1 - \theta
x_j)$, has a closed form; $\theta$ is its mean under that likelihood times a prior on a grid.

ArviZ has the same, but importing it takes longer than many fits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Fewest weights with a tail to fit, which is a fifth of them, and at least five.
FEWEST_WEIGHTS = 25
#: A shape of one half, as if this many weights had shown it, for tails of few weights.
PRIOR_SHAPE, PRIOR_WEIGHTS = 0.5, 10
#: Points of the grid beyond the root of M; and the prior's scale of theta, in inverse quartiles.
GRID, PRIOR_SCALE = 30, 3


def tail_length(count: int) -> int:
    """Return M, the number of the largest of some weights that are smoothed."""
    return min(count // 5, int(3 * math.sqrt(count)))


def smoothed(log_weights: Tensor) -> tuple[Tensor, float]:
    """Return log weights with a Pareto smoothed tail, and the tail's shape, k-hat.

    The weights are not normalised; -inf stays -inf. Without a tail to fit, the weights are returned
    as they are, and k-hat is infinite.

    Args:
        log_weights: finite or -inf, shape (draws,), in double precision.

    Example:
        >>> smooth, khat = smoothed(torch.linspace(0, 1, 1000).double())
        >>> khat < 0
        True
    """
    count = int(torch.isfinite(log_weights).sum())
    if count < FEWEST_WEIGHTS:
        return log_weights, math.inf
    length = tail_length(count)
    top = log_weights.topk(length + 1)
    largest = top.values[0]
    weights = (top.values - largest).exp().flip(0)  # from the smallest on
    threshold, excesses = weights[0], weights[1:] - weights[0]
    if not bool(weights[-1] > weights[1]):
        return log_weights, math.inf
    shape, scale = _fit(excesses)
    if not math.isfinite(shape + scale):
        return log_weights, math.inf
    middles = (torch.arange(length, 0, -1).to(weights) - 0.5) / length  # 1 - (j - 1/2) / M
    growth = torch.expm1(-shape * middles.log()) / shape if shape else -middles.log()
    smooth = (threshold + scale * growth).log().clamp(max=0.0)
    return log_weights.index_copy(0, top.indices[:-1], largest + smooth.flip(0)), shape


def _fit(x: Tensor) -> tuple[float, float]:
    """Return the shape and the scale of a generalised Pareto distribution of sorted x, (count,)."""
    count = len(x)
    points = GRID + int(math.sqrt(count))
    quartile = x[int(count / 4 + 0.5) - 1]
    ranks = torch.arange(1, points + 1).to(x) - 0.5
    theta = 1 / x[-1] + (1 - (points / ranks).sqrt()) / (PRIOR_SCALE * quartile)
    shapes = torch.log1p(-theta.unsqueeze(1) * x).mean(1)
    log_likelihood = count * ((-theta / shapes).log() - shapes - 1)
    best = (log_likelihood.softmax(0) * theta).sum()
    shape = float(torch.log1p(-best * x).mean())
    scale = -shape / float(best) if best else math.nan
    pulled = (count * shape + PRIOR_WEIGHTS * PRIOR_SHAPE) / (count + PRIOR_WEIGHTS)
    return pulled, scale
