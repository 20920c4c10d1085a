r"""A normal distribution improved by batch and match.

*Batch and match* (Cai et al. 2024, arXiv 2402.14758) has no step size: from draws $z_b$ and scores
$g_b = \nabla \log p(z_b)$, with means $\bar z, \bar g$ and covariances C, $\Gamma$,

$$\Sigma' U \Sigma' + \Sigma' = V, \qquad \mu' = \frac{\mu + \lambda (\Sigma' \bar g + \bar z)}
{1 + \lambda},$$
$$U = \lambda \Gamma + \tfrac{\lambda}{1 + \lambda} \bar g \bar g^\top, \qquad
V = \Sigma + \lambda C + \tfrac{\lambda}{1 + \lambda} (\mu - \bar z)(\mu - \bar z)^\top .$$

U has a thin factor, $U = Q Q^\top$ with a column for each draw and one more, and the solution is

$$\Sigma' = V - V Q \big[\tfrac12 I + (Q^\top V Q + \tfrac14 I)^{1/2}\big]^{-2} Q^\top V,$$

at a cost that grows with the square of the dimension, but for the Cholesky factor to draw from.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from invflow.vi.fitting.normal import Normal, bound, log_standard
from invflow.vi.targets.density import Density

#: Draws of a round: twice the dimension, within these limits.
FEWEST_DRAWS, MOST_DRAWS = 32, 128
#: Limit on the number of rounds, and the number in which progress is looked for.
MOST_ROUNDS, WINDOW = 200, 10
#: Variance of the log weights at which the distribution is right, and 99 % of draws effective.
RIGHT = 0.003
#: Factor by which the spread of the log weights has to fall within that number of rounds.
SLOWEST = 0.9
#: Draws for the bounds that are compared in the end.
COMPARISON_DRAWS = 1000


def match(density: Density, normal: Normal, generator: torch.Generator) -> Normal:
    """Return a normal distribution improved until it is right, or its bound stops rising.

    The given one is returned if its bound is better.

    Args:
        density: of the target.
        normal: the initial distribution.
        generator: random numbers for the draws.
    """
    dim = len(normal.location)
    batch = min(max(FEWEST_DRAWS, 2 * dim), MOST_DRAWS)
    # In the coordinates of the given distribution, where scales are about one.
    location, scale = torch.zeros_like(normal.location), torch.eye(dim).to(normal.location)
    covariance = scale
    history: list[Tensor] = []
    for done in range(MOST_ROUNDS):
        noise = torch.randn((batch, dim), generator=generator, dtype=location.dtype)
        u = location + noise @ scale.mT
        value, score = density.scores(normal.points(u))
        log_w = value - log_standard(noise) + scale.diagonal().log().sum()
        history.append(log_w)
        good = torch.isfinite(value)
        if int(good.sum()) < 2 or _settled(history):
            break
        moved = _matched(location, covariance, u[good], (score @ normal.scale)[good], done)
        if moved is None:
            break
        location, covariance, scale = moved
    pair = [normal.placed(location, scale), normal]
    elbos = [bound(density, each, COMPARISON_DRAWS, generator) for each in pair]
    elbo, better = max(zip(elbos, pair, strict=True), key=lambda entry: entry[0])
    return Normal(better.location, better.scale, elbo)


def _settled(history: list[Tensor]) -> bool:
    """Return whether log weights hardly vary, or no longer vary less from round to round."""
    if len(history) < WINDOW:
        return False
    if float(torch.cat(history[-WINDOW // 2 :]).var()) < RIGHT:
        return True
    if len(history) < 3 * WINDOW:
        return False
    now, before = (_spread(part) for part in (history[-WINDOW:], history[-2 * WINDOW : -WINDOW]))
    return not now < SLOWEST * before


def _spread(log_weights: list[Tensor]) -> float:
    """Return the difference of the quartiles, which outliers do not change."""
    quartiles = torch.tensor([0.25, 0.75], dtype=log_weights[0].dtype)
    low, high = torch.cat(log_weights).quantile(quartiles)
    return float(high - low)


def _matched(
    location: Tensor, covariance: Tensor, z: Tensor, score: Tensor, done: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return the next location, covariance and Cholesky factor; None if there are none."""
    count, dim = z.shape
    weight = count * dim / (done + 1)
    share = weight / (1 + weight)
    mean, slope = z.mean(0), score.mean(0)
    root = math.sqrt(weight / count)
    q = torch.cat([root * (score - slope), math.sqrt(share) * slope.unsqueeze(0)]).mT
    wide = torch.cat([root * (z - mean), math.sqrt(share) * (location - mean).unsqueeze(0)]).mT
    v = torch.addmm(covariance, wide, wide.mT)
    vq = v @ q
    gram = q.mT @ vq
    if not bool(torch.isfinite(vq).all() and torch.isfinite(gram).all()):
        return None
    values, vectors = torch.linalg.eigh(gram)
    factor = vq @ (vectors / (0.5 + (values.clamp(min=0) + 0.25).sqrt()))
    covariance = v.addmm_(factor, factor.mT, alpha=-1)
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed):
        return None
    location = (location + weight * (covariance @ slope + mean)) / (1 + weight)
    return location, covariance, lower
